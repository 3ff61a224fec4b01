"""What to try where a pose is not believed: one text for command line, stream, console and DDS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

__all__ = ["CAUSES", "NEXT_STEPS", "Cause"]

Cause = Literal[
    "bound",
    "disagrees",
    "inverted",
    "metres",
    "mirrored",
    "moving",
    "principal point",
    "scale",
    "singular",
    "structure",
    "turned",
    "uncertain",
    "unexplained",
]
"""What can speak against a pose."""
CAUSES: tuple[Cause, ...] = get_args(Cause)

NEXT_STEPS: Mapping[Cause, str] = {
    "bound": "give a start that is closer, or widen turn_bound_deg and shift_bound_mm",
    "disagrees": "check that image and CT show the same patient and region, target.kind and "
    "target.polarity; mask what covers the anatomy (target.crop); or give a start that is closer",
    "inverted": "give the other target.polarity, or the kind that the image has",
    "metres": "give extrinsics in millimetres, and the isocentre in the CT's own coordinates",
    "mirrored": "mirror the image from left to right, or see how it was exported",
    "moving": "raise max_iterations, or give a start that is closer",
    "principal point": "check carm.detector_offset_mm or carm.principal_point_px, columns and "
    "rows, and that the image has not been cut",
    "scale": "check carm.source_to_detector_mm and carm.pixel_spacing_mm, binning and "
    "magnification; or state in carm.tolerance how well they are known",
    "singular": "check that the anatomy is in the image; free fewer degrees of freedom (fixed)",
    "structure": "open the collimator or the crop, or take more columns (widths_px)",
    "turned": "turn the image back, or check rows and columns of its export",
    "uncertain": "take a second view, more dose or a larger field; or hold what is known (fixed)",
    "unexplained": "mask what is not in the CT (target.crop); check that the CT is this patient's "
    "and the image is neither mirrored nor inverted",
}
"""By what speaks against the pose."""
