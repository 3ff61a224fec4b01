"""What is said of a frame: one kind of annotation a module."""
