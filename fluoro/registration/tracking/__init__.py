"""A pose followed from frame to frame."""
