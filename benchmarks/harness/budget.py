"""How long a benchmark may take: what does not fit is left out, with a message."""

from __future__ import annotations

import time

__all__ = ["Budget"]


class Budget:
    """Time from now on.

    Args:
        seconds: How much; infinite: everything fits.
    """

    def __init__(self, seconds: float = float("inf")) -> None:
        self._end_s = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """What is left [s]; 0 when it is spent."""
        return max(0.0, self._end_s - time.monotonic())

    def part(self, share: float) -> Budget:
        """A share of what is left."""
        return Budget(share * self.left_s)

    def allows(self, what: str, needed_s: float = 0.0) -> bool:
        """Whether more than `needed_s` is left; where not, says that `what` is left out."""
        if self.left_s > needed_s:
            return True
        print(f"{what} left out, the time is up ({self.left_s:.0f} s left)", flush=True)
        return False
