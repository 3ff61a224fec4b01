"""Small files of the layouts of DeepFluoro, Ljubljana and xvr-data, with a phantom in them.

Stored poses and landmarks follow the data sets' own rules, in plain NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from fluoro.datasets.published.deepfluoro import SPECIMENS
from fluoro.datasets.published.volumes import DEEPFLUORO_CURVE, LJUBLJANA_MU_PER_VALUE
from fluoro.datasets.published.xvr import LABELS
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.phantom.thorax import make_thorax
from fluoro.volume.volumes import HuVolume, MuVolume

SDD_MM, SOURCE_TO_ISOCENTER_MM, FIELD_MM = 1020.0, 700.0, 298.0
EXTRINSIC = np.array([
    [0.0014173903, 5.773302e-6, 0.9999991, -157.58221],
    [-0.99999076, -0.004075836, 0.0014174007, -2.6757495],
    [0.0040758415, -0.99999183, 0.0, -631.7765],
    [0.0, 0.0, 0.0, 1.0],
])  # fmt: skip
"""World to camera as published."""
SPACING_MM = 5.0
AP_TURN = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Scene:
    """A phantom with labels and landmarks, LPS [mm]."""

    hu: HuVolume
    labels: np.ndarray
    points: dict[str, np.ndarray]

    @property
    def center(self):
        return self.hu.grid.center_xyz_mm


@cache
def scene() -> Scene:
    hu = make_thorax(SPACING_MM)
    z = np.indices(hu.grid.shape_zyx)[0]
    labels = np.where(hu.hu_zyx > 250, 1 + z * 7 // hu.grid.shape_zyx[0], 0).astype(np.uint8)
    random = np.random.default_rng(1)
    names = [f"{part}-{side}" for part in ("FH", "GSN", "IOF", "MOF", "SPS", "IPS", "ASIS")
             for side in "lr"]  # fmt: skip
    places = hu.grid.center_xyz_mm + random.uniform(-70, 70, (14, 3))
    return Scene(hu, labels, dict(zip(names, places, strict=True)))


def poses(count: int) -> list[CarmPose]:
    random = np.random.default_rng(2)
    return [
        CarmPose(
            lao_deg=float(random.uniform(-40, 40)),
            cra_deg=float(random.uniform(-20, 20)),
            roll_deg=float(random.uniform(-10, 10)),
            translation_mm=tuple(random.uniform(-15, 15, 3)),
        )
        for _ in range(count)
    ]


def carm(size_px: int) -> CarmGeometry:
    return CarmGeometry(
        source_to_detector_mm=SDD_MM,
        source_to_isocenter_mm=SOURCE_TO_ISOCENTER_MM,
        detector_width_px=size_px,
        detector_height_px=size_px,
        pixel_spacing_mm=FIELD_MM / size_px,
    )


def camera(view) -> np.ndarray:
    """Camera from LPS, +z to the source, +x along the columns, +y along the rows: shape (4, 4)."""
    x, y = (step / np.linalg.norm(step) for step in (view.column_step_xyz_mm, view.row_step_xyz_mm))
    found = np.eye(4)
    found[:3, :3] = [x, y, np.cross(x, y)]
    found[:3, 3] = -found[:3, :3] @ view.source_xyz_mm
    return found


def intrinsic(size_px: int, offset_px=(0.0, 0.0)) -> np.ndarray:
    focal = -SDD_MM / (FIELD_MM / size_px)
    middle = (size_px - 1) / 2
    return np.array([
        [focal, 0, middle + offset_px[0]], [0, focal, middle + offset_px[1]], [0, 0, 1]
    ])  # fmt: skip


def pixels(k: np.ndarray, camera_from_world: np.ndarray, point: np.ndarray) -> np.ndarray:
    """(column, row) with centres at integers."""
    u, v, w = k @ (camera_from_world @ [*point, 1.0])[:3]
    return np.array([u / w, v / w])


@cache
def _line_integrals(kind: str, size_px: int, count: int) -> list[np.ndarray]:
    volume = MuVolume(mu_zyx=attenuation(kind), grid=scene().hu.grid)
    renderer = DrrRenderer(volume, CpuDevice(workers=2), projector="joseph")
    views = [carm(size_px).view(pose, scene().center) for pose in poses(count)]
    return [np.asarray(renderer.render(view)) for view in views]


def attenuation(kind: str) -> np.ndarray:
    if kind == "ljubljana":
        return (dsa_values() * LJUBLJANA_MU_PER_VALUE).astype(np.float32)
    mu = scene().hu.hu_zyx.astype(np.float32)
    DEEPFLUORO_CURVE.replace_hu(mu)
    return mu


def dsa_values() -> np.ndarray:
    hu = scene().hu.hu_zyx.astype(np.float32)
    return np.where(hu > 250, 2000 + 2 * hu, 0).astype(np.float32)


def intensities(kind: str, size_px: int, count: int) -> list[np.ndarray]:
    scale = 65487.0 if kind == "deepfluoro" else 1.0
    return [
        (scale * np.exp(-each)).astype(np.float32) for each in _line_integrals(kind, size_px, count)
    ]


def turned(n: int) -> bool:
    return n % 2 == 1


def write_deepfluoro(
    path: Path, *, size_px=356, views=2, subjects=1, render=True, spacing_mm=None
) -> Path:
    """The HDF5 file; every second image is stored upside down, without `render` it is noise."""
    with h5py.File(path, "w") as file:
        params = file.create_group("proj-params")
        params["extrinsic"] = EXTRINSIC.astype(np.float32)
        params["intrinsic"] = intrinsic(size_px).astype(np.float32)
        params["num-cols"], params["num-rows"] = size_px, size_px
        params["pixel-col-spacing"] = params["pixel-row-spacing"] = FIELD_MM / size_px
        for specimen in SPECIMENS[:subjects]:
            group = file.create_group(specimen)
            _write_specimen(group, spacing_mm)
            for n in range(views):
                _write_view(group.create_group(f"projections/{n:03d}"), n, size_px, views, render)
    return path


def _write_specimen(group, spacing_mm) -> None:
    grid = scene().hu.grid
    spacing = [spacing_mm] * 3 if spacing_mm else grid.spacing_xyz_mm
    for name, values in (("vol", scene().hu.hu_zyx.astype(np.float32)),
                         ("vol-seg/image", scene().labels)):  # fmt: skip
        group[f"{name}/pixels"] = values
        group[f"{name}/origin"] = np.reshape(grid.origin_xyz_mm, (3, 1))
        group[f"{name}/spacing"] = np.reshape(spacing, (3, 1))
        group[f"{name}/dir-mat"] = np.eye(3)
    for number, name in LABELS.items():
        group[f"vol-seg/labels-def/{number}"] = name.encode()
    for name, point in scene().points.items():
        group[f"vol-landmarks/{name}"] = point.reshape(3, 1).astype(np.float32)


def _write_view(group, n: int, size_px: int, count: int, render: bool) -> None:
    view = carm(size_px).view(poses(count)[n], scene().center)
    noise = np.random.default_rng(n).uniform(100, 65000, (size_px, size_px)).astype(np.float32)
    image = intensities("deepfluoro", size_px, count)[n] if render else noise
    stored = view.half_turned() if turned(n) else view
    group["image/pixels"] = image[::-1, ::-1] if turned(n) else image
    pose = np.linalg.inv(camera(stored)) @ EXTRINSIC  # extrinsic inv(pose) is the camera
    group["gt-poses/cam-to-pelvis-vol"] = pose.astype(np.float32)
    group["rot-180-for-up"] = np.uint8(turned(n))
    for name, point in scene().points.items():
        camera_from_lps = EXTRINSIC @ np.linalg.inv(pose)
        group[f"gt-landmarks/{name}"] = pixels(intrinsic(size_px), camera_from_lps, point)


def write_ljubljana(path: Path, *, size_px=128, subjects=1, offset_px=(0.0, 0.0)) -> Path:
    """The HDF5 file, frontal and lateral; its world is RAS, its volume runs against x."""
    grid, values = scene().hu.grid, dsa_values()
    # in RAS the voxels run against x and y: turn y, so that only x runs against
    stored = values[:, ::-1].transpose(2, 1, 0)
    first = grid.world_from_index @ [grid.shape_xyz[0] - 1, grid.shape_xyz[1] - 1, 0, 1]
    with h5py.File(path, "w") as file:
        for s in range(subjects):
            group = file.create_group(f"subject{s + 1:02d}")
            group["volume/pixels"] = stored
            group["volume/spacing"] = grid.spacing_xyz_mm
            group["volume/origin"] = (FLIP @ first)[:3]
            points = np.array(list(scene().points.values())) * [-1, -1, 1]
            group["points"] = points.astype(np.float32)
            for n, name in enumerate(("proj-ap", "proj-lat")):
                view = shifted(carm(size_px).view(poses(2)[n], scene().center), offset_px)
                group[f"{name}/pixels"] = ljubljana_image(view)
                group[f"{name}/extrinsic"] = (camera(view) @ FLIP).astype(np.float32)
                group[f"{name}/intrinsic"] = intrinsic(size_px, offset_px).astype(np.float32)
                group[f"{name}/col-spacing"] = group[f"{name}/row-spacing"] = FIELD_MM / size_px
    return path


def shifted(view, offset_px):
    """The view whose principal point lies further along columns and rows."""
    from dataclasses import replace

    shift = offset_px[0] * view.column_step_xyz_mm + offset_px[1] * view.row_step_xyz_mm
    return replace(view, corner_xyz_mm=view.corner_xyz_mm - shift)


def ljubljana_image(view) -> np.ndarray:
    volume = MuVolume(mu_zyx=attenuation("ljubljana"), grid=scene().hu.grid)
    renderer = DrrRenderer(volume, CpuDevice(workers=2), projector="joseph")
    return np.exp(-np.asarray(renderer.render(view))).astype(np.float32)


def write_xvr(folder: Path, name: str, *, size_px=356, views=2, offset_px=(0.0, 0.0)) -> Path:
    """The folder of a data set with one subject."""
    torch = pytest.importorskip("torch")  # imported late: it takes seconds

    kind = scene()
    subject = folder / name / "subject01"
    (subject / "xrays").mkdir(parents=True)
    deepfluoro = name == "deepfluoro"
    values = kind.hu.hu_zyx.astype(np.float32) if deepfluoro else dsa_values()
    write_nifti(subject / "volume.nii.gz", values)
    if deepfluoro:
        write_nifti(subject / "mask.nii.gz", kind.labels)
    points = (np.array(list(kind.points.values())) - kind.center) * [-1, -1, 1]
    torch.save(torch.from_numpy(points[None]).float(), subject / "fiducials.pt")
    names = [f"{n:03d}" for n in range(views)] if deepfluoro else ["frontal", "lateral"]
    crop = 50 if deepfluoro else 0
    for n, view_name in enumerate(names):
        view = shifted(carm(size_px).view(poses(len(names))[n], kind.center), offset_px)
        image = (
            intensities("deepfluoro", size_px, views)[n] if deepfluoro else ljubljana_image(view)
        )
        write_dicom(subject / "xrays" / f"{view_name}.dcm", image / image.max() * 65535)
        torch.save(stored_view(view, size_px, crop, offset_px), subject / f"xrays/{view_name}.pt")
    return folder


def stored_view(view, size_px: int, crop: int, offset_px) -> dict:
    """VIEW.pt: P = (camera axes) inv(A) in RAS about the volume's centre."""
    torch = pytest.importorskip("torch")

    x, y = (step / np.linalg.norm(step) for step in (view.column_step_xyz_mm, view.row_step_xyz_mm))
    axes = FLIP[:3, :3] @ np.column_stack([x, -y, -np.cross(x, y)])  # z to the detector
    pose = np.eye(4)
    pose[:3, :3] = axes @ AP_TURN.T
    pose[:3, 3] = FLIP[:3, :3] @ (view.source_xyz_mm - scene().center)
    pitch, size = FIELD_MM / size_px, size_px - 2 * crop
    x0, y0 = (pitch * ((size - 1) / 2 + offset - size / 2) for offset in offset_px)
    detector = {"sdd": SDD_MM, "delx": pitch, "dely": pitch, "x0": x0, "y0": y0,
                "height": size, "width": size}  # fmt: skip
    return {"pose": torch.from_numpy(pose[None]).float(), "intrinsics": detector}


def write_nifti(path: Path, values: np.ndarray) -> None:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(scene().hu.grid.spacing_xyz_mm)
    image.SetOrigin(scene().hu.grid.origin_xyz_mm)
    sitk.WriteImage(image, str(path))


def write_dicom(path: Path, image: np.ndarray) -> None:
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.12.2"
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
    data.Modality = "RF"
    data.Rows, data.Columns = image.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = np.rint(image).astype("<u2").tobytes()
    data.save_as(path, enforce_file_format=True)
