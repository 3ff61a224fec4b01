"""Files: written whole or not at all; image files."""
