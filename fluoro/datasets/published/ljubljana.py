"""Ljubljana's 3D/2D cerebral angiograms as published: `ljubljana.h5`.

Mitrovic et al.; layout as DiffDRR-Datasets reads it. World coordinates [mm] are taken for RAS, as
there; the stored volume runs against x. `extrinsic` leads from the world to the camera, whose z
points to the source.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fluoro.datasets.published.hdf5 import Hdf5Set
from fluoro.datasets.published.poses import nearest_rigid
from fluoro.datasets.published.subject import SetName, Subject, VoxelOrigin, XrayView
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


class LjubljanaFile(Hdf5Set):
    """The HDF5 file.

    Args:
        path: The file.
        voxel_origin: "center": the stated origin is the first voxel's centre; "corner": its corner.

    Raises:
        InputError: It is missing, truncated, or has no subject.
    """

    name: SetName = "ljubljana"

    def __init__(self, path: Path, *, voxel_origin: VoxelOrigin = "center") -> None:
        super().__init__(path, voxel_origin)
        if not self.subjects():
            self.close()
            raise InputError(f"{path}: must have a group subject01 to subject10, has none")

    def subjects(self) -> tuple[str, ...]:
        """Return the names of the subjects that are there."""
        names = (f"subject{n:02d}" for n in range(1, SUBJECTS + 1))
        return tuple(name for name in names if self._file.has(name))

    def views(self, subject: str) -> tuple[str, ...]:
        """Return the names of a subject's views.

        Raises:
            InputError: No such subject.
        """
        self.require(subject)
        return tuple(name for name, part in VIEWS.items() if self._file.has(f"{subject}/{part}"))

    def subject(self, name: str) -> Subject:
        """Read volume and markers of a subject.

        Raises:
            InputError: No such subject, or something in it is missing or damaged.
        """
        self.require(name)
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
