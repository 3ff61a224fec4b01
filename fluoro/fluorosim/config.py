"""Settings of the few-line API, under fluorosim's names and with its defaults.

Unlike elsewhere in fluoro they may be given by position, as fluorosim's scripts do. They are
importable from `fluoro` and from `fluoro.config`.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from fluoro.errors import InputError

__all__ = [
    "CarmGeometry",
    "FrameFormat",
    "HuToMuCalibration",
    "HuToMuMapping",
    "MetricsSettings",
    "OutputSettings",
    "PreprocessingSettings",
    "RealismSettings",
    "SimulatorConfig",
    "XrayPhysics",
    "require_format",
    "require_number",
    "require_order",
]

FrameFormat = Literal["png", "npy", "npz"]
"""Of a saved frame."""
FORMATS = get_args(FrameFormat)


@dataclass(frozen=True)
class CarmGeometry:
    """A C-arm's lengths and its flat detector.

    `fluoro.geometry.carm.CarmGeometry` has a detector's offset, tilt and flex besides, and may
    stand wherever this one may.

    Attributes:
        source_to_detector_mm: Focal spot to detector [mm], > 0 (DICOM's SID).
        source_to_isocenter_mm: Focal spot to isocentre [mm], > 0 and less than the former.
        detector_width_px: Detector columns, >= 1.
        detector_height_px: Detector rows, >= 1.
        pixel_spacing_mm: Distance between pixel centres [mm], > 0.

    Raises:
        InputError: A length or count that no C-arm has.
    """

    source_to_detector_mm: float = 1020.0
    source_to_isocenter_mm: float = 510.0
    detector_width_px: int = 512
    detector_height_px: int = 512
    pixel_spacing_mm: float = 0.5

    def __post_init__(self) -> None:
        for each in fields(CarmGeometry):
            require_number(each.name, getattr(self, each.name), above=0)
        _require_whole("detector_width_px", self.detector_width_px)
        _require_whole("detector_height_px", self.detector_height_px)
        if self.source_to_isocenter_mm >= self.source_to_detector_mm:
            raise InputError(
                f"source_to_isocenter_mm must be less than source_to_detector_mm "
                f"({self.source_to_detector_mm}), got {self.source_to_isocenter_mm}"
            )

    @property
    def detector_size_mm(self) -> tuple[float, float]:
        """Width and height of the detector [mm]."""
        return (
            self.detector_width_px * self.pixel_spacing_mm,
            self.detector_height_px * self.pixel_spacing_mm,
        )


@dataclass(frozen=True)
class XrayPhysics:
    """From attenuation to an image.

    Attributes:
        step_mm: Longest distance between samples along a ray [mm], > 0.
        i0: Intensity of the open field, > 0.
        normalize: I / i0 clipped to [0, 1]; else I. Never by a frame's own extremes.
        invert: Bone bright: 1 - that; without `normalize` i0 - I.

    Raises:
        InputError: A step or an intensity that is not positive.
    """

    step_mm: float = 0.5
    i0: float = 1.0
    normalize: bool = True
    invert: bool = True

    def __post_init__(self) -> None:
        require_number("step_mm", self.step_mm, above=0)
        require_number("i0", self.i0, above=0)


@dataclass(frozen=True)
class HuToMuMapping:
    """A straight line from CT numbers to attenuation, flat beyond its ends.

    Attributes:
        hu_min: CT number of `mu_min` [HU], less than `hu_max`.
        hu_max: CT number of `mu_max` [HU].
        mu_min: Attenuation at and below `hu_min` [1/mm], >= 0.
        mu_max: Attenuation at and above `hu_max` [1/mm], more than `mu_min`.

    Raises:
        InputError: Ends in another order.
    """

    hu_min: float = -1000.0
    hu_max: float = 3000.0
    mu_min: float = 0.0
    mu_max: float = 0.02

    def __post_init__(self) -> None:
        require_number("mu_min", self.mu_min)
        require_order("hu_min", self.hu_min, "hu_max", self.hu_max)
        require_order("mu_min", self.mu_min, "mu_max", self.mu_max)


@dataclass(frozen=True)
class HuToMuCalibration:
    """Straight lines from air to water and from water to cortical bone, and on beyond it.

        mu = mu_water (1 + HU / 1000)                               up to water, never below 0
        mu = mu_water + HU (mu_bone - mu_water) / hu_bone_anchor    above

    Attributes:
        reference_energy_kev: Photon energy at which water and bone are taken, 20 to 150 [keV].
        hu_bone_anchor: CT number of cortical bone in this CT [HU], > 0.
        mu_water_override_mm_inv: Attenuation of water [1/mm], > 0; None: by the energy.
        mu_bone_override_mm_inv: Attenuation of cortical bone [1/mm], > 0; None: by the energy.

    Raises:
        InputError: A value that is not positive.
    """

    reference_energy_kev: float = 60.0
    hu_bone_anchor: float = 1500.0
    mu_water_override_mm_inv: float | None = None
    mu_bone_override_mm_inv: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None:
                require_number(name, value, above=0)

    @property
    def mu_water_mm_inv(self) -> float:
        """Attenuation of water that the settings come to [1/mm].

        Raises:
            InputError: An energy outside 20 to 150 keV, where it is needed.
        """
        return _anchors_per_mm(self)[0]

    @property
    def mu_bone_mm_inv(self) -> float:
        """Attenuation of cortical bone that the settings come to [1/mm].

        Raises:
            InputError: An energy outside 20 to 150 keV, where it is needed.
        """
        return _anchors_per_mm(self)[1]


def _anchors_per_mm(calibration: HuToMuCalibration) -> tuple[float, float]:
    from fluoro.fluorosim.calibration import anchors_per_mm  # when asked: settings load nothing

    return anchors_per_mm(calibration)


@dataclass(frozen=True)
class RealismSettings:
    """What a detector does to the intensity, before it is inverted for display.

    In this order: gain and bias, quantum noise, electronic noise, blur. The unit of intensity is
    the open field's where `XrayPhysics.normalize`, else that of `XrayPhysics.i0`.

    Attributes:
        enabled: Switches all of it on.
        gain: Multiplies the intensity, > 0.
        bias: Is added after the gain.
        poisson_photons: Photons per pixel at intensity 1; 0: no quantum noise.
        gaussian_sigma: Standard deviation of the electronic noise; 0: none.
        blur_sigma_px: Gaussian sigma of the blur [pixels]; 0: none.
        seed: Of the noise, 0 to 2**63 - 1: each frame has its own noise, each run the same one.
            None: drawn for each simulator.

    Raises:
        InputError: A value out of its range.
    """

    enabled: bool = False
    gain: float = 1.0
    bias: float = 0.0
    poisson_photons: float = 0.0
    gaussian_sigma: float = 0.0
    blur_sigma_px: float = 0.0
    seed: int | None = 0

    gain_above: ClassVar[float | None] = 0.0
    """What the gain must be more than; None: it may be 0."""

    def __post_init__(self) -> None:
        require_number("gain", self.gain, above=self.gain_above)
        for name in ("poisson_photons", "gaussian_sigma", "blur_sigma_px"):
            require_number(name, getattr(self, name))
        if not _is_finite(self.bias):
            raise InputError(f"bias must be a finite number, got {self.bias!r}")
        if self.seed is not None:
            _require_whole("seed", self.seed)
            if not 0 <= self.seed < 2**63:
                raise InputError(f"seed must lie in [0, 2**63), got {self.seed}")


@dataclass(frozen=True)
class OutputSettings:
    """What becomes of frames besides being returned.

    Attributes:
        save_to_disk: Write each frame as `frame_0000.png`, `frame_0001.png` ... to `output_dir`.
        output_dir: Folder; it is made.
        format: "png" (8-bit grey), "npy" (float32) or "npz" (float32 and the pose).
        keep_in_gpu: Leave `Frame.image` on the GPU: a CuPy array. Without CUDA it is NumPy's.

    Raises:
        InputError: Another format, or saving without a folder.
    """

    save_to_disk: bool = False
    output_dir: str | Path | None = None
    format: FrameFormat = "png"
    keep_in_gpu: bool = False

    def __post_init__(self) -> None:
        require_format(self.format)
        if self.save_to_disk and self.output_dir is None:
            raise InputError("output_dir must be a folder where save_to_disk is on, got None")


@dataclass(frozen=True)
class MetricsSettings:
    """Which figures `FluoroSimulator.get_metrics` gives.

    Attributes:
        enabled: Take the switches below into account; else rate, times and jitter are given and
            the GPU is not asked.
        track_fps: Frame rate and frame times.
        track_gpu_usage: The GPU's memory and utilisation.
        track_jitter: Standard deviation of the frame times.
    """

    enabled: bool = False
    track_fps: bool = True
    track_gpu_usage: bool = True
    track_jitter: bool = True


@dataclass(frozen=True)
class PreprocessingSettings:
    """From a CT to attenuation.

    Attributes:
        hu_clip_min: Lower CT numbers become this one [HU].
        hu_clip_max: Higher CT numbers become this one [HU].
        clip_hu: Whether they do.
        hu_to_mu: From CT numbers to attenuation: a straight line, or one through water and bone.

    Raises:
        InputError: Clipping ends in another order.
    """

    hu_clip_min: float = -1024.0
    hu_clip_max: float = 3071.0
    clip_hu: bool = True
    hu_to_mu: HuToMuMapping | HuToMuCalibration = field(default_factory=HuToMuMapping)

    def __post_init__(self) -> None:
        require_order("hu_clip_min", self.hu_clip_min, "hu_clip_max", self.hu_clip_max)


@dataclass(frozen=True)
class SimulatorConfig:
    """All settings of a `FluoroSimulator`; changed by a copy (`with_geometry` ...).

    Attributes:
        geometry: Lengths and detector.
        physics: From attenuation to an image.
        realism: Noise and blur.
        output: What becomes of frames.
        metrics: Which figures are given.
        backend: "slang", the only one.

    Raises:
        InputError: Another backend.
        TypeError: A section of another type.
    """

    geometry: CarmGeometry = field(default_factory=CarmGeometry)
    physics: XrayPhysics = field(default_factory=XrayPhysics)
    realism: RealismSettings = field(default_factory=RealismSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    backend: Literal["slang"] = "slang"

    def __post_init__(self) -> None:
        if self.backend != "slang":
            raise InputError(f"backend must be 'slang', got {self.backend!r}")
        for name, kind in _SECTIONS.items():
            _require_section(name, getattr(self, name), kind)

    def with_geometry(self, **changes: Any) -> SimulatorConfig:
        """Return a copy with some fields of `geometry` changed."""
        return replace(self, geometry=replace(self.geometry, **changes))

    def with_realism(self, **changes: Any) -> SimulatorConfig:
        """Return a copy with some fields of `realism` changed."""
        return replace(self, realism=replace(self.realism, **changes))

    def with_output(self, **changes: Any) -> SimulatorConfig:
        """Return a copy with some fields of `output` changed."""
        return replace(self, output=replace(self.output, **changes))


_SECTIONS: dict[str, type] = {
    "geometry": CarmGeometry,
    "physics": XrayPhysics,
    "realism": RealismSettings,
    "output": OutputSettings,
    "metrics": MetricsSettings,
}


def _require_section(name: str, value: Any, kind: type) -> None:
    if isinstance(value, kind) and len(vars(value)) == len(vars(kind())):
        return  # what has more fields would lose them
    if name == "geometry":
        from fluoro.geometry import carm  # which has more, and may stand here too

        if isinstance(value, carm.CarmGeometry):
            return
    raise TypeError(f"{name} must be a {kind.__name__}, got {type(value).__name__}: {value!r:.80}")


def require_format(name: str) -> None:
    """Check the name of a frame's file format.

    Raises:
        InputError: Another than "png", "npy" and "npz".
    """
    if name not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}, got {name!r}")


def require_number(name: str, value: float, *, above: float | None = None) -> None:
    """Refuse what is not a finite number of at least 0, or more than `above`.

    Raises:
        InputError: Another value; the message names it.
    """
    good = _is_finite(value) and (value >= 0 if above is None else value > above)
    if not good:
        wanted = "at least 0" if above is None else f"more than {above:g}"
        raise InputError(f"{name} must be a finite number, {wanted}, got {value!r}")


def _require_whole(name: str, value: int) -> None:
    if not isinstance(value, numbers.Integral):
        raise InputError(f"{name} must be a whole number (int), got {value!r}")


def require_order(low_name: str, low: float, high_name: str, high: float) -> None:
    """Refuse two numbers that are not finite or do not rise.

    Raises:
        InputError: Such numbers; the message names them.
    """
    if not (_is_finite(low) and _is_finite(high) and low < high):
        raise InputError(f"{low_name} must be less than {high_name} ({high}), got {low!r}")


def _is_finite(value: float) -> bool:
    """Whether it is a number, and a finite one."""
    return isinstance(value, numbers.Real) and math.isfinite(value)
