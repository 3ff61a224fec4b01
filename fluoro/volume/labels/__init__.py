"""Structures by name in a volume: their names, where they come from, what a file of them says."""
