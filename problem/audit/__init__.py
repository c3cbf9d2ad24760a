"""What is wrong with the data of a competition before any model is fitted: leaks, duplicates, groups, drift."""
