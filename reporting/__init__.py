"""What was found, as one file to read and one page to search."""
