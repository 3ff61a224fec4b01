"""fluoro: a real-time X-ray C-arm, from a CT to the fluoroscopy frame.

    from fluoro import FluoroSimulator, VolumePreprocessor

    volume = VolumePreprocessor.from_nifti("ct.nii.gz").preprocess()
    frame = FluoroSimulator(volume).render_frame(rotation=(0.0, 0.5, 0.0))
    frame.save("lao.png")

Nothing heavy is imported until a name is used.
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

__version__ = "0.1.0"

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
    "__version__",
]

_SETTINGS = (
    "CarmGeometry", "HuToMuCalibration", "HuToMuMapping", "MetricsSettings", "OutputSettings",
    "PreprocessingSettings", "RealismSettings", "SimulatorConfig", "XrayPhysics",
)  # fmt: skip

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__ = lazy_names(
        __name__,
        {
            **dict.fromkeys(_SETTINGS, "fluoro.fluorosim.config"),
            **dict.fromkeys(("CineSequence", "Frame", "Pose"), "fluoro.fluorosim.cine"),
            **dict.fromkeys(("FluoroSimulator", "SimulatorMetrics"), "fluoro.fluorosim.simulator"),
            **dict.fromkeys(("PreprocessedVolume", "VolumeMetadata"), "fluoro.fluorosim.volume"),
            "VolumePreprocessor": "fluoro.fluorosim.preprocessor",
        },
    )


def __dir__() -> list[str]:
    return sorted(__all__)
