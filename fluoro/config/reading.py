"""How a CT file is read where it leaves a choice."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from fluoro.config.section import Count, Finite, Length, Section, Vector, list_of
from fluoro.config.validation_errors import shown
from fluoro.names import ByteOrder, MissingSlices, NanVoxels, NiftiTransform, NumberType

__all__ = ["ArrayConfig", "ReadOptions"]

Vector3 = tuple[float, float, float]


class ArrayConfig(Section):
    """How the voxels of a NumPy or raw file lie, in the file and in the patient."""

    spacing_xyz_mm: Annotated[tuple[Length, Length, Length], Strict(False), list_of(3)] = Field(
        description="Distance between voxel centres along x, y and z [mm]."
    )
    origin_xyz_mm: Vector = Field(description="Centre of voxel (0, 0, 0), patient LPS [mm].")
    direction: Annotated[
        tuple[Finite, ...], Strict(False), list_of(9), Field(min_length=9, max_length=9)
    ] = Field(
        description="9 numbers: rows of the matrix whose columns are the directions of the x, y "
        "and z index in patient LPS; [1, 0, 0, 0, 1, 0, 0, 0, 1] for x to the left, y to the "
        "back, z to the head."
    )
    shape_zyx: Annotated[tuple[Count, Count, Count], Strict(False), list_of(3)] | None = Field(
        None, description="Voxels along z, y and x; for raw files."
    )
    dtype: NumberType | None = Field(None, description="Type of a voxel; for raw files.")
    byte_order: ByteOrder = Field("little", description="Of raw files.")
    offset_bytes: Annotated[int, Field(ge=0)] = Field(
        0, description="Bytes before the first voxel of raw files."
    )
    name: str | None = Field(None, description="Of the array in a .npz that holds several.")

    @property
    def direction_rows(self) -> tuple[Vector3, Vector3, Vector3]:
        """The three rows of the direction."""
        a, b, c, d, e, f, g, h, i = self.direction
        return (a, b, c), (d, e, f), (g, h, i)


def _is_text_or_number(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _selected(value: object) -> str | tuple[str, ...]:
    """Text of a value, or of several, that an attribute may have."""
    several = isinstance(value, list | tuple)
    values = value if isinstance(value, list | tuple) else [value]
    if not values or not all(map(_is_text_or_number, values)):
        raise ValueError(f"must be text, a number, or a list of these, got {shown(value)}")
    return tuple(map(str, values)) if several else str(value)


Value = str | int | float
Selection = Annotated[
    str | tuple[str, ...],
    BeforeValidator(_selected, json_schema_input_type=Value | list[Value]),
]


class ReadOptions(Section):
    """Choices where a CT file leaves one; each is refused where it has no effect."""

    series: Annotated[str | Annotated[int, Field(ge=0)], AfterValidator(str)] | None = Field(
        None, description="DICOM: SeriesNumber or SeriesInstanceUID; null: there is only one."
    )
    select: dict[str, Selection] = Field(
        {},
        description="DICOM: attributes that select the wanted images of a series, such "
        "as {AcquisitionNumber: 2}; a list takes the images of several values as one volume; '' "
        "takes the images without the attribute.",
    )
    gaps: MissingSlices = Field("refuse", description="DICOM: what becomes of missing slices.")
    nifti_transform: NiftiTransform | None = Field(
        None, description="NIfTI: which transform places the volume; null: they must agree."
    )
    nan_voxels: NanVoxels = Field(
        "refuse",
        description="NIfTI, NRRD, MetaImage, NumPy and raw: what becomes of NaN voxels, as "
        "outside of a reconstruction; air: -1024 HU.",
    )
    array: ArrayConfig | None = Field(
        None, description="NumPy (.npy, .npz) and raw files: how their voxels lie."
    )

    def given(self) -> dict[str, Any]:
        """Return the choices that differ from their defaults, by key, as JSON can hold them."""
        fields = ReadOptions.model_fields
        made = {key for key, field in fields.items() if getattr(self, key) != field.default}
        return self.model_dump(mode="json", include=made)
