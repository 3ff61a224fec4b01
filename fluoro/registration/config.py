"""The schema of a registration's YAML: what to register to what, from where, and how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, model_validator

from fluoro.config import (
    REGISTRATION_KEY,
    CarmConfig,
    FilePath,
    ImageChainConfig,
    PoseConfig,
    RegistrationConfig,
    RendererConfig,
    Section,
    VolumeConfig,
    load_sections,
)
from fluoro.config.schema_rules import NULL, absent_or, at, const, never, rules, when
from fluoro.config.section import NonNegative, Positive
from fluoro.config.validation_errors import KeyValueError
from fluoro.config.yaml_text import read_mapping
from fluoro.errors import InputError
from fluoro.names import Polarity, TargetKind
from fluoro.registration.targets.preparation import Preparation

__all__ = [
    "RegisterConfig",
    "TargetConfig",
    "is_register_file",
    "load_register_config",
]

Pixels = Annotated[int, Field(ge=0, le=8192)]


def _as_value_error(make: Any) -> None:
    """Build something for its checks alone; its one line becomes the section's."""
    try:
        make()
    except InputError as error:
        raise ValueError(str(error)) from None


class TargetConfig(Section):
    """The image: rendered at a pose and sent through `image_chain`, or read from a file."""

    path: FilePath | None = Field(
        None,
        description="PNG, TIFF, JPEG or NPY, relative to the YAML file, of the size of the "
        "detector in `carm`; or an X-ray image in DICOM, which brings what `carm`, "
        "`registration.start.pose`, `kind` and `polarity` do not say; null: rendered at `pose`.",
    )
    frame: Annotated[int, Field(ge=1, le=10**6)] | None = Field(
        None,
        description="Of a DICOM file, counted from 1 as viewers do; null: its only one. A file "
        "whose name does not end in .dcm, .dicom or .ima is taken for DICOM where this is given.",
    )
    pose: PoseConfig | None = Field(
        None,
        description="Where the C-arm stood: errors are measured from it. Of a file: null where "
        "it is not known.",
    )
    kind: TargetKind = Field(
        "display",
        description="raw: intensity; log: line integrals; display: what a screen shows.",
    )
    i0: Positive | None = Field(
        None, description="raw: intensity of the open field; null: estimated."
    )
    saturation: NonNegative | None = Field(
        None, description="raw: pixels from here on are left out; null: the type's largest value."
    )
    polarity: Polarity | None = Field(
        None,
        description="display: null: of a rendered image image_chain's; a file's bones are taken "
        "as bright.",
    )
    crop: (
        Literal["auto"] | Annotated[tuple[Pixels, Pixels, Pixels, Pixels], Strict(False)] | None
    ) = Field(
        None,
        description="Pixels [top, bottom, left, right] that do not count; raw: auto finds a "
        "collimator's borders; null: none.",
    )
    smoothing_px: Annotated[float, Field(ge=0, le=50)] = Field(
        0.0, description="Gaussian sigma [pixels]; 0: none."
    )

    model_config = rules(
        when(absent_or("path", NULL), then=at("pose")),
        never(absent_or("path", NULL), at("polarity")),
        never(absent_or("path", NULL), at("frame")),
        never(at("kind", const("log", "display")), at("crop", const("auto"))),
        never(absent_or("kind", const("display")), at("i0")),
        never(absent_or("kind", const("display")), at("saturation")),
        never(at("kind", const("log")), at("i0")),
        never(at("kind", const("log")), at("saturation")),
        never(at("kind", const("raw", "log")), at("polarity")),
    )

    @model_validator(mode="after")
    def _usable(self) -> TargetConfig:
        if self.path is None and self.pose is None:
            raise KeyValueError("pose", "must be given where there is no path")
        if self.path is None and self.polarity:
            raise KeyValueError("polarity", "of a rendered image is image_chain.polarity")
        if self.path is None and self.frame is not None:
            raise KeyValueError("frame", "has no effect without path")
        _as_value_error(self.preparation)
        return self

    @property
    def is_dicom(self) -> bool:
        """Whether the image is a frame of an X-ray file, which contains its geometry."""
        return self.path is not None and (
            self.frame is not None or self.path.suffix.lower() in XRAY_SUFFIXES
        )

    def preparation(self, rendered: Polarity | None = None) -> Preparation:
        """Return how the image becomes a target.

        Args:
            rendered: Polarity in which an image of kind display was rendered; None: of a file.
        """
        return Preparation(
            kind=self.kind,
            i0=self.i0,
            saturation=self.saturation,
            polarity=rendered if rendered and self.kind == "display" else self.polarity,
            crop=self.crop,
            smoothing_px=self.smoothing_px,
        )


class RegisterRunConfig(Section):
    """Where the files go."""

    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="Folder under output/; null: the YAML's name and the time.",
    )
    output_dir: FilePath | None = Field(
        None,
        description="Parent of the folder, relative to the YAML file; null: FLUORO_OUTPUT_DIR or "
        "./output.",
    )
    animation: bool = Field(True, description="convergence.webp as well.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="Of the noise in a rendered target."
    )


XRAY_SUFFIXES = (".dcm", ".dicom", ".ima")
"""By which a path is taken for an X-ray file in DICOM before the file is opened."""
DICOM_PATH = {"type": "string", "pattern": r"\.([dD][cC][mM]|[dD][iI][cC][oO][mM]|[iI][mM][aA])$"}
"""Of a path that is taken for DICOM by its name, in the JSON Schema."""
STREAM_KEYS = ("enabled", "predict")
"""Of the section `registration`: without effect on one image."""
_RENDERED = absent_or("target.path", NULL)


class RegisterConfig(Section):
    """A whole registration."""

    volume: VolumeConfig
    carm: CarmConfig = CarmConfig()
    target: TargetConfig
    image_chain: ImageChainConfig = ImageChainConfig()
    registration: RegistrationConfig = RegistrationConfig()
    renderer: RendererConfig = RendererConfig()
    run: RegisterRunConfig = RegisterRunConfig()

    model_config = rules(
        never(at("image_chain.xray")),
        *(never(at(f"volume.{key}")) for key in ("motion", "contrast", "materials")),
        never(at("volume.labels.materials", {"minProperties": 1})),
        when(at("registration.labels"), then=at("volume.labels")),
        *(never(at(f"image_chain.{key}")) for key in ("dsa", "pulse_rate_hz")),
        never(at("image_chain.image_intensifier.pin_cushion", {"not": const(0)})),
        never(
            _RENDERED, at("target.kind", const("raw")), at("image_chain.beer_lambert", const(False))
        ),
        when(
            at("target.path", {"not": DICOM_PATH}),
            absent_or("target.frame", NULL),
            absent_or("target.pose", NULL),
            then=at("registration.start.pose"),
        ),
        *(never(at(f"registration.{key}", {})) for key in STREAM_KEYS),
        never(at("target.path"), at("image_chain", {"minProperties": 1})),
        *(
            never(at("target.path"), at(f"renderer.{key}", {}))
            for key in ("projector", "step_mm", "texture")
        ),
    )

    @model_validator(mode="after")
    def _keys_have_effect(self) -> RegisterConfig:
        for key in sorted(self.registration.model_fields_set & set(STREAM_KEYS)):
            raise KeyValueError(f"registration.{key}", "has no effect on one image")
        if self.target.path is not None:
            self._of_a_file()
        elif self.target.kind == "raw" and not self.image_chain.beer_lambert:
            raise KeyValueError("target.kind", "raw needs image_chain.beer_lambert: true")
        if self.image_chain.xray:
            raise KeyValueError("image_chain.xray", "cannot be used: the target has one energy")
        for key in ("motion", "contrast", "materials"):
            if getattr(self.volume, key) is not None:
                raise KeyValueError(f"volume.{key}", "has no effect on one image's registration")
        labels = self.volume.labels
        if labels and labels.materials:
            raise KeyValueError("volume.labels.materials", "has no effect on one energy")
        if self.registration.labels is not None and labels is None:
            raise KeyValueError("registration.labels", "needs volume.labels")
        for key in ("dsa", "pulse_rate_hz"):
            if getattr(self.image_chain, key) is not None:
                raise KeyValueError(f"image_chain.{key}", "cannot be used: the target is one frame")
        intensifier = self.image_chain.image_intensifier
        if intensifier and intensifier.pin_cushion:
            raise KeyValueError(
                "image_chain.image_intensifier.pin_cushion",
                "must be 0: the registration takes the target for undistorted",
            )
        return self

    def _of_a_file(self) -> None:
        given = self.target.pose is not None or self.registration.start.pose is not None
        if not (self.target.is_dicom or given):
            raise KeyValueError(
                "registration.start.pose", "must be given: target.pose is not known"
            )
        if self.image_chain.model_fields_set:
            raise KeyValueError(
                "image_chain",
                "has no effect on a target from a file; leave it out (--set image_chain={})",
            )
        for key in sorted(self.renderer.model_fields_set & {"projector", "step_mm", "texture"}):
            raise KeyValueError(
                f"renderer.{key}", "has no effect on a target from a file; registration.projector"
            )


def is_register_file(path: Path) -> bool:
    """Return whether a YAML file describes a registration rather than a stream.

    Raises:
        InputError: It cannot be read.
    """
    return REGISTRATION_KEY in read_mapping(path)


def load_register_config(path: Path, overrides: Sequence[str] = ()) -> RegisterConfig:
    """Read, override and validate a registration's YAML file.

    Args:
        path: The YAML file; paths inside it are taken relative to its folder.
        overrides: `key.path=value` strings from the command line; paths in them are taken
            relative to the working folder.

    Raises:
        InputError: As `fluoro.config.load_config`; or the file describes a stream.
    """
    document = read_mapping(path)
    if REGISTRATION_KEY not in document and "pose_source" in document:
        raise InputError(f"{path}: describes a stream: app.py run {path}")
    return load_sections(RegisterConfig, path, overrides)
