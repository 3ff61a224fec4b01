"""The whole file: all sections, and the rules between them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from fluoro.config.annotations import AnnotationsConfig
from fluoro.config.carm import CarmConfig
from fluoro.config.image_chain import ImageChainConfig, keys_without_inverse
from fluoro.config.outputs import (
    LARGEST_IMAGE_BYTES,
    ConsoleConfig,
    DdsConfig,
    HolovizConfig,
    IgtlConfig,
    RecorderConfig,
)
from fluoro.config.plugin_sections import extended, sections
from fluoro.config.poses import POSE_SOURCES, PoseSourceConfig
from fluoro.config.registration import OptimiserConfig, RegistrationConfig
from fluoro.config.renderer import RendererConfig
from fluoro.config.schema_rules import GIVEN, at, const, never, rules, when
from fluoro.config.section import FilePath, Section
from fluoro.config.validation_errors import KeyValueError
from fluoro.config.volume import LinearMap, VolumeConfig
from fluoro.names import Pacing
from fluoro.rendering.projectors import names_where

__all__ = [
    "Config",
    "RunConfig",
    "pulses_fit",
]


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
        None, description="Number of frames after which the run ends; null: run until stopped."
    )
    fps: Annotated[float, Field(ge=0.01, le=1000)] = Field(30.0, description="Frame rate [1/s].")
    pacing: Pacing = Field(
        "paced", description="paced: one pose each 1/fps; free_running: as fast as it goes."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        0, description="Of noise and random walk; null: drawn, and recorded in run.json."
    )


_LOOPS = at("pose_source.kind", const(*(s.word() for s in POSE_SOURCES if s.loops())))
_NOT_BY_TIME = [source.word() for source in POSE_SOURCES if not source.by_time()]
_NOT_FUSED = ("image_chain.xray", "image_chain.scatter", "volume.motion", "volume.contrast")
_MOVING = names_where(lambda projector: projector.moving)
_OF_MATERIALS = names_where(lambda projector: projector.materials)
_OF_A_STILL_PATIENT = ("masks", "boxes", "landmarks")
_REGISTRATION = at("registration.enabled", const(True))


def _keys_of_plugins(_section: type[Section]) -> dict[str, Any]:
    """Return the sections of plugins' sinks."""
    return {
        name: (sink.section | None, Field(None, description="null: off."))
        for name, sink in sections("sinks").items()
    }


@extended("sinks", _keys_of_plugins)
class Config(Section):
    """A whole application."""

    model_config = rules(
        *(rule for source in POSE_SOURCES for rule in source.file_rules()),
        never(at("volume.motion"), at("renderer.projector", {"not": const(*_MOVING)})),
        never(at("renderer.texture", const(True)), at("volume.motion")),
        never(at("renderer.texture", const(True)), at("image_chain.xray")),
        *(never(at("renderer.fused", const(True)), at(key)) for key in _NOT_FUSED),
        never(at("image_chain.pulse_rate_hz"), at("pose_source.kind", const(*_NOT_BY_TIME))),
        never(at("image_chain.pulse_rate_hz"), at("optimiser")),
        when(at("volume.materials"), then=at("image_chain.xray")),
        when(at("volume.labels.materials", {"minProperties": 1}), then=at("image_chain.xray")),
        never(at("image_chain.xray"), at("renderer.projector", {"not": const(*_OF_MATERIALS)})),
        *(
            never(
                at("image_chain.xray"),
                at("volume.hu_to_mu.kind", const("linear")),
                at(f"volume.hu_to_mu.{key}", {"not": const(value)}),
            )
            for key, value in (("hu_min", -1000), ("mu_min_per_mm", 0))
        ),
        *(
            when(at(f"annotations.{key}"), then=at("volume.labels"))
            for key in ("structures", "masks", "boxes")
        ),
        *(never(at(f"annotations.{key}"), at("volume.motion")) for key in _OF_A_STILL_PATIENT),
        *(
            never(
                at(f"annotations.{key}"),
                at("image_chain.image_intensifier.pin_cushion", {"not": const(0)}),
            )
            for key in _OF_A_STILL_PATIENT
        ),
        *(
            never(at(f"annotations.{key}"), at("pose_source.kind", const("bag")))
            for key in _OF_A_STILL_PATIENT
        ),
        when(
            at("volume.path"),
            at("annotations.landmarks", {"type": "object"}),
            then=at("annotations.landmarks.path"),
        ),
        when(at("annotations.landmarks.coordinates"), then=at("annotations.landmarks.path")),
        when(at("registration.labels"), then=at("volume.labels")),
        when(
            at("dds.frames.truth", const(True)),
            then={"anyOf": [at("annotations.masks"), at("annotations.boxes")]},
        ),
        never(at("dds.bag", const(True)), at("recorder.enabled", const(False))),
        never(_REGISTRATION, at("optimiser")),
        never(at("registration.measure", const("mutual_information"))),
        never(at("registration.optimiser", const("adam", "lbfgs"))),
        when({"anyOf": [_LOOPS, at("optimiser")]}, then=at("run.frames")),
        *(
            never({"anyOf": [_REGISTRATION, at("optimiser")]}, at(f"image_chain.{key}", schema))
            for key, schema in (
                *((key, GIVEN) for key in keys_without_inverse()),
                ("image_intensifier.pin_cushion", {"not": const(0)}),
            )
        ),
    )

    volume: VolumeConfig
    carm: CarmConfig = CarmConfig()
    pose_source: PoseSourceConfig
    renderer: RendererConfig = RendererConfig()
    image_chain: ImageChainConfig = ImageChainConfig()
    annotations: AnnotationsConfig = AnnotationsConfig()
    console: ConsoleConfig = ConsoleConfig()
    recorder: RecorderConfig = RecorderConfig()
    holoviz: HolovizConfig = HolovizConfig()
    dds: DdsConfig = DdsConfig()
    igtl: IgtlConfig = IgtlConfig()
    registration: RegistrationConfig = RegistrationConfig()
    optimiser: OptimiserConfig | None = None
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _poses_have_what_they_need(self) -> Config:
        self.pose_source.check_file(self)
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
    def _projector_can_move(self) -> Config:
        if self.volume.motion and self.renderer.projector not in _MOVING:
            able = " or ".join(_MOVING)
            raise KeyValueError("renderer.projector", f"must be {able} with volume.motion")
        return self

    @model_validator(mode="after")
    def _texture_is_of_one_still_volume(self) -> Config:
        if self.renderer.texture and (self.volume.motion or self.image_chain.xray):
            what = "volume.motion" if self.volume.motion else "image_chain.xray"
            raise KeyValueError("renderer.texture", f"cannot be true with {what}")
        return self

    @model_validator(mode="after")
    def _fused_is_of_line_integrals_alone(self) -> Config:
        needed = {
            "image_chain.xray": self.image_chain.xray,
            "image_chain.scatter": self.image_chain.scatter,
            "volume.motion": self.volume.motion,
            "volume.contrast": self.volume.contrast,
        }
        others = [key for key, given in needed.items() if given]
        if self.renderer.fused and others:
            raise KeyValueError("renderer.fused", f"cannot be true with {others[0]}")
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
            if self.volume.labels and self.volume.labels.materials:
                raise KeyValueError("volume.labels.materials", "needs image_chain.xray")
            return self
        projector = self.renderer.projector
        if projector not in _OF_MATERIALS:
            able = " or ".join(_OF_MATERIALS)
            raise KeyValueError(
                "renderer.projector",
                f"{projector} has no materials for image_chain.xray; use {able}",
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
    def _annotations_have_what_they_are_of(self) -> Config:
        wanted, key = self.annotations, "annotations"
        for name in ("structures", "masks", "boxes"):
            if getattr(wanted, name) is not None and self.volume.labels is None:
                raise KeyValueError(f"{key}.{name}", "needs volume.labels")
        if self.registration.labels is not None and self.volume.labels is None:
            raise KeyValueError("registration.labels", "needs volume.labels")
        for name in wanted.sections():
            if self.volume.motion:
                raise KeyValueError(f"{key}.{name}", "needs a still patient, without volume.motion")
            intensifier = self.image_chain.image_intensifier
            if intensifier and intensifier.pin_cushion:
                raise KeyValueError(f"{key}.{name}", "needs image_intensifier.pin_cushion: 0")
            if self.pose_source.word() == "bag":
                raise KeyValueError(f"{key}.{name}", "cannot be made of the images of a bag")
        frames = self.dds.frames
        if frames and frames.truth and not (wanted.masks or wanted.boxes):
            raise KeyValueError("dds.frames.truth", "needs annotations.masks or annotations.boxes")
        landmarks = wanted.landmarks
        if landmarks and landmarks.path is None and self.volume.path:
            raise KeyValueError(f"{key}.landmarks.path", "must name a file, since this is a CT")
        if landmarks and landmarks.path is None and landmarks.coordinates:
            raise KeyValueError(f"{key}.landmarks.coordinates", "has no effect without path")
        return self

    @model_validator(mode="after")
    def _window_shows_what_brightness_holds(self) -> Config:
        chain, window = self.image_chain, self.image_chain.window
        if chain.brightness and chain.log and abs(window.level) >= window.width / 2:
            raise KeyValueError(
                "image_chain.window.level",
                "must lie within half a width of 0, where brightness holds the image, "
                f"got {window.level:g} at a width of {window.width:g}",
            )
        return self

    @model_validator(mode="after")
    def _image_fits_into_a_message(self) -> Config:
        frames, (width_px, height_px) = self.dds.frames, self.carm.image_size_px
        if frames is None:
            return self
        size = width_px * height_px * frames.pixel_bytes
        if size > LARGEST_IMAGE_BYTES:
            raise KeyValueError(
                "dds.frames",
                f"DDS takes images of at most {LARGEST_IMAGE_BYTES} bytes, carm's of "
                f"{width_px} x {height_px} pixels have {size}: use fewer pixels or another "
                "encoding",
            )
        return self

    @model_validator(mode="after")
    def _bag_needs_the_recorder(self) -> Config:
        if self.dds.bag and not self.recorder.enabled:
            raise KeyValueError("dds.bag", "needs recorder.enabled: true")
        return self

    @model_validator(mode="after")
    def _loops_need_their_parts(self) -> Config:
        if self.registration.enabled and self.optimiser:
            raise KeyValueError("optimiser", "cannot run beside registration.enabled: true")
        if (self.pose_source.loops() or self.optimiser) and self.run.frames is None:
            raise KeyValueError("run.frames", "must say after how many frames a loop gives up")
        return self

    @model_validator(mode="after")
    def _tracking_takes_squares(self) -> Config:
        for key, value in (("measure", "mutual_information"), ("optimiser", "levenberg_marquardt")):
            found = getattr(self.registration, key)
            if (found == value) == (key == "measure"):
                raise KeyValueError(f"registration.{key}", f"{found} cannot track a stream")
        return self

    @model_validator(mode="after")
    def _registration_can_undo_the_image(self) -> Config:
        if not (self.registration.enabled or self.optimiser):
            return self
        for key in keys_without_inverse():
            if getattr(self.image_chain, key):
                user = "optimiser" if self.optimiser else "registration"
                raise KeyValueError(f"image_chain.{key}", f"cannot be undone by the {user}")
        intensifier = self.image_chain.image_intensifier
        if intensifier and intensifier.pin_cushion:
            raise KeyValueError(
                "image_chain.image_intensifier.pin_cushion",
                "must be 0 with registration or optimiser, which take the image for undistorted",
            )
        return self


def pulses_fit(config: Config) -> bool:
    """Return whether poses come by time, so that frames may be held between pulses."""
    return config.pose_source.by_time() and config.optimiser is None
