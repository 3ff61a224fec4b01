"""Volumes and views of xvr-data (NIfTI, DICOM, .pt) in the simulator's frame.

The simulator's frame has its origin in the middle of the volume and its axes along the voxels'.
Its camera turns without mirroring, so it must be left-handed beside RAS: where the stored volume is
not, the y index is reversed. Poses, offsets and what is excluded: `fluoro.datasets.published.xvr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.datasets.published.poses import nearest_rigid
from fluoro.datasets.published.preprocess import CROP_PX, cropped
from fluoro.datasets.published.subject import EXCLUDED, SetName, VoxelOrigin
from fluoro.datasets.published.xvr import (
    DEFAULT_ORIGIN,
    read_stored_image,
    read_tensors,
    stored_detector_view,
)
from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.volume.open_ct import open_ct
from fluoro.xray_simulator.config import CarmGeometry
from fluoro.xray_simulator.geometry import Vector3, matrix_to_euler_zxy
from fluoro.xray_simulator.pose import Pose

__all__ = [
    "EXCLUDED_VIEWS",
    "POSE_VOXEL_ORIGIN",
    "XVR_CODE_REVISION",
    "XVR_DATA_REVISION",
    "XvrCamera",
    "XvrView",
    "XvrVolumeFrame",
    "adapt_xvr_camera",
    "load_xvr_view",
    "load_xvr_volume",
]

Matrix = NDArray[np.float64]

XVR_DATA_REVISION = "a17273e3eadbd793bd861f3598a80ce4590c1124"
XVR_CODE_REVISION = "caa55cc8096294cf70a218126bf16008dee0dec7"
EXCLUDED_VIEWS = frozenset(
    (subject, view)
    for subjects in EXCLUDED.values()
    for subject, views in subjects.items()
    for view in views
)
"""Views of DeepFluoro whose poses are known to be wrong."""
POSE_VOXEL_ORIGIN: Mapping[SetName, VoxelOrigin] = DEFAULT_ORIGIN
LPS_OF_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class XvrVolumeFrame:
    """Where the voxels of a NIfTI lie, and the simulator's frame.

    Attributes:
        shape_xyz: Voxels along the stored x, y and z index.
        affine_ras: Index to RAS [mm], shape (4, 4).
        spacing_xyz_mm: Distances of voxels [mm].
        flip_y: Whether the y index is reversed.
        simulator_to_centered_ras: Columns are the simulator's axes in RAS, shape (3, 3).
    """

    shape_xyz: tuple[int, int, int]
    affine_ras: Matrix
    spacing_xyz_mm: Vector3
    flip_y: bool
    simulator_to_centered_ras: Matrix

    @classmethod
    def from_affine(cls, shape_xyz: tuple[int, int, int], affine: ArrayLike) -> XvrVolumeFrame:
        """Return the frame of a volume.

        Raises:
            InputError: Axes that are not at right angles; also a ValueError.
        """
        matrix = np.asarray(affine, float)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        axes = matrix[:3, :3] / spacing
        if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):
            raise InputError("Sheared axes: those of the affine must be at right angles")
        flip_y = bool(np.linalg.det(axes) > 0)
        if flip_y:
            axes = axes * np.array([1.0, -1.0, 1.0])
        x, y, z = spacing.tolist()
        return cls(shape_xyz, matrix, (x, y, z), flip_y, axes)

    @property
    def spacing_zyx_mm(self) -> Vector3:
        """Distances of voxels along z, y and x [mm]."""
        x, y, z = self.spacing_xyz_mm
        return z, y, x

    @property
    def origin_xyz_mm(self) -> Vector3:
        """Centre of the first voxel in the simulator's frame [mm]."""
        counts = np.array(self.shape_xyz)
        x, y, z = (-(counts - 1) / 2 * self.spacing_xyz_mm).tolist()
        return x, y, z

    @property
    def center_ras_mm(self) -> Matrix:
        """Middle of the volume in RAS [mm], shape (3,)."""
        middle = (np.array(self.shape_xyz) - 1) / 2
        return np.asarray(self.affine_ras[:3, :3] @ middle + self.affine_ras[:3, 3])

    def prepare_array(self, values_xyz: ArrayLike) -> NDArray[Any]:
        """Return stored values, shape (x, y, z), as the simulator has them, shape (z, y, x)."""
        values = np.asarray(values_xyz)
        return np.ascontiguousarray((values[:, ::-1] if self.flip_y else values).T)

    def points_to_simulator(self, points_ras: ArrayLike, centered: bool = True) -> Matrix:
        """Return points of RAS [mm] in the simulator's frame, shape (..., 3).

        Args:
            points_ras: Shape (..., 3).
            centered: Whether they count from the volume's middle.
        """
        points = np.asarray(points_ras, float)
        points = points if centered else points - self.center_ras_mm
        return np.asarray(points @ self.simulator_to_centered_ras)


@dataclass(frozen=True, eq=False)
class XvrCamera:
    """A view of the data set as the simulator's geometry and pose.

    Attributes:
        geometry: Lengths and detector; the isocentre is put half way to the detector.
        pose: Where the C-arm stands.
        centered_ras_view: The same rays in RAS about the volume's middle [mm].
    """

    geometry: CarmGeometry
    pose: Pose
    centered_ras_view: View

    def project(self, points_ras: ArrayLike) -> Matrix:
        """Return column and row of points of centred RAS [mm], centres at integers, (..., 2)."""
        return self.centered_ras_view.project(points_ras, "integer")

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"geometry": asdict(self.geometry), "pose": self.pose.to_dict()}


def adapt_xvr_camera(
    pose: ArrayLike,
    intrinsics: Mapping[str, Any],
    frame: XvrVolumeFrame,
    binning: int = 1,
    pose_voxel_origin: str = "center",
) -> XvrCamera:
    """Return a stored pose and detector as the simulator's.

    Args:
        pose: Camera to RAS about the volume's middle, shape (4, 4) or (1, 4, 4) [mm].
        intrinsics: sdd, delx, dely, x0, y0 [mm], height, width.
        frame: Of the volume.
        binning: Pixels that become one, along rows and columns.
        pose_voxel_origin: What the affine's offset is of the first voxel to the poses: its "center"
            or its "corner".

    Raises:
        InputError: Numbers that no camera has, or a binning that does not divide the detector; also
            a ValueError.
    """
    if pose_voxel_origin not in ("center", "corner"):
        raise InputError(f"pose_voxel_origin must be center or corner, got {pose_voxel_origin!r}")
    rigid = nearest_rigid(np.asarray(pose, float).reshape(4, 4), "pose")
    if np.linalg.det(rigid[:3, :3]) < 0:
        raise InputError("pose must be a proper rigid motion, got a mirrored one")
    given = _detector(intrinsics, binning)
    view = stored_detector_view(rigid, _half_a_pixel_less(given))
    half = np.full(3, 0.5 if pose_voxel_origin == "corner" else 0.0)
    source = frame.points_to_simulator(view.source_xyz_mm - frame.affine_ras[:3, :3] @ half)
    columns, rows = (
        frame.points_to_simulator(step / np.linalg.norm(step))
        for step in (view.column_step_xyz_mm, view.row_step_xyz_mm)
    )
    turn = np.column_stack([columns, rows, np.cross(columns, rows)])
    geometry = CarmGeometry(
        source_to_detector_mm=given.sdd,
        source_to_isocenter_mm=given.sdd / 2,
        detector_width_px=given.width,
        detector_height_px=given.height,
        pixel_spacing_mm=given.delx,
        pixel_spacing_y_mm=given.dely,
        principal_point_px=(
            (given.width - 1) / 2 + given.x0 / given.delx,
            (given.height - 1) / 2 + given.y0 / given.dely,
        ),
    )
    x, y, z = (source + geometry.source_to_isocenter_mm * turn[:, 2]).tolist()
    return XvrCamera(geometry, Pose(matrix_to_euler_zxy(turn), (x, y, z)), view)


def _half_a_pixel_less(given: Any) -> Any:
    """The detector with offsets from the middle of the pixels, (W - 1) / 2.

    So xray_simulator reads them; `stored_detector_view` counts from W / 2, as DeepFluoro's own file
    does. They differ by half a stored pixel.
    """
    less = {"x0": given.x0 - given.delx / 2, "y0": given.y0 - given.dely / 2}
    return SimpleNamespace(**(vars(given) | less))


def _detector(intrinsics: Mapping[str, Any], binning: Any) -> Any:
    """The intrinsics of binned pixels, checked."""
    if isinstance(binning, bool) or not isinstance(binning, int) or binning < 1:
        raise InputError(f"binning must be a whole number of at least 1, got {binning!r}")
    counts = {}
    for name in ("height", "width"):
        value = intrinsics[name]
        if isinstance(value, bool) or value != int(value) or value % binning:
            raise InputError(
                f"{name} must be a whole number that binning {binning} divides, got {value!r}"
            )
        counts[name] = int(value) // binning
    lengths = {name: float(intrinsics[name]) for name in ("sdd", "delx", "dely", "x0", "y0")}
    wrong = [n for n, mm in lengths.items() if not np.isfinite(mm) or (mm <= 0 and n[0] in "sd")]
    if wrong:
        raise InputError(f"{wrong[0]} must be a finite length, got {intrinsics[wrong[0]]!r}")
    lengths |= {name: lengths[name] * binning for name in ("delx", "dely")}
    return SimpleNamespace(**counts, **lengths)


@dataclass(frozen=True, eq=False)
class XvrView:
    """A stored view: an X-ray image, its pose and its detector."""

    dataset: SetName
    subject: str
    view: str
    reference_path: Path
    calibration_path: Path
    pose: Matrix
    intrinsics: Mapping[str, Any]

    def camera(self, frame: XvrVolumeFrame, binning: int = 1) -> XvrCamera:
        """Return the view as the simulator's, by its data set's voxel origin."""
        origin = POSE_VOXEL_ORIGIN[self.dataset]
        return adapt_xvr_camera(self.pose, self.intrinsics, frame, binning, origin)

    def prepare_reference(self, stored: ArrayLike, binning: int = 1) -> NDArray[np.float64]:
        """Return an image without DeepFluoro's border, as means of blocks of pixels.

        Raises:
            InputError: Another shape than the detector's; also a ValueError.
        """
        values = np.asarray(stored, float)
        if self.dataset == "deepfluoro":
            values = cropped(values, CROP_PX)  # type: ignore[arg-type,assignment,unused-ignore]
        detector = _detector(self.intrinsics, binning)
        wanted = (detector.height * binning, detector.width * binning)
        if values.shape != wanted:
            raise InputError(f"the image must have the shape {wanted}, got {values.shape}")
        blocks = values.reshape(detector.height, binning, detector.width, binning)
        return np.asarray(blocks.mean(axis=(1, 3)))

    def load_reference(self, binning: int = 1) -> NDArray[np.float64]:
        """Return the stored image, prepared.

        Raises:
            InputError: A file that cannot be read, or of another shape.
        """
        return self.prepare_reference(read_stored_image(self.reference_path), binning)


def load_xvr_volume(path: str | Path) -> tuple[NDArray[np.float32], XvrVolumeFrame]:
    """Read a subject's volume: values of the simulator's axes, shape (z, y, x), and its frame.

    Raises:
        InputError: A file that cannot be read.
    """
    ct = open_ct(Path(path))
    shape_xyz = ct.grid.shape_xyz
    frame = XvrVolumeFrame.from_affine(shape_xyz, LPS_OF_RAS @ ct.grid.world_from_index)
    return frame.prepare_array(ct.array().T).astype(np.float32), frame


def load_xvr_view(
    subject_dir: str | Path,
    view: str,
    dataset: SetName = "deepfluoro",
    include_excluded: bool = False,
) -> XvrView:
    """Read a view's pose and detector.

    Args:
        subject_dir: Folder of the subject.
        view: Name of the view, such as "000" or "frontal".
        dataset: Which data set.
        include_excluded: Whether a view whose pose is known to be wrong is wanted.

    Raises:
        InputError: No such view, or one that is excluded; also a ValueError.
    """
    folder = Path(subject_dir)
    if Path(view).name != view or view in ("", ".", ".."):
        raise InputError(f"view must be a file's stem, got {view!r}")
    if not include_excluded and view in EXCLUDED[dataset].get(folder.name, ()):
        raise InputError(f"{folder.name}, view {view} is excluded: its pose is known to be wrong")
    path = folder / "xrays" / f"{view}.pt"
    stored = read_tensors(path)
    if not isinstance(stored, dict) or not {"pose", "intrinsics"} <= stored.keys():
        raise InputError(f"{path}: must hold a dict with pose and intrinsics")
    return XvrView(
        dataset=dataset,
        subject=folder.name,
        view=view,
        reference_path=path.with_suffix(".dcm"),
        calibration_path=path,
        pose=np.asarray(stored["pose"], float).reshape(4, 4),
        intrinsics=dict(stored["intrinsics"]),
    )
