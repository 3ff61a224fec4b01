"""An invented CT format, `.plainct`: a line of JSON, then int16 CT numbers, x fastest."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ReadOptions
from fluoro.errors import InputError
from fluoro.volume.ct import Ct, CtFormat
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.slice_reader import VolumePlanes, array_planes


class PlainCt(Ct):
    """A CT of this format; the header has `shape_zyx`, `spacing_xyz_mm` and `origin_xyz_mm`."""

    kind = "plain CT"

    @cached_property
    def grid(self) -> VolumeGrid:
        """Where the voxels lie in the patient."""
        header, _ = self._parts
        keys = ("shape_zyx", "spacing_xyz_mm", "origin_xyz_mm")
        try:
            return VolumeGrid(**{key: tuple(json.loads(header)[key]) for key in keys})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.path}: the header must have {', '.join(keys)}") from error

    @cached_property
    def planes(self) -> VolumePlanes:
        """CT numbers plane by plane."""
        return array_planes(self.path, self.grid, self.array())

    def array(self) -> NDArray[np.int16]:
        """Return the CT numbers [HU], shape (z, y, x)."""
        shape, voxels = self.grid.shape_zyx, self._parts[1]
        if len(voxels) != 2 * int(np.prod(shape)):
            raise InputError(f"{self.path}: voxels must be {shape} int16, got {len(voxels)} bytes")
        return np.frombuffer(voxels, "<i2").reshape(shape)

    @property
    def _parts(self) -> tuple[bytes, bytes]:
        header, _, voxels = self.path.read_bytes().partition(b"\n")
        return header, voxels


def _opened(path: Path, _options: ReadOptions) -> PlainCt:
    return PlainCt(path)


PLAIN_CT = CtFormat(name="plain CT", suffixes=(".plainct",), open=_opened)
