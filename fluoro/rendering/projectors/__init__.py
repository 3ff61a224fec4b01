"""The projectors. A projector is a file of shaders/projectors/ and a module here.

The modules import what computes when it is needed: the configuration loads them without NumPy.
"""

from __future__ import annotations

from collections.abc import Callable

from fluoro import plugins
from fluoro.rendering.projectors import joseph, march, siddon, slab
from fluoro.rendering.projectors.base import Copies, Projector, SlangType

__all__ = ["PROJECTORS", "Copies", "Projector", "SlangType", "names_where"]

BUILT_IN: dict[str, Projector] = {
    each.PROJECTOR.name: each.PROJECTOR for each in (march, joseph, slab, siddon)
}
"""Fluoro's own, by name, in the order of the documents: a new one is added here."""


def _of_plugins() -> dict[str, Projector]:
    added = plugins.find("projectors", lambda found: isinstance(found, Projector), "a Projector")
    for name, projector in added.items():
        if projector.name != name:
            raise plugins.error("projectors", name, f"must stand under its name, {projector.name}")
    return added


PROJECTORS: dict[str, Projector] = plugins.extend("projectors", BUILT_IN, _of_plugins())
"""Every projector, those of plugins last."""


def names_where(able: Callable[[Projector], object]) -> list[str]:
    """Return the names of the projectors that are able to do something."""
    return [name for name, projector in PROJECTORS.items() if able(projector)]
