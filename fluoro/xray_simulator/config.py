"""Settings of the simulator, frozen; a copy is changed (`with_geometry`, `with_display` ...)."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fluoro.errors import InputError
from fluoro.fluorosim.config import FrameFormat, MetricsSettings, require_format
from fluoro.xray_simulator.display import DisplaySettings, resolve_display_settings
from fluoro.xray_simulator.hu_mapping import HuToMuMapping

__all__ = [
    "CarmGeometry",
    "OutputSettings",
    "PreprocessingSettings",
    "RealismSettings",
    "SimulatorConfig",
    "XrayPhysics",
]

Pair = tuple[float, float]


def _require(name: str, value: Any, *, above: float | None = None, least: float = 0.0) -> None:
    good = isinstance(value, numbers.Real) and math.isfinite(value)
    if not (good and (value > above if above is not None else value >= least)):
        wanted = f"more than {above:g}" if above is not None else f"at least {least:g}"
        raise InputError(f"{name} must be a finite number, {wanted}, got {value!r}")


@dataclass(frozen=True)
class CarmGeometry:
    """A C-arm's lengths and its flat detector, pixel centres at whole numbers.

    Attributes:
        source_to_detector_mm: Focal spot to detector [mm].
        source_to_isocenter_mm: Focal spot to isocentre [mm], less than the former.
        detector_width_px: Columns.
        detector_height_px: Rows.
        pixel_spacing_mm: Distance of columns [mm].
        pixel_spacing_y_mm: Distance of rows [mm]; None: as of columns.
        principal_point_px: Column and row where the central ray lands; None: the middle.

    Raises:
        InputError: A length or count that no C-arm has; also a ValueError.
    """

    source_to_detector_mm: float = 1020.0
    source_to_isocenter_mm: float = 510.0
    detector_width_px: int = 512
    detector_height_px: int = 512
    pixel_spacing_mm: float = 0.5
    pixel_spacing_y_mm: float | None = None
    principal_point_px: Pair | None = None

    def __post_init__(self) -> None:
        for name in ("source_to_detector_mm", "source_to_isocenter_mm", "pixel_spacing_mm"):
            _require(name, getattr(self, name), above=0)
        for name in ("detector_width_px", "detector_height_px"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
        if self.pixel_spacing_y_mm is not None:
            _require("pixel_spacing_y_mm", self.pixel_spacing_y_mm, above=0)
        if self.source_to_isocenter_mm >= self.source_to_detector_mm:
            raise InputError(
                "source_to_isocenter_mm must be less than source_to_detector_mm "
                f"({self.source_to_detector_mm}), got {self.source_to_isocenter_mm}"
            )

    @property
    def pixel_spacing_xy_mm(self) -> Pair:
        """Distance of columns and of rows [mm]."""
        return self.pixel_spacing_mm, self.pixel_spacing_y_mm or self.pixel_spacing_mm

    @property
    def principal_point_xy_px(self) -> Pair:
        """Column and row where the central ray lands."""
        middle = (self.detector_width_px - 1) / 2, (self.detector_height_px - 1) / 2
        return self.principal_point_px or middle

    @property
    def detector_size_mm(self) -> Pair:
        """Width and height of the detector [mm]."""
        dx, dy = self.pixel_spacing_xy_mm
        return self.detector_width_px * dx, self.detector_height_px * dy

    @property
    def detector_offset_xy_mm(self) -> Pair:
        """Shift of the detector along columns and rows [mm]; + lowers the principal point."""
        (dx, dy), (column, row) = self.pixel_spacing_xy_mm, self.principal_point_xy_px
        return (
            ((self.detector_width_px - 1) / 2 - column) * dx,
            ((self.detector_height_px - 1) / 2 - row) * dy,
        )


@dataclass(frozen=True)
class XrayPhysics:
    """From attenuation to intensity.

    Attributes:
        step_mm: Longest distance between samples along a ray [mm], > 0.
        i0: Intensity of the open field, > 0.
        normalize: Of fluorosim: True is scaling "per_frame", False "transmission"; warns.
        invert: Of fluorosim: True is polarity "diagnostic", False "fluoro"; warns.

    Raises:
        InputError: A value out of its range; also a ValueError.
    """

    step_mm: float = 0.5
    i0: float = 1.0
    normalize: bool | None = None
    invert: bool | None = None

    def __post_init__(self) -> None:
        _require("step_mm", self.step_mm, above=0)
        _require("i0", self.i0, above=0)
        for name in ("normalize", "invert"):
            if getattr(self, name) is not None:
                warnings.warn(
                    f"XrayPhysics.{name} is DisplaySettings now", DeprecationWarning, stacklevel=3
                )

    def display(self, given: DisplaySettings) -> DisplaySettings:
        """The display settings with what `normalize` and `invert` say."""
        changes: dict[str, Any] = {}
        if self.normalize is not None:
            changes["scaling"] = "per_frame" if self.normalize else "transmission"
        if self.invert is not None:
            changes["polarity"] = "diagnostic" if self.invert else "fluoro"
        return replace(given, **changes)


@dataclass(frozen=True)
class RealismSettings:
    """What a detector does to the intensity, before display: gain, bias, noise, blur.

    Attributes:
        enabled: Switches all of it on.
        gain: Multiplies the intensity, >= 0.
        bias: Is added after the gain.
        poisson_photons: Photons per pixel at intensity 1; 0: no quantum noise.
        gaussian_sigma: Standard deviation of the electronic noise; 0: none.
        blur_sigma_px: Gaussian sigma of the blur [pixels]; 0: none.
        seed: Of the noise; None: drawn for each frame.

    Raises:
        InputError: A value out of its range; also a ValueError.
    """

    enabled: bool = False
    gain: float = 1.0
    bias: float = 0.0
    poisson_photons: float = 0.0
    gaussian_sigma: float = 0.0
    blur_sigma_px: float = 0.0
    seed: int | None = 0

    def __post_init__(self) -> None:
        for name in ("gain", "poisson_photons", "gaussian_sigma", "blur_sigma_px"):
            _require(name, getattr(self, name))
        _require("bias", self.bias, least=-math.inf)
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise InputError(f"seed must lie in [0, 2**63), got {self.seed}")


@dataclass(frozen=True)
class OutputSettings:
    """What becomes of frames besides being returned.

    Attributes:
        save_to_disk: Write each frame as `frame_0000.png`, `frame_0001.png` ... to `output_dir`.
        output_dir: Folder; it is made.
        format: "png", "npy" or "npz".
        keep_in_gpu: `Frame.image` is an array of the device: CuPy's on CUDA.
        keep_intensity: `Frame.intensity` holds the intensity, for other appearances.

    Raises:
        InputError: A value out of its range; also a ValueError.
    """

    save_to_disk: bool = False
    output_dir: str | Path | None = None
    format: FrameFormat = "png"
    keep_in_gpu: bool = False
    keep_intensity: bool = False

    def __post_init__(self) -> None:
        require_format(self.format)
        if self.save_to_disk and self.output_dir is None:
            raise InputError("output_dir must be a folder where save_to_disk is on, got None")


@dataclass(frozen=True)
class PreprocessingSettings:
    """From a CT to attenuation.

    Attributes:
        hu_clip_min: Lower CT numbers become this one [HU].
        hu_clip_max: Higher CT numbers become this one [HU].
        clip_hu: Whether they do.
        hu_to_mu: From CT numbers to attenuation.

    Raises:
        InputError: A value out of its range; also a ValueError.
    """

    hu_clip_min: float = -1024.0
    hu_clip_max: float = 3071.0
    clip_hu: bool = True
    hu_to_mu: HuToMuMapping = field(default_factory=HuToMuMapping)

    def __post_init__(self) -> None:
        if not self.hu_clip_min < self.hu_clip_max:
            raise InputError(
                f"hu_clip_min must be less than hu_clip_max ({self.hu_clip_max}), "
                f"got {self.hu_clip_min}"
            )


@dataclass(frozen=True)
class SimulatorConfig:
    """All settings of a simulator.

    Attributes:
        geometry: Lengths and detector.
        physics: From attenuation to intensity.
        realism: Noise and blur.
        display: From intensity to grey values.
        output: What becomes of frames.
        metrics: Which figures are given.
        preprocessing: From a CT to attenuation, for those who make the volume by the same file.
        backend: "slang", the only one.

    Raises:
        InputError: A value out of its range; also a ValueError.
    """

    geometry: CarmGeometry = field(default_factory=CarmGeometry)
    physics: XrayPhysics = field(default_factory=XrayPhysics)
    realism: RealismSettings = field(default_factory=RealismSettings)
    display: DisplaySettings = field(default_factory=DisplaySettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    preprocessing: PreprocessingSettings = field(default_factory=PreprocessingSettings)
    backend: Literal["slang"] = "slang"

    def __post_init__(self) -> None:
        if self.backend != "slang":
            raise InputError(f"backend must be 'slang', got {self.backend!r}")

    @classmethod
    def for_appearance(cls, preset: str | DisplaySettings = "fluoro", **sections: Any) -> Any:
        """The defaults with a look, by its preset's name.

        Args:
            preset: Of `DISPLAY_PRESETS`, or settings.
            sections: Other sections, by name.
        """
        return cls(display=resolve_display_settings(preset), **sections)

    def with_geometry(self, **changes: Any) -> SimulatorConfig:
        """A copy with some fields of `geometry` changed."""
        return replace(self, geometry=replace(self.geometry, **changes))

    def with_realism(self, **changes: Any) -> SimulatorConfig:
        """A copy with some fields of `realism` changed."""
        return replace(self, realism=replace(self.realism, **changes))

    def with_output(self, **changes: Any) -> SimulatorConfig:
        """A copy with some fields of `output` changed."""
        return replace(self, output=replace(self.output, **changes))

    def with_display(self, **changes: Any) -> SimulatorConfig:
        """A copy with some fields of `display` changed."""
        return replace(self, display=replace(self.display, **changes))

    def with_preprocessing(self, **changes: Any) -> SimulatorConfig:
        """A copy with some fields of `preprocessing` changed."""
        return replace(self, preprocessing=replace(self.preprocessing, **changes))

    def to_dict(self) -> dict[str, Any]:
        """As a preset's plain data, the defaults among them.

        Raises:
            InputError: Settings that a preset has no key for; also a ValueError.
        """
        return _preset_of(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SimulatorConfig:
        """The settings of a preset's plain data.

        Raises:
            InputError: A key or value that a preset has not; also a ValueError.
        """
        from fluoro.xray_simulator.presets import checked_preset

        return _of_preset(checked_preset(values))

    @classmethod
    def from_preset(cls, path: str | Path) -> SimulatorConfig:
        """The settings of a preset's file (.json, .yaml, .yml).

        Raises:
            InputError: A file that is none, or a key or value that a preset has not.
        """
        from fluoro.xray_simulator.presets import read_preset

        return _of_preset(read_preset(Path(path)))

    def save_preset(self, path: str | Path) -> Path:
        """Write the settings as a preset, whole or not at all; return the absolute path.

        Raises:
            InputError: Settings that a preset cannot hold, or another suffix.
            OutputError: The file cannot be written.
        """
        from fluoro.xray_simulator.presets import write_preset

        return write_preset(_preset_of(self), Path(path))


def _of_preset(preset: Mapping[str, Any]) -> SimulatorConfig:
    """The settings of a preset that was checked."""
    detector, after = preset["detector"], preset["post_processing"]
    display: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in after["display"].items()
    }
    before = dict(preset["preprocessing"])
    mapping = HuToMuMapping.from_dict(before.pop("hu_to_mu"))
    return SimulatorConfig(
        geometry=CarmGeometry(
            **preset["geometry"],
            detector_width_px=detector["width_px"],
            detector_height_px=detector["height_px"],
            pixel_spacing_mm=detector["pixel_spacing_mm"],
        ),
        physics=XrayPhysics(**preset["beam"]),
        realism=RealismSettings(**after["realism"]),
        display=DisplaySettings(**display),
        output=OutputSettings(**preset["output"]),
        metrics=MetricsSettings(**preset["metrics"]),
        preprocessing=PreprocessingSettings(**before, hu_to_mu=mapping),
        backend=preset["backend"],
    )


def _preset_of(config: SimulatorConfig) -> dict[str, Any]:
    """A preset's plain data of settings.

    Raises:
        InputError: Settings that a preset has no key for.
    """
    geometry, output = config.geometry, asdict(config.output)
    if geometry.pixel_spacing_y_mm or geometry.principal_point_px:
        raise InputError("a preset has no pixel_spacing_y_mm and no principal_point_px")
    if config.physics.normalize is not None or config.physics.invert is not None:
        raise InputError("a preset has no normalize and no invert: give DisplaySettings")
    lengths = ("source_to_detector_mm", "source_to_isocenter_mm")
    display = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(config.display).items()
    }
    folder = None if output["output_dir"] is None else str(output["output_dir"])
    mapping = config.preprocessing.hu_to_mu.to_dict()
    return {
        "schema_version": 1,
        "modality": "xray",
        "backend": config.backend,
        "beam": {"i0": config.physics.i0, "step_mm": config.physics.step_mm},
        "geometry": {name: getattr(geometry, name) for name in lengths},
        "detector": {
            "width_px": geometry.detector_width_px,
            "height_px": geometry.detector_height_px,
            "pixel_spacing_mm": geometry.pixel_spacing_mm,
        },
        "post_processing": {"realism": asdict(config.realism), "display": display},
        "output": {**output, "output_dir": folder},
        "metrics": asdict(config.metrics),
        "preprocessing": {**asdict(config.preprocessing), "hu_to_mu": mapping},
    }
