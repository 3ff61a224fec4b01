"""The fast projectors against the exact integral and against their float64 references."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import project_points
from fluoro.rendering import reference
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.packing import x_never_leads
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume
from tests import volumes

VOLUMES = {
    "constant": volumes.constant(),
    "linear": volumes.linear(),
    "gaussian": volumes.gaussian(),
    "sphere": volumes.sphere(),
    "noise": volumes.noise(),
}

FLOAT32 = 1e-5
"""Of the image's maximum: single precision over a few hundred additions."""

pose_names = pytest.mark.parametrize("pose", list(volumes.POSES))


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


def reference_image(projector, volume, view):
    step_mm = min(volume.grid.spacing_xyz_mm) / 2
    return PROJECTORS[projector].reference(volume, view, step_mm)


def errors(image, exact):
    """Root mean square and largest deviation, relative to the largest value."""
    off = np.abs(image - exact) / exact.max()
    return float(np.sqrt(np.mean(off**2))), float(off.max())


@pose_names
@pytest.mark.parametrize("name", list(VOLUMES))
@pytest.mark.parametrize("projector", PROJECTORS)
def test_kernel_agrees_with_its_float64_reference(device, projector, name, pose):
    view = volumes.view(volumes.POSES[pose])
    if (projector, pose) == ("siddon", "lateral"):
        # at exactly 90 degrees a row of rays runs along voxel faces, where either side is right
        view = volumes.view(CarmPose(lao_deg=89.7, cra_deg=0.3))
    volume = VOLUMES[name]
    image = DrrRenderer(volume, device, projector=projector).render(view)
    expected = reference_image(projector, volume, view)
    off = np.abs(image - expected) / expected.max()
    if PROJECTORS[projector].steps:
        # a path of almost a whole number of steps may round to one more in single precision: then
        # the samples lie elsewhere, which only the field's curvature shows
        assert np.quantile(off, 0.99) < FLOAT32
        assert off.max() < 1e-3
    else:
        assert off.max() < FLOAT32


@pose_names
@pytest.mark.parametrize("projector", PROJECTORS)
def test_constant_field_integrates_to_the_path_length(device, projector, pose):
    view = volumes.view(volumes.POSES[pose])
    image = DrrRenderer(VOLUMES["constant"], device, projector=projector).render(view)
    lengths = reference.clip_rays(view, volumes.GRID).length_mm.reshape(image.shape)
    assert np.abs(image - 0.02 * lengths).max() < FLOAT32 * 0.02 * lengths.max()


@pose_names
def test_march_integrates_a_linear_field_exactly(device, pose):
    view = volumes.view(volumes.POSES[pose])
    image = DrrRenderer(VOLUMES["linear"], device, projector="march").render(view)
    assert errors(image, reference.exact_integrals(VOLUMES["linear"], view))[1] < FLOAT32


@pose_names
@pytest.mark.parametrize("name", ["gaussian", "sphere"])
def test_march_at_half_a_voxel_is_within_its_gate(device, name, pose):
    view = volumes.view(volumes.POSES[pose])
    image = DrrRenderer(VOLUMES[name], device, projector="march").render(view)
    rmse, _ = errors(image, reference.exact_integrals(VOLUMES[name], view))
    assert rmse < 2e-4


@pose_names
@pytest.mark.parametrize("name", ["constant", "linear", "gaussian", "sphere"])
def test_weights_of_eight_bits_keep_the_gates_of_march(name, pose):
    # what NVIDIA's texture units do, in float64; test_textures.py has the kernel
    volume, view = VOLUMES[name], volumes.view(volumes.POSES[pose])
    step_mm = min(volume.grid.spacing_xyz_mm) / 2
    image = reference.march_reference(volume, view, step_mm, weight_bits=8)
    rmse, worst = errors(image, reference.exact_integrals(volume, view))
    assert rmse < 2e-4
    assert worst < FLOAT32 or name in ("gaussian", "sphere")


def test_smaller_steps_come_closer_to_the_exact_integral(device):
    view = volumes.view(volumes.POSES["LAO 37 CRA 21"])
    exact = reference.exact_integrals(VOLUMES["sphere"], view)
    rmse = [
        errors(DrrRenderer(VOLUMES["sphere"], device, step_mm=step).render(view), exact)[0]
        for step in (2.0, 1.0, 0.25)
    ]
    assert rmse[0] > 2 * rmse[1] > 4 * rmse[2]


def test_exact_reference_agrees_with_brute_force():
    view = volumes.view(volumes.POSES["LAO 37 CRA 21"])
    fine = reference.march_reference(VOLUMES["gaussian"], view, 0.02)
    assert errors(fine, reference.exact_integrals(VOLUMES["gaussian"], view))[1] < 1e-6


def test_gaussian_blob_has_its_closed_form(device):
    grid = VolumeGrid(shape_zyx=(81, 81, 81), spacing_xyz_mm=(1.0, 1.0, 1.0))
    blob = volumes.volume_of(
        lambda x, y, z: np.exp(-((x - 40) ** 2 + (y - 40) ** 2 + (z - 40) ** 2) / 72), grid
    )
    view = volumes.view(CarmPose(lao_deg=25, cra_deg=10), grid)
    image = DrrRenderer(blob, device).render(view)
    direction = view.pixel_centers_xyz_mm() - view.source_xyz_mm
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    distance = np.linalg.norm(np.cross(grid.center_xyz_mm - view.source_xyz_mm, direction), axis=-1)
    closed = np.sqrt(2 * np.pi) * 6 * np.exp(-(distance**2) / 72)
    assert np.abs(image - closed).max() < 0.01 * closed.max()


@pytest.mark.parametrize("lao_deg", [0, 20, 50, 70, 90, 130, 180])
def test_joseph_is_the_same_whichever_kernel_renders_it(device, lao_deg):
    view = volumes.view(CarmPose(lao_deg=lao_deg, cra_deg=3))
    renderer = DrrRenderer(VOLUMES["noise"], device, projector="joseph")
    image = renderer.render(view)
    assert errors(image, reference.joseph_reference(VOLUMES["noise"], view))[1] < FLOAT32
    leads = np.abs((view.pixel_centers_xyz_mm() - view.source_xyz_mm) / (1.3, 0.9, 1.1))
    x_leads_somewhere = bool((leads.argmax(axis=-1) == 0).any())
    if x_never_leads(view, volumes.GRID):
        assert not x_leads_somewhere
    elif lao_deg in (0, 20, 180):
        pytest.fail("the fast kernel is left unused")


def block(shape_zyx=(20, 20, 20), value=0.01, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)):
    grid = VolumeGrid(shape_zyx=shape_zyx, spacing_xyz_mm=spacing, origin_xyz_mm=origin)
    return MuVolume(mu_zyx=np.full(shape_zyx, value, np.float32), grid=grid)


@pytest.mark.parametrize("projector", PROJECTORS)
def test_ray_through_a_voxel_row_integrates_to_its_length(device, projector):
    volume = block((1, 30, 1), 0.01)
    detector = CarmGeometry(detector_width_px=1, detector_height_px=1, pixel_spacing_mm=0.1)
    view = volumes.view(CarmPose(), volume.grid, detector)
    image = DrrRenderer(volume, device, projector=projector).render(view)
    assert image[0, 0] == pytest.approx(0.3, rel=1e-5)


@pytest.mark.parametrize("projector", PROJECTORS)
def test_anatomy_behind_the_detector_or_the_source_does_not_count(device, projector):
    volume = block((40, 400, 40))
    detector = CarmGeometry(
        source_to_detector_mm=100,
        source_to_isocenter_mm=60,
        detector_width_px=4,
        detector_height_px=4,
        pixel_spacing_mm=1.0,
    )
    view = volumes.view(CarmPose(), volume.grid, detector)
    image = DrrRenderer(volume, device, projector=projector).render(view)
    distance = np.linalg.norm(view.pixel_centers_xyz_mm() - view.source_xyz_mm, axis=-1)
    np.testing.assert_allclose(image, 0.01 * distance, rtol=1e-5)


@pytest.mark.parametrize("projector", PROJECTORS)
def test_a_long_path_of_many_steps_is_not_cut_short(device, projector):
    volume = block((4, 6000, 4), spacing=(0.1, 0.1, 0.1))
    detector = CarmGeometry(
        source_to_detector_mm=5000,
        source_to_isocenter_mm=2500,
        detector_width_px=1,
        detector_height_px=1,
        pixel_spacing_mm=0.01,
    )
    step = {"step_mm": 0.02} if PROJECTORS[projector].steps else {}
    renderer = DrrRenderer(volume, device, projector=projector, **step)
    image = renderer.render(volumes.view(CarmPose(), volume.grid, detector))
    assert image[0, 0] == pytest.approx(0.01 * 600, rel=1e-4)


@pytest.mark.parametrize("projector", PROJECTORS)
def test_rays_that_miss_are_zero(device, projector):
    volume = block()
    view = volumes.view(CarmPose(translation_mm=(0.0, 0.0, 900.0)), volume.grid)
    assert not DrrRenderer(volume, device, projector=projector).render(view).any()


@pytest.mark.parametrize("projector", PROJECTORS)
def test_direction_and_origin_of_the_grid_move_the_image_as_they_move_the_patient(
    device, projector
):
    values = np.random.default_rng(1).random((20, 24, 28)).astype(np.float32)
    plain = VolumeGrid(shape_zyx=(20, 24, 28), spacing_xyz_mm=(2.0, 2.0, 2.0))
    # the same patient stored with x from left to right and z from head to foot
    flipped = VolumeGrid(
        shape_zyx=(20, 24, 28),
        spacing_xyz_mm=(2.0, 2.0, 2.0),
        origin_xyz_mm=(54.0, 0.0, 38.0),
        direction=((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
    )
    pose = CarmPose(lao_deg=33, cra_deg=-20, roll_deg=5)
    images = [
        DrrRenderer(MuVolume(mu_zyx=mu, grid=grid), device, projector=projector).render(
            volumes.view(pose, grid)
        )
        for mu, grid in [
            (values, plain),
            (np.ascontiguousarray(values[::-1, :, ::-1]), flipped),
        ]
    ]
    assert np.abs(images[0] - images[1]).max() < 3 * FLOAT32 * images[0].max()


BALL_OFFSET_MM = np.array([60.0, -30.0, 80.0])


@pytest.mark.parametrize("projector", PROJECTORS)
@pytest.mark.parametrize(
    "pose",
    [
        CarmPose(),
        CarmPose(lao_deg=30),
        CarmPose(cra_deg=25),
        CarmPose(lao_deg=45, cra_deg=30, roll_deg=10),
    ],
    ids=["0", "LAO 30", "CRA 25", "LAO 45 CRA 30 roll 10"],
)
def test_a_3_mm_ball_lands_at_the_pixel_of_the_closed_form(device, projector, pose):
    isocenter = np.array([10.0, -20.0, 30.0])
    center = isocenter + BALL_OFFSET_MM
    grid = VolumeGrid(
        shape_zyx=(24, 24, 24), spacing_xyz_mm=(0.25, 0.25, 0.25), origin_xyz_mm=tuple(center - 2.9)
    )
    index = (center - grid.origin_xyz_mm) / 0.25
    ball = volumes.volume_of(
        lambda x, y, z: (x - index[0]) ** 2 + (y - index[1]) ** 2 + (z - index[2]) ** 2 <= 36, grid
    )
    detector = CarmGeometry(
        source_to_detector_mm=1020,
        source_to_isocenter_mm=510,
        detector_width_px=1600,
        detector_height_px=1600,
        pixel_spacing_mm=0.25,
    )
    view = detector.view(pose, isocenter)
    image = DrrRenderer(ball, device, projector=projector).render(view)
    rows, columns = np.indices(image.shape)
    seen = np.array([(columns + 0.5) * image, (rows + 0.5) * image]).sum(axis=(1, 2)) / image.sum()
    expected = closed_form_pixel(pose, detector)
    np.testing.assert_allclose(seen, expected, atol=0.3)  # a projected ball is off by its tilt
    np.testing.assert_allclose(project_points(view.pixel_from_world, center), expected, atol=1e-6)


def closed_form_pixel(pose, detector):
    """Similar triangles with the vectors of DICOM's positioner angles."""
    a, b, r = np.radians([pose.lao_deg, pose.cra_deg, pose.roll_deg])
    toward_detector = np.array([np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)])
    u = np.array([np.cos(a), np.sin(a), 0.0])
    v = np.array([np.sin(a) * np.sin(b), -np.cos(a) * np.sin(b), -np.cos(b)])
    u, v = u * np.cos(r) + v * np.sin(r), -u * np.sin(r) + v * np.cos(r)
    depth = detector.source_to_isocenter_mm + BALL_OFFSET_MM @ toward_detector
    scale = detector.source_to_detector_mm / depth / detector.pixel_spacing_mm
    middle = np.array([detector.detector_width_px, detector.detector_height_px]) / 2
    return middle + scale * np.array([BALL_OFFSET_MM @ u, BALL_OFFSET_MM @ v])


@pytest.mark.parametrize("projector", PROJECTORS)
def test_a_batch_is_its_views_one_by_one(device, projector):
    renderer = DrrRenderer(VOLUMES["noise"], device, projector=projector)
    views = [volumes.view(pose) for pose in volumes.POSES.values()]
    batch = renderer.render(views)
    assert batch.shape == (len(views), 30, 38)
    for image, view in zip(batch, views, strict=True):
        np.testing.assert_array_equal(image, renderer.render(view))


def test_the_kernel_writes_into_the_callers_array(device):
    renderer = DrrRenderer(VOLUMES["constant"], device)
    view = volumes.view(CarmPose())
    out = np.full((30, 38), np.nan, np.float32)
    assert renderer.render(view, out) is out
    np.testing.assert_array_equal(out, renderer.render(view))


def test_a_read_only_memory_map_is_rendered_in_place(device, tmp_path):
    np.save(tmp_path / "mu.npy", VOLUMES["noise"].mu_zyx)
    mapped = np.load(tmp_path / "mu.npy", mmap_mode="r")
    volume = MuVolume(mu_zyx=mapped, grid=volumes.GRID)
    view = volumes.view(CarmPose(lao_deg=20))
    renderer = DrrRenderer(volume, device)
    assert np.shares_memory(renderer._rays.values, mapped)
    np.testing.assert_array_equal(
        renderer.render(view), DrrRenderer(VOLUMES["noise"], device).render(view)
    )


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_image_does_not_depend_on_the_number_of_workers(workers):
    view = volumes.view(CarmPose(lao_deg=20))
    images = [DrrRenderer(VOLUMES["noise"], CpuDevice(n)).render(view) for n in (workers, 3)]
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"projector": "cone"}, "projector must be one of march, joseph, slab, siddon, got 'cone'"),
        ({"step_mm": 0.0}, "step_mm must be a positive length, got 0.0"),
        ({"step_mm": float("nan")}, "step_mm must be a positive length, got nan"),
        ({"projector": "joseph", "step_mm": 1.0}, "step_mm has no effect on projector 'joseph'"),
        ({"projector": "joseph", "texture": True}, "texture has no effect on projector 'joseph'"),
        ({"texture": True}, "the cpu device has no textures: render without"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(device, arguments, message):
    with pytest.raises(InputError, match=message):
        DrrRenderer(VOLUMES["constant"], device, **arguments)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((38, 30), np.float32),
        np.zeros((30, 38), np.float64),
        np.zeros((30, 76), np.float32)[:, ::2],
        [[0.0]],
    ],
    ids=["shape", "dtype", "strided", "list"],
)
def test_an_array_that_cannot_be_written_into_is_refused(device, out):
    with pytest.raises(InputError, match="out must be a C-contiguous float32 array"):
        DrrRenderer(VOLUMES["constant"], device).render(volumes.view(CarmPose()), out)


def test_a_file_mapped_for_reading_is_no_place_to_render_into(device, tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((30, 38), np.float32))
    out = np.load(tmp_path / "image.npy", mmap_mode="r")
    renderer, view = DrrRenderer(VOLUMES["constant"], device), volumes.view(CarmPose())
    for render in (renderer.render, lambda view, out: renderer.render_rows(view, (0, 30), out)):
        with pytest.raises(InputError, match="out must be an array to write into, got a read-only"):
            render(view, out)


def test_views_of_different_sizes_are_refused(device):
    other = CarmGeometry(detector_width_px=8, detector_height_px=8)
    views = [volumes.view(CarmPose()), volumes.view(CarmPose(), detector=other)]
    with pytest.raises(InputError, match="views must be one or more of equal size"):
        DrrRenderer(VOLUMES["constant"], device).render(views)
    with pytest.raises(InputError, match="views must be one or more of equal size"):
        DrrRenderer(VOLUMES["constant"], device).render([])
