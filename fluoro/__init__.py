"""fluoro: a real-time X-ray C-arm, from a CT to the fluoroscopy frame.

    from fluoro import FluoroSimulator, VolumePreprocessor

    volume = VolumePreprocessor.from_nifti("ct.nii.gz").preprocess()
    frame = FluoroSimulator(volume).render_frame(rotation=(0.0, 0.5, 0.0))
    frame.save("lao.png")

The names of fluorosim are here, and those that most programs need of the rooms, such as
fluoro.imaging, each of which lists its own. Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

from fluoro.lazy_names import lazy_names

TYPE_CHECKING = False  # as in typing, which takes longer to import than all else here

if TYPE_CHECKING:
    from fluoro.config import Config, ImageChainConfig, load_config
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
    from fluoro.geometry import CarmPose, make_geometry
    from fluoro.imaging import ImageChain
    from fluoro.registration import Registrar, Target
    from fluoro.rendering import DrrRenderer, make_patient, open_device
    from fluoro.volume import load_volume

__version__ = "0.1.0"

__all__ = [
    "CarmGeometry",
    "CarmPose",
    "CineSequence",
    "Config",
    "DrrRenderer",
    "FluoroSimulator",
    "Frame",
    "HuToMuCalibration",
    "HuToMuMapping",
    "ImageChain",
    "ImageChainConfig",
    "MetricsSettings",
    "OutputSettings",
    "Pose",
    "PreprocessedVolume",
    "PreprocessingSettings",
    "RealismSettings",
    "Registrar",
    "SimulatorConfig",
    "SimulatorMetrics",
    "Target",
    "VolumeMetadata",
    "VolumePreprocessor",
    "XrayPhysics",
    "__version__",
    "load_config",
    "load_volume",
    "make_geometry",
    "make_patient",
    "open_device",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
