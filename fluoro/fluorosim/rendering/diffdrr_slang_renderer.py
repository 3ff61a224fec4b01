"""fluorosim's renderer on top of fluoro's: a pose in, an image and its exact derivative out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.fluorosim.config import RealismSettings, XrayPhysics
from fluoro.fluorosim.intensity import Intensity
from fluoro.fluorosim.volume import require_three_axes, three
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View
from fluoro.geometry.se3 import rotation_x, rotation_z
from fluoro.geometry.view_derivatives import rigid_motions
from fluoro.lazy_names import lazy_names
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume

if TYPE_CHECKING:
    from fluoro.fluorosim.rendering.torch_drr import (
        SlangDiffDRRFunction,
        TorchSlangDiffDRR,
        create_slang_diffdrr_optimizer,
    )

__all__ = ["SlangDiffDRRConfig", "SlangDiffDRRRenderer", "render_diffdrr_slang"]

if find_spec("torch") is not None:
    __all__ += ["SlangDiffDRRFunction", "TorchSlangDiffDRR", "create_slang_diffdrr_optimizer"]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, _ = lazy_names(__name__)

Array = NDArray[np.float64]
Gradients = dict[str, Array]


@dataclass(frozen=True)
class SlangDiffDRRConfig:
    """Lengths, detector and display of a `SlangDiffDRRRenderer`.

    Attributes:
        det_height_px: Detector rows.
        det_width_px: Detector columns.
        pixel_spacing_mm: Distance between pixel centres [mm], > 0.
        source_to_detector_mm: Focal spot to detector [mm].
        source_to_isocenter_mm: Focal spot to isocentre [mm], less than the former.
        step_mm: Longest distance between samples along a ray [mm], > 0.
        i0: Intensity of the open field, > 0.
        normalize: I / i0 clipped to [0, 1]; else I.
        invert: Bone bright: 1 - that; without `normalize` i0 - I.
        eps: An i0 below it is divided by as if it were this; > 0.

    Raises:
        InputError: A value out of its range.
    """

    det_height_px: int = 512
    det_width_px: int = 512
    pixel_spacing_mm: float = 0.5
    source_to_detector_mm: float = 1020.0
    source_to_isocenter_mm: float = 510.0
    step_mm: float = 0.5
    i0: float = 1.0
    normalize: bool = True
    invert: bool = True
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if not self.eps > 0:
            raise InputError(f"eps must be more than 0, got {self.eps}")
        self.geometry, self.physics  # noqa: B018  (they say what is out of range)

    @property
    def geometry(self) -> CarmGeometry:
        """Lengths and detector."""
        return CarmGeometry(
            source_to_detector_mm=self.source_to_detector_mm,
            source_to_isocenter_mm=self.source_to_isocenter_mm,
            detector_width_px=self.det_width_px,
            detector_height_px=self.det_height_px,
            pixel_spacing_mm=self.pixel_spacing_mm,
        )

    @property
    def physics(self) -> XrayPhysics:
        """From attenuation to an image."""
        return XrayPhysics(self.step_mm, self.i0, self.normalize, self.invert)

    @property
    def open_field(self) -> float:
        """What a ray through nothing gives before it is inverted."""
        return self.i0 / max(self.i0, self.eps) if self.normalize else self.i0


DEFAULT = SlangDiffDRRConfig()
ORIGIN = (0.0, 0.0, 0.0)


class SlangDiffDRRRenderer:
    """Renders poses of one volume, with derivatives with respect to the pose.

    Args:
        mu_volume: Linear attenuation [1/mm], shape (z, y, x).
        spacing_zyx_mm: Distance between voxel centres along z, y and x [mm].
        cfg: Lengths, detector and display.
        grid: Where the voxels lie in the patient; None: `spacing_zyx_mm` along S, P and L. The
            isocentre is the centre of its box either way.
        geometry: A C-arm with more to it than `cfg` says (offset, tilt, flex); it counts instead.
        device: As `renderer.device` of the configuration, or a device that is open.

    Raises:
        InputError: A volume or a spacing that cannot be rendered.
        DeviceError: The device is not there.
    """

    def __init__(
        self,
        mu_volume: NDArray[Any],
        spacing_zyx_mm: tuple[float, float, float],
        cfg: SlangDiffDRRConfig = DEFAULT,
        *,
        grid: VolumeGrid | None = None,
        geometry: CarmGeometry | None = None,
        device: str | ComputeDevice = "auto",
    ) -> None:
        require_three_axes(mu_volume)
        mu_zyx = np.ascontiguousarray(mu_volume, np.float32)
        volume = MuVolume(mu_zyx=mu_zyx, grid=grid or _grid(mu_zyx, spacing_zyx_mm))
        self._cfg = cfg
        self._geometry = geometry or cfg.geometry
        self._center = volume.grid.center_xyz_mm
        self._device = open_device(device) if isinstance(device, str) else device
        self._renderer = DrrRenderer(volume, self._device, step_mm=cfg.step_mm)

    @property
    def config(self) -> SlangDiffDRRConfig:
        """Lengths, detector and display."""
        return self._cfg

    @property
    def device(self) -> ComputeDevice:
        """Where it renders."""
        return self._device

    @property
    def volume_shape_zyx(self) -> tuple[int, int, int]:
        """Voxels along z, y and x."""
        return self._renderer.grid.shape_zyx

    @property
    def spacing_xyz(self) -> tuple[float, float, float]:
        """Distance between voxel centres along x, y and z [mm]."""
        return self._renderer.grid.spacing_xyz_mm

    def render(
        self, rotation: ArrayLike = ORIGIN, translation: ArrayLike = ORIGIN
    ) -> NDArray[np.float32]:
        """Return the image of a pose, or of several.

        Args:
            rotation: Angles (cranial, LAO, roll) [rad], shape (3,) or (N, 3).
            translation: Shift of the C-arm in world LPS [mm], of the same shape.

        Returns:
            Shape (height, width) or (N, height, width), float32; in [0, 1] with `normalize`.

        Raises:
            InputError: Poses of another shape, or not finite.
        """
        several = np.ndim(rotation) > 1 or np.ndim(translation) > 1
        rotations, translations = _poses(rotation, translation)
        images = [
            self._device.to_host(self.render_on_device(*pose))
            for pose in zip(rotations, translations, strict=True)
        ]
        return np.stack(images) if several else np.asarray(images[0])

    def render_on_device(
        self,
        rotation: ArrayLike,
        translation: ArrayLike,
        realism: RealismSettings | None = None,
        *,
        seed: int = 0,
        frame_idx: int = 0,
    ) -> Any:
        """As `render`, left on the device, with the detector's noise where `realism` is given.

        Args:
            rotation: Angles (cranial, LAO, roll) [rad], shape (3,).
            translation: Shift of the C-arm in world LPS [mm], shape (3,).
            realism: What the detector does, before the image is inverted.
            seed: Of the noise.
            frame_idx: Selects the noise.

        Returns:
            Shape (height, width), float32: a CuPy array on CUDA.

        Raises:
            InputError: A pose that is not finite.
        """
        integrals = self._renderer.render(self.view(rotation, translation))
        intensity = Intensity(self._device, integrals, self._cfg.open_field)
        if realism is not None:
            intensity.detect(realism, seed, frame_idx)
        intensity.show(normalize=self._cfg.normalize, invert=self._cfg.invert)
        return intensity.image

    def view(self, rotation: ArrayLike, translation: ArrayLike) -> View:
        """Return the source and detector in world LPS [mm] at a pose.

        Args:
            rotation: Angles (cranial, LAO, roll) [rad], shape (3,).
            translation: Shift of the C-arm in world LPS [mm], shape (3,).

        Raises:
            InputError: A pose that is not finite.
        """
        return self._geometry.view(_carm_pose(rotation, translation), self._center.tolist())

    def render_with_gradients(
        self, rotation: ArrayLike, translation: ArrayLike, grad_output: ArrayLike | None = None
    ) -> tuple[NDArray[np.float32], Gradients]:
        """Return the image, and the derivative of a function of it by the pose.

        The derivative is exact: of what is computed, through Beer-Lambert, normalising and
        inverting.

        Args:
            rotation: Angles (cranial, LAO, roll) [rad], shape (3,).
            translation: Shift of the C-arm in world LPS [mm], shape (3,).
            grad_output: Derivative of a function with respect to each pixel, shape (height,
                width); None: ones, for the derivative of the image's sum.

        Returns:
            The image as `render` gives it (to rounding), and "rotation" [1/rad] and
            "translation" [1/mm], each of shape (3,), float64.

        Raises:
            InputError: A `grad_output` of another shape, or a C-arm with flex.
        """
        intensity, gradient = self._derivative(rotation, translation, grad_output)
        intensity.show(normalize=self._cfg.normalize, invert=self._cfg.invert)
        image: NDArray[np.float32] = self._device.to_host(intensity.image)
        return image, {"rotation": gradient[:3], "translation": gradient[3:]}

    def _derivative(
        self, rotation: ArrayLike, translation: ArrayLike, grad_output: Any
    ) -> tuple[Intensity, Array]:
        """Return intensity and derivative with respect to (rotation, translation), shape (6,)."""
        if self._geometry.flex is not None:
            raise InputError("flex must be None where gradients are requested, got a table")
        view = self.view(rotation, translation)
        upstream = self._upstream(grad_output, (view.height_px, view.width_px))
        motions = pose_motions(view, rotation, self._center + np.asarray(translation, float))
        integrals, jacobian = self._renderer.render_derivatives(view, motions)
        intensity = Intensity(self._device, integrals, self._cfg.open_field)
        slope = self._usable(intensity.image)
        slope = slope * (slope <= self._cfg.open_field)  # what is clipped does not move
        weights = (slope if self._cfg.invert else -slope) * upstream
        gradient = np.tensordot(
            self._usable(jacobian).astype(float), weights.astype(float), axes=2
        )  # fmt: skip
        on_host = isinstance(gradient, np.ndarray)
        return intensity, gradient if on_host else self._device.to_host(gradient)

    def _usable(self, array: Any) -> Any:
        """Where NumPy's functions can work on it: where it lies (CPU, CUDA), or on the host."""
        return array if hasattr(array, "__array_function__") else self._device.to_host(array)

    def _upstream(self, grad_output: Any, shape: tuple[int, int]) -> Any:
        if grad_output is None:
            grad_output = np.ones(shape, np.float32)
        elif not self._device.owns(grad_output):
            grad_output = np.asarray(grad_output)
        if grad_output.shape != shape:
            raise InputError(f"grad_output must have shape {shape}, got {grad_output.shape}")
        on_gpu = self._device.kind == "cuda"
        return self._device.to_device(grad_output) if on_gpu else self._usable(grad_output)

    def close(self) -> None:
        """Give back what the device holds."""
        self._device.close()

    def __repr__(self) -> str:
        return (
            f"SlangDiffDRRRenderer(volume_shape_zyx={self.volume_shape_zyx}, "
            f"detector={self._geometry.detector_height_px}x{self._geometry.detector_width_px}, "
            f"device={self._device.name!r})"
        )


def pose_motions(view: View, rotation: ArrayLike, center_xyz_mm: ArrayLike) -> Array:
    """How a view moves with the few-line API's pose, shape (6, 4, 3): three angles, three shifts.

    With world_from_carm = T(center) Rz(a) Rx(-b) Ry(r), a growing angle turns the C-arm about the
    axes -Rz(a) x (b, cranial), z (a, LAO) and Rz(a) Rx(-b) y (r, roll) through `center_xyz_mm`.
    """
    cranial, lao, _ = np.asarray(rotation, float)
    after_lao = rotation_z(lao)[:3, :3]
    after_both = after_lao @ rotation_x(-cranial)[:3, :3]
    axes = np.stack([-after_lao[:, 0], [0.0, 0.0, 1.0], after_both[:, 1]])
    rigid = rigid_motions(view, center_xyz_mm)
    return np.concatenate([np.tensordot(axes, rigid[:3], axes=1), rigid[3:]])


def render_diffdrr_slang(
    mu_volume: NDArray[Any],
    spacing_zyx_mm: tuple[float, float, float],
    rotation: ArrayLike = ORIGIN,
    translation: ArrayLike = ORIGIN,
    cfg: SlangDiffDRRConfig = DEFAULT,
) -> NDArray[np.float32]:
    """Return one image of one volume; for more keep a `SlangDiffDRRRenderer`.

    Args:
        mu_volume: Linear attenuation [1/mm], shape (z, y, x).
        spacing_zyx_mm: Distance between voxel centres along z, y and x [mm].
        rotation: Angles (cranial, LAO, roll) [rad].
        translation: Shift of the C-arm in world LPS [mm].
        cfg: Lengths, detector and display.

    Returns:
        Shape (height, width), float32.
    """
    return SlangDiffDRRRenderer(mu_volume, spacing_zyx_mm, cfg).render(rotation, translation)


def _grid(mu_zyx: NDArray[Any], spacing_zyx_mm: tuple[float, float, float]) -> VolumeGrid:
    z, y, x = three("spacing_zyx_mm", spacing_zyx_mm)
    return VolumeGrid(shape_zyx=mu_zyx.shape, spacing_xyz_mm=(x, y, z))


def _poses(rotation: ArrayLike, translation: ArrayLike) -> tuple[Array, Array]:
    """Both as (N, 3)."""
    found = []
    for name, values in (("rotation", rotation), ("translation", translation)):
        array = np.atleast_2d(np.asarray(values, float))
        if array.ndim != 2 or array.shape[1] != 3:
            raise InputError(f"{name} must have shape (3,) or (N, 3), got {np.shape(values)}")
        found.append(array)
    try:
        rotations, translations = np.broadcast_arrays(*found)
    except ValueError:
        raise InputError(
            f"rotation and translation must be as many, got {len(found[0])} and {len(found[1])}"
        ) from None
    return rotations, translations


def _carm_pose(rotation: ArrayLike, translation: ArrayLike) -> CarmPose:
    cranial, lao, roll = np.degrees(three("rotation", rotation)).tolist()
    x, y, z = three("translation", translation)
    return CarmPose(lao_deg=lao, cra_deg=cranial, roll_deg=roll, translation_mm=(x, y, z))
