"""The few-line API, with the names, modules and defaults that scripts written for fluorosim use.

`fluoro` itself has these names too. Modules stand where fluorosim has them: `config`, `ct`,
`preprocessor`, `rendering`. No other room imports this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.fluorosim.cine import CineSequence, Frame, Pose
    from fluoro.fluorosim.config import (
        CarmGeometry,
        HuToMuCalibration,
        HuToMuMapping,
        MetricsSettings,
        OutputSettings,
        PreprocessingSettings,
        RealismSettings,
        SimulatorConfig,
        XrayPhysics,
    )
    from fluoro.fluorosim.preprocessor import VolumePreprocessor
    from fluoro.fluorosim.simulator import FluoroSimulator, SimulatorMetrics
    from fluoro.fluorosim.volume import PreprocessedVolume, VolumeMetadata

__all__ = [
    "CarmGeometry",
    "CineSequence",
    "FluoroSimulator",
    "Frame",
    "HuToMuCalibration",
    "HuToMuMapping",
    "MetricsSettings",
    "OutputSettings",
    "Pose",
    "PreprocessedVolume",
    "PreprocessingSettings",
    "RealismSettings",
    "SimulatorConfig",
    "SimulatorMetrics",
    "VolumeMetadata",
    "VolumePreprocessor",
    "XrayPhysics",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
