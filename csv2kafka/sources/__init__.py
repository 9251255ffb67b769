"""Where CSV files are. One file for each source."""
