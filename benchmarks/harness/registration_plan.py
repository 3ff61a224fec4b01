"""Who registers what, in which order, and what still fits into the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from benchmarks.harness.budget import Budget
from benchmarks.harness.registration_cases import KINDS, Case

__all__ = ["Pace", "count_by_program", "plan"]

Job = tuple[Case, str]
OURS, THEIRS = "fluoro", "nanodrr"
TRACKING_S = 60.0
"""Kept for the tracking that follows [s]."""
MARGIN = 1.2
"""Of what ours are expected to take, by their mean, and one of nanodrr's at most."""
FIRST_GUESS_S = {OURS: 2.0, THEIRS: 40.0}
"""Of a job before one has been timed [s]."""


def plan(cases: Sequence[Case], peer_starts: int) -> list[Job]:
    """All jobs in their order.

    First come the starts that both programs do, fluoro's and nanodrr's next to each other under the
    same conditions; the programs alternate: one kind of target a start, then the others. Then the
    rest of fluoro's. With 5 starts a stratum, the first 30 pairs have 5 a stratum.

    Args:
        cases: Those that fluoro does.
        peer_starts: How many starts a stratum and target nanodrr is to do.
    """
    shared = [case for case in cases if case.number < peer_starts]
    shared.sort(key=lambda case: (_turn(case), case.number, case.stratum))
    found: list[Job] = []
    for number, case in enumerate(shared):
        programs = (OURS, THEIRS) if number % 2 else (THEIRS, OURS)
        found += [(case, program) for program in programs]
    return found + [(case, OURS) for case in cases if case.number >= peer_starts]


def _turn(case: Case) -> int:
    return (KINDS.index(case.kind) + case.number + case.stratum) % len(KINDS)


class Pace:
    """What a job takes, and whether one more of nanodrr's leaves the time for all of fluoro's.

    Args:
        budget: The whole call's.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._took_s: dict[str, list[float]] = {OURS: [], THEIRS: []}

    def run(self, program: str, job: Callable[[], object]) -> None:
        """Do a job and time it."""
        before_s = self._budget.left_s
        job()
        self._took_s[program].append(before_s - self._budget.left_s)

    def allows(self, program: str, ours_after: int) -> bool:
        """Whether to begin a job.

        Args:
            program: Whose.
            ours_after: How many of fluoro's come after it.
        """
        ours_s = MARGIN * ours_after * float(np.mean(self._took_s[OURS] or [FIRST_GUESS_S[OURS]]))
        theirs_s = MARGIN * max(self._took_s[THEIRS], default=FIRST_GUESS_S[THEIRS])
        needed_s = ours_s + theirs_s if program == THEIRS else 0.0
        return self._budget.left_s > needed_s + TRACKING_S


def count_by_program(jobs: Iterable[Job]) -> dict[str, int]:
    """How many jobs of each program."""
    counts = {OURS: 0, THEIRS: 0}
    for _, program in jobs:
        counts[program] += 1
    return counts
