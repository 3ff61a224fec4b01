"""Settings of the simulator, frozen; a copy is changed (`with_geometry`, `with_display` ...)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from fluoro.errors import InputError
from fluoro.fluorosim import config as fluorosim
from fluoro.fluorosim.config import MetricsSettings, require_number, require_order
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


@dataclass(frozen=True)
class CarmGeometry(fluorosim.CarmGeometry):
    """A C-arm's lengths and its flat detector, pixel centres at whole numbers.

    Attributes:
        pixel_spacing_mm: Distance of columns [mm].
        pixel_spacing_y_mm: Distance of rows [mm]; None: as of columns.
        principal_point_px: Column and row where the central ray lands; None: the middle.

    Raises:
        InputError: A length or count that no C-arm has; also a ValueError.
    """

    pixel_spacing_y_mm: float | None = None
    principal_point_px: Pair | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pixel_spacing_y_mm is not None:
            require_number("pixel_spacing_y_mm", self.pixel_spacing_y_mm, above=0)

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
        require_number("step_mm", self.step_mm, above=0)
        require_number("i0", self.i0, above=0)
        for name in ("normalize", "invert"):
            if getattr(self, name) is not None:
                warnings.warn(
                    f"XrayPhysics.{name} is DisplaySettings now", DeprecationWarning, stacklevel=3
                )

    def display(self, given: DisplaySettings) -> DisplaySettings:
        """Return the display settings with what `normalize` and `invert` say."""
        changes: dict[str, Any] = {}
        if self.normalize is not None:
            changes["scaling"] = "per_frame" if self.normalize else "transmission"
        if self.invert is not None:
            changes["polarity"] = "diagnostic" if self.invert else "fluoro"
        return replace(given, **changes)


@dataclass(frozen=True)
class RealismSettings(fluorosim.RealismSettings):
    """What a detector does to the intensity, before display: gain, bias, noise, blur.

    Attributes:
        gain: Multiplies the intensity, >= 0.
        seed: Of the noise, 0 to 2**63 - 1; None: drawn for each frame.

    Raises:
        InputError: A value out of its range; also a ValueError.
    """

    gain_above: ClassVar[float | None] = None


@dataclass(frozen=True)
class OutputSettings(fluorosim.OutputSettings):
    """What becomes of frames besides being returned.

    Attributes:
        keep_in_gpu: `Frame.image` is an array of the device: CuPy's on CUDA.
        keep_intensity: `Frame.intensity` holds the intensity, for other appearances.

    Raises:
        InputError: A value out of its range; also a ValueError.
    """

    keep_intensity: bool = False


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
        require_order("hu_clip_min", self.hu_clip_min, "hu_clip_max", self.hu_clip_max)


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
        """Return the defaults with a look, by its preset's name.

        Args:
            preset: Of `DISPLAY_PRESETS`, or settings.
            sections: Other sections, by name.
        """
        return cls(display=resolve_display_settings(preset), **sections)

    def with_geometry(self, **changes: Any) -> SimulatorConfig:
        """Return a copy with some fields of `geometry` changed."""
        return replace(self, geometry=replace(self.geometry, **changes))

    def with_realism(self, **changes: Any) -> SimulatorConfig:
        """Return a copy with some fields of `realism` changed."""
        return replace(self, realism=replace(self.realism, **changes))

    def with_output(self, **changes: Any) -> SimulatorConfig:
        """Return a copy with some fields of `output` changed."""
        return replace(self, output=replace(self.output, **changes))

    def with_display(self, **changes: Any) -> SimulatorConfig:
        """Return a copy with some fields of `display` changed."""
        return replace(self, display=replace(self.display, **changes))

    def with_preprocessing(self, **changes: Any) -> SimulatorConfig:
        """Return a copy with some fields of `preprocessing` changed."""
        return replace(self, preprocessing=replace(self.preprocessing, **changes))

    def to_dict(self) -> dict[str, Any]:
        """As a preset's plain data, the defaults among them.

        Raises:
            InputError: Settings that a preset has no key for; also a ValueError.
        """
        return _preset_of(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SimulatorConfig:
        """Return the settings of a preset's plain data.

        Raises:
            InputError: A key or value that a preset has not; also a ValueError.
        """
        from fluoro.xray_simulator.presets import checked_preset

        return _of_preset(checked_preset(values))

    @classmethod
    def from_preset(cls, path: str | Path) -> SimulatorConfig:
        """Return the settings of a preset's file (.json, .yaml, .yml).

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
