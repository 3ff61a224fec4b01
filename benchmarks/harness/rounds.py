"""Rounds: every program works once, in a new order, until repeats or time are up."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.harness.contestants import Call, Contestant

__all__ = ["Job", "measure_view"]


@dataclass(kw_only=True)
class Job:
    """A contestant's task on one view, and its calls so far."""

    contestant: Contestant
    task: str
    calls: list[Call] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return statistics.median(call.seconds for call in self.calls)

    @property
    def cpu_seconds(self) -> float:
        """Return the median CPU time [s]."""
        return statistics.median(call.cpu_seconds for call in self.calls)

    def has_time(self, patience_s: float) -> bool:
        """Whether one more call like the last fits into the patience."""
        spent = sum(call.seconds for call in self.calls)
        return not self.calls or spent + self.calls[-1].seconds <= patience_s


def measure_view(
    contestants: Sequence[Contestant],
    *,
    repeats: int,
    patience_s: float,
    seed: int = 0,
    tell: Callable[[Job], None] = lambda _job: None,
    left_out: Collection[tuple[str, str]] = (),
) -> list[Job]:
    """Every task of every contestant `repeats` times, round by round.

    A job stops early, after one call at least, when its calls would take more than `patience_s`.
    Contestants and tasks in `left_out` do not take part.
    """
    jobs = [
        Job(contestant=one, task=task)
        for one in contestants
        for task in one.tasks
        if (one.name, task) not in left_out
    ]
    order = random.Random(seed)
    for _ in range(repeats):
        for job in _shuffled(jobs, order):
            if job.has_time(patience_s):
                job.calls.append(job.contestant.run(job.task, keep=not job.calls))
                tell(job)
    return jobs


def _shuffled(jobs: Iterable[Job], order: random.Random) -> list[Job]:
    return sorted(jobs, key=lambda _job: order.random())
