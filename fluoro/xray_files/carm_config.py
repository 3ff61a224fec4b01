"""The section `carm` with values of an X-ray file, where the YAML has no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fluoro.config import CarmConfig, PoseConfig
from fluoro.errors import InputError
from fluoro.xray_files.geometry import FrameGeometry

__all__ = ["completed_carm", "pose_config"]

LENGTHS = ("source_to_detector_mm", "source_to_isocenter_mm", "pixel_spacing_mm")


def completed_carm(path: Path, carm: CarmConfig, geometry: FrameGeometry) -> CarmConfig:
    """Return the section `carm`, its keys filled in by a file where they are not given.

    Args:
        path: The file, for messages.
        carm: The section as given; its keys count more than the file.
        geometry: What the file says.

    Raises:
        InputError: A length is neither in the file nor given.
    """
    known: dict[str, Any] = {name: getattr(geometry, name) for name in LENGTHS}
    known |= {
        "detector_width_px": geometry.size_px[0],
        "detector_height_px": geometry.size_px[1],
        "detector_tilt_deg": geometry.detector_tilt_deg,
    }
    if carm.principal_point_px is None:
        known["detector_offset_mm"] = geometry.detector_offset_mm
    if geometry.isocenter_xyz_mm is not None:
        known["isocenter_mm"] = geometry.isocenter_xyz_mm
    missing = {key: value for key, value in known.items() if key not in carm.model_fields_set}
    unknown = [f"carm.{key}" for key, value in missing.items() if value is None]
    if unknown:
        raise InputError(f"{path}: does not say where the C-arm stood: give {', '.join(unknown)}")
    return carm.model_copy(update=missing)


def pose_config(geometry: FrameGeometry) -> PoseConfig | None:
    """Return the pose at a frame as a section; None: the file does not say it."""
    pose = geometry.pose
    if pose is None:
        return None
    return PoseConfig(
        lao_deg=pose.lao_deg,
        cra_deg=pose.cra_deg,
        roll_deg=pose.roll_deg,
        translation_mm=pose.translation_mm,
    )
