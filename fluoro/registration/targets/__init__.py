"""Target images: read, prepared, or rendered."""
