"""fluoro's images inside PyTorch's graph, with exact derivatives with respect to the pose.

Images and upstream derivatives stay on the GPU where both PyTorch and the renderer use CUDA.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.fluorosim.rendering.diffdrr_slang_renderer import (
    DEFAULT,
    ORIGIN,
    SlangDiffDRRConfig,
    SlangDiffDRRRenderer,
)
from fluoro.torch.tensors import Tensor, first_order, host, torch, unrounded

__all__ = ["SlangDiffDRRFunction", "TorchSlangDiffDRR", "create_slang_diffdrr_optimizer"]


class SlangDiffDRRFunction(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """`apply(renderer, rotation, translation)`: an image with a derivative for PyTorch."""

    @staticmethod
    def forward(
        ctx: Any, renderer: SlangDiffDRRRenderer, rotation: Tensor, translation: Tensor
    ) -> Tensor:
        """Return the image of one pose.

        Args:
            ctx: PyTorch's.
            renderer: What renders.
            rotation: Angles (cranial, LAO, roll) [rad], shape (3,).
            translation: Shift of the C-arm in world LPS [mm], shape (3,).

        Returns:
            Shape (height, width), float32, on the device of `rotation`.
        """
        ctx.renderer = renderer
        ctx.save_for_backward(rotation, translation)
        pose = host(rotation), host(translation)
        if renderer.device.kind == "cuda":
            image = torch.from_dlpack(renderer.render_on_device(*pose))
        else:
            image = torch.from_numpy(renderer.render(*pose))
        return image.to(rotation.device)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, Tensor, Tensor]:
        """Return derivatives with respect to rotation and translation, shape (3,) each.

        Their own derivative is an error.
        """
        rotation, translation = ctx.saved_tensors
        _, gradients = ctx.renderer.render_with_gradients(
            host(rotation), host(translation), _upstream(ctx.renderer, grad_output)
        )
        found = (
            torch.from_numpy(gradients["rotation"]).to(rotation),
            torch.from_numpy(gradients["translation"]).to(translation),
        )
        by_pose = first_order("TorchSlangDiffDRR", found, grad_output, rotation, translation)
        return None, by_pose[0], by_pose[1]


def _upstream(renderer: SlangDiffDRRRenderer, grad_output: Tensor) -> Any:
    """Return the upstream derivative on the renderer's device; copied only between devices."""
    if renderer.device.kind == "cuda" and grad_output.is_cuda:
        import cupy

        return cupy.from_dlpack(grad_output.contiguous())
    return grad_output.detach().cpu().numpy()


def _require_poses(**parameters: Tensor) -> None:
    """Refuse what is neither a pose nor several."""
    for name, values in parameters.items():
        if values.dim() not in (1, 2) or values.shape[-1] != 3 or not values.numel():
            raise InputError(
                f"{name} must have shape (3,) or (N, 3), N >= 1, got {tuple(values.shape)}"
            )
    counts = [len(values) for values in parameters.values() if values.dim() > 1]
    if len({*counts, 1}) > 2:
        raise InputError(
            f"{' and '.join(parameters)} must be as many, got {' and '.join(map(str, counts))}"
        )


class TorchSlangDiffDRR(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """A renderer as a module of PyTorch.

        drr = TorchSlangDiffDRR(volume.mu_volume, volume.spacing_zyx_mm)
        loss = (drr(rotation, translation) - target).square().mean()
        loss.backward()

    Args:
        mu_volume: Linear attenuation [1/mm], shape (z, y, x).
        spacing_zyx_mm: Distance between voxel centres along z, y and x [mm].
        cfg: Lengths, detector and display.
        options: What `SlangDiffDRRRenderer` takes by name: grid, geometry, device.

    Raises:
        InputError: A volume or a spacing that cannot be rendered.
        DeviceError: The device is not there.
    """

    def __init__(
        self,
        mu_volume: NDArray[Any],
        spacing_zyx_mm: tuple[float, float, float],
        cfg: SlangDiffDRRConfig = DEFAULT,
        **options: Any,
    ) -> None:
        super().__init__()
        self._renderer = SlangDiffDRRRenderer(mu_volume, spacing_zyx_mm, cfg, **options)

    @property
    def config(self) -> SlangDiffDRRConfig:
        """Lengths, detector and display."""
        return self._renderer.config

    @property
    def renderer(self) -> SlangDiffDRRRenderer:
        """What renders."""
        return self._renderer

    def forward(self, rotation: Tensor, translation: Tensor) -> Tensor:
        """Return the image of a pose, or of several.

        Args:
            rotation: Angles (cranial, LAO, roll) [rad], shape (3,) or (N, 3).
            translation: Shift of the C-arm in world LPS [mm], shape (3,) or (N, 3).

        Returns:
            Shape (height, width), or (N, height, width), float32.

        Raises:
            TypeError: A parameter is no tensor.
            InputError: Parameters of another shape, of different number, complex, not finite, or
                on different devices.
        """
        rotation, translation = unrounded(rotation=rotation, translation=translation)
        _require_poses(rotation=rotation, translation=translation)
        rotations, translations = torch.broadcast_tensors(rotation, translation)
        if rotations.dim() == 1:
            return SlangDiffDRRFunction.apply(self._renderer, rotations, translations)
        images = [
            SlangDiffDRRFunction.apply(self._renderer, *pose)
            for pose in zip(rotations, translations, strict=True)
        ]
        return torch.stack(images)

    def render_numpy(
        self, rotation: ArrayLike = ORIGIN, translation: ArrayLike = ORIGIN
    ) -> NDArray[np.float32]:
        """Return the same without PyTorch and without derivatives: `SlangDiffDRRRenderer.render`.

        Returns:
            Shape (height, width), or (N, height, width), float32.
        """
        return self._renderer.render(rotation, translation)


def create_slang_diffdrr_optimizer(
    mu_volume: NDArray[Any],
    spacing_zyx_mm: tuple[float, float, float],
    initial_rotation: ArrayLike,
    initial_translation: ArrayLike,
    cfg: SlangDiffDRRConfig = DEFAULT,
    lr: float = 1e-2,
) -> tuple[TorchSlangDiffDRR, Tensor, Tensor, Any]:
    """Return all that a search for a pose needs.

    Args:
        mu_volume: Linear attenuation [1/mm], shape (z, y, x).
        spacing_zyx_mm: Distance between voxel centres along z, y and x [mm].
        initial_rotation: Angles (cranial, LAO, roll) [rad], shape (3,).
        initial_translation: Shift of the C-arm in world LPS [mm], shape (3,).
        cfg: Lengths, detector and display.
        lr: Adam's rate, for angles [rad] and shifts [mm] alike.

    Returns:
        The module, the rotation and the translation to be found (float32 tensors that require a
        gradient), and an Adam optimiser of both.
    """
    drr = TorchSlangDiffDRR(mu_volume, spacing_zyx_mm, cfg)
    rotation, translation = (
        torch.tensor(np.asarray(values, np.float32), requires_grad=True)
        for values in (initial_rotation, initial_translation)
    )
    return drr, rotation, translation, torch.optim.Adam([rotation, translation], lr=lr)
