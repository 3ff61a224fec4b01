"""A fast codec for simple types: numbers, strings and at most octets at the end.

cyclonedds encodes member by member through Python objects; after the pause between two frames
that costs a tenth of a millisecond and more, on the way of every pose and image. Here the layout
is worked out once: runs of numbers that one `struct` packs, strings, octets. What is not plain (an
XCDR2 encoding, another byte order, bytes that end too early) goes cyclonedds's own way.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import groupby
from operator import attrgetter
from typing import Any, get_args, get_type_hints

from cyclonedds.idl import IdlStruct

__all__ = ["use_cdr_codec"]

ENCAPSULATION = b"\0\1\0\0"
"""Before the sample: XCDR1, little-endian; offsets count from behind it."""
LENGTH = struct.Struct("<I")
NUMBERS = {"uint8": "B", "int32": "i", "uint32": "I", "float64": "d"}
STRING, OCTETS = "string", "octets"


def use_cdr_codec(kind: type[IdlStruct]) -> None:
    """Let samples of a type use the fast codec.

    Args:
        kind: A final type without keys, changed in place: of numbers, strings, such types, and a
            `sequence[uint8]` as its last member, which takes any buffer of bytes and gives `bytes`.

    Raises:
        TypeError: It has another member.
    """
    codec, slow_out, slow_in = _Codec(kind), kind.serialize, kind.deserialize

    def serialize(self: Any, *given: Any, **options: Any) -> bytes:
        """Return the sample's bytes; arguments are those of `IdlStruct.serialize`."""
        if given or any(options.values()):
            return slow_out(self, *given, **options)
        return codec.pack(self)

    def deserialize(data: bytes, *given: Any, **options: Any) -> Any:
        """Return the sample of its bytes; arguments are those of `IdlStruct.deserialize`."""
        if not given and not options and data[:2] == ENCAPSULATION[:2]:
            try:
                return codec.unpack(data)
            except (struct.error, ValueError):
                pass
        return slow_in(data, *given, **options)

    kind.serialize = serialize  # type: ignore[method-assign]
    kind.deserialize = staticmethod(deserialize)  # type: ignore[method-assign]


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """What follows without a decision in between.

    Attributes:
        get: Values of a sample: a tuple of numbers, or what is not a number by itself.
        numbers: Packs them; None: a string, or octets.
        size: Of each number, and what they are aligned to; a string's is its length's.
        text: Whether it is a string.
    """

    get: Any
    numbers: struct.Struct | None
    size: int
    text: bool


class _Codec:
    """Packs and unpacks samples of one type."""

    def __init__(self, kind: type[IdlStruct]) -> None:
        self._kind = kind
        self._pieces = [
            _piece(code, [path for path, _ in run]) for code, run in groupby(_leaves(kind), _code)
        ]

    def pack(self, sample: Any) -> bytes:
        parts, at = [ENCAPSULATION], 0
        for piece in self._pieces:
            raw = _packed(piece, piece.get(sample))
            gap = -at % piece.size
            parts += (b"\0" * gap, *raw)
            at += gap + sum(map(len, raw))
        return b"".join(parts)

    def unpack(self, data: bytes) -> Any:
        values: list[Any] = []
        start = at = len(ENCAPSULATION)
        for piece in self._pieces:
            at += -(at - start) % piece.size
            found, at = _unpacked(piece, data, at)
            values += found
        return _made(self._kind, iter(values))


def _leaves(kind: type[IdlStruct], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Path and code of each member that is no type of members itself."""
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):  # type: ignore[arg-type]
        path, hint = prefix + field.name, hints[field.name]
        if isinstance(hint, type) and issubclass(hint, IdlStruct):
            yield from _leaves(hint, f"{path}.")
        else:
            yield path, _code_of(hint, path)


def _code_of(hint: Any, path: str) -> str:
    if hint is str:
        return STRING
    of, *names = get_args(hint) or (None, None)
    if names[0] in NUMBERS:
        return NUMBERS[names[0]]
    inner = get_args(get_args(of)[0]) if get_args(of) else ()
    if inner[1:] == ("uint8",):
        return OCTETS
    raise TypeError(f"{path} must be a number, a string or a sequence[uint8], got {hint}")


def _code(leaf: tuple[str, str]) -> str:
    """What makes neighbours one run: strings never are."""
    path, code = leaf
    return f"{code} {path}" if code in (STRING, OCTETS) else code


def _piece(code: str, paths: list[str]) -> _Piece:
    if code.startswith((STRING, OCTETS)):
        get = attrgetter(*paths)
        return _Piece(get=get, numbers=None, size=LENGTH.size, text=code.startswith(STRING))
    numbers = struct.Struct(f"<{len(paths)}{code}")
    get = attrgetter(*paths) if len(paths) > 1 else _as_tuple(paths[0])
    return _Piece(get=get, numbers=numbers, size=struct.calcsize(f"<{code}"), text=False)


def _as_tuple(path: str) -> Any:
    get = attrgetter(path)
    return lambda sample: (get(sample),)


def _packed(piece: _Piece, value: Any) -> tuple[Any, ...]:
    if piece.numbers:
        return (piece.numbers.pack(*value),)
    raw = value.encode() + b"\0" if piece.text else value
    return LENGTH.pack(len(raw)), raw


def _unpacked(piece: _Piece, data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
    if piece.numbers:
        return piece.numbers.unpack_from(data, at), at + piece.numbers.size
    (count,) = LENGTH.unpack_from(data, at)
    start, end = at + LENGTH.size, at + LENGTH.size + count
    raw = data[start:end]
    if len(raw) < count or (piece.text and raw[-1:] != b"\0"):
        raise ValueError("ends too early")
    return (raw[:-1].decode() if piece.text else bytes(raw),), end


def _made(kind: type[IdlStruct], values: Iterator[Any]) -> Any:
    """A sample of the values of its leaves, in their order."""
    kinds = _kinds(kind)
    return kind(*(next(values) if part is None else _made(part, values) for part in kinds))


KINDS: dict[type[IdlStruct], tuple[type[IdlStruct] | None, ...]] = {}


def _kinds(kind: type[IdlStruct]) -> tuple[type[IdlStruct] | None, ...]:
    """Types of the members that have members themselves, None for the others."""
    if kind not in KINDS:
        hints = get_type_hints(kind, include_extras=True)
        of = (hints[field.name] for field in fields(kind))  # type: ignore[arg-type]
        KINDS[kind] = tuple(
            hint if isinstance(hint, type) and issubclass(hint, IdlStruct) else None for hint in of
        )
    return KINDS[kind]
