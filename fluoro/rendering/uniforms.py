"""Names and places of a kernel's uniforms, as the Slang compiler lays them out."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["UniformBlock", "UniformPlace", "uniform_places"]

ONLY_STAGE = "stage"
"""Uniform of a kernel that runs one stage (shaders/picture.slang): members by their own names."""


@dataclass(frozen=True, kw_only=True)
class UniformPlace:
    """One value that a caller gives.

    Attributes:
        path: Its name, behind those of the structs that it is a member of.
        offset: In the block of uniforms [bytes].
        size: Of the value [bytes].
        is_resource: A texture or sampler, which is bound, not written.
    """

    path: tuple[str, ...]
    offset: int
    size: int
    is_resource: bool = False

    @property
    def name(self) -> str:
        """What a caller names it: a member is `struct.member`, of the only stage `member`."""
        first, last = self.path[0], self.path[-1]
        return last if len(self.path) == 1 or first == ONLY_STAGE else f"{first}.{last}"


class UniformBlock:
    """The memory that a kernel reads its uniforms from.

    Args:
        layout: Byte offset and size of every uniform by name.
        address: Where an array lies, for kernels to read or write it.
    """

    def __init__(
        self, layout: Mapping[str, tuple[int, int]], address: Callable[[Any], int]
    ) -> None:
        self._layout = dict(sorted(layout.items(), key=lambda item: item[1]))
        self._address = address
        self._formats: dict[str, struct.Struct] = {}

    def pack(self, uniforms: Mapping[str, Any]) -> bytes:
        """The block with a value for every uniform: numbers, three of a kind, arrays.

        Raises:
            KeyError: Other uniforms than the kernel's.
            TypeError: A value of another size than the kernel's, or an integer beyond 32 bits.
        """
        if uniforms.keys() != self._layout.keys():
            raise KeyError(f"kernel wants {sorted(self._layout)}, got {sorted(uniforms)}")
        values: list[Any] = []
        codes = " ".join([self._add(values, uniforms[name]) for name in self._layout])
        try:
            return (self._formats.get(codes) or self._format(codes, uniforms)).pack(*values)
        except struct.error as error:
            raise TypeError(f"uniforms {sorted(uniforms)}: {error}") from None

    def _format(self, codes: str, uniforms: Mapping[str, Any]) -> struct.Struct:
        text, end = "=", 0
        for (name, (offset, size)), code in zip(self._layout.items(), codes.split(), strict=True):
            if struct.calcsize(f"={code}") != size:
                raise TypeError(f"uniform {name} takes {size} bytes, got {uniforms[name]!r}")
            text, end = f"{text}{offset - end}x{code}", offset + size
        self._formats[codes] = struct.Struct(text)
        return self._formats[codes]

    def _add(self, values: list[Any], value: Any) -> str:
        """Add what stands for a value in the block; its code in a format."""
        if isinstance(value, tuple):
            values.extend(value)
            return "3f" if isinstance(value[0], float) else "3i"
        if isinstance(value, float | int | np.integer):
            values.append(value)
            return "f" if isinstance(value, float) else "i"
        values.append(self._address(value))
        return "Q"


def uniform_places(program: Any) -> dict[str, UniformPlace]:
    """The uniforms of a compiled program by the names that callers use."""
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
        kinds = spy.TypeReflection.Kind
        bound = layout.kind in (kinds.resource, kinds.sampler_state)
        yield UniformPlace(path=path, offset=offset, size=layout.size, is_resource=bound)
