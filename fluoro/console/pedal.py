"""The beam's pedal: a dead-man's switch for any number of holders."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable

from fluoro.errors import InputError

__all__ = ["HOLD_S", "Pedal"]

log = logging.getLogger(__name__)

HOLD_S = 1.0
"""A holder whose messages stop for this time [s] has released the pedal."""


class Pedal:
    """Turns the beam on with the first holder, and off when the last one releases or is silent.

    Args:
        set_beam: Turns the beam on or off; called in the thread that caused the change, or in the
            pedal's thread.
        hold_s: Time for which a holder counts after its last message [s], above 0.
    """

    def __init__(self, set_beam: Callable[[bool], object], hold_s: float = HOLD_S) -> None:
        self._set_beam, self._hold_s = set_beam, hold_s
        self._ends_s: dict[Hashable, float] = {}
        self._changed = threading.Condition()
        self._watched = False

    def apply(self, holder: Hashable, word: object) -> bool:
        """Take an action of a holder: `down` presses, `held` continues, `up` releases.

        `held` from one who does not hold it, or no longer, is without effect: the beam never
        comes back by itself.

        Returns:
            Whether the holder holds the pedal now.

        Raises:
            InputError: Another word.
        """
        actions = {"down": self._press, "held": self._keep, "up": self.release}
        if not isinstance(word, str) or word not in actions:
            raise InputError(f"pedal must be down, held or up, got {word!r}")
        actions[word](holder)
        return holder in self._ends_s

    def release(self, holder: Hashable) -> None:
        """Release it; without effect for one who does not hold it."""
        with self._changed:
            if self._ends_s.pop(holder, None) is not None and not self._ends_s:
                self._set_beam(False)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all holders; the beam stays as it is."""
        with self._changed:
            self._ends_s.clear()
            self._changed.notify_all()

    def _press(self, holder: Hashable) -> None:
        with self._changed:
            self._set_beam(True)
            self._ends_s[holder] = time.monotonic() + self._hold_s
            if not self._watched:
                self._watched = True
                threading.Thread(target=self._watch, name="pedal", daemon=True).start()

    def _keep(self, holder: Hashable) -> None:
        with self._changed:
            now_s = time.monotonic()
            if now_s < self._ends_s.get(holder, now_s):
                self._ends_s[holder] = now_s + self._hold_s
            else:
                self.release(holder)

    def _watch(self) -> None:
        """Release the silent holders, as long as there is any holder."""
        with self._changed:
            while self._ends_s:
                holder, end_s = min(self._ends_s.items(), key=lambda item: item[1])
                left_s = end_s - time.monotonic()
                if left_s > 0:
                    self._changed.wait(left_s)
                else:
                    self._release_silent(holder)
            self._watched = False

    def _release_silent(self, holder: Hashable) -> None:
        try:
            self.release(holder)
        except Exception:
            log.exception("the beam could not be turned off for a silent pedal")
