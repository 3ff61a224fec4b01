"""The body phantom: one file for each region of its anatomy."""
