"""The section `carm`: lengths, detector, isocentre and reach."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from fluoro.config.carm_presets import carm_preset, carm_presets
from fluoro.config.schema_rules import at, const, never, rules
from fluoro.config.section import FilePath, Length, PixelRange, Range, Reach, Section, Tilt, Vector
from fluoro.config.validation_errors import KeyValueError
from fluoro.errors import InputError
from fluoro.names import OnLimit

__all__ = [
    "CarmConfig",
    "CarmTolerance",
    "LimitsConfig",
]

Deviation = Annotated[float, Field(ge=0, le=1000)]


class LimitsConfig(Section):
    """How far the C-arm reaches; null: without limit."""

    lao_deg: Range | None = Field(None, description="Lowest and highest primary angle.")
    cra_deg: Range | None = Field(None, description="Lowest and highest secondary angle.")
    roll_deg: Range | None = Field(None, description="Lowest and highest detector roll.")
    x_mm: Reach | None = Field(None, description="Reach of the translation towards the left.")
    y_mm: Reach | None = Field(None, description="Reach of the translation towards the back.")
    z_mm: Reach | None = Field(None, description="Reach of the translation towards the head.")
    on_limit: OnLimit = Field(
        "error", description="error: a pose beyond ends the run; clamp: it is cut and counted."
    )

    @model_validator(mode="after")
    def _in_order(self) -> LimitsConfig:
        for key in ("lao_deg", "cra_deg", "roll_deg", "x_mm", "y_mm", "z_mm"):
            span = getattr(self, key)
            if span is not None and span[0] > span[1]:
                raise KeyValueError(key, f"must be low to high, got {list(span)}")
        return self


class CarmTolerance(Section):
    """How far the true C-arm may be from its numbers here: standard deviations.

    The defaults are a few times what Daly et al. 2008 (Med Phys 35, 2124) measured on a calibrated
    mobile C-arm: it reproduced its piercing point within 0.16 mm, source and detector within
    0.25 mm.
    """

    source_to_detector_mm: Deviation = Field(1.0, description="Of source_to_detector_mm [mm].")
    source_to_isocenter_mm: Deviation = Field(1.0, description="Of source_to_isocenter_mm [mm].")
    pixel_spacing_share: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0005, description="Of pixel_spacing_mm, as a share of it."
    )
    principal_point_mm: Deviation = Field(
        0.5, description="Of the point that the central ray meets, along columns and rows [mm]."
    )


class CarmConfig(Section):
    """The C-arm's lengths, its detector and its isocentre.

    A preset fills in the lengths and the detector; what is given beside it counts. The detector is
    described unbinned and whole; columns and rows then cut it, and binning joins pixels.
    """

    model_config = rules(
        never(at("principal_point_px"), at("detector_offset_mm", {"not": const([0, 0])})),
    )

    preset: str | None = Field(
        None,
        description="A C-arm's name as `app.py presets` lists them; unverified lengths.",
        json_schema_extra={"enum": [None, *carm_presets()]},
    )
    source_to_detector_mm: Length = Field(1020.0, description="Focal spot to detector [mm].")
    source_to_isocenter_mm: Length = Field(510.0, description="Focal spot to isocentre [mm].")
    detector_width_px: Annotated[int, Field(ge=1, le=8192)] = Field(512, description="Columns.")
    detector_height_px: Annotated[int, Field(ge=1, le=8192)] = Field(512, description="Rows.")
    pixel_spacing_mm: Length = Field(0.5, description="Detector pixel pitch [mm].")
    isocenter_mm: Vector | None = Field(
        None, description="Isocentre, patient LPS [mm]; null: the centre of the volume's box."
    )
    columns: PixelRange | None = Field(
        None, description="First detector column used and the one after the last; null: all."
    )
    rows: PixelRange | None = Field(
        None, description="First detector row used and the one after the last; null: all."
    )
    binning: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Pixels along each side that are read out as one."
    )
    magnification: Annotated[float, Field(ge=1, le=16)] = Field(
        1.0, description="Factor by which the field is smaller, on the same number of pixels."
    )
    detector_offset_mm: Reach = Field(
        (0.0, 0.0), description="Detector's middle off the central ray, along columns and rows."
    )
    principal_point_px: Reach | None = Field(
        None,
        description="In the offset's place: column and row of the whole detector where the central "
        "ray meets it, pixel centres at .5; null: its middle.",
    )
    detector_tilt_deg: Tilt = Field(
        (0.0, 0.0), description="Turns of the detector about its columns, then its rows."
    )
    flex: FilePath | None = Field(
        None, description="CSV of source and detector motions by angle, relative to the YAML file."
    )
    limits: LimitsConfig = Field(LimitsConfig(), description="How far the C-arm reaches.")
    tolerance: CarmTolerance = Field(
        CarmTolerance(),
        description="How well the lengths above are known, for what a registration believes.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: object) -> object:
        if not isinstance(values, dict) or not isinstance(values.get("preset"), str):
            return values
        try:
            return {**carm_preset(values["preset"]), **values}
        except InputError as error:
            raise KeyValueError("preset", str(error)) from None

    @property
    def image_size_px(self) -> tuple[int, int]:
        """Columns and rows of an image: those of the detector that are used, binned."""
        left, right = self.columns or (0, self.detector_width_px)
        top, bottom = self.rows or (0, self.detector_height_px)
        return (right - left) // self.binning, (bottom - top) // self.binning

    @model_validator(mode="after")
    def _detector_can_be_read_out(self) -> CarmConfig:
        for key, side in (("columns", "detector_width_px"), ("rows", "detector_height_px")):
            count = getattr(self, side)
            first, stop = getattr(self, key) or (0, count)
            if not first < stop <= count:
                raise KeyValueError(key, f"must be a range within 0 to {count}, got {first, stop}")
            if (stop - first) % self.binning:
                raise KeyValueError(
                    "binning", f"must divide the {stop - first} {key} used, got {self.binning}"
                )
        return self

    @model_validator(mode="after")
    def _one_place_of_the_detector(self) -> CarmConfig:
        if self.principal_point_px is not None and self.detector_offset_mm != (0.0, 0.0):
            raise KeyValueError(
                "principal_point_px", "says what detector_offset_mm says; give one of them"
            )
        return self

    @model_validator(mode="after")
    def _isocenter_before_detector(self) -> CarmConfig:
        if self.source_to_isocenter_mm >= self.source_to_detector_mm:
            raise KeyValueError(
                "source_to_isocenter_mm",
                f"must be less than source_to_detector_mm ({self.source_to_detector_mm:g}), "
                f"got {self.source_to_isocenter_mm:g}",
            )
        return self
