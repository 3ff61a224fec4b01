"""The last image once more while the beam is off: it follows window and polarity."""

from __future__ import annotations

from collections.abc import Sequence

from fluoro.console.controls import ControlState
from fluoro.recording.frame_sink import FrameSink
from operators.live_chain import LiveChain

__all__ = ["HeldImage"]


class HeldImage:
    """Shows the last frame again where a user has changed its window.

    No frame is made: no X-rays, nothing is recorded, the chain's memory stays as it is. The one
    who issues poses calls it, so that nothing else works on the chain meanwhile.

    Args:
        chain: Holds the image before its window.
        sinks: Those that show it; the others do nothing.
    """

    def __init__(self, chain: LiveChain, sinks: Sequence[FrameSink]) -> None:
        self._chain, self._sinks = chain, sinks
        self._state: ControlState | None = None

    def refresh(self, state: ControlState, issued: int) -> None:
        """Show the image as the controls say, once the last frame is done.

        Args:
            state: Of the controls, the beam off.
            issued: Frames that were issued so far.
        """
        if state is self._state or not self._chain.is_idle(issued):
            return
        self._state = state
        frame = self._chain.look_again(state)
        if frame is None:
            return
        for sink in self._sinks:
            sink.show_again(frame)
