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
    from fluoro.fluorosim import (
        CarmGeometry,
        CineSequence,
        FluoroSimulator,
        Frame,
        HuToMuCalibration,
        HuToMuMapping,
        MetricsSettings,
        OutputSettings,
        Pose,
        PreprocessedVolume,
        PreprocessingSettings,
        RealismSettings,
        SimulatorConfig,
        SimulatorMetrics,
        VolumeMetadata,
        VolumePreprocessor,
        XrayPhysics,
    )

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

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__ = lazy_names(__name__, dict.fromkeys(__all__, "fluoro.fluorosim"))


def __dir__() -> list[str]:
    return sorted(__all__)
