"""DiffDRR's words in PyTorch: parametrisations against scipy, images, pixels, derivatives."""

from __future__ import annotations

import copy
import itertools
import os
import pickle

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fluoro.errors import InputError
from fluoro.geometry.converters import DiffdrrPose
from fluoro.geometry.se3 import se3_exp, se3_log
from fluoro.rendering import reference
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.renderer import DrrRenderer
from tests import volumes
from tests.support import REQUIRE_PROGRAMS

try:
    import torch
except ModuleNotFoundError:
    reason = "needs PyTorch: pip install -r requirements/torch.txt"
    if os.environ.get(REQUIRE_PROGRAMS) == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)

from fluoro.torch.pose_drr import PoseDrr
from fluoro.torch.pose_parameters import PARAMETERIZATIONS, pose_matrix, pose_parameters

CONVENTIONS = ["".join(axes) for axes in itertools.permutations("XYZ")] + [
    a + b + a for a, b in itertools.permutations("XYZ", 2)
]
TURNS = Rotation.concatenate([Rotation.random(6, rng=1), Rotation.identity(1)])
"""The last one is where singular values and eigenvalues coincide and the angle is 0."""
PLACES = np.random.default_rng(2).normal(size=(7, 3)) * 300
UPPER = np.triu_indices(4)
GRADCHECK = {"eps": 1e-6, "atol": 1e-6, "rtol": 1e-5}
"""For the poses by themselves, in float64."""


def tensor(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def outer(turns):
    q = turns.as_quat(scalar_first=True)
    return np.einsum("bi,bj->bij", q, q)[:, UPPER[0], UPPER[1]]


def written(name, turns):
    """Rotations in a parametrisation, by scipy."""
    return {
        "axis_angle": lambda: turns.as_rotvec(),
        "euler_angles": lambda: turns.as_euler("ZXY"),
        "quaternion": lambda: turns.as_quat(scalar_first=True),
        "quaternion_adjugate": lambda: outer(turns),
        "rotation_6d": lambda: turns.as_matrix()[:, :2].reshape(-1, 6),
        "rotation_9d": lambda: turns.as_matrix().reshape(-1, 9),
        "rotation_10d": lambda: -outer(turns),
    }[name]()


NAMES = [name for name in PARAMETERIZATIONS if name not in ("matrix", "se3_log_map")]


@pytest.mark.filterwarnings("ignore:Gimbal lock")
@pytest.mark.parametrize("name", NAMES)
def test_pose_is_scipys_rotation_with_the_camera_at_r_b(name):
    convention = "ZXY" if name == "euler_angles" else None
    found = pose_matrix(
        tensor(written(name, TURNS)), tensor(PLACES), parameterization=name, convention=convention
    ).numpy()
    np.testing.assert_allclose(found[:, :3, :3], TURNS.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(found[:, :3, 3], TURNS.apply(PLACES), atol=1e-9)
    assert (found[:, 3] == [0, 0, 0, 1]).all()


@pytest.mark.parametrize("degrees", [True, False])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_euler_angles_of_every_convention_are_scipys(convention, degrees):
    angles = np.random.default_rng(3).uniform(-3, 3, (5, 3)) * (57 if degrees else 1)
    found = pose_matrix(
        tensor(angles),
        tensor(np.zeros((5, 3))),
        parameterization="euler_angles",
        convention=convention,
        degrees=degrees,
    )
    expected = Rotation.from_euler(convention, angles, degrees=degrees).as_matrix()
    np.testing.assert_allclose(found[:, :3, :3], expected, atol=1e-12)


@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-3, 0.49, 0.51, 2.0, np.pi - 1e-7])
def test_logarithm_is_that_of_se3_near_zero_and_near_pi(length):
    axis = np.array([0.6, -0.64, 0.48])
    twist = np.concatenate([length * axis, [30.0, -20.0, 500.0]])
    found = pose_matrix(
        tensor([twist[:3]]), tensor([twist[3:]]), parameterization="se3_log_map"
    ).numpy()[0]
    np.testing.assert_allclose(found, se3_exp(twist), atol=1e-12 * 500)
    np.testing.assert_allclose(se3_log(found)[3:], twist[3:], atol=1e-6)


@pytest.mark.filterwarnings("ignore:Gimbal lock")
@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_parameters_lead_back_to_the_pose(name):
    poses = np.tile(np.eye(4), (7, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = TURNS.as_matrix(), PLACES
    how = {"parameterization": name, "convention": "XYX" if name == "euler_angles" else None}
    rotation, translation = pose_parameters(tensor(poses), degrees=True, **how)
    back = pose_matrix(rotation, translation, degrees=True, **how)
    np.testing.assert_allclose(back, poses, atol=1e-9)


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_derivatives_of_poses_pass_pytorchs_check_also_at_the_identity(name):
    turns = Rotation.concatenate([TURNS[:2], TURNS[6:]])
    if name == "matrix":
        values = pose_matrix(
            tensor(turns.as_rotvec()), tensor(PLACES[:3]), parameterization="axis_angle"
        ).numpy()
    elif name == "se3_log_map":
        values = turns.as_rotvec()
    else:
        values = written(name, turns)
    given = [tensor(v).requires_grad_() for v in (values, PLACES[:3] / 100)]

    def call(rotation, translation):
        return pose_matrix(rotation, translation, parameterization=name, convention="ZXY")

    if name == "quaternion_adjugate":  # one column alone is read: not smooth off the manifold
        (by_turn,) = torch.autograd.grad(call(*given).square().sum(), given[0])
        assert torch.isfinite(by_turn).all()
    else:
        assert torch.autograd.gradcheck(call, given, **GRADCHECK)


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_second_derivatives_of_poses_pass_pytorchs_check(name):
    convention = "ZXY" if name == "euler_angles" else None
    given = pose_parameters(
        poses_of(), parameterization=name, convention=convention
    )  # away from the identity, where some parametrisations are not smooth twice
    given = [given[0].requires_grad_(), (given[1] / 100).requires_grad_()]

    def call(rotation, translation):
        return pose_matrix(rotation, translation, parameterization=name, convention=convention)

    assert torch.autograd.gradgradcheck(call, given, eps=1e-6, atol=1e-5, rtol=1e-4)


def drr(**changes):
    size = {"height_px": 22, "width_px": 26, "delx_mm": 9.0, "dely_mm": 8.0}
    shape = {"sdd_mm": 1020.0, "x0_mm": 7.0, "y0_mm": -5.0, "device": CpuDevice(), **size}
    return PoseDrr(volumes.gaussian(), **{**shape, **changes})


ANGLES = np.array([[20.0, -12.0, 7.0], [-31.0, 9.0, 40.0]])
SHIFTS = np.add(PLACES[:2] / 50, [0.0, 700.0, 0.0])
SOURCES = {"AP": SHIFTS, "PA": -SHIFTS, None: np.add(PLACES[:2] / 50, [0.0, 0.0, -700.0])}
"""Before the volume, for each orientation."""


def poses_of(angles=ANGLES, shifts=SHIFTS):
    return pose_matrix(
        tensor(angles),
        tensor(shifts),
        parameterization="euler_angles",
        convention="ZXY",
        degrees=True,
    )


@pytest.mark.parametrize("orientation", ["AP", "PA", None])
def test_image_is_the_renderers_at_diffdrrs_pose(orientation):
    module, places = drr(orientation=orientation), SOURCES[orientation]
    images = module(
        tensor(ANGLES),
        tensor(places),
        parameterization="euler_angles",
        convention="ZXY",
        degrees=True,
    )
    assert images.shape == (2, 1, 22, 26)
    view = DiffdrrPose(
        rotation_deg=tuple(ANGLES[1]),
        translation_mm=tuple(places[1]),
        orientation=orientation,
        sdd_mm=1020.0,
        height_px=22,
        width_px=26,
        delx_mm=9.0,
        dely_mm=8.0,
        x0_mm=7.0,
        y0_mm=-5.0,
        center_xyz_mm=tuple(volumes.GRID.center_xyz_mm),
    ).view()
    expected = DrrRenderer(volumes.gaussian(), CpuDevice(), projector="joseph").render(view)
    assert expected.max() > 0.1
    np.testing.assert_allclose(images[1, 0], expected, atol=1e-6)


@pytest.mark.parametrize("reverse", [True, False])
def test_points_project_where_the_view_says_and_come_back(reverse):
    module = drr(orientation="PA", reverse_x_axis=reverse)
    poses = poses_of(shifts=SOURCES["PA"])
    points = np.random.default_rng(4).normal(size=(2, 9, 3)) * 40
    pixels = module.perspective_projection(poses, tensor(points))
    lps = points * [-1, -1, 1] + volumes.GRID.center_xyz_mm
    for n, pose in enumerate(poses.numpy()):
        np.testing.assert_allclose(pixels[n], module.view(pose).project(lps[n]), atol=1e-9)
    before = pixels.clone()
    back = module.inverse_projection(poses, pixels)
    torch.testing.assert_close(pixels, before, rtol=0, atol=0)  # what is given is not changed
    sources = poses[:, None, :3, 3]
    rays, points = back - sources, tensor(points) - sources
    assert torch.linalg.cross(rays, points).norm(dim=-1).max() < 1e-6 * 1020**2
    torch.testing.assert_close(module.perspective_projection(poses, back), pixels)


def test_projection_is_differentiable():
    module, points = drr(), tensor(np.random.default_rng(4).normal(size=(2, 3, 3)) * 40)
    given = [tensor(ANGLES).requires_grad_(), tensor(SHIFTS).requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda *pose: module.perspective_projection(poses_of_tensors(*pose), points), given
    )


def poses_of_tensors(angles, shifts):
    how = {"parameterization": "euler_angles", "convention": "ZXY", "degrees": True}
    return pose_matrix(angles, shifts, **how)


def test_rescaled_detector_covers_the_same_field():
    module, pose = drr(height_px=20, width_px=30), poses_of().numpy()[0]
    before, point = module.view(pose), np.add(volumes.GRID.center_xyz_mm, [[5.0, 9.0, -7.0]])
    assert module.rescale_detector_(0.5) is module
    after = module.view(pose)
    assert (after.height_px, after.width_px) == (10, 15)
    np.testing.assert_allclose(after.corner_xyz_mm, before.corner_xyz_mm, atol=1e-9)
    np.testing.assert_allclose(after.project(point), before.project(point) / 2, atol=1e-9)
    assert module(poses_of(), parameterization="matrix").shape == (2, 1, 10, 15)
    with pytest.raises(InputError, match="scale must leave at least one pixel"):
        module.rescale_detector_(0.01)


class ReferenceModule(PoseDrr):
    """Images of the float64 reference."""

    def image(self, _renderer, views):
        volume = volumes.gaussian()
        return torch.from_numpy(np.stack([reference.joseph_reference(volume, v) for v in views]))


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_derivative_with_respect_to_every_parametrisation_is_that_of_the_reference(name):
    """Along random directions; gate 1e-3 of the derivative's norm, as for the renderer."""
    size = {"height_px": 12, "width_px": 14, "delx_mm": 16.0, "dely_mm": 16.0}
    reference, convention = (
        ReferenceModule(volumes.gaussian(), sdd_mm=1020.0, device=CpuDevice(), **size),
        "ZXY",
    )
    rotation, translation = pose_parameters(
        poses_of(ANGLES[:1], SHIFTS[:1]), parameterization=name, convention=convention
    )
    given = [rotation.requires_grad_(), translation.requires_grad_()]
    upstream = tensor(np.random.default_rng(5).normal(size=(1, 1, 12, 14)))

    def total(turn, place):
        how = {"parameterization": name, "convention": convention}
        return (reference(turn, place, **how) * upstream).sum()

    gradients = torch.autograd.grad(total(*given), given, allow_unused=True)
    for n, (one, gradient) in enumerate(zip(given, gradients, strict=True)):
        if gradient is None:
            assert (name, n) == ("matrix", 1)
            continue
        step = 1e-7 if n == 0 else 1e-5
        directions = tangents(name, one, n)
        expected = []
        for direction in directions:
            ends = [[*given], [*given]]
            for sign, end in zip((1, -1), ends, strict=True):
                end[n] = (one + sign * step * direction).detach()
            expected.append((total(*ends[0]) - total(*ends[1])).item() / (2 * step))
        found = np.array([(gradient * direction).sum().item() for direction in directions])
        assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


def tangents(name, values, n):
    """Directions in which the numbers may change and stay a pose of full meaning."""
    if n == 0 and name in ("matrix", "quaternion_adjugate", "rotation_10d"):
        eye, ends = np.eye(6), []
        base = pose_matrix(values.detach(), tensor([[1.0, 2.0, 3.0]]), parameterization=name)
        for k in range(3):
            moved = tensor(se3_exp(1e-6 * eye[k])) @ base
            there, _ = pose_parameters(moved, parameterization=name)
            here, _ = pose_parameters(base, parameterization=name)
            ends.append((there - here) / 1e-6)
        return ends
    count = values.numel()
    return [tensor(np.eye(count)[k]).reshape(values.shape) for k in range(count)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameterization": "euler"}, "parameterization must be one of axis_angle"),
        ({"parameterization": "euler_angles"}, "convention must be 3 letters"),
        ({"parameterization": "euler_angles", "convention": "XXY"}, "one axis twice"),
        ({"parameterization": "quaternion"}, r"rotation must have shape \(B, 4\)"),
        ({"parameterization": "axis_angle", "translation": None}, "translation must be given"),
    ],
)
def test_poses_that_cannot_be_are_refused(changes, message):
    given = {"rotation": tensor(np.zeros((2, 3))), "translation": tensor(np.zeros((2, 3)))}
    with pytest.raises(InputError, match=message):
        pose_matrix(**{**given, **changes})


@pytest.mark.parametrize(
    ("rotation", "message"),
    [
        (np.zeros((0, 3)), r"rotation must have one pose or more, got shape \(0, 3\)"),
        (np.full((1, 3), np.nan), r"rotation must be finite, got \[\[nan, nan, nan\]\]"),
    ],
)
def test_poses_that_cannot_be_rendered_are_refused(rotation, message):
    shifts = tensor(np.zeros((len(rotation), 3)))
    with pytest.raises(InputError, match=message):
        drr()(tensor(rotation), shifts, parameterization="axis_angle")


HOW = {"parameterization": "euler_angles", "convention": "ZXY", "degrees": True}


@pytest.mark.parametrize("loss", ["linear", "square"])
def test_second_derivatives_of_images_are_refused_not_wrong(loss):
    module, shifts = drr(), tensor(SHIFTS)

    def total(angles):
        image = module(angles, shifts, **HOW)
        return (image if loss == "linear" else image.square()).sum()

    angles = tensor(ANGLES).requires_grad_()
    (first,) = torch.autograd.grad(total(angles), angles, create_graph=True)
    assert torch.isfinite(first).all()
    refused = pytest.raises(NotImplementedError, match="PoseDrr has first derivatives only")
    with refused:
        first.sum().backward()
    with refused:
        torch.autograd.functional.hessian(total, tensor(ANGLES))
    with refused:
        torch.autograd.functional.jvp(total, tensor(ANGLES), torch.ones(2, 3).double())


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64]


@pytest.mark.parametrize("second", DTYPES)
@pytest.mark.parametrize("first", DTYPES)
def test_parameters_of_different_dtypes_give_the_pose_of_the_widest(first, second):
    angles, shifts = torch.tensor([[16.0, -12.0, 8.0]]), torch.tensor([[4.0, 704.0, -8.0]])
    found = pose_matrix(angles.to(first), shifts.to(second), **HOW)
    exact = pose_matrix(angles.double(), shifts.double(), **HOW)
    double = torch.float64 in (first, second)
    assert found.dtype == (torch.float64 if double else torch.float32)
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-4)


def test_autocast_does_not_round_poses_or_pixels():
    module, angles, shifts = drr(), tensor(ANGLES).float(), tensor(SHIFTS).float()
    points = torch.tensor([[[30.0, -20.0, 10.0]]] * 2)

    def call():
        poses = pose_matrix(angles, shifts, **HOW)
        return module(angles, shifts, **HOW), module.perspective_projection(poses, points)

    expected = call()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = call()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def gradient_with(change):
    """Of an image's sum of squares; something changes between forwards and backwards."""
    module, angles = drr(), tensor(ANGLES).requires_grad_()
    image = module(angles, tensor(SHIFTS), **HOW)
    with torch.no_grad():
        change(module, angles)
    image.square().sum().backward()
    return angles.grad


@pytest.mark.parametrize("scale", [0.5, 1.01, 2.0])
def test_gradient_is_that_of_the_image_whatever_becomes_of_detector_and_pose(scale):
    expected = gradient_with(lambda _module, _angles: None)
    changes = (
        lambda module, _angles: module.rescale_detector_(scale),
        lambda module, _angles: setattr(module, "sdd_mm", 1020.0 * scale),
        lambda _module, angles: angles.mul_(scale),
    )
    for change in changes:
        torch.testing.assert_close(gradient_with(change), expected, rtol=0, atol=0)


def test_copy_of_a_module_has_a_detector_of_its_own():
    module = drr()
    copied = copy.deepcopy(module).rescale_detector_(0.5)
    assert (module.height_px, copied.height_px) == (22, 11)
    assert copied.renderer is module.renderer  # the volume lies on the device once
    images = [m(tensor(ANGLES), tensor(SHIFTS), **HOW) for m in (module, copy.deepcopy(module))]
    torch.testing.assert_close(*images, rtol=0, atol=0)


def test_a_pickle_of_a_module_is_refused_in_one_line():
    with pytest.raises(TypeError, match=r"^CpuDevice cannot be pickled: [^\n]*$"):
        pickle.dumps(drr())


def test_parameters_that_are_no_real_tensors_are_refused():
    shifts = tensor(SHIFTS)
    with pytest.raises(InputError, match=r"rotation must be real, got torch\.complex128"):
        pose_matrix(tensor(ANGLES).to(torch.complex128), shifts, **HOW)
    with pytest.raises(TypeError, match=r"rotation must be a torch\.Tensor, got ndarray"):
        drr()(ANGLES, shifts, **HOW)
    with pytest.raises(InputError, match="rotation and translation must be as many, got 2 and 1"):
        pose_matrix(tensor(ANGLES), shifts[:1], **HOW)


@pytest.mark.parametrize("factor", [2.0, 1.02, -1.0])
def test_a_matrix_that_is_no_rigid_motion_is_refused(factor):
    with pytest.raises(InputError, match="pose 1 must hold a rotation in its first 3 rows"):
        drr()(poses_of() * tensor([1.0, factor])[:, None, None], parameterization="matrix")


def test_a_subset_of_pixels_has_the_images_values_and_gradient():
    pixels = np.random.default_rng(5).integers(0, (22, 26), size=(40, 2))
    rows, columns = pixels.T
    whole, some = drr(), drr(pixels=pixels)
    gradients = []
    for module, pick in ((whole, True), (some, False)):
        angles = tensor(ANGLES).requires_grad_()
        images = module(angles, tensor(SHIFTS), **HOW)
        values = images[:, :, rows, columns] if pick else images
        assert values.shape == (2, 1, 40)
        values.square().sum().backward()
        gradients.append((values.detach(), angles.grad))
    torch.testing.assert_close(gradients[1][0], gradients[0][0], rtol=0, atol=1e-5)
    torch.testing.assert_close(gradients[1][1], gradients[0][1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((0, 2), int), r"whole numbers of shape \(P, 2\), got int64 \(0, 2\)"),
        (np.zeros((3, 2)), r"whole numbers of shape \(P, 2\), got float64"),
        (np.array([[1, 26]]), r"must lie in an image of 22 rows and 26 columns, got \[1, 26\]"),
        (np.array([[-1, 0]]), r"must lie in an image of 22 rows and 26 columns, got \[-1, 0\]"),
    ],
)
def test_pixels_that_are_not_there_are_refused(pixels, message):
    with pytest.raises(InputError, match=message):
        drr(pixels=pixels)(tensor(ANGLES), tensor(SHIFTS), **HOW)


def test_attenuation_of_another_shape_or_without_a_number_is_refused():
    with pytest.raises(InputError, match="mu_zyx must have shape"):
        drr()(tensor(ANGLES), tensor(SHIFTS), **HOW, mu_zyx=torch.zeros(2, 3, 4))
    broken = torch.full(volumes.gaussian().mu_zyx.shape, float("nan"))
    with pytest.raises(InputError, match="mu_zyx must be finite"):
        drr()(tensor(ANGLES), tensor(SHIFTS), **HOW, mu_zyx=broken)


def test_detectors_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"height_px must be a whole number, got 40\.5"):
        drr(height_px=40.5)
    with pytest.raises(InputError, match="scale must be finite, got nan"):
        drr().rescale_detector_(float("nan"))
    with pytest.raises(InputError, match="sdd_mm must be a positive number"):
        drr(sdd_mm=-1.0)
    with pytest.raises(InputError, match="orientation must be"):
        drr(orientation="RL").view(np.eye(4))


@pytest.mark.gpu
def test_module_stays_on_the_gpu_beside_pytorchs_own_work():
    """PyTorch multiplies matrices on the same GPU before, between and after."""
    module, on_cpu = drr(device="cuda"), drr()
    weight = torch.rand(512, 512, device="cuda")
    busy = weight @ weight
    angles = tensor(ANGLES).float().cuda().requires_grad_()
    how = {"parameterization": "euler_angles", "convention": "ZXY", "degrees": True}
    image = module(angles, tensor(SHIFTS).float().cuda(), **how)
    busy = busy @ weight
    image.square().sum().backward()
    assert image.is_cuda
    assert angles.grad.is_cuda
    assert torch.isfinite(busy).all()
    expected = on_cpu(tensor(ANGLES), tensor(SHIFTS), **how)
    np.testing.assert_allclose(image.detach().cpu(), expected, atol=1e-4)
