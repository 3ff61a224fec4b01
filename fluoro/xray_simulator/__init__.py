"""The names of xray_simulator, fluorosim's successor: its scripts run with the import changed.

    import fluoro.xray_simulator as xs

    simulator = xs.xray_simulator(volume, xs.SimulatorConfig.for_appearance("fluoro"))
    frame = simulator.render_frame(pose=xs.Pose.from_clinical_angles(30, 20))

Poses are xray_simulator's, not fluoro's: docs/conventions.md has the table. No other room imports
this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.fluorosim.config import MetricsSettings
    from fluoro.fluorosim.frame_times import SimulatorMetrics
    from fluoro.xray_simulator.config import (
        CarmGeometry,
        OutputSettings,
        PreprocessingSettings,
        RealismSettings,
        SimulatorConfig,
        XrayPhysics,
    )
    from fluoro.xray_simulator.display import (
        DISPLAY_PRESETS,
        DisplaySettings,
        apply_display,
        calibrate_display,
        resolve_display_settings,
        transmission,
    )
    from fluoro.xray_simulator.frames import CineSequence, Frame
    from fluoro.xray_simulator.geometry import (
        CANONICAL_FRAME,
        VIEWS,
        clinical_angles_to_rotation,
        euler_zxy_to_matrix,
        matrix_to_euler_zxy,
        project_point_to_detector,
        rotation_to_clinical_angles,
        view_frame_warning,
        view_matrix,
        view_rotation,
        volume_center_xyz_mm,
    )
    from fluoro.xray_simulator.hu_mapping import HuToMuMapping, hu_to_mu, hu_to_mu_curve
    from fluoro.xray_simulator.pose import Pose
    from fluoro.xray_simulator.presets import get_preset_schema
    from fluoro.xray_simulator.simulator import xray_simulator
    from fluoro.xray_simulator.volume import (
        PreprocessedVolume,
        VolumeMetadata,
        VolumePreprocessor,
    )

__all__ = [
    "CANONICAL_FRAME",
    "DISPLAY_PRESETS",
    "VIEWS",
    "CarmGeometry",
    "CineSequence",
    "DisplaySettings",
    "Frame",
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
    "apply_display",
    "calibrate_display",
    "clinical_angles_to_rotation",
    "euler_zxy_to_matrix",
    "get_preset_schema",
    "hu_to_mu",
    "hu_to_mu_curve",
    "matrix_to_euler_zxy",
    "project_point_to_detector",
    "resolve_display_settings",
    "rotation_to_clinical_angles",
    "transmission",
    "view_frame_warning",
    "view_matrix",
    "view_rotation",
    "volume_center_xyz_mm",
    "xray_simulator",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
