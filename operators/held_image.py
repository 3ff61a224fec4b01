"""The last image once more while the beam is off: it follows window and polarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fluoro.console.controls import ControlState
from fluoro.imaging.frame import FluoroFrame, FrameHeader
from fluoro.recording.frame_sink import FrameSink

__all__ = ["HeldImage", "LastImage"]


class Looks(Protocol):
    """What has the last image.

    Attributes:
        last_header: Of the last frame; None: there was none.
    """

    @property
    def last_header(self) -> FrameHeader | None:
        """Header of the last frame; None: there was none."""

    def is_idle(self, issued: int) -> bool:
        """Return whether the last of `issued` frames is done."""

    def look_again(self, state: ControlState) -> FluoroFrame | None:
        """Return the last frame as the controls show it; None: as before, or not kept."""


class HeldImage:
    """Shows the last frame again where a user has changed its window.

    No frame is made: no X-rays, nothing is recorded, the chain's memory stays as it is. The one
    who issues poses calls it, so that nothing else works on the chain meanwhile.

    Args:
        chain: Has the last image, and shows it as the controls say.
        sinks: Those that show it; the others do nothing.
    """

    def __init__(self, chain: Looks, sinks: Sequence[FrameSink]) -> None:
        self._chain, self._sinks = chain, sinks
        self._state: ControlState | None = None

    @property
    def header(self) -> FrameHeader:
        """A header of the last frame, which is another object than that of the frame itself."""
        assert self._chain.last_header is not None
        return replace(self._chain.last_header)

    def refresh(self, state: ControlState, issued: int) -> FluoroFrame | None:
        """Show the image as the controls say, once the last frame is done.

        Args:
            state: Of the controls, the beam off.
            issued: Frames that were issued so far.

        Returns:
            What was shown, its image on the host; None: nothing.
        """
        if state is self._state or not self._chain.is_idle(issued):
            return None
        self._state = state
        frame = self._chain.look_again(state)
        if frame is not None:
            for sink in self._sinks:
                sink.show_again(frame)
        return frame


class LastImage:
    """The last image that came ready, of a bag: the console windows it itself.

    Attributes:
        last_header: Of the last frame; None: there was none.
    """

    def __init__(self) -> None:
        self.last_header: FrameHeader | None = None
        self._frame: FluoroFrame | None = None

    def take(self, image: NDArray[np.float32], header: FrameHeader) -> None:
        """Keep the image of a frame."""
        self.last_header, self._frame = header, header.frame(image)

    def is_idle(self, _issued: int) -> bool:
        """Return whether there was an image."""
        return self._frame is not None

    def look_again(self, _state: ControlState) -> FluoroFrame | None:
        """Return the last frame, its image as it came."""
        return self._frame
