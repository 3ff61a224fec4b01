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

_ELSEWHERE = {
    **dict.fromkeys(("CineSequence", "Frame", "Pose"), "cine"),
    **dict.fromkeys(("FluoroSimulator", "SimulatorMetrics"), "simulator"),
    **dict.fromkeys(("PreprocessedVolume", "VolumeMetadata"), "volume"),
    "VolumePreprocessor": "preprocessor",
}

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__ = lazy_names(
        __name__, {name: f"{__name__}.{_ELSEWHERE.get(name, 'config')}" for name in __all__}
    )


def __dir__() -> list[str]:
    return sorted(__all__)
