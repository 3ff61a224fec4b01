"""fluoro: a real-time X-ray C-arm, from a CT to the fluoroscopy frame."""

__version__ = "0.1.0"
