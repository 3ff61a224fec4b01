"""The schema of the YAML: one strict, frozen model per section, one line per error.

A top-level key is the name of the operator (or of the volume, C-arm or run) that it sets up.
Units stand in the names of the keys. `load_config` reads a file, applies `--set` overrides and
raises `InputError` with one line per error, each starting with the path of the key.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fluoro.config.annotations import AnnotationsConfig
    from fluoro.config.application import Config, RunConfig, pulses_fit
    from fluoro.config.beam import (
        BowTieConfig,
        GridConfig,
        RectangleCollimator,
        ScatterConfig,
        WedgeConfig,
    )
    from fluoro.config.carm import CarmConfig, CarmTolerance, LimitsConfig
    from fluoro.config.detector import (
        DigitiserConfig,
        ImageIntensifierConfig,
        LagConfig,
        MtfConfig,
        VeilingGlareConfig,
    )
    from fluoro.config.display import (
        DsaConfig,
        EdgeEnhancementConfig,
        GammaCurve,
        LutConfig,
        ShutterConfig,
        SigmoidCurve,
        WindowConfig,
    )
    from fluoro.config.image_chain import ImageChainConfig
    from fluoro.config.labels import LabelsConfig
    from fluoro.config.loading import (
        REGISTRATION_KEY,
        load_config,
        load_sections,
        volume_config,
    )
    from fluoro.config.outputs import (
        ConsoleConfig,
        DdsConfig,
        DdsFramesConfig,
        HolovizConfig,
        IgtlConfig,
        RecorderConfig,
    )
    from fluoro.config.poses import (
        BagPoses,
        DdsPoses,
        IgtlPoses,
        JointConfig,
        OrbitPoses,
        PoseConfig,
        PoseSourceConfig,
        RandomWalkPoses,
        ReceivedPoses,
        ServoPoses,
        SweepPoses,
        WaypointPoses,
    )
    from fluoro.config.reading import ArrayConfig, ReadOptions
    from fluoro.config.registration import (
        MultiStart,
        OptimiserConfig,
        RegistrationConfig,
        RegistrationSettings,
        StartConfig,
    )
    from fluoro.config.renderer import RendererConfig
    from fluoro.config.scene import BallInclusion, InclusionConfig, LabelInclusion, RodInclusion
    from fluoro.config.section import FilePath, Section
    from fluoro.config.volume import (
        BodyConfig,
        ContrastConfig,
        HuToMuConfig,
        LinearMap,
        MaterialsConfig,
        MotionConfig,
        VolumeConfig,
    )
    from fluoro.config.xray import BrightnessConfig, DetectorResponseConfig, TubeStep, XrayConfig

__all__ = [
    "REGISTRATION_KEY",
    "AnnotationsConfig",
    "ArrayConfig",
    "BagPoses",
    "BallInclusion",
    "BodyConfig",
    "BowTieConfig",
    "BrightnessConfig",
    "CarmConfig",
    "CarmTolerance",
    "Config",
    "ConsoleConfig",
    "ContrastConfig",
    "DdsConfig",
    "DdsFramesConfig",
    "DdsPoses",
    "DetectorResponseConfig",
    "DigitiserConfig",
    "DsaConfig",
    "EdgeEnhancementConfig",
    "FilePath",
    "GammaCurve",
    "GridConfig",
    "HolovizConfig",
    "HuToMuConfig",
    "IgtlConfig",
    "IgtlPoses",
    "ImageChainConfig",
    "ImageIntensifierConfig",
    "InclusionConfig",
    "JointConfig",
    "LabelInclusion",
    "LabelsConfig",
    "LagConfig",
    "LimitsConfig",
    "LinearMap",
    "LutConfig",
    "MaterialsConfig",
    "MotionConfig",
    "MtfConfig",
    "MultiStart",
    "OptimiserConfig",
    "OrbitPoses",
    "PoseConfig",
    "PoseSourceConfig",
    "RandomWalkPoses",
    "ReadOptions",
    "ReceivedPoses",
    "RecorderConfig",
    "RectangleCollimator",
    "RegistrationConfig",
    "RegistrationSettings",
    "RendererConfig",
    "RodInclusion",
    "RunConfig",
    "ScatterConfig",
    "Section",
    "ServoPoses",
    "ShutterConfig",
    "SigmoidCurve",
    "StartConfig",
    "SweepPoses",
    "TubeStep",
    "VeilingGlareConfig",
    "VolumeConfig",
    "WaypointPoses",
    "WedgeConfig",
    "WindowConfig",
    "XrayConfig",
    "load_config",
    "load_sections",
    "pulses_fit",
    "volume_config",
]

_MODULES = (
    *(
        "section",
        "reading",
        "scene",
        "labels",
        "volume",
        "renderer",
        "carm",
        "poses",
        "outputs",
        "registration",
    ),
    *(
        "beam",
        "detector",
        "display",
        "xray",
        "image_chain",
        "annotations",
        "application",
        "loading",
    ),
)
"""Where the names are, those first that a program without a YAML file needs."""


if not TYPE_CHECKING:  # mypy is to miss a name that is not there

    def __getattr__(name: str) -> Any:
        """Return a name, imported at first use: all modules together take a tenth of a second."""
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        for path in _MODULES if name in __all__ else ():
            module = importlib.import_module(f"{__name__}.{path}")
            if name in module.__all__:
                return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """Return all names, imported or not."""
        return sorted({*globals(), *__all__})
