"""Holoscan operators, one a file: receive, call fluoro, emit."""
