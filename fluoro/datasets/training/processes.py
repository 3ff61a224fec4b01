"""Work spread over processes of this machine; a process that is killed loses its item only."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from fluoro import plugins
from fluoro.errors import DeviceMemoryError, OutputError

__all__ = ["Done", "Failed", "Step", "Worker", "in_processes"]

ATTEMPTS = 3
"""How often an item is begun when its process is killed or out of memory."""
POLL_S = 0.5
"""How often a killed process is looked for, at least."""
CTRL_C = {signal.SIGINT}
CLOSE_S = 5.0
"""How long a process may take to end."""

log = logging.getLogger(__name__)


class Worker(Protocol):
    """Does the work of one process."""

    def make(self, number: int, on_frame: Callable[[int], None]) -> Any:
        """Return the result of an item."""

    def close(self) -> None:
        """Release what the work has opened."""


@dataclass(frozen=True)
class Step:
    """A frame is done.

    Attributes:
        bytes: Its size.
    """

    bytes: int


@dataclass(frozen=True)
class Done:
    """An item is done.

    Attributes:
        number: Of the item.
        result: Of its work.
    """

    number: int
    result: Any


@dataclass(frozen=True)
class Failed:
    """An item could not be done.

    Attributes:
        number: Of the item.
        reason: One line.
        again: Another attempt may succeed.
        full: Files cannot be written: no other item can succeed either.
    """

    number: int
    reason: str
    again: bool = False
    full: bool = False


Event = Step | Done | Failed


def in_processes(entry: str, text: str, numbers: Sequence[int], processes: int) -> Iterator[Event]:
    """Do items in processes, and yield what happens.

    Args:
        entry: `module:function` that makes a `Worker` of the text, in each process.
        text: What it is made from.
        numbers: Of the items.
        processes: How many, at least 1.
    """
    pool = _Pool(entry, text, deque(numbers))
    try:
        yield from pool.events(min(processes, len(numbers)))
    finally:
        pool.close()


@dataclass(eq=False)
class _Process:
    process: Any
    pipe: Connection
    item: int | None = None


@dataclass(eq=False)
class _Pool:
    entry: str
    text: str
    waiting: deque[int]
    running: list[_Process] = field(default_factory=list)
    attempts: dict[int, int] = field(default_factory=dict)

    def events(self, processes: int) -> Iterator[Event]:
        """Yield what happens until no item is left."""
        while self.waiting or any(each.item is not None for each in self.running):
            while self.waiting and len(self.running) < processes:
                self.running.append(self._started())
            for each in self._ready():
                yield from self._event_of(each)

    def close(self) -> None:
        """End the processes."""
        for each in self.running:
            each.pipe.close()
            each.process.terminate()
        for each in self.running:
            each.process.join(CLOSE_S)
            if each.process.is_alive():
                each.process.kill()
        self.running.clear()

    def _started(self) -> _Process:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve,
            args=(theirs, self.entry, self.text, plugins.allowed_modules()),
            daemon=True,
        )
        held = signal.pthread_sigmask(signal.SIG_BLOCK, CTRL_C)  # the new process begins so
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        theirs.close()
        started = _Process(process, ours)
        self._give(started)
        return started

    def _give(self, to: _Process) -> None:
        to.item = self.waiting.popleft() if self.waiting else None
        if to.item is not None:
            self.attempts[to.item] = self.attempts.get(to.item, 0) + 1
            try:
                to.pipe.send(to.item)
            except OSError:  # killed; its end is seen next
                log.debug("a worker has ended before its item")

    def _ready(self) -> list[_Process]:
        found = wait([each.pipe for each in self.running], POLL_S)
        return [each for each in self.running if each.pipe in found]

    def _event_of(self, each: _Process) -> Iterator[Event]:
        try:
            event = each.pipe.recv()
        except (EOFError, OSError):
            self.running.remove(each)
            if each.item is None:
                return
            event = _killed(each)
        if isinstance(event, str):
            log.warning("%s", event)
            return
        if isinstance(event, Step):
            yield event
            return
        again = isinstance(event, Failed) and event.again
        if again and self.attempts[event.number] < ATTEMPTS:
            log.warning("%s; it is begun again", event.reason)
            self.waiting.appendleft(event.number)
        else:
            yield event
        if isinstance(event, Failed) and event.full:
            self.waiting.clear()
        if each in self.running:
            self._give(each)


def _killed(each: _Process) -> Failed:
    each.process.join(CLOSE_S)
    item, code = each.item, each.process.exitcode
    assert item is not None
    how = f"exit status {code}"
    if code is not None and code < 0:
        how = f"signal {signal.Signals(-code).name}"
    reason = f"shard {item}: its worker has ended ({how}; out of memory?)"
    return Failed(item, reason, again=True)


def _serve(
    pipe: Connection, entry: str, text: str, allowed: Sequence[str]
) -> None:  # pragma: no cover (runs in another process)
    """Do items until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CTRL_C)  # `_started` has held it back so far
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    plugins.allow(allowed)
    logging.basicConfig(level=logging.WARNING, handlers=[_ToPipe(pipe)], force=True)
    worker: Worker = plugins.imported(entry, "the worker")(text)
    try:
        while True:
            number = pipe.recv()
            pipe.send(_event(worker, number, pipe))
    except (EOFError, OSError):
        return
    finally:
        worker.close()


def _event(worker: Worker, number: int, pipe: Connection) -> Done | Failed:
    try:
        return Done(number, worker.make(number, lambda size: pipe.send(Step(size))))
    except BrokenPipeError:
        raise
    except OutputError as error:
        return Failed(number, f"shard {number}: {error}", full=True)
    except (MemoryError, DeviceMemoryError) as error:
        text = str(error) or "no memory left"
        return Failed(number, f"shard {number}: its worker is out of memory: {text}", again=True)
    except Exception as error:  # noqa: BLE001  (one line for a user; the rest goes on)
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return Failed(number, f"shard {number}: {first}")


class _ToPipe(logging.Handler):
    """Sends what is logged to the first process, each line once."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self._pipe = pipe
        self._sent: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        text = record.getMessage()
        if text not in self._sent:
            self._sent.add(text)
            self._pipe.send(text)
