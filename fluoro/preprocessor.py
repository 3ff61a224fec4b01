"""Where fluorosim's scripts look for its preprocessor."""

from fluoro.compat.preprocessor import VolumePreprocessor

__all__ = ["VolumePreprocessor"]
