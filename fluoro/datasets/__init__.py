"""Data sets: published ones that are read, and training sets that are made."""
