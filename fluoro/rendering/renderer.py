"""The DRR renderer: line integrals of a volume for views, on a compute device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.geometry.view_derivatives import rigid_motions
from fluoro.names import Projector
from fluoro.rendering.array_checks import require_out
from fluoro.rendering.deferred_integrals import UnrenderedIntegrals
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.packed_volume import CellCopies, bytes_of_cells, fits_in_cells
from fluoro.rendering.packing import pack_motions, pack_views, x_never_leads
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.host_memory import available_memory_bytes
from fluoro.volume.volumes import MuVolume

__all__ = [
    "EXACT",
    "DrrRenderer",
    "check_volume",
    "common_size",
    "copies_serve_joseph",
    "readable_in_pairs",
]

PROJECTORS = get_args(Projector)
SLAB_PLANES = {"joseph": 1, "slab": 2}
"""Voxel planes that one sample stands for."""
MAX_VOXELS = 2**31 - 1
"""Kernels index voxels with 32-bit integers."""
ROOTS, EXACT = False, True
"""Kinds of copies: of 16 bits a voxel, and of the voxels themselves (packed_volume.py)."""

Size = tuple[int, int, int]
"""Columns, rows and views of a batch of pictures."""


class DrrRenderer:
    """Integrates attenuation along the rays of cone-beam views.

    A ray counts from the source to its pixel's centre and inside the volume's support (its voxel
    faces); between the outermost voxel centre and the face the edge value holds.

    Args:
        volume: Attenuation [1/mm]; on the CPU it is read in place, also from a memory map. Pictures
            of Joseph on the CPU and all of slab come from copies, of 4 (slab: 2) bytes a voxel for
            each axis that leads a ray of some view so far; a voxel is held to 2 / 65535 of the
            largest or closer. Derivatives of Joseph on the CPU, and the pictures that come with
            them, are taken from exact copies of their own, of 4 bytes a voxel for each such axis.
            Where all that it may make would not fit in half of the memory left, Joseph reads in
            place, for derivatives first.
        device: Where to render.
        projector: "march" samples the trilinear interpolant at equal steps fitted to each ray's
            path; "joseph" takes one bilinear sample a voxel plane, "slab" one for each two planes,
            from their mean; "siddon" takes voxels as constant.
        step_mm: Longest step of "march" [mm]; None: half the smallest voxel edge.
        texture: Whether a GPU's texture units interpolate the pictures of "march", NVIDIA's with
            weights of 8 bits. It takes a copy of 4 bytes a voxel. Derivatives do not use it.

    Raises:
        InputError: Unknown projector, a step that is not positive or given to another projector
            than "march", or too many voxels: more than 2^31 - 1, for slab than a third of them; a
            texture with another projector, on the CPU, or larger than the device takes.
    """

    def __init__(
        self,
        volume: MuVolume,
        device: ComputeDevice,
        *,
        projector: Projector = "march",
        step_mm: float | None = None,
        texture: bool = False,
    ) -> None:
        check_volume(volume, projector, step_mm)
        if texture and projector != "march":
            raise InputError(f"texture has no effect on projector {projector!r}")
        self.device = device
        self.grid = volume.grid
        self.projector = projector
        self.step_mm = step_mm or min(volume.grid.spacing_xyz_mm) / 2
        self._mu = device.to_device(readable_in_pairs(volume.mu_zyx))
        self._cells = self._copies(volume)
        self._exact_cells = self._exact_copies(volume)
        self._texture = device.texture(volume.mu_zyx) if texture else None

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        """Return the renderer itself: nothing about it changes, and its volume may be large."""
        return self

    def render(self, views: View | Sequence[View], out: Any = None) -> Any:
        """Line integrals (dimensionless) of one view or a batch.

        Args:
            views: One view, or several with the same number of pixels.
            out: float32 array of the device to write into, shape (height, width), or
                (N, height, width) for a batch; None: a new one.

        Returns:
            `out`; on the CPU a NumPy array, on CUDA a CuPy array.

        Raises:
            InputError: No view, views of different sizes, or an `out` that does not fit.
        """
        batch = [views] if isinstance(views, View) else list(views)
        height, width = common_size(batch)
        shape = (height, width) if isinstance(views, View) else (len(batch), height, width)
        image = self.device.empty(shape) if out is None else require_out(self.device, out, shape)
        self._project(batch, image, (width, height, len(batch)), 0)
        return image

    def render_rows(self, view: View, rows: tuple[int, int], out: Any = None) -> Any:
        """Some rows of one view's picture, to the bit those of the whole.

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
        self._project([view], image, (view.width_px, stop - first, 1), first)
        return image

    def unrendered(self, view: View) -> UnrenderedIntegrals:
        """One view for `fluoro.imaging.chain.ImageChain`: one kernel from the ray to the picture.

        Args:
            view: One view.

        Returns:
            What the chain takes for line integrals. It computes them with IEEE arithmetic, as it
            does all, so that they differ from those of `render` by rounding.

        Raises:
            InputError: On the CPU, whose threads integrate packets of rays, or with "slab".
        """
        if self.device.rays_per_thread != 1 or self.projector == "slab":
            what = "slab" if self.projector == "slab" else f"the {self.device.kind} device"
            raise InputError(
                f"{what} has no kernel from the ray to the picture: use two (renderer.fused: false)"
            )
        uniforms = {
            **(self._texture or {"mu_per_mm": self._mu}),
            **self._shared([view], (view.width_px, view.height_px, 1)),
            "step_mm": float(self.step_mm),
        }
        del uniforms["image_size"]
        return UnrenderedIntegrals(
            stage=f"line_integral_{'texture' if self._texture else self.projector}",
            uniforms=uniforms,
            shape=(view.height_px, view.width_px),
            render=partial(self.render, view),
        )

    def render_derivatives(self, view: View, motions: NDArray[np.float64]) -> tuple[Any, Any]:
        """Line integrals and their exact derivatives by parameters of the view.

        The derivative is that of the sum that is computed: sample positions and weights move with
        the ray, the number of samples is held.

        Args:
            view: Where the parameters are 0.
            motions: What each of K parameters does (fluoro.geometry.view_derivatives), shape
                (K, 4, 3).

        Returns:
            Line integrals, shape (height, width), and derivatives per unit of each parameter,
            shape (K, height, width); float32 arrays of the device. The integrals are those of
            `render` to 3e-5 of the largest, not to the bit.

        Raises:
            InputError: Motions of another shape, or not finite.
        """
        motions = np.asarray(motions, float)
        if motions.ndim != 3 or motions.shape[1:] != (4, 3) or not np.isfinite(motions).all():
            raise InputError(f"motions must be finite and of shape (K, 4, 3), got {motions.shape}")
        shape = (view.height_px, view.width_px)
        image, jacobian = self.device.empty(shape), self.device.empty((len(motions), *shape))
        cells = self._cells if self.projector == "slab" else self._exact_cells
        in_copies = "jacobian_cells" if self.projector == "slab" else "jacobian_exact_cells"
        self._launch(
            "drr_cells_jacobian" if cells else "drr_jacobian",
            in_copies if cells else f"jacobian_{self.projector}",
            [view],
            (view.width_px, view.height_px, 1),
            cells,
            integrals=image,
            jacobian=jacobian,
            motions=self.device.to_device(pack_motions(motions, self.grid)),
            parameter_count=len(motions),
        )
        return image, jacobian

    def render_jacobian(self, view: View, center_xyz_mm: ArrayLike) -> tuple[Any, Any]:
        """Line integrals and their derivatives by a rigid motion of source and detector.

        Args:
            view: Where the C-arm stands.
            center_xyz_mm: About which it turns, usually the isocentre, world LPS [mm].

        Returns:
            Line integrals, shape (height, width), and derivatives by the twist (omega_x, omega_y,
            omega_z [1/rad], v_x, v_y, v_z [1/mm]) in world axes, shape (6, height, width).
        """
        return self.render_derivatives(view, rigid_motions(view, center_xyz_mm))

    def render_vjp(
        self, view: View, center_xyz_mm: ArrayLike, upstream: ArrayLike
    ) -> tuple[Any, NDArray[np.float64]]:
        """Line integrals, and the derivative by the twist of a function of them.

        Args:
            view: Where the C-arm stands.
            center_xyz_mm: About which it turns, world LPS [mm].
            upstream: The function's derivative by each line integral, shape (height, width).

        Returns:
            Line integrals, shape (height, width), and the derivative, shape (6,), float64.

        Raises:
            InputError: An upstream of another shape than the picture's.
        """
        image, jacobian = self.render_jacobian(view, center_xyz_mm)
        weights = np.asarray(upstream, float)
        if weights.shape != (view.height_px, view.width_px):
            wanted = (view.height_px, view.width_px)
            raise InputError(f"upstream must have shape {wanted}, got {weights.shape}")
        return image, np.tensordot(self.device.to_host(jacobian), weights, axes=2)

    def backproject(self, views: View | Sequence[View], upstream: Any, out: Any = None) -> Any:
        """The derivative by each voxel of a function of the line integrals: `render` transposed.

        Args:
            views: One view, or several of one size.
            upstream: The function's derivative by each line integral, shape (height, width), or
                (N, height, width) for a batch; of the device, or on the host.
            out: float32 array of the device to add to, shape (z, y, x); None: zeros.

        Returns:
            `out`: derivatives by the attenuation of each voxel [mm].

        Raises:
            InputError: An upstream or `out` that does not fit.
        """
        batch = [views] if isinstance(views, View) else list(views)
        height, width = common_size(batch)
        shape = (height, width) if isinstance(views, View) else (len(batch), height, width)
        if not self.device.owns(upstream):
            upstream = self.device.to_device(np.asarray(upstream, np.float32))
        if upstream.shape != shape or upstream.dtype != np.float32:
            raise InputError(
                f"upstream must be float32 of shape {shape}, got {upstream.dtype} {upstream.shape}"
            )
        if out is None:
            out = self.device.to_device(np.zeros(self.grid.shape_zyx, np.float32))
        self.device.launch(
            "drr_backproject",
            f"backproject_{self.projector}",
            (width, height, len(batch)),
            {
                **self._shared(batch, (width, height, len(batch))),
                "step_mm": float(self.step_mm),
                "slab_planes": SLAB_PLANES.get(self.projector, 1),
                "upstream": upstream,
                "by_voxel": require_out(self.device, out, self.grid.shape_zyx),
            },
        )
        return out

    def copies_bytes(self) -> int:
        """Memory of the copies that have been made for views so far [bytes]."""
        return sum(each.made_bytes() for each in (self._cells, self._exact_cells) if each)

    def _project(self, batch: Sequence[View], image: Any, image_size: Size, first_row: int) -> None:
        if self._texture:
            self._project_texture(batch, image, image_size, first_row)
            return
        cells = self._cells
        self._launch(
            "drr_cells" if cells else "drr",
            "project_cells" if cells else f"project_{self._variant(batch)}",
            batch,
            image_size,
            cells,
            integrals=image,
            first_row=first_row,
        )

    def _project_texture(
        self, batch: Sequence[View], image: Any, image_size: Size, first_row: int
    ) -> None:
        self.device.launch(
            "drr_texture",
            "project_texture",
            image_size,
            {
                **(self._texture or {}),
                **self._shared(batch, image_size),
                "integrals": image,
                "first_row": first_row,
                "step_mm": float(self.step_mm),
            },
        )

    def _launch(
        self,
        module: str,
        entry: str,
        batch: Sequence[View],
        image_size: Size,
        cells: CellCopies | None,
        **uniforms: Any,
    ) -> None:
        columns, rows, layers = image_size
        threads = (-(-columns // self.device.rays_per_thread), rows, layers)
        volume = (
            {"mu_per_mm": self._mu, "step_mm": float(self.step_mm)}
            if cells is None
            else cells.uniforms(batch)
        )
        values = {**volume, **self._shared(batch, image_size), **uniforms}
        self.device.launch(module, entry, threads, values)

    def _variant(self, batch: Sequence[View]) -> str:
        """The projector's fastest kernel for the views."""
        pairs = self.projector == "joseph" and self.grid.shape_xyz[0] > 1
        if pairs and all(x_never_leads(view, self.grid) for view in batch):
            return "joseph_across"
        return self.projector

    def _shared(self, batch: Sequence[View], image_size: Size) -> dict[str, Any]:
        """The uniforms that all entry points have."""
        return {
            "size": self.grid.shape_xyz,
            "spacing_mm": tuple(float(edge) for edge in self.grid.spacing_xyz_mm),
            "views": self.device.to_device(pack_views(batch, self.grid)),
            "image_size": image_size,
        }

    def _copies(self, volume: MuVolume) -> CellCopies | None:
        """For slab, and for Joseph on the CPU where they fit."""
        planes = SLAB_PLANES.get(self.projector)
        serve = self.projector != "joseph" or copies_serve_joseph(self.grid, self.device, ROOTS)
        if planes is None or not serve:
            return None
        return CellCopies(self._mu, volume.mu_zyx, self.grid, self.device, thickness=planes)

    def _exact_copies(self, volume: MuVolume) -> CellCopies | None:
        """For Joseph's derivatives on the CPU, where they fit."""
        if self.projector != "joseph" or not copies_serve_joseph(
            self.grid, self.device, ROOTS, EXACT
        ):
            return None
        return CellCopies(self._mu, volume.mu_zyx, self.grid, self.device, thickness=1, exact=True)


def check_volume(volume: MuVolume, projector: str, step_mm: float | None) -> None:
    """Refuse what no renderer takes: see `DrrRenderer`.

    Raises:
        InputError: An unknown projector, a step that does not fit, or too many voxels.
    """
    if projector not in PROJECTORS:
        raise InputError(f"projector must be one of {', '.join(PROJECTORS)}, got {projector!r}")
    if step_mm is not None and projector != "march":
        raise InputError(f"step_mm has no effect on projector {projector!r}")
    if step_mm is not None and not (np.isfinite(step_mm) and step_mm > 0):
        raise InputError(f"step_mm must be a positive length, got {step_mm}")
    if volume.mu_zyx.size > MAX_VOXELS:
        raise InputError(
            f"the volume has {volume.mu_zyx.size} voxels, the renderer takes up to {MAX_VOXELS}: "
            "crop or resample it"
        )
    if projector == "slab" and not fits_in_cells(volume.grid.shape_xyz, SLAB_PLANES["slab"]):
        raise InputError(
            f"the volume has {volume.mu_zyx.size} voxels, too many for projector 'slab': use "
            "joseph or march, or crop or resample it"
        )


def copies_serve_joseph(grid: VolumeGrid, device: ComputeDevice, *kinds: bool) -> bool:
    """Whether Joseph's method is to read copies: on the CPU, where they fit.

    Args:
        grid: Of the volume.
        device: Where to render.
        kinds: What may be made, each `ROOTS` or `EXACT`; all of it is to fit in half of the memory
            left.
    """
    shape, available = grid.shape_xyz, available_memory_bytes()
    needed = sum(bytes_of_cells(shape, 1, exact=exact) for exact in kinds)
    fit = available is None or 2 * needed <= available
    indexed = all(fits_in_cells(shape, 1, exact=exact) for exact in kinds)
    return device.kind == "cpu" and indexed and fit


def readable_in_pairs(mu_zyx: NDArray[np.float32]) -> NDArray[np.float32]:
    """The voxels, with one more behind the last where a voxel has no neighbour along x."""
    return mu_zyx if mu_zyx.shape[2] > 1 else np.append(mu_zyx, np.float32(0))


def common_size(views: Sequence[View]) -> tuple[int, int]:
    """Height and width of the views' pictures.

    Raises:
        InputError: No view, or views of different sizes.
    """
    sizes = {(view.height_px, view.width_px) for view in views}
    if len(sizes) != 1:
        raise InputError(f"views must be one or more of equal size, got sizes {sorted(sizes)}")
    return sizes.pop()
