"""The console's sliders as the pose source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fluoro.config.schema_rules import Rule, at, const, never
from fluoro.config.validation_errors import KeyValueError
from fluoro.poses.base import PoseConfig, PoseSourceSection

if TYPE_CHECKING:
    from fluoro.config import Config

__all__ = ["ConsolePoses"]


class ConsolePoses(PoseConfig, PoseSourceSection):
    """The console's sliders set the pose, starting from this one; needs the console enabled."""

    kind: Literal["console"]

    @classmethod
    def file_rules(cls) -> tuple[Rule, ...]:
        """Return the rule that the console is enabled."""
        off = at("console.enabled", const(False))
        return (never(at("pose_source.kind", const("console")), off),)

    @property
    def by_hand(self) -> bool:
        """Return True: nothing else moves the C-arm."""
        return True

    def check_file(self, config: Config) -> None:
        """Check that the console is there.

        Raises:
            KeyValueError: `console.enabled` is false.
        """
        if not config.console.enabled:
            raise KeyValueError("pose_source.kind", "console needs console.enabled: true")
