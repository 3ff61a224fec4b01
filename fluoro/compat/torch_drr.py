"""fluoro's pictures inside PyTorch's graph: exact derivatives by the pose.

Pictures and upstream derivatives stay on the GPU where both PyTorch and the renderer use CUDA.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.compat.slang_renderer import (
    DEFAULT,
    ORIGIN,
    SlangDiffDRRConfig,
    SlangDiffDRRRenderer,
)

try:
    import torch
    from torch.autograd.function import once_differentiable
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error.name} is missing: this part needs PyTorch, which fluoro's extra [torch] brings"
    ) from None

__all__ = ["SlangDiffDRRFunction", "TorchSlangDiffDRR", "create_slang_diffdrr_optimizer"]

Tensor = Any


class SlangDiffDRRFunction(torch.autograd.Function):  # type: ignore[misc]
    """`apply(renderer, rotation, translation)`: a picture whose derivative PyTorch knows."""

    @staticmethod
    def forward(
        ctx: Any, renderer: SlangDiffDRRRenderer, rotation: Tensor, translation: Tensor
    ) -> Tensor:
        """The picture of one pose.

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
        pose = _host(rotation), _host(translation)
        if renderer.device.kind == "cuda":
            image = torch.from_dlpack(renderer.render_on_device(*pose))
        else:
            image = torch.from_numpy(renderer.render(*pose))
        return image.to(rotation.device)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, Tensor, Tensor]:
        """Derivatives by rotation and translation, shape (3,) each, as their inputs are."""
        rotation, translation = ctx.saved_tensors
        _, gradients = ctx.renderer.render_with_gradients(
            _host(rotation), _host(translation), _upstream(ctx.renderer, grad_output)
        )
        by_rotation, by_translation = (
            torch.from_numpy(gradients[name]) for name in ("rotation", "translation")
        )
        return None, by_rotation.to(rotation), by_translation.to(translation)


def _host(tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().cpu().numpy(), float)


def _upstream(renderer: SlangDiffDRRRenderer, grad_output: Tensor) -> Any:
    """The derivative by each pixel where the renderer wants it; a copy only between devices."""
    if renderer.device.kind == "cuda" and grad_output.is_cuda:
        import cupy

        return cupy.from_dlpack(grad_output.contiguous())
    return grad_output.detach().cpu().numpy()


class TorchSlangDiffDRR(torch.nn.Module):  # type: ignore[misc]
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
        """The picture of a pose, or of several.

        Args:
            rotation: Angles (cranial, LAO, roll) [rad], shape (3,) or (N, 3).
            translation: Shift of the C-arm in world LPS [mm], shape (3,) or (N, 3).

        Returns:
            Shape (height, width), or (N, height, width), float32.
        """
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
        """The same without PyTorch and without derivatives: `SlangDiffDRRRenderer.render`.

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
    """All that a search for a pose needs.

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
