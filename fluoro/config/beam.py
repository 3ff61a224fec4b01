"""Parts of `image_chain` between the tube and the detector."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fluoro.config.section import Finite, Length, MaterialName, Section, Sigma
from fluoro.names import LamellaAxis, ScatterQuality, Side

__all__ = [
    "BowTieConfig",
    "CollimatorConfig",
    "GridConfig",
    "IrisCollimator",
    "RectangleCollimator",
    "ScatterConfig",
    "WedgeConfig",
]


class RectangleCollimator(Section):
    """Blades; the field is centred on the detector, on the part of it that is used."""

    kind: Literal["rectangle"]
    width_mm: Length = Field(description="Of the field, at the detector [mm].")
    height_mm: Length = Field(description="Of the field, at the detector [mm].")
    focal_spot_mm: Sigma = Field(0.6, description="It blurs the edge [mm].")
    source_to_collimator_mm: Length = Field(400.0, description="From focal spot to blades [mm].")


class IrisCollimator(Section):
    """A round opening; the field is centred on the part of the detector that is used."""

    kind: Literal["iris"]
    diameter_mm: Length = Field(description="Of the field, at the detector [mm].")
    focal_spot_mm: Sigma = Field(0.6, description="It blurs the edge [mm].")
    source_to_collimator_mm: Length = Field(400.0, description="From focal spot to blades [mm].")


CollimatorConfig = Annotated[RectangleCollimator | IrisCollimator, Field(discriminator="kind")]


class ScatterConfig(Section):
    """Scatter of the patient, by kernels of water at 80 kV (docs/physics.md)."""

    air_gap_mm: Annotated[float, Field(ge=50, le=300)] = Field(
        200.0, description="Between patient and detector [mm]."
    )
    quality: ScatterQuality = Field(
        "fast", description="Cells along the longer side: 32, or 128 for an eighth of the error."
    )
    grid_factor: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="What a grid leaves of scatter against primary, about 0.2, where "
        "image_chain.grid does not describe one; 1: no grid.",
    )


class GridConfig(Section):
    """An anti-scatter grid by its lamellae, before the detector; they point to a focus."""

    ratio: Annotated[float, Field(ge=2, le=40)] = Field(
        13.0, description="Height of a lamella over the width between two."
    )
    lines_per_cm: Annotated[float, Field(ge=10, le=100)] = Field(
        70.0, description="Lamellae per length [1/cm]."
    )
    lead_um: Annotated[float, Field(ge=5, le=90)] = Field(
        30.0, description="Thickness of a lamella [um]."
    )
    interspace: MaterialName = Field("pmma", description="Between lamellae; pmma is as fibre.")
    lamellae: LamellaAxis = Field("columns", description="Along which they run.")
    focus_mm: Length | None = Field(
        None, description="Distance for which it is made [mm]; null: carm.source_to_detector_mm."
    )
    decentred_mm: Finite = Field(
        0.0, description="Its middle from the central ray, across the lamellae [mm]."
    )


class WedgeConfig(Section):
    """A wedge filter that comes into the field from one side; lengths at the detector."""

    side: Side = Field(description="Side of the image that it comes from.")
    material: MaterialName = Field("aluminium", description="What it is made of.")
    thickness_mm: Annotated[float, Field(gt=0, le=100)] = Field(
        description="Where it is thickest [mm]."
    )
    reach_mm: Length = Field(description="From the image's border to its thin end [mm].")
    ramp_mm: Annotated[float, Field(ge=0, le=100_000)] = Field(
        20.0, description="Length over which it thins to nothing [mm]."
    )


class BowTieConfig(Section):
    """A filter that is thin in the middle and thick at both sides."""

    material: MaterialName = Field("aluminium", description="What it is made of.")
    thickness_mm: Annotated[float, Field(gt=0, le=100)] = Field(
        description="At half_width_mm and beyond [mm]; it grows with the square of the distance."
    )
    half_width_mm: Length = Field(
        description="From the middle along columns, at the detector [mm]."
    )
