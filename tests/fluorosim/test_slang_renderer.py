"""fluorosim's differentiable renderer: derivatives of what is shown, by what is given."""

from __future__ import annotations

import copy
import os
import pickle
import sys

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.fluorosim.rendering.diffdrr_slang_renderer import (
    SlangDiffDRRConfig,
    SlangDiffDRRRenderer,
    render_diffdrr_slang,
)
from fluoro.geometry import carm
from fluoro.geometry.flex import FlexTable
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.reference import march_reference, march_steps
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume
from tests.support import REQUIRE_PROGRAMS, require_vulkan

SPACING = (2.2, 1.8, 2.6)
CFG = SlangDiffDRRConfig(
    det_height_px=14, det_width_px=18, pixel_spacing_mm=9.0, step_mm=1.1, i0=3.0
)
POSES = [
    ((0.31, -0.52, 0.21), (3.0, -4.0, 5.0)),
    ((-0.4, 1.1, 0.0), (0.0, 0.0, 0.0)),
]
GATE = 1e-3
"""Of the derivatives, relative to the largest of their kind: float32 line integrals."""


def with_(cfg, **changes):
    return SlangDiffDRRConfig(**{**vars(cfg), **changes})


@pytest.fixture(scope="module")
def mu():
    """Smooth, so that differences do not meet the corners of cells."""
    z, y, x = np.indices((40, 44, 48)) / 40
    waves = 1 + np.sin(7 * x + 2) * np.cos(5 * y + 1) * np.sin(6 * z)
    return np.asarray(0.008 * waves, np.float32)


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


class DoubleRenderer(SlangDiffDRRRenderer):
    """Renders by the float64 reference, with the numbers of steps that one pose takes."""

    def hold(self, mu, rotation, translation):
        z, y, x = SPACING
        grid = VolumeGrid(shape_zyx=mu.shape, spacing_xyz_mm=(x, y, z))
        self.volume = MuVolume(mu_zyx=mu, grid=grid)
        self.steps = march_steps(self.volume, self.view(rotation, translation), CFG.step_mm)
        return self

    def render(self, rotation=(0, 0, 0), translation=(0, 0, 0)):
        view = self.view(rotation, translation)
        image = np.exp(-march_reference(self.volume, view, CFG.step_mm, self.steps))
        if not self.config.normalize:
            image = image * self.config.i0
        return self.config.open_field - image if self.config.invert else image


def differences(double, rotation, translation, upstream):
    """Central differences of the weighted sum of the reference's image by the six parameters."""
    pose, found = np.array([*rotation, *translation]), []
    for k, step in enumerate([1e-6] * 3 + [1e-4] * 3):
        change = np.eye(6)[k] * step
        plus, minus = (
            (double.render(p[:3], p[3:]) * upstream).sum() for p in (pose + change, pose - change)
        )
        found.append((plus - minus) / (2 * step))
    return np.array(found[:3]), np.array(found[3:])


@pytest.mark.parametrize(("rotation", "translation"), POSES)
@pytest.mark.parametrize(
    "display", [(True, True), (True, False), (False, True), (False, False)], ids=str
)
def test_gradients_are_those_of_the_image_that_is_shown(mu, device, rotation, translation, display):
    cfg = with_(CFG, normalize=display[0], invert=display[1])
    double = DoubleRenderer(mu, SPACING, cfg, device=device).hold(mu, rotation, translation)
    upstream = np.random.default_rng(1).standard_normal((14, 18))
    image, gradients = SlangDiffDRRRenderer(mu, SPACING, cfg, device=device).render_with_gradients(
        rotation, translation, upstream
    )
    expected = differences(double, rotation, translation, upstream)
    np.testing.assert_allclose(image, double.render(rotation, translation), atol=1e-5 * cfg.i0)
    for name, by_differences in zip(("rotation", "translation"), expected, strict=True):
        np.testing.assert_allclose(
            gradients[name], by_differences, atol=GATE * np.abs(by_differences).max()
        )


def test_without_an_upstream_the_gradient_is_that_of_the_sum(mu, device):
    renderer = SlangDiffDRRRenderer(mu, SPACING, CFG, device=device)
    image, ones = renderer.render_with_gradients(*POSES[0])
    _, given = renderer.render_with_gradients(*POSES[0], np.ones(image.shape, np.float32))
    np.testing.assert_allclose(image, renderer.render(*POSES[0]), atol=1e-6)
    for name in ("rotation", "translation"):
        assert ones[name].shape == (3,)
        np.testing.assert_array_equal(ones[name], given[name])


def test_clipped_pixels_have_no_gradient(device):
    """Attenuation below 0 would be brighter than the open field."""
    negative = np.full((20, 20, 20), -0.01, np.float32)
    cfg = with_(CFG, normalize=True)
    image, gradients = SlangDiffDRRRenderer(
        negative, SPACING, cfg, device=device
    ).render_with_gradients((0.1, 0.2, 0.3), (0, 0, 0))
    assert not image.any()
    assert not gradients["rotation"].any()


def test_several_poses_are_rendered_in_order(mu, device):
    renderer = SlangDiffDRRRenderer(mu, SPACING, CFG, device=device)
    rotations, translations = np.array(POSES).transpose(1, 0, 2)
    both = renderer.render(rotations, translations)
    assert both.shape == (2, 14, 18)
    np.testing.assert_array_equal(both[1], renderer.render(*POSES[1]))
    shifted = renderer.render(POSES[0][0], translations)
    np.testing.assert_array_equal(shifted[0], both[0])
    np.testing.assert_array_equal(
        render_diffdrr_slang(mu, SPACING, *POSES[0], CFG), renderer.render(*POSES[0])
    )
    assert (renderer.volume_shape_zyx, renderer.spacing_xyz) == ((40, 44, 48), (2.6, 1.8, 2.2))
    assert renderer.config is CFG


def test_an_i0_below_eps_is_divided_by_as_eps(mu, device):
    faint = with_(CFG, i0=1e-9, invert=False)
    image = SlangDiffDRRRenderer(mu, SPACING, faint, device=device).render(*POSES[0])
    whole = SlangDiffDRRRenderer(mu, SPACING, with_(CFG, invert=False), device=device)
    np.testing.assert_allclose(image, 0.1 * whole.render(*POSES[0]), rtol=1e-5)


def test_what_cannot_be_rendered_is_refused_by_name(mu, device):
    renderer = SlangDiffDRRRenderer(mu, SPACING, CFG, device=device)
    with pytest.raises(InputError, match=r"rotation must have shape \(3,\) or \(N, 3\)"):
        renderer.render(np.zeros(4), np.zeros(3))
    with pytest.raises(InputError, match="must be as many, got 2 and 3"):
        renderer.render(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"grad_output must have shape \(14, 18\)"):
        renderer.render_with_gradients(*POSES[0], np.zeros((2, 2)))
    with pytest.raises(
        InputError, match=r"rotation must be 3 numbers, got array\(\[\[0., 0., 0.\], "
    ):
        renderer.render_with_gradients(np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(InputError, match=r"spacing_zyx_mm must be 3 numbers, got \(1, 1\)"):
        SlangDiffDRRRenderer(mu, (1, 1))
    with pytest.raises(ValueError, match="Expected 3D volume"):
        SlangDiffDRRRenderer(np.zeros((3, 3)), SPACING)
    with pytest.raises(InputError, match="eps must be more than 0"):
        with_(CFG, eps=0)
    with pytest.raises(InputError, match="i0 must be"):
        with_(CFG, i0=-1)


def test_gradients_are_refused_where_a_c_arm_bends(mu, device):
    angles = (-90.0, 90.0)
    table = FlexTable(lao_deg=np.array(angles), motions=np.ones((2, 9)))
    bent = carm.CarmGeometry(detector_width_px=18, detector_height_px=14, flex=table)
    renderer = SlangDiffDRRRenderer(mu, SPACING, CFG, geometry=bent, device=device)
    with pytest.raises(InputError, match="flex must be None"):
        renderer.render_with_gradients(*POSES[0])


@pytest.mark.parametrize("other", ["llvmpipe", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_other_devices_agree(mu, device, other):
    if other == "llvmpipe":
        require_vulkan()
    expected = SlangDiffDRRRenderer(mu, SPACING, CFG, device=device).render_with_gradients(
        *POSES[0]
    )
    there = SlangDiffDRRRenderer(mu, SPACING, CFG, device=other)
    image, gradients = there.render_with_gradients(*POSES[0])
    np.testing.assert_allclose(image, expected[0], atol=1e-4)
    for name, values in expected[1].items():
        np.testing.assert_allclose(gradients[name], values, atol=2e-3 * np.abs(values).max())
    there.close()


# -- PyTorch -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    """PyTorch; without it the test is skipped by its name, and fails in CI."""
    try:
        import torch
    except ModuleNotFoundError:
        reason = "needs PyTorch: pip install -r requirements/torch.txt"
        if os.environ.get(REQUIRE_PROGRAMS) == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    torch.set_num_threads(1)
    return torch


@pytest.mark.parametrize("display", [(True, True), (False, False)], ids=str)
def test_pytorchs_own_gradient_check_passes_on_the_float64_reference(torch, mu, device, display):
    from fluoro.fluorosim.rendering.diffdrr_slang_renderer import SlangDiffDRRFunction

    cfg = with_(CFG, normalize=display[0], invert=display[1])
    double = DoubleRenderer(mu, SPACING, cfg, device=device).hold(mu, *POSES[0])
    pose = [torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in POSES[0]]
    assert torch.autograd.gradcheck(
        lambda *at: SlangDiffDRRFunction.apply(double, *at).sum(dim=1), pose, eps=1e-6, rtol=2e-3
    )


def test_module_takes_one_pose_or_several(torch, mu):
    from fluoro.fluorosim.rendering.diffdrr_slang_renderer import TorchSlangDiffDRR

    drr = TorchSlangDiffDRR(mu, SPACING, CFG, device="cpu")
    rotation, translation = (
        torch.tensor(np.array(part), dtype=torch.float32, requires_grad=True)
        for part in zip(*POSES, strict=True)
    )
    both = drr(rotation, translation)
    assert (both.shape, both.dtype) == ((2, 14, 18), torch.float32)
    one = drr(rotation[1], translation[1])
    np.testing.assert_allclose(one.detach(), drr.render_numpy(*POSES[1]), atol=2e-6)  # float32 pose
    torch.testing.assert_close(both[1], one)
    both.square().sum().backward()
    assert rotation.grad.shape == translation.grad.shape == (2, 3)
    _, expected = drr.renderer.render_with_gradients(*POSES[1], 2 * one.detach().numpy())
    np.testing.assert_allclose(rotation.grad[1], expected["rotation"], rtol=1e-4)
    np.testing.assert_allclose(translation.grad[1], expected["translation"], rtol=1e-4)
    shared = drr(rotation, translation[0])
    torch.testing.assert_close(shared[0], both[0])
    assert drr.config is CFG


def test_optimiser_finds_the_way_back(torch, mu):
    from fluoro.fluorosim.rendering.diffdrr_slang_renderer import create_slang_diffdrr_optimizer

    target = torch.from_numpy(render_diffdrr_slang(mu, SPACING, (0.3, 0.2, 0), (0, 0, 0), CFG))
    drr, rotation, translation, optimizer = create_slang_diffdrr_optimizer(
        mu, SPACING, np.array([0.33, 0.17, 0.02]), np.array([0.1, -0.1, 0.1]), CFG, lr=4e-3
    )
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (drr(rotation, translation) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]
    assert np.abs(rotation.detach().numpy() - (0.3, 0.2, 0)).max() < 0.01


@pytest.mark.parametrize("loss", ["linear", "square"])
def test_second_derivatives_are_refused_not_wrong(torch, mu, loss):
    from fluoro.fluorosim.rendering import TorchSlangDiffDRR

    drr = TorchSlangDiffDRR(mu, SPACING, CFG, device="cpu")

    def total(rotation):
        image = drr(rotation, torch.zeros(3))
        return (image if loss == "linear" else image.square()).sum()

    rotation = torch.zeros(3, requires_grad=True)
    (first,) = torch.autograd.grad(total(rotation), rotation, create_graph=True)
    assert torch.isfinite(first).all()
    refused = pytest.raises(NotImplementedError, match="TorchSlangDiffDRR has first derivatives")
    with refused:
        first.sum().backward()
    with refused:
        torch.autograd.functional.hessian(total, torch.zeros(3))
    with refused:
        torch.autograd.functional.jvp(total, torch.zeros(3), torch.ones(3))


@pytest.mark.parametrize("shape", [(3, 1), (2, 4), (2, 2, 3), (0, 3), ()])
def test_tensors_that_are_no_poses_are_refused(torch, mu, shape):
    from fluoro.fluorosim.rendering import TorchSlangDiffDRR

    drr = TorchSlangDiffDRR(mu, SPACING, CFG, device="cpu")
    with pytest.raises(InputError, match=r"^rotation must have shape \(3,\) or \(N, 3\)"):
        drr(torch.zeros(shape), torch.zeros(3))
    with pytest.raises(InputError, match="must be as many, got 2 and 5"):
        drr(torch.zeros(2, 3), torch.zeros(5, 3))
    with pytest.raises(InputError, match=r"translation must be real, got torch\.complex64"):
        drr(torch.zeros(3), torch.zeros(3, dtype=torch.complex64))


def test_poses_of_different_dtypes_give_one_image_and_gradients_of_their_own(torch, mu):
    from fluoro.fluorosim.rendering import TorchSlangDiffDRR

    drr = TorchSlangDiffDRR(mu, SPACING, CFG, device="cpu")
    rotation = torch.tensor([0.25, 0.125, 0.0], dtype=torch.bfloat16, requires_grad=True)
    translation = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    image = drr(rotation, translation)
    torch.testing.assert_close(image, drr(rotation.double(), translation), rtol=0, atol=0)
    image.square().sum().backward()
    assert (rotation.grad.dtype, translation.grad.dtype) == (torch.bfloat16, torch.float64)


def test_copy_of_a_module_renders_the_same_and_a_pickle_is_refused_in_one_line(torch, mu):
    from fluoro.fluorosim.rendering import TorchSlangDiffDRR

    drr = TorchSlangDiffDRR(mu, SPACING, CFG, device="cpu")
    pose = torch.tensor([0.1, 0.2, 0.0]), torch.zeros(3)
    torch.testing.assert_close(copy.deepcopy(drr)(*pose), drr(*pose), rtol=0, atol=0)
    with pytest.raises(TypeError, match=r"^CpuDevice cannot be pickled: [^\n]*$"):
        pickle.dumps(drr)


@pytest.mark.gpu
def test_images_and_gradients_stay_on_the_gpu(torch, mu):
    from fluoro.fluorosim.rendering import TorchSlangDiffDRR

    drr = TorchSlangDiffDRR(mu, SPACING, CFG, device="cuda")
    rotation, translation = (torch.tensor(part, device="cuda") for part in POSES[0])
    rotation.requires_grad_()
    image = drr(rotation, translation)
    image.sum().backward()
    assert image.is_cuda
    assert rotation.grad.is_cuda
    _, expected = drr.renderer.render_with_gradients(*POSES[0])
    np.testing.assert_allclose(rotation.grad.cpu(), expected["rotation"], rtol=1e-4)


def test_without_pytorch_its_names_say_how_to_get_it(monkeypatch):
    from fluoro.fluorosim.rendering import diffdrr_slang_renderer

    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("fluorosim.rendering.torch_drr", "torch.tensors"):
        monkeypatch.delitem(sys.modules, f"fluoro.{name}", raising=False)
    with pytest.raises(ImportError, match=r"torch is missing: .* extra \[torch\]"):
        diffdrr_slang_renderer.TorchSlangDiffDRR  # noqa: B018
