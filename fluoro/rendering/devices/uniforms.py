"""Names and places of a kernel's uniforms, as the Slang compiler lays them out."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["UniformBlock", "UniformPlace", "uniform_places"]

BARE = {"stage", "source", "rays", "task"}
"""Uniforms whose members go by their own names: of a kernel that runs one stage of the image chain
(shaders/pixel_stage.slang), or that follows rays (fluoro.rendering.ray_kernels)."""

NUMBER, VECTOR, ADDRESS = range(3)
"""What a uniform is: what `struct` takes for it follows from that."""

_KINDS = {"f": NUMBER, "i": NUMBER, "3f": VECTOR, "3i": VECTOR, "Q": ADDRESS}


@dataclass(frozen=True, kw_only=True)
class UniformPlace:
    """One value that a caller gives.

    Attributes:
        path: Its name, behind those of the structs that it is a member of.
        offset: In the block of uniforms [bytes].
        code: Of `struct`: "f", "i", "3f", "3i", "Q" for an address; "" for a texture or sampler,
            which is bound, not written.
    """

    path: tuple[str, ...]
    offset: int
    code: str

    @property
    def name(self) -> str:
        """What a caller names it: a member is `struct.member`, of one of `BARE` it is `member`."""
        first, last = self.path[0], self.path[-1]
        return last if len(self.path) == 1 or first in BARE else f"{first}.{last}"


class UniformBlock:
    """The memory that a kernel reads its uniforms from.

    Args:
        layout: Byte offset and code of every uniform by name, as in `UniformPlace`.
        address: Where an array lies, for kernels to read or write it.
    """

    def __init__(
        self, layout: Mapping[str, tuple[int, str]], address: Callable[[Any], int]
    ) -> None:
        in_order = sorted(layout.items(), key=lambda item: item[1])
        self._takes = [(name, _KINDS[code]) for name, (_, code) in in_order]
        self._address = address
        self._struct = struct.Struct(_format(place for _, place in in_order))

    def pack(self, uniforms: Mapping[str, Any]) -> bytes:
        """Return the block with a value for every uniform: numbers, three of a kind, arrays.

        Raises:
            KeyError: Other uniforms than the kernel's.
            TypeError: A value of another kind than the kernel's, or an integer beyond 32 bits.
        """
        if len(uniforms) != len(self._takes):
            raise KeyError(f"kernel wants {[name for name, _ in self._takes]}, got {[*uniforms]}")
        values: list[Any] = []
        for name, kind in self._takes:
            value = uniforms[name]
            if kind == VECTOR:
                values += value
            else:
                values.append(self._address(value) if kind == ADDRESS else value)
        try:
            return self._struct.pack(*values)
        except struct.error as error:
            raise TypeError(f"uniforms {dict(uniforms)}: {error}") from None


def _format(places: Iterable[tuple[int, str]]) -> str:
    """Of a block, with what lies between the values."""
    text, end = "=", 0
    for offset, code in places:
        text, end = f"{text}{offset - end}x{code}", offset + struct.calcsize(f"={code}")
    return text


def uniform_places(program: Any) -> dict[str, UniformPlace]:
    """Return the uniforms of a compiled program by the names that callers use."""
    found = (place for each in program.layout.parameters for place in _leaves(each, (), 0))
    return {place.name: place for place in found}


def _leaves(variable: Any, outer: tuple[str, ...], start: int) -> Iterator[UniformPlace]:
    """The variable, or what it consists of where it is a struct."""
    import slangpy as spy

    path, offset, layout = (*outer, variable.name), start + variable.offset, variable.type_layout
    if layout.kind == spy.TypeReflection.Kind.struct:
        for member in layout.fields:
            yield from _leaves(member, path, offset)
    else:
        yield UniformPlace(path=path, offset=offset, code=_code(layout))


def _code(layout: Any) -> str:
    """Of `struct`, of a value with this layout.

    Raises:
        TypeError: No kernel has had such a uniform so far.
    """
    import slangpy as spy

    kinds, scalars = spy.TypeReflection.Kind, spy.TypeReflection.ScalarType
    if layout.kind in (kinds.resource, kinds.sampler_state):
        return ""
    if layout.kind == kinds.pointer:
        return "Q"
    letter = {scalars.float32: "f", scalars.int32: "i"}.get(layout.type.scalar_type)
    count = {(kinds.scalar, 1): "", (kinds.vector, 3): "3"}.get(
        (layout.kind, layout.type.col_count)
    )
    if letter is None or count is None:
        raise TypeError(f"uniform of type {layout.name}: only float, int, float3, int3, pointers")
    return count + letter
