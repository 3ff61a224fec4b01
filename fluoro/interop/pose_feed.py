"""Poses from senders to the renderer: the newest one, or each in its order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fluoro.config import ReceivedPoses
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.geometry.se3 import interpolate
from fluoro.interop.flood_watch import FloodWatch
from fluoro.interop.pose_filter import PoseFilter, SentPose
from fluoro.interop.refusals import Refusals, RefusedError
from fluoro.interop.sender_clock import SenderClock
from fluoro.steady_clock import unix_ns

__all__ = ["LOCKSTEP_QUEUE", "PoseFeed", "ReceivedPose"]

LOCKSTEP_QUEUE = 1000
"""Poses that may wait in lockstep; a sender that is further ahead is refused."""
HISTORY = 64
"""Poses kept to interpolate between."""
ORIGIN = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class ReceivedPose:
    """A pose that passed the pose filter.

    Attributes:
        pose: Where the C-arm is to stand.
        stamp_ns: The sender's stamp; where it gave none, when the pose came [ns since 1970].
        received_ns: When it came [ns since 1970].
        sequence: Counts all poses that came, from 0, those refused among them.
    """

    pose: CarmPose
    stamp_ns: int
    received_ns: int
    sequence: int


class PoseFeed:
    """Takes poses from a sender; threads may call any method at any time.

    Args:
        config: What is refused, and what triggers a frame.
        limits: How far the C-arm reaches.
        where: Where poses come, in words.
        wall_clock: Whether senders stamp by the time of day; false: by a simulation's time.

    Attributes:
        topic: Where poses come, in words.
        refusals: Poses that were refused.
        sender_clock: Offset of the sender's clock; None: its stamps are a simulation's time.
    """

    def __init__(
        self, config: ReceivedPoses, limits: CarmLimits, where: str, *, wall_clock: bool = True
    ) -> None:
        self.topic = where
        self.refusals = Refusals(f"a pose on {where}")
        self._flood = FloodWatch(f"poses on {where}")
        self.sender_clock = SenderClock(where) if wall_clock else None
        self._lockstep = config.trigger == "lockstep"
        self._watchdog_ns = round(config.watchdog_ms * 1e6)
        self._filter = PoseFilter(
            limits,
            max_jump_deg=config.max_jump_deg,
            max_jump_mm=config.max_jump_mm,
            memory_ns=self._watchdog_ns,
        )
        self._changed = threading.Condition()
        self._waiting: deque[ReceivedPose] = deque()
        self._history: deque[ReceivedPose] = deque(maxlen=HISTORY)
        self._sequence = self._superseded = self._admitted_ns = 0
        self._writer: int | None = None

    def offer(self, sender: int, read: Callable[[], SentPose]) -> None:
        """Take a pose that has come, or refuse it.

        Args:
            sender: Identifies the sender.
            read: Makes the pose; an InputError refuses it.
        """
        received_ns, now_ns = time.time_ns(), time.monotonic_ns()
        try:
            with self._changed:
                sent = self._admitted(sender, read, received_ns, now_ns)
        except InputError as error:
            self.refusals.add(error)
            return
        if self.sender_clock:
            self.sender_clock.note(sent.stamp_ns, received_ns)

    def _admitted(
        self, sender: int, read: Callable[[], SentPose], received_ns: int, now_ns: int
    ) -> SentPose:
        sequence, self._sequence = self._sequence, self._sequence + 1
        self._flood.note(now_ns)
        if not self._belongs(sender, now_ns):
            raise RefusedError(
                "second writer",
                "two senders send poses; the first is heard until it is silent for "
                f"{self._watchdog_ns / 1e6:g} ms (watchdog_ms)",
            )
        if len(self._waiting) >= LOCKSTEP_QUEUE:
            raise RefusedError("too far ahead", f"{LOCKSTEP_QUEUE} poses wait for their frames")
        if sender != self._writer:
            self._filter.forget()
        sent = self._filter.admit(read, now_ns)
        self._writer, self._admitted_ns = sender, now_ns
        self._put(
            ReceivedPose(
                pose=sent.pose,
                stamp_ns=sent.stamp_ns or received_ns,
                received_ns=unix_ns(now_ns),
                sequence=sequence,
            )
        )
        return sent

    def hint(self) -> str:
        """Return why no pose comes, as far as can be seen; empty while they come."""
        if self.latest():
            return ""
        last = self.refusals.last()
        why = f"; the last one is refused: {last}" if last else ""
        return f"no valid pose has been sent to {self.topic}{why}"

    def next(self, timeout_s: float) -> ReceivedPose | None:
        """The next pose not yet given out: the newest, in lockstep the oldest; None: none came."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(timeout_s)
            return self._waiting.popleft() if self._waiting else None

    def latest(self) -> ReceivedPose | None:
        """Return the newest pose, given out or not; None before the first."""
        with self._changed:
            return self._history[-1] if self._history else None

    def at(self, time_ns: int) -> ReceivedPose | None:
        """The pose at a time [ns since 1970] between those received; beyond them the nearest."""
        with self._changed:
            known = list(self._history)
        after = next((n for n, pose in enumerate(known) if pose.stamp_ns > time_ns), len(known))
        if not 0 < after < len(known):
            return known[min(after, len(known) - 1)] if known else None
        return _between(known[after - 1], known[after], time_ns)

    def silent(self) -> bool:
        """Return whether poses came once, and none for longer than the watchdog waits."""
        with self._changed:
            admitted_ns = self._admitted_ns
        return admitted_ns > 0 and time.monotonic_ns() - admitted_ns > self._watchdog_ns

    def close(self) -> None:
        """Log what was refused and not yet logged."""
        self.refusals.close()

    def counts(self) -> dict[str, int]:
        """Return what came and what became of it, by name."""
        refused = {f"refused: {why}": n for why, n in self.refusals.counts().items()}
        with self._changed:
            cut = {f"clamped: {name}": n for name, n in self._filter.clamped.items()}
            counts = {"received": self._sequence, "superseded": self._superseded}
            flooded = {"flooded seconds": self._flood.seconds} if self._flood.seconds else {}
            return {**counts, **flooded, **refused, **cut}

    def _belongs(self, writer: int, now_ns: int) -> bool:
        """Whether this writer leads: the first one does until it falls silent."""
        return self._writer in (None, writer) or now_ns - self._admitted_ns > self._watchdog_ns

    def _put(self, pose: ReceivedPose) -> None:
        if self._history and pose.stamp_ns <= self._history[-1].stamp_ns:
            self._history.clear()  # the sender's time was set back
        self._history.append(pose)
        if not self._lockstep:
            self._superseded += len(self._waiting)
            self._waiting.clear()
        self._waiting.append(pose)
        self._changed.notify()


def _between(before: ReceivedPose, after: ReceivedPose, time_ns: int) -> ReceivedPose:
    fraction = (time_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    start, end = (received.pose.world_from_carm(ORIGIN) for received in (before, after))
    motion = interpolate(start, end, fraction)
    return ReceivedPose(
        pose=CarmPose.from_world_from_carm(motion, ORIGIN),
        stamp_ns=time_ns,
        received_ns=after.received_ns,
        sequence=after.sequence,
    )
