"""The C-arm of a configuration."""

from __future__ import annotations

from fluoro.config import CarmConfig
from fluoro.errors import require_type
from fluoro.geometry.carm import CarmGeometry
from fluoro.geometry.flex import read_flex
from fluoro.geometry.limits import CarmLimits

__all__ = ["make_geometry", "make_limits", "unmagnified_geometry"]


def make_geometry(carm: CarmConfig) -> CarmGeometry:
    """Return lengths and detector: the whole one, cut to its columns and rows, binned, magnified.

    Raises:
        InputError: A section of another class, or a flex table that cannot be used.
    """
    require_type("carm", carm, CarmConfig, "Config(...).carm")
    return unmagnified_geometry(carm).magnified(carm.magnification)


def unmagnified_geometry(carm: CarmConfig) -> CarmGeometry:
    """Return the same at a magnification of 1, for a stream whose console says how much it is.

    Raises:
        InputError: A flex table that cannot be used.
    """
    whole = CarmGeometry(
        source_to_detector_mm=carm.source_to_detector_mm,
        source_to_isocenter_mm=carm.source_to_isocenter_mm,
        detector_width_px=carm.detector_width_px,
        detector_height_px=carm.detector_height_px,
        pixel_spacing_mm=carm.pixel_spacing_mm,
        detector_offset_mm=_offset_mm(carm),
        detector_tilt_deg=carm.detector_tilt_deg,
        flex=read_flex(carm.flex) if carm.flex else None,
    )
    columns = carm.columns or (0, carm.detector_width_px)
    rows = carm.rows or (0, carm.detector_height_px)
    return whole.cropped(columns, rows).binned(carm.binning)


def _offset_mm(carm: CarmConfig) -> tuple[float, float]:
    """Return the shift of the detector's middle from the central ray, from either key [mm]."""
    if carm.principal_point_px is None:
        return carm.detector_offset_mm
    column, row = carm.principal_point_px
    return (
        (carm.detector_width_px / 2 - column) * carm.pixel_spacing_mm,
        (carm.detector_height_px / 2 - row) * carm.pixel_spacing_mm,
    )


def make_limits(carm: CarmConfig) -> CarmLimits:
    """Return how far the C-arm reaches."""
    return CarmLimits(**carm.limits.model_dump())
