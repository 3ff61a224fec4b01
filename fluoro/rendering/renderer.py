"""The DRR renderer: line integrals of a volume for views, on a compute device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError, require_type
from fluoro.geometry.projection import View
from fluoro.geometry.view_derivatives import rigid_motions
from fluoro.rendering.array_checks import require_out
from fluoro.rendering.deferred_integrals import DeferredIntegrals
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.packed_volume import PackedVolume, Precision, can_be_packed, packed_bytes
from fluoro.rendering.packing import pack_motions, pack_views
from fluoro.rendering.projectors import PROJECTORS, Projector
from fluoro.rendering.ray_kernels import BACKPROJECT, JACOBIAN, PROJECT, line_integral_stage
from fluoro.rendering.ray_volume import RayVolume, Reading
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.host_memory import available_memory_bytes
from fluoro.volume.volumes import MuVolume

__all__ = [
    "DrrRenderer",
    "checked_projector",
    "common_size",
    "copies_fit",
    "listed_views",
]

MAX_VOXELS = 2**31 - 1
"""Kernels index voxels with 32-bit integers."""


class DrrRenderer:
    """Integrates attenuation along the rays of cone-beam views.

    A ray counts from the source to its pixel's centre and inside the volume's support (its voxel
    faces); between the outermost voxel centre and the face the edge value holds.

    Args:
        volume: Attenuation [1/mm]; on the CPU it is read in place, also from a memory map. Images
            of Joseph on the CPU and all of slab come from copies, of 2 (slab: 1) bytes a voxel for
            each axis that leads a ray of some view so far; a voxel is held to 2 / 65535 of the
            largest or closer. Derivatives of Joseph on the CPU, and the images that come with
            them, are taken from exact copies of their own, of 4 bytes a voxel for each such axis.
            Where all that it may make would not fit in half of the memory left, Joseph reads in
            place, for derivatives first.
        device: Where to render.
        projector: "march" samples the trilinear interpolant at equal steps fitted to each ray's
            path; "joseph" takes one bilinear sample a voxel plane, "slab" one for each two planes,
            from their mean; "siddon" takes voxels as constant.
        step_mm: Longest step of "march" [mm]; None: half the smallest voxel edge.
        texture: Whether a GPU's texture units interpolate the images of "march", NVIDIA's with
            weights of 8 bits. It takes a copy of 4 bytes a voxel. Derivatives do not use it.

    Raises:
        InputError: A volume or device of another class, an unknown projector, a step that is not
            positive or given to another projector than "march", or too many voxels: more than
            2^31 - 1, for slab than a third of them; a texture with another projector, on the CPU,
            or larger than the device takes.
    """

    def __init__(
        self,
        volume: MuVolume,
        device: ComputeDevice,
        *,
        projector: str = "march",
        step_mm: float | None = None,
        texture: bool = False,
    ) -> None:
        require_type("volume", volume, MuVolume, "fluoro.load_volume")
        require_type("device", device, ComputeDevice, "fluoro.open_device")
        method = checked_projector(volume, projector, step_mm)
        if texture and method.texture is None:
            raise InputError(f"texture has no effect on projector {projector!r}")
        self.device, self.grid, self.projector = device, volume.grid, projector
        self.step_mm = step_mm or min(volume.grid.spacing_xyz_mm) / 2
        self._rays = RayVolume(device, method, volume.mu_zyx, volume.grid, self.step_mm)
        self._rays.copies = self._copies(volume, method)
        self._rays.gradient_copies = self._gradient_copies(volume, method)
        self._texture = device.texture(volume.mu_zyx) if texture else None

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        """Return the renderer itself: nothing about it changes, and its volume may be large."""
        return self

    def render(
        self,
        views: View | Sequence[View],
        out: Any = None,
        *,
        pixels: NDArray[np.integer] | None = None,
    ) -> Any:
        """Return line integrals (dimensionless) of one view or a batch.

        Args:
            views: One view, or several with the same number of pixels.
            out: float32 array of the device to write into, shape (height, width), or
                (N, height, width) for a batch; with `pixels` shape (P,) or (N, P); None: a new one.
            pixels: Row and column of each of P pixels, shape (P, 2); None: all.

        Returns:
            `out`; on the CPU a NumPy array, on CUDA a CuPy array.

        Raises:
            InputError: No view, something that is no view, views of different sizes, pixels that
                these do not have, or an `out` that does not fit.
        """
        batch = listed_views(views)
        size = common_size(batch)
        places = _places(pixels, size)
        one = size if places is None else (len(places),)
        shape = one if isinstance(views, View) else (len(batch), *one)
        image = self.device.empty(shape) if out is None else require_out(self.device, out, shape)
        self._project(batch, image, places=places)
        return image

    def render_rows(self, view: View, rows: tuple[int, int], out: Any = None) -> Any:
        """Return rows of one view's image, bit-identical to those of the whole.

        Args:
            view: The whole view.
            rows: The first row and the one after the last.
            out: float32 array of the device to write into, shape (rows, width); None: a new one.

        Raises:
            InputError: Rows that the view does not have, or an `out` that does not fit.
        """
        first, stop = rows
        if not 0 <= first < stop <= view.height_px:
            raise InputError(f"rows must be a range within 0 to {view.height_px}, got {rows}")
        shape = (stop - first, view.width_px)
        image = self.device.empty(shape) if out is None else require_out(self.device, out, shape)
        self._project([view], image, rows=rows)
        return image

    def deferred(self, view: View) -> DeferredIntegrals:
        """One view for `fluoro.imaging.chain.ImageChain`: one kernel from the ray to the image.

        Args:
            view: One view.

        Returns:
            What the chain takes for line integrals. It computes them with IEEE arithmetic, as it
            does all, so that they differ from those of `render` by rounding.

        Raises:
            InputError: On the CPU, whose threads integrate packets of rays, or with "slab".
        """
        if self.device.rays_per_thread != 1 or self._rays.copies:
            what = self.projector if self._rays.copies else f"the {self.device.kind} device"
            raise InputError(
                f"{what} has no kernel from the ray to the image: use two (renderer.fused: false)"
            )
        reading = self._reading([view])
        views = self.device.to_device(pack_views([view], self.grid))
        return DeferredIntegrals(
            stage=line_integral_stage(reading.packet),
            uniforms={**reading.source, "views": views},
            shape=(view.height_px, view.width_px),
            render=partial(self.render, view),
        )

    def render_derivatives(
        self,
        view: View,
        motions: NDArray[np.float64],
        *,
        pixels: NDArray[np.integer] | None = None,
    ) -> tuple[Any, Any]:
        """Return line integrals and their exact derivatives with respect to the view.

        The derivative is that of the sum that is computed: sample positions and weights move with
        the ray, the number of samples is held.

        Args:
            view: Where the parameters are 0.
            motions: What each of K parameters does (fluoro.geometry.view_derivatives), shape
                (K, 4, 3).
            pixels: Row and column of each of P pixels, shape (P, 2); None: all.

        Returns:
            Line integrals, shape (height, width) or (P,), and derivatives per unit of each
            parameter, shape (K, height, width) or (K, P); float32 arrays of the device. The
            integrals are those of `render` to 3e-5 of the largest; they are not bit-identical.

        Raises:
            InputError: Motions of another shape, or not finite; pixels that the view has not.
        """
        motions = np.asarray(motions, float)
        if motions.ndim != 3 or motions.shape[1:] != (4, 3) or not np.isfinite(motions).all():
            raise InputError(f"motions must be finite and of shape (K, 4, 3), got {motions.shape}")
        places = _places(pixels, (view.height_px, view.width_px))
        shape = (view.height_px, view.width_px) if places is None else (len(places),)
        image, jacobian = self.device.empty(shape), self.device.empty((len(motions), *shape))
        self._rays.launch(
            JACOBIAN,
            self._rays.gradient_reading([view]),
            [view],
            places=places,
            integrals=image,
            jacobian=jacobian,
            motions=self.device.to_device(pack_motions(motions, self.grid)),
            parameter_count=len(motions),
        )
        return image, jacobian

    def render_jacobian(
        self,
        view: View,
        center_xyz_mm: ArrayLike,
        *,
        pixels: NDArray[np.integer] | None = None,
    ) -> tuple[Any, Any]:
        """Return line integrals and their derivatives by a rigid motion of source and detector.

        Args:
            view: Where the C-arm stands.
            center_xyz_mm: About which it turns, usually the isocentre, world LPS [mm].
            pixels: As for `render_derivatives`.

        Returns:
            Line integrals, shape (height, width) or (P,), and derivatives with respect to the
            twist (omega_x, omega_y, omega_z [1/rad], v_x, v_y, v_z [1/mm]) in world axes, shape
            (6, height, width) or (6, P).
        """
        motions = rigid_motions(view, center_xyz_mm)
        return self.render_derivatives(view, motions, pixels=pixels)

    def render_vjp(
        self,
        view: View,
        center_xyz_mm: ArrayLike,
        upstream: ArrayLike,
        *,
        pixels: NDArray[np.integer] | None = None,
    ) -> tuple[Any, NDArray[np.float64]]:
        """Return line integrals, and the derivative w.r.t. the twist of a function of them.

        Args:
            view: Where the C-arm stands.
            center_xyz_mm: About which it turns, world LPS [mm].
            upstream: Derivative with respect to each line integral, shape (height, width) or (P,).
            pixels: As for `render_derivatives`.

        Returns:
            Line integrals, of upstream's shape, and the derivative, shape (6,), float64.

        Raises:
            InputError: An upstream of another shape than the image's.
        """
        image, jacobian = self.render_jacobian(view, center_xyz_mm, pixels=pixels)
        weights = np.asarray(upstream, float)
        if weights.shape != image.shape:
            raise InputError(f"upstream must have shape {image.shape}, got {weights.shape}")
        by_twist = self.device.to_host(jacobian).reshape(len(jacobian), -1)
        return image, by_twist.astype(float) @ weights.ravel()

    def backproject(
        self,
        views: View | Sequence[View],
        upstream: Any,
        out: Any = None,
        *,
        pixels: NDArray[np.integer] | None = None,
    ) -> Any:
        """Return the derivative w.r.t. voxels of a function of line integrals: `render` transposed.

        Args:
            views: One view, or several of one size.
            upstream: Derivative with respect to each line integral, shape (height, width), or
                (N, height, width) for a batch; with `pixels` shape (P,) or (N, P); of the device,
                or on the host.
            out: float32 array of the device to add to, shape (z, y, x); None: zeros.
            pixels: As for `render`.

        Returns:
            `out`: derivatives with respect to the attenuation of each voxel [mm].

        Raises:
            InputError: An upstream or `out` that does not fit.
        """
        batch = listed_views(views)
        size = common_size(batch)
        places = _places(pixels, size)
        one = size if places is None else (len(places),)
        shape = one if isinstance(views, View) else (len(batch), *one)
        if not self.device.owns(upstream):
            upstream = self.device.to_device(np.asarray(upstream, np.float32))
        if upstream.shape != shape or upstream.dtype != np.float32:
            raise InputError(
                f"upstream must be float32 of shape {shape}, got {upstream.dtype} {upstream.shape}"
            )
        if out is None:
            out = self.device.to_device(np.zeros(self.grid.shape_zyx, np.float32))
        by_voxel = require_out(self.device, out, self.grid.shape_zyx)
        self._rays.launch(
            BACKPROJECT,
            self._rays.transposed_reading(),
            batch,
            places=places,
            upstream=upstream,
            by_voxel=by_voxel,
        )
        return out

    def make_copies(self, views: Sequence[View], device: ComputeDevice) -> None:
        """Make the copies from which these views are rendered, so that no image waits for them.

        Args:
            views: Any number, of any size.
            device: Runs the kernels: the renderer's, or another on the same arrays, also in another
                thread than the one that renders.
        """
        if self._rays.copies:
            self._rays.copies.make(views, device)

    def copies_bytes(self) -> int:
        """Memory of the copies that have been made for views so far [bytes]."""
        copies = {self._rays.copies, self._rays.gradient_copies} - {None}
        return sum(each.made_bytes() for each in copies if each)

    def _project(self, batch: Sequence[View], image: Any, **where: Any) -> None:
        self._rays.launch(PROJECT, self._reading(batch), batch, integrals=image, **where)

    def _reading(self, batch: Sequence[View]) -> Reading:
        if self._texture:
            return self._rays.textured_reading(self._texture)
        return self._rays.reading(batch)

    def _copies(self, volume: MuVolume, method: Projector) -> PackedVolume | None:
        """Where the projector needs them, and on the CPU where they fit."""
        copies = method.copies
        if copies is None or not (
            copies.needed or copies_fit(self.grid, self.device, Precision.ROOTS)
        ):
            return None
        mu = self._rays.values
        return PackedVolume(mu, volume.mu_zyx, self.grid, self.device, thickness=copies.planes)

    def _gradient_copies(self, volume: MuVolume, method: Projector) -> PackedVolume | None:
        """The same for derivatives: exact ones, where the projector can do without."""
        if method.copies is None or method.copies.needed:
            return self._rays.copies
        if not copies_fit(self.grid, self.device, Precision.ROOTS, Precision.EXACT):
            return None
        mu = self._rays.values
        return PackedVolume(
            mu, volume.mu_zyx, self.grid, self.device, thickness=1, precision=Precision.EXACT
        )


def checked_projector(volume: MuVolume, name: str, step_mm: float | None) -> Projector:
    """Return the projector of a name.

    Raises:
        InputError: An unknown projector, a step that does not fit, or too many voxels.
    """
    projector = PROJECTORS.get(name)
    if projector is None:
        raise InputError(f"projector must be one of {', '.join(PROJECTORS)}, got {name!r}")
    if step_mm is not None and not projector.steps:
        raise InputError(f"step_mm has no effect on projector {name!r}")
    if step_mm is not None and not (np.isfinite(step_mm) and step_mm > 0):
        raise InputError(f"step_mm must be a positive length, got {step_mm}")
    if volume.mu_zyx.size > MAX_VOXELS:
        raise InputError(
            f"the volume has {volume.mu_zyx.size} voxels, the renderer takes up to {MAX_VOXELS}: "
            "crop or resample it"
        )
    copies = projector.copies
    if copies and copies.needed and not can_be_packed(volume.grid.shape_xyz, copies.planes):
        raise InputError(
            f"the volume has {volume.mu_zyx.size} voxels, too many for projector {name!r}: use "
            "joseph or march, or crop or resample it"
        )
    return projector


def copies_fit(grid: VolumeGrid, device: ComputeDevice, *kinds: Precision) -> bool:
    """Whether copies that a projector can do without are to be made: on the CPU, where they fit.

    Args:
        grid: Of the volume.
        device: Where to render.
        kinds: Copies that may be made; all of them together must fit in half of the free memory.
    """
    shape, available = grid.shape_xyz, available_memory_bytes()
    needed = sum(packed_bytes(shape, 1, precision=kind) for kind in kinds)
    fit = available is None or 2 * needed <= available
    indexed = all(can_be_packed(shape, 1, precision=kind) for kind in kinds)
    return device.kind == "cpu" and indexed and fit


def _places(
    pixels: NDArray[np.integer] | None, size: tuple[int, int]
) -> NDArray[np.float32] | None:
    """Column and row of the pixels' centres, shape (P, 2).

    Raises:
        InputError: No pixel, or one that images of this height and width do not have.
    """
    if pixels is None:
        return None
    found = np.asarray(pixels)
    if found.ndim != 2 or found.shape[1:] != (2,) or not len(found) or found.dtype.kind not in "iu":
        raise InputError(
            "pixels must be rows and columns, whole numbers of shape (P, 2), "
            f"got {found.dtype} {found.shape}"
        )
    wrong = found[((found < 0) | (found >= size)).any(axis=1)]
    if len(wrong):
        raise InputError(
            f"pixels must lie in an image of {size[0]} rows and {size[1]} columns, "
            f"got {wrong[0].tolist()}"
        )
    return np.ascontiguousarray(found[:, ::-1] + 0.5, np.float32)


def listed_views(views: View | Sequence[View]) -> list[View]:
    """Return one view or several as a list.

    Raises:
        InputError: Something that is no view.
    """
    batch: list[View] = list(views) if isinstance(views, Iterable) else [views]
    for view in batch:
        require_type("view", view, View, "CarmGeometry.view")
    return batch


def common_size(views: Sequence[View]) -> tuple[int, int]:
    """Return the height and width of the views' images.

    Raises:
        InputError: No view, or views of different sizes.
    """
    sizes = {(view.height_px, view.width_px) for view in views}
    if len(sizes) != 1:
        raise InputError(f"views must be one or more of equal size, got sizes {sorted(sizes)}")
    return sizes.pop()
