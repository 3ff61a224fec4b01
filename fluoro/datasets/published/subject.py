"""What a published data set holds: subjects, their X-ray views, and where each was taken from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.label_volume import LabelVolume

__all__ = [
    "EXCLUDED",
    "PublishedSet",
    "SetForm",
    "SetName",
    "Subject",
    "VoxelOrigin",
    "XrayView",
    "views_of",
]

SetName = Literal["deepfluoro", "ljubljana"]
SetForm = Literal["h5", "xvr"]
"""How a data set is stored."""
VoxelOrigin = Literal["center", "corner"]
"""What a volume's stated origin is of its first voxel."""

EXCLUDED: Mapping[SetName, Mapping[str, tuple[str, ...]]] = {
    "deepfluoro": {"subject01": ("003", "050"), "subject04": ("002", "004")},
    "ljubljana": {},
}
"""Views whose reference pose is known to be wrong (rg2/DeepFluoroLabeling-IPCAI2020, issue 8)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A patient or specimen.

    Attributes:
        name: `subject01` and so on.
        source: What the data set calls it.
        values_zyx: CT numbers [HU] in DeepFluoro; grey values of a 3D DSA in Ljubljana, shape
            (z, y, x), float32.
        grid: Where the voxels lie, LPS [mm].
        labels: Structures on the same grid; None: there are none.
        fiducials_xyz_mm: Landmarks in LPS [mm], by name, shape (3,) each.
    """

    name: str
    source: str
    values_zyx: NDArray[np.float32]
    grid: VolumeGrid
    labels: LabelVolume | None = None
    fiducials_xyz_mm: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def targets_xyz_mm(self) -> NDArray[np.float64]:
        """All landmarks in LPS [mm], shape (N, 3)."""
        return np.array(list(self.fiducials_xyz_mm.values())).reshape(-1, 3)


@dataclass(frozen=True, kw_only=True, eq=False)
class XrayView:
    """An X-ray image and where it was taken from; upright, as the data set says.

    Attributes:
        name: `000` and so on, or `frontal`.
        image: Intensities as stored, shape (height, width), float32.
        view: Its rays in the subject's LPS [mm], of the image's size.
        turned: Whether the stored image was turned by 180 degrees to be upright.
        excluded: Whether the reference pose is known to be wrong.
        fiducials_uv: Landmarks that were marked in the image, corner-based pixels (u, v) by name;
            they may lie outside of it.
    """

    name: str
    image: NDArray[np.float32]
    view: View
    turned: bool = False
    excluded: bool = False
    fiducials_uv: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


class PublishedSet(Protocol):
    """A data set that is open for reading, and closed at the end of a `with`.

    Attributes:
        path: Its file or folder.
        name: Which one.
        form: `h5` or `xvr`.
        voxel_origin: How volumes are placed.
    """

    path: Path
    name: SetName
    form: SetForm
    voxel_origin: VoxelOrigin

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open: nothing in a folder."""
        return

    def require(self, subject: str) -> str:
        """Return the name of a subject that is there.

        Raises:
            InputError: No such subject.
        """
        if subject not in self.subjects():
            raise InputError(
                f"{self.path}: subject must be one of {', '.join(self.subjects())}, got {subject}"
            )
        return subject

    def subjects(self) -> tuple[str, ...]:
        """Return the names of the subjects that are there."""

    def views(self, subject: str) -> tuple[str, ...]:
        """Return the names of a subject's views.

        Raises:
            InputError: No such subject.
        """

    def subject(self, name: str) -> Subject:
        """Read a subject.

        Raises:
            InputError: No such subject, or something in it is missing or damaged.
        """

    def view(self, subject: str, name: str) -> XrayView:
        """Read a view.

        Raises:
            InputError: No such view, or something in it is missing or damaged.
        """

    def check(self) -> list[str]:
        """Return what is missing or damaged in the layout, one line each."""

    def files(self) -> Mapping[str, int]:
        """Return the files that were opened and their sizes [bytes]."""


def views_of(data: PublishedSet, *, excluded: bool = False) -> Iterator[tuple[str, str]]:
    """Yield subject and view names, without those of `EXCLUDED` unless they are wanted."""
    for subject in data.subjects():
        left_out = EXCLUDED[data.name].get(subject, ())
        for view in data.views(subject):
            if excluded or view not in left_out:
                yield subject, view
