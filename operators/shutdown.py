"""How a graph that runs in a thread is stopped, and what ended it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from holoscan.core import Application

__all__ = ["StopSignals", "run_app"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_app(app: Application, failure: list[BaseException]) -> None:
    """Run a graph; what it raises is put into `failure`."""
    try:
        app.run()
    except BaseException as error:  # noqa: BLE001  (raised again in the main thread)
        failure.append(error)


class StopSignals:
    """SIGINT, SIGTERM and SIGHUP stop the stream; a second one ends the program at once.

    SIGHUP says that the terminal is closed. It is left alone where it was ignored before (nohup),
    and a second one is no news: both the shell and the kernel send it.

    Holoscan takes both for itself when the graph starts: it would interrupt the graph amid its
    frames, and leave the program without closing files if that took it long. So `hold` takes
    them back; it is called repeatedly, because Holoscan does not report when it has done so.

    Args:
        stop: Set by the first signal.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.caught: list[int] = []
        self._raises = False

    def __enter__(self) -> StopSignals:
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        if before[signal.SIGHUP] == signal.SIG_IGN:
            del before[signal.SIGHUP]
        self._before = before
        self.hold()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hold(self) -> None:
        """Install this object's signal handlers."""
        for number in self._before:
            signal.signal(number, self._handle)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Within it a signal raises KeyboardInterrupt: what is done can be broken off."""
        self._raises = True
        try:
            yield
        finally:
            self._raises = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.caught and number != signal.SIGHUP:
            raise KeyboardInterrupt
        self.caught.append(number)
        self._stop.set()
        if self._raises:
            raise KeyboardInterrupt
