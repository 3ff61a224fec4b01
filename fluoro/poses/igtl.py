"""Poses by OpenIGTLink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from fluoro.config.schema_rules import Rule, at, const, never, rules, when
from fluoro.config.validation_errors import KeyValueError
from fluoro.poses.base import PoseLinks, PoseSetup, PoseSource
from fluoro.poses.received import DELAY_NEEDS_CLOCK, ReceivedPoses, ReceivedSource

if TYPE_CHECKING:
    from fluoro.config import Config
    from fluoro.interop.pose_feed import PoseFeed

__all__ = ["IgtlPoses"]


class IgtlPoses(ReceivedPoses):
    """Poses by OpenIGTLink: TRANSFORM messages of a client, mm and RAS; needs `igtl`."""

    model_config = rules(
        DELAY_NEEDS_CLOCK,
        never(at("trigger", const("lockstep"))),
    )

    kind: Literal["igtl"]
    device: Annotated[str, Field(min_length=1, max_length=20)] = Field(
        "CarmToPatient", description="Device name of the messages; others are left alone."
    )

    @model_validator(mode="after")
    def _drops_frames(self) -> IgtlPoses:
        if self.trigger == "lockstep":
            raise KeyValueError("trigger", "lockstep needs kind: dds")
        return self

    @classmethod
    def file_rules(cls) -> tuple[Rule, ...]:
        """Return the rule that the server is enabled."""
        kind = at("pose_source.kind", const("igtl"))
        return (when(kind, then=at("igtl.enabled", const(True))),)

    def check_file(self, config: Config) -> None:
        """Check that the server is there.

        Raises:
            KeyValueError: `igtl.enabled` is false.
        """
        if not config.igtl.enabled:
            raise KeyValueError("pose_source.kind", "igtl needs igtl.enabled: true")

    def make(self, setup: PoseSetup) -> PoseSource:
        """Return the poses that clients send."""

        def open_feed(links: PoseLinks) -> PoseFeed:
            from fluoro.interop.igtl.igtl_poses import IgtlPoseFeed

            feed = IgtlPoseFeed(self, setup.isocenter_xyz_mm, setup.limits)
            links.take_transform = feed.take
            return feed

        return ReceivedSource(self, open_feed)
