"""Who is measured: csv2kafka's ways, what a user could take instead, and the ceiling, an entry each in ``table.py``."""
