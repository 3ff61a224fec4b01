"""fluorosim's renderer and noise."""
