"""What a person does from start to end: set up, search, blend, submit."""
