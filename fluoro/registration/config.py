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
    RendererConfig,
    Section,
    StartConfig,
    VolumeConfig,
    load_sections,
)
from fluoro.config.schema_rules import NULL, absent_or, at, const, never, rules, when
from fluoro.errors import InputError
from fluoro.mistakes import KeyValueError
from fluoro.names import Polarity, TargetKind
from fluoro.registration.prepare import Preparation
from fluoro.registration.settings import MeasureName, MultiStart, RegistrationSettings
from fluoro.yaml_text import read_mapping

__all__ = [
    "MethodConfig",
    "RegisterConfig",
    "SpreadConfig",
    "TargetConfig",
    "is_register_file",
    "load_register_config",
]

Pixels = Annotated[int, Field(ge=0, le=8192)]
Freedom = Literal[
    "turn_columns", "turn_rows", "turn_beam", "shift_columns", "shift_rows", "shift_beam"
]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _as_value_error(make: Any) -> None:
    """Build something for its checks alone; its one line becomes the section's."""
    try:
        make()
    except InputError as error:
        raise ValueError(str(error)) from None


class TargetConfig(Section):
    """The picture: rendered at a pose and sent through `image_chain`, or read from a file."""

    path: FilePath | None = Field(
        None,
        description="PNG, TIFF, JPEG or NPY, relative to the YAML file, of the size of the "
        "detector in `carm`; null: rendered at `pose`.",
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
        description="display: null: of a rendered picture image_chain's; a file's bones are taken "
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
            raise KeyValueError("polarity", "of a rendered picture is image_chain.polarity")
        _as_value_error(self.preparation)
        return self

    def preparation(self, rendered: Polarity | None = None) -> Preparation:
        """How the picture becomes a target.

        Args:
            rendered: Polarity in which a picture of kind display was rendered; None: of a file.
        """
        return Preparation(
            kind=self.kind,
            i0=self.i0,
            saturation=self.saturation,
            polarity=rendered if rendered and self.kind == "display" else self.polarity,
            crop=self.crop,
            smoothing_px=self.smoothing_px,
        )


class SpreadConfig(Section):
    """Many starts on the coarsest level, about the given one."""

    starts: Annotated[int, Field(ge=1, le=4096)] = Field(
        64, description="Poses tried, the given one included; 1: only that."
    )
    turn_sigma_deg: Annotated[float, Field(ge=0, le=90)] = Field(
        10.0, description="Spread about each axis [degrees]."
    )
    shift_sigma_mm: Annotated[float, Field(ge=0, le=500)] = Field(
        20.0, description="Spread along columns and rows [mm]."
    )
    depth_sigma_mm: Annotated[float, Field(ge=0, le=500)] = Field(
        20.0, description="Spread along the beam [mm]."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="Of the spread.")


class MethodConfig(Section):
    """How the pose is sought."""

    widths_px: Annotated[
        tuple[Annotated[int, Field(ge=8, le=4096)], ...], Strict(False), Field(min_length=1)
    ] = Field((32, 64, 128), description="Detector columns of each level, rising.")
    voxels_per_pixel: Annotated[float, Field(ge=0, le=100)] = Field(
        0.5,
        description="Voxels are joined up to so many pixels' width at the isocentre; 0: never.",
    )
    measure: MeasureName = Field("local_ncc", description="Likeness, on the last level.")
    optimiser: Literal["levenberg_marquardt", "adam", "lbfgs"] = Field(
        "levenberg_marquardt", description="On the last level."
    )
    loss: Literal["squares", "huber", "tukey"] = Field(
        "huber", description="Weight of large residuals with levenberg_marquardt."
    )
    max_iterations: Annotated[int, Field(ge=1, le=10_000)] = Field(25, description="On each level.")
    step_mm: Annotated[float, Field(gt=0, le=10)] = Field(
        0.005, description="A shorter step ends the last level [mm]."
    )
    fixed: Annotated[tuple[Freedom, ...], Strict(False)] = Field(
        (), description="Turns about and shifts along the starting view's axes that are held."
    )
    turn_bound_deg: Annotated[float, Field(gt=0, le=175)] = Field(
        60.0, description="Largest turn from the start about each axis [degrees]."
    )
    shift_bound_mm: Annotated[float, Field(gt=0, le=1000)] = Field(
        200.0, description="Largest shift from the start along each axis [mm]."
    )
    least_agreement: Annotated[float, Field(ge=0, le=1)] = Field(
        0.7, description="Least correlation of fine structure at which a pose is believed."
    )
    multi_start: SpreadConfig = SpreadConfig()
    attempts: Annotated[int, Field(ge=1, le=8)] = Field(
        2,
        description="Rounds of ever wider starts, while the pose that the given start leads to is "
        "not believed.",
    )
    projector: Literal["march", "joseph", "slab"] = Field(
        "joseph",
        description="Of the pictures that are held against the target; slab is the fastest.",
    )
    tissues_at_kev: Annotated[float, Field(ge=20, le=150)] | None = Field(
        None,
        description="Attenuation of air, lung, fat, soft tissue and bone at this energy, for "
        "pictures of many: about the mean of the open beam [keV]; null: as `volume` has it.",
    )

    @model_validator(mode="after")
    def _fits(self) -> MethodConfig:
        _as_value_error(self.settings)
        return self

    def settings(self) -> RegistrationSettings:
        """For a `Registrar`."""
        plain = self.model_dump(exclude={"tissues_at_kev"})
        plain["multi_start"] = MultiStart(**plain["multi_start"])
        plain["fixed"] = frozenset(plain["fixed"])
        return RegistrationSettings(**plain)


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


_RENDERED = absent_or("target.path", NULL)


class RegisterConfig(Section):
    """A whole registration."""

    volume: VolumeConfig
    carm: CarmConfig = CarmConfig()
    target: TargetConfig
    image_chain: ImageChainConfig = ImageChainConfig()
    start: StartConfig = StartConfig()
    registration: MethodConfig = MethodConfig()
    renderer: RendererConfig = RendererConfig()
    run: RegisterRunConfig = RegisterRunConfig()

    model_config = rules(
        never(at("image_chain.xray")),
        *(never(at(f"volume.{key}")) for key in ("motion", "contrast", "materials")),
        *(never(at(f"image_chain.{key}")) for key in ("dsa", "pulse_rate_hz")),
        never(at("image_chain.image_intensifier.pin_cushion", {"not": const(0)})),
        never(
            _RENDERED, at("target.kind", const("raw")), at("image_chain.beer_lambert", const(False))
        ),
        when(at("target.path"), absent_or("target.pose", NULL), then=at("start.pose")),
        never(at("target.path"), at("image_chain", {"minProperties": 1})),
        *(
            never(at("target.path"), at(f"renderer.{key}", {}))
            for key in ("projector", "step_mm", "texture")
        ),
    )

    @model_validator(mode="after")
    def _keys_have_effect(self) -> RegisterConfig:
        if self.target.path is not None:
            self._of_a_file()
        elif self.target.kind == "raw" and not self.image_chain.beer_lambert:
            raise KeyValueError("target.kind", "raw needs image_chain.beer_lambert: true")
        if self.image_chain.xray:
            raise KeyValueError("image_chain.xray", "cannot be used: the target has one energy")
        for key in ("motion", "contrast", "materials"):
            if getattr(self.volume, key) is not None:
                raise KeyValueError(f"volume.{key}", "has no effect on one picture's registration")
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
        if self.target.pose is None and self.start.pose is None:
            raise KeyValueError("start.pose", "must be given: target.pose is not known")
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
    """Whether a YAML file describes a registration rather than a stream.

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
