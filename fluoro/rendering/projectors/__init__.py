"""The projectors. A projector is a file of shaders/projectors/ and a module here.

The modules import what computes when it is needed: the configuration loads them without NumPy.
"""

from __future__ import annotations

from collections.abc import Callable

from fluoro.rendering.projectors import joseph, march, siddon, slab
from fluoro.rendering.projectors.base import Copies, Projector, SlangType

__all__ = ["PROJECTORS", "Copies", "Projector", "SlangType", "names_where"]

PROJECTORS: dict[str, Projector] = {
    each.PROJECTOR.name: each.PROJECTOR for each in (march, joseph, slab, siddon)
}
"""By name, in the order of the documents: the only list."""


def names_where(able: Callable[[Projector], object]) -> list[str]:
    """Return the names of the projectors that are able to do something."""
    return [name for name, projector in PROJECTORS.items() if able(projector)]
