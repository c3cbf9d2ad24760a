"""What is remembered: members with their predictions, the table of them, submissions."""
