"""fluoro: a real-time X-ray C-arm, from a CT to the fluoroscopy frame.

    from fluoro import FluoroSimulator, VolumePreprocessor

    volume = VolumePreprocessor.from_nifti("ct.nii.gz").preprocess()
    frame = FluoroSimulator(volume).render_frame(rotation=(0.0, 0.5, 0.0))
    frame.save("lao.png")

Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.compat.lazy import lazy_names

if TYPE_CHECKING:
    from fluoro.cine import CineSequence, Frame, Pose
    from fluoro.compat.preprocessor import VolumePreprocessor
    from fluoro.compat.settings import (
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
    from fluoro.compat.volume import PreprocessedVolume, VolumeMetadata
    from fluoro.simulator import FluoroSimulator, SimulatorMetrics

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
            **dict.fromkeys(_SETTINGS, "fluoro.compat.settings"),
            **dict.fromkeys(("CineSequence", "Frame", "Pose"), "fluoro.cine"),
            **dict.fromkeys(("FluoroSimulator", "SimulatorMetrics"), "fluoro.simulator"),
            **dict.fromkeys(("PreprocessedVolume", "VolumeMetadata"), "fluoro.compat.volume"),
            "VolumePreprocessor": "fluoro.compat.preprocessor",
        },
    )


def __dir__() -> list[str]:
    return sorted(__all__)
