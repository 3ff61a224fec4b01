"""Annotations of a frame: one kind a module."""
