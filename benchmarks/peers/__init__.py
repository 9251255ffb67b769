"""Who is measured: csv2kafka's ways, what a user could take instead, and the ceiling. ``table.py`` has an entry each."""
