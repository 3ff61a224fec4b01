"""Pictures on the wire without a Python list: a codec for octet sequences that copies bytes.

cyclonedds hands a `sequence[uint8]` over as a list of ints, which takes 60 ms and more for 2 MiB.
Its own codec of the type `bytes` copies memory, but such a member is no `sequence<uint8>` to other
participants. So the type stays and the codec is swapped; and a whole sample is the encoding of
its other members with the octets put behind, one copy in place of four. That reaches into private
parts of cyclonedds (`_machinery`): requirements pin its version, tests hold the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import fields, replace
from typing import Any

from cyclonedds.idl import IdlStruct
from cyclonedds.idl._machinery import BytesMachine

__all__ = ["with_fast_octets"]

LENGTH = struct.Struct("=I")
"""Before the octets, in the machine's own byte order, which the encoding's header tells."""


class _Octets(BytesMachine):
    """As its parent, which slices a copy and copies the slice."""

    def deserialize(self, buffer: Any, *_: Any) -> bytes:
        buffer.align(4)
        count = buffer.read("I", 4)
        start = buffer.tell()
        buffer.seek(start + count)
        return bytes(memoryview(buffer._bytes)[start : start + count])


def with_fast_octets(kind: type[IdlStruct], member: str) -> None:
    """Let `member`, a sequence of octets, take any buffer of bytes and give `bytes`.

    Args:
        kind: A type, changed in place.
        member: Name of its last member; write `memoryview(array).cast("B")`, read `np.frombuffer`.

    Raises:
        TypeError: The member is not the last.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if names[-1] != member:
        raise TypeError(f"{member} must be the last member of {kind.__name__}, got {names}")
    idl: Any = kind.__idl__
    idl.populate()
    for machine in (idl.v1_machine, idl.v2_machine):
        machine.members_machines[member] = _Octets()  # type: ignore[no-untyped-call]
    kind.serialize = _with_octets_behind(member)  # type: ignore[method-assign]


def _with_octets_behind(member: str) -> Any:
    def serialize(self: Any, *given: Any, **options: Any) -> bytes:
        """The sample's bytes; arguments are those of `IdlStruct.serialize`."""
        if given or options.keys() - {"use_version_2"}:
            return IdlStruct.serialize(self, *given, **options)
        octets = getattr(self, member)
        head = IdlStruct.serialize(replace(self, **{member: b""}), **options)
        return b"".join((head[: -LENGTH.size], LENGTH.pack(len(octets)), octets))

    return serialize
