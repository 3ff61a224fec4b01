"""The words that an option may be: each list stands here once, for the YAML and for the code.

This module imports nothing but `typing`: the configuration loads it without NumPy.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["ByteOrder", "MissingSlices", "NiftiTransform", "NumberType"]

ByteOrder = Literal["little", "big"]
"""Of the numbers in a raw file."""
MissingSlices = Literal["refuse", "interpolate"]
"""What becomes of a DICOM series whose slices have a gap."""
NiftiTransform = Literal["sform", "qform"]
"""The transform of a NIfTI file that places the volume."""
NumberType = Literal["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
"""Type of a voxel in a plain array, as NumPy names it."""
