"""Where leases, progress and completed jobs are kept. One file for each store; ``watch`` is the rule they share."""
