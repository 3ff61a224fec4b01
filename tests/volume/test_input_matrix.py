"""One asymmetric patient, written in many ways, gives one image; a ball lands where it should."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk

from fluoro.config import ArrayConfig, ReadOptions, VolumeConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import mu_from_hu
from fluoro.volume.load import load_volume
from fluoro.volume.open_ct import open_ct
from fluoro.volume.volumes import MuVolume
from tests import dicom_files as dicom
from tests.volume_files import nifti_bytes

ISOCENTER_MM = np.array([12.0, -34.0, 56.0])
BALL_OFFSET_MM = np.array([60.0, -30.0, 80.0])
HALF_MM = np.array([75.0, 48.0, 96.0])
SPACING_LPS_MM = (1.5, 1.2, 2.0)
DETECTOR = CarmGeometry(detector_width_px=180, detector_height_px=170, pixel_spacing_mm=2.4)
POSES = {
    "frontal": CarmPose(),
    "LAO 40 CRA 20": CarmPose(lao_deg=40, cra_deg=20, roll_deg=10),
    "RAO 90": CarmPose(lao_deg=-90),
}
BALL_POSES = {
    "frontal": CarmPose(),
    "LAO 30": CarmPose(lao_deg=30),
    "CRA 25": CarmPose(cra_deg=25),
    "LAO 45 CRA 30": CarmPose(lao_deg=45, cra_deg=30, roll_deg=10),
}
"""Those of the geometry's own ball (test_projectors.py)."""
SAME_VOXELS = 2e-4
"""Of the largest value: the same voxels in another order are sampled at other roundings."""
OTHER_VOXELS = 0.02
"""Of the largest value: an oblique grid samples the patient elsewhere."""


def patient(points):
    """CT numbers: a body with organs of different size on all sides."""
    p = points - ISOCENTER_MM
    hu = np.full(p.shape[:-1], -1000.0)
    hu += 1000 / (1 + np.exp((np.linalg.norm(p / (60, 38, 80), axis=-1) - 1) * 12))
    for center, sigma, value in (
        ((30, 5, 20), 9, 600), ((-25, -15, 45), 6, 900), ((5, 20, -50), 7, 800),
        ((-10, -18, -20), 12, -500),
    ):  # fmt: skip
        hu += value * np.exp(-((p - center) ** 2).sum(axis=-1) / (2 * sigma**2))
    return hu


def ball(points):
    """CT numbers: a ball 3 mm thick in air, its edge a voxel wide."""
    radius = np.linalg.norm(points - ISOCENTER_MM - BALL_OFFSET_MM, axis=-1)
    return -1000 + 4000 * np.clip((1.5 + 0.75 - radius) / 1.5, 0, 1)


def grid_along(axes, signs=(1, 1, 1)):
    """A grid whose index i runs along patient axis axes[i], towards signs[i]; always one box."""
    direction = np.zeros((3, 3))
    for index, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        direction[axis, index] = sign
    return _grid(direction, [SPACING_LPS_MM[axis] for axis in axes], HALF_MM[list(axes)])


def _grid(direction, spacing, half_mm):
    shape = np.round(2 * half_mm / spacing).astype(int)
    origin = ISOCENTER_MM - direction @ ((shape - 1) / 2 * spacing)
    return VolumeGrid(
        shape_zyx=tuple(shape[::-1].tolist()),
        spacing_xyz_mm=tuple(float(value) for value in spacing),
        origin_xyz_mm=tuple(origin.tolist()),
        direction=tuple(tuple(row) for row in direction.tolist()),
    )


def oblique_grid():
    """Turned by 20 degrees about two axes; its box holds all there is."""
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ [[1, 0, 0], [0, c, -s], [0, s, c]]
    return _grid(turn, SPACING_LPS_MM, np.array([96.0, 90.0, 116.0]))


def sampled(grid, hu_at):
    """Whole CT numbers at a grid's voxels, shape (z, y, x)."""
    x, y, z = grid.shape_xyz
    indices = np.stack(np.meshgrid(*map(np.arange, (z, y, x)), indexing="ij")[::-1], axis=-1)
    points = indices @ grid.world_from_index[:3, :3].T + grid.world_from_index[:3, 3]
    return np.rint(hu_at(points)).astype(np.int16)


def nifti(folder, grid, hu_zyx):
    ras = np.diag([-1, -1, 1]) @ grid.world_from_index[:3]
    raw = nifti_bytes(
        hu_zyx.astype("<i2"),
        dim=(3, *grid.shape_xyz, 1, 1, 1, 1),
        pixdim=(1, *grid.spacing_xyz_mm, 0, 0, 0, 0),
        srow=tuple(ras.ravel()),
    )
    path = folder / "ct.nii"
    path.write_bytes(raw)
    return path, ReadOptions()


def itk(name):
    def write(folder, grid, hu_zyx):
        image = sitk.GetImageFromArray(hu_zyx)
        image.SetSpacing(grid.spacing_xyz_mm)
        image.SetOrigin(grid.origin_xyz_mm)
        image.SetDirection(np.ravel(grid.direction).tolist())
        sitk.WriteImage(image, str(folder / name), True)
        return folder / name, ReadOptions()

    return write


def nrrd(space, flip):
    """A NRRD in another space, whose vectors have the signs of `flip` against LPS."""

    def write(folder, grid, hu_zyx):
        flips = np.diag(flip)
        columns = (flips @ grid.world_from_index[:3, :3]).T
        vectors = " ".join("(" + ",".join(f"{v:.9g}" for v in column) + ")" for column in columns)
        origin = ",".join(f"{v:.9g}" for v in flips @ np.asarray(grid.origin_xyz_mm))
        head = (
            f"NRRD0004\ntype: short\ndimension: 3\nspace: {space}\n"
            f"sizes: {' '.join(map(str, grid.shape_xyz))}\nspace directions: {vectors}\n"
            f"endian: big\nencoding: raw\nspace origin: ({origin})\n\n"
        )
        path = folder / "ct.nrrd"
        path.write_bytes(head.encode() + hu_zyx.astype(">i2").tobytes())
        return path, ReadOptions()

    return write


def dicom_series(folder, grid, hu_zyx):
    return dicom.series(folder / "ct", hu_zyx, grid), ReadOptions()


def dicom_file(folder, grid, hu_zyx):
    order = np.random.default_rng(1).permutation(len(hu_zyx))
    return dicom.enhanced(folder / "ct.dcm", hu_zyx, grid, order=order), ReadOptions()


def layout(grid, **more):
    return ReadOptions(
        array=ArrayConfig(
            spacing_xyz_mm=grid.spacing_xyz_mm,
            origin_xyz_mm=grid.origin_xyz_mm,
            direction=tuple(np.ravel(grid.direction).tolist()),
            **more,
        )
    )


def numpy_file(folder, grid, hu_zyx):
    np.save(folder / "ct.npy", hu_zyx.astype(np.float32))
    return folder / "ct.npy", layout(grid)


def raw_file(folder, grid, hu_zyx):
    (folder / "ct.raw").write_bytes(b"head" + hu_zyx.astype(">i2").tobytes())
    return folder / "ct.raw", layout(
        grid, shape_zyx=grid.shape_zyx, dtype="int16", byte_order="big", offset_bytes=4
    )


WAYS = {
    "NIfTI, R A S": (nifti, lambda: grid_along((0, 1, 2), (-1, -1, 1))),
    "NIfTI, axes permuted and reversed": (nifti, lambda: grid_along((2, 0, 1), (-1, 1, 1))),
    "NRRD, L P S, axes permuted": (itk("ct.nrrd"), lambda: grid_along((1, 2, 0), (1, -1, 1))),
    "NRRD, R A S": (
        nrrd("right-anterior-superior", (-1, -1, 1)), lambda: grid_along((0, 1, 2))),
    "NRRD, L A S": (
        nrrd("left-anterior-superior", (1, -1, 1)), lambda: grid_along((2, 1, 0), (1, -1, 1))),
    "MetaImage with a direction": (itk("ct.mha"), lambda: grid_along((1, 0, 2), (-1, 1, -1))),
    "DICOM, axial": (dicom_series, lambda: grid_along((0, 1, 2))),
    "DICOM, axial, feet first": (dicom_series, lambda: grid_along((0, 1, 2), (-1, 1, -1))),
    "DICOM, coronal": (dicom_series, lambda: grid_along((0, 2, 1), (1, -1, 1))),
    "DICOM, sagittal": (dicom_series, lambda: grid_along((1, 2, 0), (1, -1, -1))),
    "DICOM, multi-frame, oblique": (dicom_file, oblique_grid),
    "MetaImage, oblique": (itk("ct.mhd"), oblique_grid),
    "NumPy": (numpy_file, lambda: grid_along((2, 1, 0), (1, 1, -1))),
    "raw": (raw_file, lambda: grid_along((0, 2, 1), (-1, 1, -1))),
}  # fmt: skip


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


@pytest.fixture(scope="module")
def render_poses(device):
    """Images of a volume at some poses."""

    def render(volume, poses=POSES):
        renderer = DrrRenderer(volume, device, step_mm=0.6)
        views = [DETECTOR.view(pose, ISOCENTER_MM) for pose in poses.values()]
        return renderer.render(views)

    return render


def attenuation(hu):
    return MuVolume(mu_zyx=mu_from_hu(hu.hu_zyx, 70.0), grid=hu.grid)


@cache
def in_memory():
    """The patient on a grid along L, P and S that no file has been through."""
    grid = grid_along((0, 1, 2))
    return MuVolume(mu_zyx=mu_from_hu(sampled(grid, patient), 70.0), grid=grid)


@pytest.fixture(scope="module")
def expected(render_poses):
    return render_poses(in_memory())


def test_the_patient_looks_different_from_all_sides(expected):
    """Else the tests below could not tell a mirrored or turned reading."""
    for image in expected:
        for turned in (image[::-1], image[:, ::-1], image[::-1, ::-1]):
            assert np.abs(image - turned).max() > 0.1 * image.max()


@pytest.mark.parametrize("way", WAYS)
def test_one_patient_gives_one_image_however_it_is_written(tmp_path, render_poses, expected, way):
    write, grid_of = WAYS[way]
    grid = grid_of()
    path, options = write(tmp_path, grid, sampled(grid, patient))
    hu = open_ct(path, options).volume()
    gate = OTHER_VOXELS if "oblique" in way else SAME_VOXELS
    found = render_poses(attenuation(hu))
    for image, reference in zip(found, expected, strict=True):
        assert np.abs(image - reference).max() < gate * reference.max()
    planes = open_ct(path, options).planes
    lazily = np.stack([np.array(plane) for plane in planes.read(0, grid.shape_zyx[0])])
    np.testing.assert_array_equal(lazily, hu.hu_zyx)
    assert planes.grid == hu.grid


@pytest.mark.parametrize("way", WAYS)
def test_a_ball_lands_at_the_pixel_of_the_closed_form_however_it_is_written(
    tmp_path, render_poses, way
):
    write, grid_of = WAYS[way]
    grid = grid_of()
    path, options = write(tmp_path, grid, sampled(grid, ball))
    images = render_poses(attenuation(open_ct(path, options).volume()), BALL_POSES)
    for image, pose in zip(images, BALL_POSES.values(), strict=True):
        rows, columns = np.indices(image.shape)
        seen = np.array([(columns + 0.5) * image, (rows + 0.5) * image]).sum(axis=(1, 2))
        np.testing.assert_allclose(seen / image.sum(), closed_form_pixel(pose), atol=0.2)


def closed_form_pixel(pose):
    """Similar triangles with the vectors of DICOM's positioner angles."""
    a, b, r = np.radians([pose.lao_deg, pose.cra_deg, pose.roll_deg])
    toward_detector = np.array([np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)])
    u = np.array([np.cos(a), np.sin(a), 0.0])
    v = np.array([np.sin(a) * np.sin(b), -np.cos(a) * np.sin(b), -np.cos(b)])
    u, v = u * np.cos(r) + v * np.sin(r), -u * np.sin(r) + v * np.cos(r)
    depth = DETECTOR.source_to_isocenter_mm + BALL_OFFSET_MM @ toward_detector
    scale = DETECTOR.source_to_detector_mm / depth / DETECTOR.pixel_spacing_mm
    middle = np.array([DETECTOR.detector_width_px, DETECTOR.detector_height_px]) / 2
    return middle + scale * np.array([BALL_OFFSET_MM @ u, BALL_OFFSET_MM @ v])


def test_a_configuration_reads_what_it_names(tmp_path, monkeypatch):
    """Through the YAML's keys and the cache; another choice is another entry."""
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "cache"))
    small = VolumeGrid(shape_zyx=(4, 5, 6), spacing_xyz_mm=(1.0, 2.0, 3.0))
    hu_zyx = np.arange(120).reshape(4, 5, 6).astype(np.int16)
    dicom.series(tmp_path / "ct" / "a", hu_zyx, small)
    dicom.series(tmp_path / "ct" / "b", hu_zyx + 500, small, series=f"{dicom.SERIES}.2")
    means = [
        load_volume(VolumeConfig(path=tmp_path / "ct", series=uid)).mu_zyx.mean()
        for uid in (dicom.SERIES, f"{dicom.SERIES}.2", dicom.SERIES)
    ]
    assert means[0] == means[2] < means[1]
    array = {"spacing_xyz_mm": [1, 1, 1], "origin_xyz_mm": [0, 0, 0]}
    path = tmp_path / "ct.npy"
    np.save(path, hu_zyx)
    for direction in itertools.islice(itertools.permutations(np.eye(3).tolist()), 2):
        config = VolumeConfig(path=path, array={**array, "direction": np.ravel(direction).tolist()})
        assert load_volume(config).grid.direction == tuple(map(tuple, direction))
