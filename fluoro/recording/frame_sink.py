"""What every sink of frames has in common.

The configuration takes the keys of plugins' sinks from their classes, so this module loads without
NumPy and without the configuration's models.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from fluoro.config.section import Section

if TYPE_CHECKING:
    from fluoro.config import Config
    from fluoro.imaging.frame import FluoroFrame, FrameHeader

__all__ = ["FrameSink"]


class FrameSink(Protocol):
    """Where frames go; a subclass overrides what it has need of.

    Attributes:
        name: Name of its operator, and of what it drops.
        port: `record`: it takes every frame and holds the graph back if need be; `view`: it takes
            the newest frame, and those that are overtaken are dropped.
        url: Address at which a user finds it; None: it has none.
        takes_again: Whether its operator takes the held image at its input too, on a host, under
            the number of the last frame; else the image goes to `show_again`.
        section: Of a plugin's sink: the model under its name at the top of the YAML, which is null
            where the sink is off.
    """

    name: ClassVar[str]
    port: Literal["record", "view"] = "view"
    url: str | None = None
    takes_again: ClassVar[bool] = False
    section: ClassVar[type[Section] | None] = None

    @classmethod
    def check(cls, config: Config) -> None:
        """See whether the sink can run here, before anything is loaded for it.

        Raises:
            DeviceError: It cannot.
        """

    @classmethod
    @abstractmethod
    def from_config(cls, context: Any) -> FrameSink | None:
        """Return the sink, open; None where the configuration does not enable it.

        Args:
            context: What the parts of the run share: `config`; `files.opened()` is the run's
                folder, made if need be.

        Raises:
            FluoroError: It cannot be opened.
        """

    def take(self, frame: FluoroFrame) -> None:
        """Take one frame, its image on the host, without waiting for a receiver."""

    def show_again(self, frame: FluoroFrame) -> None:
        """Show the last frame with another window; it is no new frame, and the beam is off."""

    def take_estimate(self, tracked: Any, header: FrameHeader, scored: Any) -> None:
        """Take the pose that registration found of a frame.

        Args:
            tracked: The estimate and the image.
            header: Header of the frame, with the true pose.
            scored: The estimate, compared with the true pose.
        """

    def flush(self) -> None:
        """Write what waits, after the last frame.

        Raises:
            OutputError: It cannot be written.
        """

    def conclude(self, *, interrupted: bool) -> None:
        """Make what is made from the whole run.

        Args:
            interrupted: Whether a user has stopped the run, and does not want to wait.
        """

    def dropped(self) -> dict[str, int]:
        """Return how many frames the sink has lost itself, by where."""
        return {}
