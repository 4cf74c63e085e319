"""The readers: from a file of each format to records and bad lines."""
