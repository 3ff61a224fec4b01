"""Poses that another program sends, and what happens when they no longer come."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from fluoro.config.schema_rules import absent_or, at, const, never, rules
from fluoro.config.validation_errors import KeyValueError
from fluoro.errors import DeviceError
from fluoro.names import OnSilence, Trigger
from fluoro.poses.base import IssuedPose, PoseLinks, PoseSource, PoseSourceSection

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluoro.geometry.carm import CarmPose
    from fluoro.interop.pose_feed import PoseFeed, ReceivedPose

__all__ = ["DELAY_NEEDS_CLOCK", "ReceivedPoses", "ReceivedSource"]

WAIT_S = 0.02
"""How long a wait for a pose lasts before the watchdog is looked at."""
HINT_AFTER_S = 3.0
"""Without a pose since the start, a hint is given once."""


DELAY_NEEDS_CLOCK = never(
    absent_or("trigger", const("pose", "lockstep")), at("interpolation_delay_ms")
)


class ReceivedPoses(PoseSourceSection):
    """Poses that another program sends; the newest counts."""

    model_config = rules(
        DELAY_NEEDS_CLOCK,
    )

    trigger: Trigger = Field(
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
    on_silence: OnSilence = Field(
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

    @property
    def sent(self) -> bool:
        """Return True: another program sends the poses."""
        return True

    @property
    def lockstep(self) -> bool:
        """Whether the trigger is lockstep."""
        return self.trigger == "lockstep"

    @property
    def by_clock(self) -> bool:
        """Whether the trigger is the clock."""
        return self.trigger == "clock"

    @property
    def frames_ahead(self) -> int | None:
        """Return 1 where a pose makes a frame, so that it is the newest when it is rendered."""
        return {"pose": 1, "clock": super().frames_ahead, "lockstep": None}[self.trigger]

    @property
    def obeys_hand(self) -> bool:
        """Whether a frame may show another pose than the one that was sent."""
        return not self.lockstep

    def keeps_pace(self, *, paced: bool) -> bool:
        """Return whether frames come by a clock: the sender's, except in lockstep."""
        del paced
        return not self.lockstep


class ReceivedSource(PoseSource):
    """Issues the poses that a feed receives, and acts where they stop.

    Args:
        config: What triggers a frame, and what silence does.
        open_feed: Opens the feed when the stream starts.
    """

    patience_s = WAIT_S

    def __init__(self, config: ReceivedPoses, open_feed: Callable[[PoseLinks], PoseFeed]) -> None:
        self._config, self._open_feed = config, open_feed
        self._silent = False
        self._hint_at_s: float | None = None

    def start_pose(self) -> CarmPose:
        """Return the zero pose, which stands in until one is there."""
        return self._config.shown_pose().carm_pose()

    def open(self, links: PoseLinks) -> None:
        """Begin to take poses."""
        self._links, self._feed = links, self._open_feed(links)
        links.feed = self._feed
        self._hint_at_s = time.monotonic() + HINT_AFTER_S

    def watch(self) -> None:
        """Act where poses have just stopped, or are just back."""
        silent = self._feed.silent()
        if silent != self._silent:
            self._silent = silent
            self._fall_silent() if silent else self._come_back()

    def next(self, number: int, time_s: float, wait_s: float) -> IssuedPose | None:
        """Return the pose to show; None: there is none yet."""
        del number, time_s
        received = self._received(wait_s)
        if received is None:
            self._hint()
            return None
        from fluoro.imaging.frame import PoseOrigin

        shown_ns = self._links.clock() if self._config.by_clock else received.stamp_ns
        origin = PoseOrigin(
            stamp_ns=received.stamp_ns, sequence=received.sequence, time_ns=shown_ns
        )
        return IssuedPose(pose=received.pose, origin=origin, received_ns=received.received_ns)

    def close(self) -> None:
        """Log what was refused and not yet logged."""
        self._feed.close()

    def _received(self, wait_s: float) -> ReceivedPose | None:
        if not self._config.by_clock:
            return self._feed.next(wait_s)
        if self._config.interpolation_delay_ms is None:
            return self._feed.latest()
        return self._feed.at(self._links.clock() - round(self._config.interpolation_delay_ms * 1e6))

    def _fall_silent(self) -> None:
        what = self._config.on_silence
        text = f"no pose on {self._feed.topic} for {self._config.watchdog_ms:g} ms (watchdog_ms)"
        if what == "stop":
            raise DeviceError(f"pose_source: {text}, and on_silence is stop")
        _warn("%s: %s", text, what)
        if what == "blank":
            self._links.blank()

    def _come_back(self) -> None:
        _warn("poses are back on %s", self._feed.topic)
        self._links.unblank()

    def _hint(self) -> None:
        if self._hint_at_s is None or time.monotonic() < self._hint_at_s:
            return
        self._hint_at_s = None
        if hint := self._feed.hint():
            _warn("no pose yet: %s", hint)


def _warn(text: str, *values: object) -> None:
    import logging  # the configuration loads without it

    logging.getLogger(__name__).warning(text, *values)
