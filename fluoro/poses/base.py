"""What every pose source has in common: its section of the YAML and its runtime.

The modules of this folder hold the models of the configuration, so they import what computes when
it is needed: `fluoro.config` loads without NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, get_args

from pydantic import Field

from fluoro.config.image_chain import ImageChainConfig
from fluoro.config.schema_rules import Rule
from fluoro.config.section import Angle, Section, Vector

if TYPE_CHECKING:
    from fluoro.config import Config
    from fluoro.geometry.carm import CarmGeometry, CarmPose
    from fluoro.geometry.limits import CarmLimits
    from fluoro.geometry.trajectory import Trajectory
    from fluoro.imaging.frame import PoseOrigin

__all__ = [
    "FRAMES_AHEAD",
    "IssuedPose",
    "PathSource",
    "PoseConfig",
    "PoseImages",
    "PoseLinks",
    "PoseSetup",
    "PoseSource",
    "PoseSourceSection",
    "SeenFrames",
]


FRAMES_AHEAD = 2
"""Frames between their pose and the end of their rendering: one is rendered, one waits, so that
the renderer is never idle, and no pose is older than it must be."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IssuedPose:
    """The pose of a frame.

    Attributes:
        pose: Where the C-arm is to stand.
        origin: Sender of the pose; None: it was not sent.
        received_ns: Time of reception, Unix time [ns]; None: it was not sent.
    """

    pose: CarmPose
    origin: PoseOrigin | None = None
    received_ns: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseSetup:
    """What a pose source is made from beside its section.

    Attributes:
        seed: Seed of the run.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        limits: How far the C-arm reaches.
        image_chain: Window and polarity of images that come with their poses.
    """

    seed: int
    isocenter_xyz_mm: Sequence[float]
    limits: CarmLimits
    image_chain: ImageChainConfig = field(default_factory=ImageChainConfig)


class PoseLinks(Protocol):
    """The connections that a pose source may use."""

    clock: Callable[[], int]
    feed: Any
    take_transform: Callable[..., None] | None

    def dds(self, key: str) -> Any:
        """Return the DDS participant, which the key of the configuration needs."""

    def blank(self) -> None:
        """End the beam and show a black frame."""

    def unblank(self) -> None:
        """Undo `blank`."""


class PoseSource(Protocol):
    """The poses of a run.

    Attributes:
        patience_s: How long `next` and the wait for the renderer may last, before `watch` is
            called again [s].
        feedback: Whether each pose waits for the estimate of the frame before.
    """

    patience_s: float = 0.1
    feedback: bool = False

    def start_pose(self) -> CarmPose:
        """Return the first pose, as far as it is known before the stream starts."""
        ...

    def path(self) -> Trajectory | None:
        """Return the pose by time; None: it is not known before the stream starts."""
        return None

    def open(self, links: PoseLinks) -> None:
        """Begin to take poses.

        Raises:
            InputError: An interface that is not there.
            DeviceError: A connection cannot be opened.
        """
        del links

    def watch(self) -> None:
        """Look whether poses have stopped; called at least every `patience_s`.

        Raises:
            DeviceError: They have, and the run is to end then.
        """
        return

    def ready(self) -> bool:
        """Return whether a pose may be requested."""
        return True

    def next(self, number: int, time_s: float, wait_s: float) -> IssuedPose | None:
        """Return the pose of a frame; None: there is none yet.

        Args:
            number: Number of the frame, from 0.
            time_s: Time of the frame in the run [s].
            wait_s: How long to wait for a pose at most [s].
        """

    def take_estimate(self, estimate: Any, stood: CarmPose) -> bool:
        """Take what registration found of the last frame; return whether another pose follows.

        Args:
            estimate: The estimate of the pose.
            stood: The pose that was issued.
        """
        del estimate, stood
        return True

    def facts(self) -> dict[str, Any]:
        """Return what run.json says of the source, by key."""
        return {}

    def failure(self) -> str | None:
        """Return why the run has not done what it was for, in one line; None: it has."""
        return None

    def close(self) -> None:
        """End what `open` began."""
        return


class PoseImages(Protocol):
    """Images that come with their poses, in the place of rendered ones.

    Attributes:
        count: How many there are.
    """

    count: int

    def next(self) -> Any:
        """Return the next image; None: there is no more."""

    def close(self) -> None:
        """Close what they are read from."""


class SeenFrames(Protocol):
    """The frames of a file whose poses the run has."""

    def at(self, time_s: float) -> tuple[Any, int]:
        """Return grey levels (height, width) at a time [s], uint8, and the frame's number."""

    def close(self) -> None:
        """Close the file."""


class PathSource(PoseSource):
    """Poses as a function of time.

    Args:
        trajectory: Pose by time [s].
    """

    def __init__(self, trajectory: Trajectory) -> None:
        self._trajectory = trajectory

    def start_pose(self) -> CarmPose:
        """Return the pose at time 0."""
        return self._trajectory(0.0)

    def path(self) -> Trajectory:
        """Return the pose by time."""
        return self._trajectory

    def next(self, number: int, time_s: float, wait_s: float) -> IssuedPose:
        """Return the pose of a time."""
        del number, wait_s
        return IssuedPose(pose=self._trajectory(time_s))


class PoseSourceSection(Section):
    """A section `pose_source`; a subclass overrides what it has need of.

    What is known of a source before it runs are methods and properties: a class variable has an
    annotation, which pydantic reads again for each subclass.
    """

    @classmethod
    def by_time(cls) -> bool:
        """Return whether every frame has a pose by its time, so that pulses are possible."""
        return True

    @classmethod
    def loops(cls) -> bool:
        """Return whether the source decides when the run ends."""
        return False

    @classmethod
    def file_rules(cls) -> tuple[Rule, ...]:
        """Return rules of the whole file's JSON Schema, as `check_file` checks them."""
        return ()

    @classmethod
    def word(cls) -> str:
        """Return the word by which `pose_source.kind` names the source."""
        (word,) = get_args(cls.model_fields["kind"].annotation)
        return str(word)

    @property
    def by_hand(self) -> bool:
        """Whether the console's sliders are the only source."""
        return False

    @property
    def sent(self) -> bool:
        """Whether another program sends the poses, within the C-arm's limits already."""
        return False

    @property
    def lockstep(self) -> bool:
        """Whether there is exactly one frame for each pose that is sent."""
        return False

    @property
    def brings_images(self) -> bool:
        """Whether images come with the poses, in the place of rendered ones."""
        return False

    @property
    def by_clock(self) -> bool:
        """Whether `run.fps` may set the pace; false: each pose that comes makes a frame."""
        return True

    @property
    def frames_ahead(self) -> int | None:
        """Poses that may be on their way to the renderer; None: each waits for its frame anyhow."""
        return FRAMES_AHEAD

    @property
    def obeys_hand(self) -> bool:
        """Whether a user may take the C-arm over on the console."""
        return True

    def keeps_pace(self, *, paced: bool) -> bool:
        """Return whether frames come by a clock, the run's or a robot's, and not by each other.

        Args:
            paced: Whether the run keeps the pace of `run.fps`.
        """
        return paced

    def shown_pose(self) -> PoseConfig:
        """Return where the console's sliders stand at first: what does not move of the source."""
        return PoseConfig()

    def check_file(self, config: Config) -> None:
        """Check what the source needs of the whole file.

        Raises:
            KeyValueError: A key is missing or has a value that does not fit.
        """

    def completed(self, config: Config) -> Config:
        """Return the configuration with values from the source's file, where it has no other.

        Args:
            config: The whole configuration, checked.

        Raises:
            InputError: The file cannot be read, or does not say enough.
        """
        return config

    def seen(self) -> SeenFrames | None:
        """Return the frames that are to be shown beside the rendered ones; None: there are none.

        Raises:
            InputError: The file cannot be read.
        """
        return None

    def check(self) -> None:
        """See whether the source can run here, before anything is loaded for it.

        Raises:
            FluoroError: It cannot.
        """

    def trajectory(self, seed: int = 0) -> Trajectory:
        """Return pose by time, as far as it is known before the run.

        Args:
            seed: Seed of the run.

        Raises:
            InputError: A file that cannot be used.
        """
        del seed
        pose = self.shown_pose().carm_pose()
        return lambda _time_s: pose

    def make(self, setup: PoseSetup) -> PoseSource:
        """Return the runtime of the source.

        Raises:
            FluoroError: A file that cannot be used, a package that is not there.
        """
        return PathSource(self.trajectory(setup.seed))

    def open_images(
        self, setup: PoseSetup, geometry: Callable[[], CarmGeometry]
    ) -> PoseImages | None:
        """Return images that take the place of rendered ones; None: they are rendered.

        Args:
            setup: As for `make`.
            geometry: Makes the detector that the images must have.

        Raises:
            InputError: Images that cannot be used.
        """


class PoseConfig(Section):
    """One pose of the C-arm."""

    lao_deg: Angle = Field(0.0, description="Primary angle, + LAO, - RAO [degrees].")
    cra_deg: Angle = Field(0.0, description="Secondary angle, + cranial, - caudal [degrees].")
    roll_deg: Angle = Field(0.0, description="Detector roll about the beam [degrees].")
    translation_mm: Vector = Field((0.0, 0.0, 0.0), description="C-arm shift, world LPS [mm].")

    def shown_pose(self) -> PoseConfig:
        """Return the pose itself."""
        return self

    def carm_pose(self) -> CarmPose:
        """Return the pose for computation."""
        from fluoro.geometry.carm import CarmPose

        return CarmPose(
            lao_deg=self.lao_deg,
            cra_deg=self.cra_deg,
            roll_deg=self.roll_deg,
            translation_mm=self.translation_mm,
        )
