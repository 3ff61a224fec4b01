"""Live samples for objects with a pose: by name, refused and counted, and missed when they stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from fluoro.errors import InputError
from fluoro.interop.refusals import FieldError, Refusals
from fluoro.volume.posed_solid import LiveSample, PosedSolid

__all__ = ["Steering"]

log = logging.getLogger(__name__)

LOOK_S = 0.1
"""So often it is looked whether samples still come."""


class Steering:
    """Steers objects by what senders say; threads may call any method at any time.

    Args:
        solids: The objects; those without a name of their own cannot be steered.

    Attributes:
        applied: Samples that were taken.
        refusals: Samples that were refused.
    """

    def __init__(self, solids: Sequence[PosedSolid]) -> None:
        self._solids = {each.name: each for each in solids}
        self.applied, self.refusals = 0, Refusals("a live sample of an instrument")
        self._came_s: dict[str, float] = {}
        self._stale: set[str] = set()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._watch: threading.Thread | None = None

    @property
    def names(self) -> list[str]:
        """Names of the objects."""
        return [*self._solids]

    def knows(self, name: str) -> bool:
        """Return whether there is an object of this name."""
        return name in self._solids

    def offer(self, name: str, read: Callable[[], LiveSample], *, continues: bool = True) -> bool:
        """Steer an object by a sample that has come, or refuse the sample.

        Args:
            name: Of the object.
            read: Makes the sample; an InputError refuses it.
            continues: Whether more samples are to follow, and are missed if they do not.

        Returns:
            Whether it was taken.
        """
        try:
            with self._lock:
                self._solid(name).steer(read())
                self.applied += 1
                if continues:
                    self._note(name)
        except InputError as error:
            self.refusals.add(error)
            return False
        return True

    def _solid(self, name: str) -> PosedSolid:
        if name not in self._solids:
            known = ", ".join(self._solids) or "none"
            raise FieldError("name", f"must be one of {known}, got {name[:80]!r}")
        return self._solids[name]

    def stale(self) -> list[str]:
        """Return names of objects whose samples have stopped."""
        with self._lock:
            return sorted(self._stale)

    def close(self) -> None:
        """Look no longer, and log what was refused and not yet logged."""
        self._stop.set()
        if self._watch:
            self._watch.join()
        self.refusals.close()

    def _note(self, name: str) -> None:
        self._came_s[name] = time.monotonic()
        if name in self._stale:
            self._stale.remove(name)
            log.warning("instrument %s: samples come again", name)
        if self._watch is None:
            self._watch = threading.Thread(target=self._look, name="instruments", daemon=True)
            self._watch.start()

    def _look(self) -> None:
        while not self._stop.wait(LOOK_S):
            now = time.monotonic()
            with self._lock:
                for name, came_s in self._came_s.items():
                    limit_s = self._solids[name].stale_s
                    if limit_s is not None and now - came_s > limit_s and name not in self._stale:
                        self._stale.add(name)
                        log.warning(
                            "instrument %s: no sample for %g s (stale_s); it stays where it was",
                            name,
                            limit_s,
                        )
