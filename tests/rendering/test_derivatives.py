"""Derivatives of images against central differences of the float64 references."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import VolumeConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.se3 import se3_exp, translation
from fluoro.geometry.view_derivatives import intrinsic_motions, moved, rigid_motions
from fluoro.rendering import reference
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.projectors import PROJECTORS, names_where
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.load import load_volume
from fluoro.volume.store.fetch import fetched_path
from tests import volumes
from tests.support import require_vulkan, without_cycles

DIFFERENTIABLE = names_where(lambda each: each.differentiable)
VOLUMES = {"noise": volumes.noise(), "sphere": volumes.sphere(), "gaussian": volumes.gaussian()}
STEPS = np.array([1e-9] * 3 + [1e-7] * 3)
"""Of the central differences: radians, millimetres. A hundred times more, and on noise the
difference itself would be off by 0.5 %: the samples would pass from one cell to the next, where
the slope jumps."""

GATE = 1e-3
"""Norm-relative over the image."""

POSES = {
    "LAO 37 CRA 21": volumes.POSES["LAO 37 CRA 21"],
    "RAO 140 CAU 50": volumes.POSES["RAO 140 CAU 50"],
    "near frontal": CarmPose(lao_deg=1.3, cra_deg=-2.1, translation_mm=(2.0, 0.0, 3.0)),
    "CRA 80": CarmPose(lao_deg=12, cra_deg=80, roll_deg=-30),
}
pose_names = pytest.mark.parametrize("pose", list(POSES))


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


def reference_image(projector, volume, view, at):
    """The reference at `view`; a march keeps the number of steps that it takes at `at`."""
    step_mm = min(volume.grid.spacing_xyz_mm) / 2
    return PROJECTORS[projector].reference(volume, view, step_mm, at)


def differences(projector, volume, view, motions, steps):
    """Central differences of the reference by each parameter."""
    found = []
    for k, step in enumerate(steps):
        amount = np.zeros(len(steps))
        amount[k] = step
        plus, minus = (
            reference_image(projector, volume, moved(view, motions, sign * amount), view)
            for sign in (1, -1)
        )
        found.append((plus - minus) / (2 * step))
    return np.array(found)


def relative(found, expected):
    """Norm-relative deviation of each parameter's image."""
    off = np.linalg.norm((found - expected).reshape(len(found), -1), axis=1)
    return off / np.linalg.norm(expected.reshape(len(found), -1), axis=1)


@pose_names
@pytest.mark.parametrize("name", list(VOLUMES))
@pytest.mark.parametrize("projector", DIFFERENTIABLE)
def test_pose_jacobian_is_the_derivative_of_the_discrete_sum(device, projector, name, pose):
    view, volume = volumes.view(POSES[pose]), VOLUMES[name]
    renderer = DrrRenderer(volume, device, projector=projector)
    center = volumes.GRID.center_xyz_mm
    image, jacobian = renderer.render_jacobian(view, center)
    expected = differences(projector, volume, view, rigid_motions(view, center), STEPS)
    assert np.abs(image - renderer.render(view)).max() < 3e-5 * image.max()
    assert relative(jacobian, expected).max() < GATE


STEPS_LARGE = np.array([1e-7] * 3 + [1e-5] * 3)
"""A hundred times `STEPS`."""
JUMP = 2e-4
"""One-sided slopes of a pixel that differ by more, relative to the root mean square of the image
of slopes, tell that a sample has passed into another cell: within one the sum is smooth, and they
differ by the step times its curvature."""


def one_sided(projector, volume, view, motions, steps):
    """Slopes of the reference forwards and backwards, each (parameters, height, width)."""
    here, found = reference_image(projector, volume, view, view), []
    for k, step in enumerate(steps):
        amount = np.eye(len(steps))[k] * step
        plus, minus = (
            reference_image(projector, volume, moved(view, motions, sign * amount), view)
            for sign in (1, -1)
        )
        found.append(((plus - here) / step, (here - minus) / step))
    forwards, backwards = np.array(found).swapaxes(0, 1)
    return forwards, backwards


@pytest.mark.parametrize("pose", ["LAO 37 CRA 21", "near frontal"])
@pytest.mark.parametrize("projector", ["march", "joseph"])
def test_larger_steps_hold_the_gate_where_no_sample_changes_its_cell(device, projector, pose):
    """On noise the difference itself is off where a slope jumps within the step; nowhere else."""
    view, volume = volumes.view(POSES[pose]), VOLUMES["noise"]
    motions = rigid_motions(view, volumes.GRID.center_xyz_mm)
    _, jacobian = DrrRenderer(volume, device, projector=projector).render_derivatives(view, motions)
    forwards, backwards = one_sided(projector, volume, view, motions, STEPS_LARGE)
    scale = np.sqrt(np.mean(forwards**2, axis=(1, 2), keepdims=True))
    smooth = np.abs(forwards - backwards) < JUMP * scale
    expected = (forwards + backwards) / 2
    assert smooth.mean() > 0.99
    assert relative(np.where(smooth, jacobian, 0), np.where(smooth, expected, 0)).max() < GATE


@pytest.mark.parametrize("projector", ["march", "joseph"])
def test_chest_ct_holds_the_gate(device, projector):
    try:
        fetched_path("chest-ct")
    except InputError as missing:
        pytest.skip(f"needs the chest CT: {missing}")
    volume = load_volume(VolumeConfig.model_validate({"path": "cache:chest-ct"}))
    detector = CarmGeometry(detector_width_px=12, detector_height_px=10, pixel_spacing_mm=20.0)
    center = volume.grid.center_xyz_mm
    view = detector.view(CarmPose(lao_deg=25, cra_deg=12, roll_deg=3), center)
    motions = rigid_motions(view, center)
    _, jacobian = DrrRenderer(volume, device, projector=projector).render_derivatives(view, motions)
    expected = differences(projector, volume, view, motions, STEPS)
    assert relative(jacobian, expected).max() < GATE


@pytest.mark.parametrize("name", list(VOLUMES))
def test_what_copies_hold_moves_slabs_derivative_little(device, name):
    view, volume = volumes.view(POSES["LAO 37 CRA 21"]), VOLUMES[name]
    motions = rigid_motions(view, volumes.GRID.center_xyz_mm)
    _, found = DrrRenderer(volume, device, projector="slab").render_derivatives(view, motions)
    plus, minus = (
        [
            reference.slab_reference(volume, moved(view, motions, sign * amount))
            for amount in np.diag(STEPS)
        ]
        for sign in (1, -1)
    )
    expected = (np.array(plus) - minus) / (2 * STEPS[:, None, None])
    # turning a blob about its own centre moves it least: there it is most
    assert relative(found, expected).max() < 3 * GATE


@pytest.mark.parametrize("projector", DIFFERENTIABLE)
def test_intrinsics_jacobian_is_the_derivative_of_the_discrete_sum(device, projector):
    view, volume = volumes.view(POSES["LAO 37 CRA 21"]), VOLUMES["noise"]
    motions = intrinsic_motions(view)
    _, found = DrrRenderer(volume, device, projector=projector).render_derivatives(view, motions)
    expected = differences(projector, volume, view, motions, np.array([1e-7, 1e-9, 1e-7, 1e-7]))
    assert relative(found, expected).max() < GATE


def test_intrinsic_motions_are_what_the_carm_does():
    geometry, pose, iso = CarmGeometry(), CarmPose(lao_deg=20, cra_deg=10), (1.0, 2.0, 3.0)
    view = geometry.view(pose, iso)
    longer = CarmGeometry(source_to_detector_mm=1021.0).view(pose, iso)
    wider = CarmGeometry(pixel_spacing_mm=0.51).view(pose, iso)
    for other, k, amount in ((longer, 0, 1.0), (wider, 1, 0.01)):
        amounts = np.eye(4)[k] * amount
        changed = moved(view, intrinsic_motions(view), amounts)
        np.testing.assert_allclose(changed.corner_xyz_mm, other.corner_xyz_mm, atol=1e-9)
        np.testing.assert_allclose(changed.column_step_xyz_mm, other.column_step_xyz_mm, atol=1e-12)
    shifted = moved(view, intrinsic_motions(view), [0, 0, 2.0, -3.0])
    point = view.source_xyz_mm + (iso - view.source_xyz_mm) * 1.3
    before, after = (
        (v.pixel_from_world @ [*point, 1.0])[:2] / (v.pixel_from_world @ [*point, 1.0])[2]
        for v in (view, shifted)
    )
    np.testing.assert_allclose(after - before, [2.0, -3.0], atol=1e-9)


def test_rigid_motions_are_the_exponential_to_first_order():
    view, center = volumes.view(POSES["LAO 37 CRA 21"]), np.array([1.0, -2.0, 3.0])
    twist = np.array([0.2, -0.3, 0.1, 4.0, 5.0, -6.0]) * 1e-6
    motion = translation(center) @ se3_exp(twist) @ translation(-center)
    changed = moved(view, rigid_motions(view, center), twist)
    exact = motion @ [*view.source_xyz_mm, 1.0]
    np.testing.assert_allclose(changed.source_xyz_mm, exact[:3], atol=1e-8)
    corner = motion @ [*view.corner_xyz_mm, 1.0]
    np.testing.assert_allclose(changed.corner_xyz_mm, corner[:3], atol=1e-8)


@pytest.mark.parametrize("projector", DIFFERENTIABLE)
def test_clipping_by_the_detector_and_the_source_is_differentiated(device, projector):
    """Both ends of these rays lie inside the volume."""
    short = CarmGeometry(
        source_to_detector_mm=60,
        source_to_isocenter_mm=30,
        detector_width_px=20,
        detector_height_px=16,
        pixel_spacing_mm=2.0,
    )
    view = volumes.view(CarmPose(lao_deg=17, cra_deg=9), detector=short)
    center = volumes.GRID.center_xyz_mm
    renderer = DrrRenderer(VOLUMES["noise"], device, projector=projector)
    _, jacobian = renderer.render_jacobian(view, center)
    expected = differences(projector, VOLUMES["noise"], view, rigid_motions(view, center), STEPS)
    assert relative(jacobian, expected).max() < GATE


def test_vjp_is_the_jacobian_weighted_by_the_upstream(device):
    view, center = volumes.view(POSES["LAO 37 CRA 21"]), volumes.GRID.center_xyz_mm
    renderer = DrrRenderer(VOLUMES["noise"], device)
    upstream = np.random.default_rng(3).standard_normal((30, 38))
    image, gradient = renderer.render_vjp(view, center, upstream)
    expected_image, jacobian = renderer.render_jacobian(view, center)
    np.testing.assert_array_equal(image, expected_image)
    np.testing.assert_allclose(gradient, (jacobian * upstream).sum(axis=(1, 2)), rtol=1e-4)


def test_gaussian_blobs_derivative_has_its_closed_form(device):
    """Shifting the view along the detector's columns shifts the blob's shadow."""
    # oblique, so that a ray meets cells at all places: within one the slope is constant
    view = volumes.view(POSES["LAO 37 CRA 21"])
    renderer = DrrRenderer(VOLUMES["gaussian"], device)
    integrals, jacobian = renderer.render_jacobian(view, volumes.GRID.center_xyz_mm)
    sigma = 8 * np.array(volumes.GRID.spacing_xyz_mm)
    center = np.asarray(volumes.GRID.world_from_index @ [49.5, 47.5, 44.5, 1.0])[:3]
    source, pixels = view.source_xyz_mm / sigma, view.pixel_centers_xyz_mm() / sigma
    ray = pixels - source
    ray_mm = np.linalg.norm(view.pixel_centers_xyz_mm() - view.source_xyz_mm, axis=-1)
    length = np.linalg.norm(ray, axis=-1)
    offset = center / sigma - source
    along = (offset * ray).sum(axis=-1) / length
    miss = offset - along[..., None] * ray / length[..., None]
    closed = 0.02 * np.sqrt(2 * np.pi) * ray_mm / length * np.exp(-0.5 * (miss**2).sum(axis=-1))
    assert np.abs(integrals - closed).max() < 0.01 * closed.max()
    # the view moves by v: the blob's offset by -v
    slope = closed[..., None] * miss / sigma
    for axis in range(3):
        off = np.linalg.norm(jacobian[3 + axis] - slope[..., axis])
        assert off < 0.01 * np.linalg.norm(slope[..., 0]), axis


@pytest.fixture(scope="module")
def opened():
    """Gives the device of a kind, which is opened once."""
    devices = {}

    def of(kind):
        if kind == "llvmpipe":
            require_vulkan()
        if kind not in devices:
            devices[kind] = open_device(kind)
        return devices[kind]

    yield of
    for device in devices.values():
        device.close()


def devices():
    return ["cpu", "llvmpipe", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("kind", devices())
@pytest.mark.parametrize("projector", PROJECTORS)
def test_backprojection_is_the_transpose_of_projection(opened, kind, projector):
    """<A x, y> = <x, A' y> for any volume x and image y: derivative with respect to the voxels."""
    there = opened(kind)
    renderer = DrrRenderer(VOLUMES["noise"], there, projector=projector)
    views = [volumes.view(POSES[name]) for name in ("LAO 37 CRA 21", "CRA 80")]
    upstream = np.random.default_rng(4).standard_normal((2, 30, 38)).astype(np.float32)
    integrals = there.to_host(renderer.render(views))
    by_voxel = there.to_host(renderer.backproject(views, upstream))
    forward = float((integrals.astype(float) * upstream).sum())
    back = float((by_voxel.astype(float) * VOLUMES["noise"].mu_zyx).sum())
    assert back == pytest.approx(forward, rel=1e-4)


def test_backprojection_adds_to_what_is_there(device):
    renderer = DrrRenderer(VOLUMES["noise"], device)
    view = volumes.view(CarmPose(lao_deg=20))
    ones = np.ones((30, 38), np.float32)
    once = renderer.backproject(view, ones)
    twice = renderer.backproject(view, ones, renderer.backproject(view, ones))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="upstream must be float32 of shape"):
        renderer.backproject(view, np.ones((3, 3), np.float32))


@pytest.mark.parametrize("other", ["llvmpipe", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("projector", DIFFERENTIABLE)
def test_derivatives_agree_between_devices(opened, other, projector):
    there = opened(other)
    view, center = volumes.view(POSES["LAO 37 CRA 21"]), volumes.GRID.center_xyz_mm
    _, found = DrrRenderer(VOLUMES["gaussian"], there, projector=projector).render_jacobian(
        view, center
    )
    _, expected = DrrRenderer(
        VOLUMES["gaussian"], CpuDevice(), projector=projector
    ).render_jacobian(view, center)
    assert relative(there.to_host(found), expected).max() < 1e-4


@pytest.mark.parametrize("projector", DIFFERENTIABLE)
def test_rays_that_miss_have_no_derivative(device, projector):
    view = volumes.view(CarmPose(translation_mm=(0.0, 0.0, 900.0)))
    renderer = DrrRenderer(VOLUMES["noise"], device, projector=projector)
    integrals, jacobian = renderer.render_jacobian(view, volumes.GRID.center_xyz_mm)
    assert not integrals.any()
    assert not jacobian.any()


def test_motions_and_upstreams_that_do_not_fit_are_refused(device):
    view = volumes.view(CarmPose())
    renderer = DrrRenderer(VOLUMES["noise"], device)
    for motions in (np.zeros((6, 3)), np.full((1, 4, 3), np.nan)):
        with pytest.raises(InputError, match="motions must be finite"):
            renderer.render_derivatives(view, motions)
    with pytest.raises(InputError, match="upstream must have shape"):
        renderer.render_vjp(view, (0, 0, 0), np.zeros((3, 3)))


@pytest.mark.parametrize("projector", DIFFERENTIABLE)
def test_images_and_derivatives_are_released_when_the_last_reader_is_done(projector):
    volume, view = volumes.noise(), volumes.view(POSES["near frontal"])
    renderer, center = (
        DrrRenderer(volume, CpuDevice(), projector=projector),
        volumes.GRID.center_xyz_mm,
    )
    upstream = np.ones((view.height_px, view.width_px), np.float32)

    def work():
        renderer.render(view)
        renderer.render_jacobian(view, center)
        renderer.render_vjp(view, center, upstream)

    work()  # the first makes copies and kernels
    with without_cycles():
        work()
