"""Names and places of a kernel's uniforms, as the Slang compiler lays them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["UniformPlace", "nested", "uniform_places"]

ONLY_STAGE = "stage"
"""Uniform of a kernel that runs one stage (shaders/picture.slang): members by their own names."""


@dataclass(frozen=True, kw_only=True)
class UniformPlace:
    """One value that a caller gives.

    Attributes:
        path: Its name, behind those of the structs that it is a member of.
        offset: In the block of uniforms [bytes].
        size: Of the value [bytes].
    """

    path: tuple[str, ...]
    offset: int
    size: int

    @property
    def name(self) -> str:
        """What a caller names it: a member is `struct.member`, of the only stage `member`."""
        first, last = self.path[0], self.path[-1]
        return last if len(self.path) == 1 or first == ONLY_STAGE else f"{first}.{last}"


def uniform_places(program: Any) -> dict[str, UniformPlace]:
    """The uniforms of a compiled program by the names that callers use."""
    found = (place for each in program.layout.parameters for place in _leaves(each, (), 0))
    return {place.name: place for place in found}


def nested(values: Mapping[str, Any], paths: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Values by name as dictionaries in dictionaries, as slangpy takes structs.

    Raises:
        KeyError: A name is none of the kernel's.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        *structs, last = paths[name]
        inner = found
        for struct in structs:
            inner = inner.setdefault(struct, {})
        inner[last] = value
    return found


def _leaves(variable: Any, outer: tuple[str, ...], start: int) -> Iterator[UniformPlace]:
    """The variable, or what it consists of where it is a struct."""
    import slangpy as spy

    path, offset, layout = (*outer, variable.name), start + variable.offset, variable.type_layout
    if layout.kind == spy.TypeReflection.Kind.struct:
        for member in layout.fields:
            yield from _leaves(member, path, offset)
    else:
        yield UniformPlace(path=path, offset=offset, size=layout.size)
