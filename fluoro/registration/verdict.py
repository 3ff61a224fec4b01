"""Is the pose to be believed, and how well is it known?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.registration.optimisers import Bounds, Trace
from fluoro.registration.problem import PoseProblem

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """stub while experimenting"""

    converged: bool
    reason: str
    evidence: dict[str, float]


def judge(problem, trace, bounds):
    return Verdict(converged=True, reason=trace.stop, evidence={'cost': trace.cost})


def uncertainty(problem, point):
    return np.zeros((6, 6)), np.zeros(6)
