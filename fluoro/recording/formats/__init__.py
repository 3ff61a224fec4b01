"""File formats of recorded frames, one module each."""
