"""Where rows go. One file for each sink."""
