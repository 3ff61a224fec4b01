"""A custom optimiser for configs/own_optimiser.yaml: gradient descent with momentum.

The graph renders a pose, compares it with the newest frame and hands over loss and gradient; this
class says how to move. To use your own, copy this file and name your class in the YAML.
"""

from __future__ import annotations

import numpy as np

ROTATION_SCALE_MM = 100.0
"""A turn [rad] times this counts as a shift [mm], so that both move the image alike."""


class MomentumDescent:
    """Normalised gradient descent with momentum; the rate falls when the loss rises.

    Args:
        rate_mm: Length of the first steps [mm].
        momentum: Share of a step that goes on in the next one.
        stop_mm: Stop once the rate has fallen below this [mm].
    """

    def __init__(self, rate_mm: float = 2.0, momentum: float = 0.7, stop_mm: float = 0.05) -> None:
        self._rate_mm, self._momentum, self._stop_mm = rate_mm, momentum, stop_mm
        self._velocity = np.zeros(6)
        self._loss = np.inf

    def step(self, evaluation):
        """The twist to move by (omega [rad], v [mm], about the isocentre), or None to stop."""
        if evaluation.loss > self._loss:
            self._rate_mm /= 1.5
            self._velocity[:] = 0
        self._loss = evaluation.loss
        if self._rate_mm < self._stop_mm:
            return None
        scale = np.array([ROTATION_SCALE_MM] * 3 + [1.0] * 3)
        slope = evaluation.gradient / scale  # by mm, turns and shifts alike
        downhill = -slope / max(np.linalg.norm(slope), 1e-12)
        self._velocity = self._momentum * self._velocity + (1 - self._momentum) * downhill
        return self._rate_mm * self._velocity / scale
