"""Volumes: read or made, on a grid in the patient, as CT numbers or attenuation.

fluorosim's names for a preprocessed volume are importable from here as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.fluorosim.volume import PreprocessedVolume, VolumeMetadata

__all__ = ["PreprocessedVolume", "VolumeMetadata"]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__ = lazy_names(__name__, dict.fromkeys(__all__, "fluoro.fluorosim.volume"))
