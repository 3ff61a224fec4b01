"""Ljubljana's 3D/2D cerebral angiograms as published: `ljubljana.h5`.

Mitrovic et al.; layout as DiffDRR-Datasets reads it. World coordinates [mm] are taken for RAS, as
there; the stored volume runs against x. `extrinsic` leads from the world to the camera, whose z
points to the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from fluoro.datasets.published.hdf5 import Hdf5
from fluoro.datasets.published.poses import nearest_rigid
from fluoro.datasets.published.subject import SetForm, SetName, Subject, VoxelOrigin, XrayView
from fluoro.datasets.published.volumes import placed_grid
from fluoro.errors import InputError
from fluoro.geometry.converters.patient_frames import LPS_FROM_RAS
from fluoro.geometry.projection import View

__all__ = ["VIEWS", "LjubljanaFile"]

FLIP = np.array(LPS_FROM_RAS, float)
SUBJECTS = 10
VIEWS = {"frontal": "proj-ap", "lateral": "proj-lat"}
"""And their groups. The images of maximum contrast (proj-ap-max, proj-lat-max) have no pose of
their own."""
PARTS = ("pixels", "extrinsic", "intrinsic", "col-spacing", "row-spacing")
LEAST_VALUE = 1000.0
"""Smaller grey values of the 3D DSA are background and set to 0, as in DiffDRR-Datasets."""


class LjubljanaFile:
    """The HDF5 file.

    Args:
        path: The file.
        voxel_origin: "center": the stated origin is the first voxel's centre; "corner": its corner.

    Raises:
        InputError: It is missing, truncated, or has no subject.
    """

    name: SetName = "ljubljana"
    form: SetForm = "h5"

    def __init__(self, path: Path, *, voxel_origin: VoxelOrigin = "center") -> None:
        self.voxel_origin = voxel_origin
        self._file = Hdf5(path)
        if not self.subjects():
            self._file.close()
            raise InputError(f"{path}: must have a group subject01 to subject10, has none")

    def __enter__(self) -> LjubljanaFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def subjects(self) -> tuple[str, ...]:
        """Return the names of the subjects that are there."""
        names = (f"subject{n:02d}" for n in range(1, SUBJECTS + 1))
        return tuple(name for name in names if self._file.has(name))

    def views(self, subject: str) -> tuple[str, ...]:
        """Return the names of a subject's views.

        Raises:
            InputError: No such subject.
        """
        self._require(subject)
        return tuple(name for name, part in VIEWS.items() if self._file.has(f"{subject}/{part}"))

    def subject(self, name: str) -> Subject:
        """Read volume and markers of a subject.

        Raises:
            InputError: No such subject, or something in it is missing or damaged.
        """
        self._require(name)
        file = self._file
        stored = file.array(f"{name}/volume/pixels", (None, None, None)).astype(np.float32)
        values = np.ascontiguousarray(stored[::-1].transpose(2, 1, 0))
        values[values < LEAST_VALUE] = 0
        grid = placed_grid(
            f"{file.path}: {name}/volume",
            values.shape,
            file.numbers(f"{name}/volume/spacing", 3),
            FLIP[:3, :3] @ file.numbers(f"{name}/volume/origin", 3),
            FLIP[:3, :3],
            self.voxel_origin,
        )
        points = file.array(f"{name}/points", (None, 3)).astype(float) @ FLIP[:3, :3]
        return Subject(
            name=name,
            source=f"{file.path.name}: {name}",
            values_zyx=values,
            grid=grid,
            fiducials_xyz_mm={f"point-{n:02d}": point for n, point in enumerate(points)},
        )

    def view(self, subject: str, name: str) -> XrayView:
        """Read a view.

        Raises:
            InputError: No such view, or something in it is missing or damaged.
        """
        there = self.views(subject)
        if name not in there:
            raise InputError(
                f"{self._file.path}: view must be one of {', '.join(there)}, got {name}"
            )
        file, at = self._file, f"{subject}/{VIEWS[name]}"
        image = file.array(f"{at}/pixels", (None, None)).astype(np.float32)
        intrinsic = file.numbers(f"{at}/intrinsic", 9).reshape(3, 3)
        what = f"{file.path}: {at}/extrinsic"
        extrinsic = nearest_rigid(file.numbers(f"{at}/extrinsic", 16).reshape(4, 4), what)
        height, width = image.shape
        view = View.from_camera(
            intrinsic,
            extrinsic @ FLIP,
            width,
            height,
            pixel_centers="integer",
            source_to_detector_mm=abs(float(intrinsic[0, 0])) * file.number(f"{at}/col-spacing"),
        )
        return XrayView(name=name, image=image, view=view)

    def check(self) -> list[str]:
        """Return what is missing or damaged in the layout, one line each."""
        found = []
        for n in range(1, SUBJECTS + 1):
            name = f"subject{n:02d}"
            if not self._file.has(name):
                found.append(f"{name} is missing")
                continue
            wanted = [f"{name}/volume/{part}" for part in ("pixels", "spacing", "origin")]
            wanted += [f"{name}/points"]
            wanted += [f"{name}/{view}/{part}" for view in VIEWS.values() for part in PARTS]
            found += [f"{each} is missing" for each in wanted if not self._file.has(each)]
        return found

    def files(self) -> Mapping[str, int]:
        """Return the file's name and size [bytes]."""
        return {self._file.path.name: self._file.path.stat().st_size}

    def _require(self, subject: str) -> None:
        if subject not in self.subjects():
            raise InputError(
                f"{self._file.path}: subject must be one of {', '.join(self.subjects())}, "
                f"got {subject}"
            )
