"""Images on the wire without a Python list: a codec for octet sequences that copies bytes.

cyclonedds hands a `sequence[uint8]` over as a list of ints, which takes 60 ms and more for 2 MiB.
Its own codec of the type `bytes` copies memory, but such a member is no `sequence<uint8>` to other
participants. So the type stays and the codec is swapped. That reaches into private parts of
cyclonedds (`_machinery`): requirements pin its version, tests hold the bytes.
"""

from __future__ import annotations

from typing import Any

from cyclonedds.idl import IdlStruct
from cyclonedds.idl._machinery import BytesMachine

__all__ = ["with_fast_byte_sequences"]


def with_fast_byte_sequences(struct: type[IdlStruct], member: str) -> None:
    """Let `member`, a sequence of octets, take any buffer of bytes and give `bytes`.

    Args:
        struct: A type, changed in place.
        member: Name of the member; write `memoryview(array).cast("B")`, read `np.frombuffer`.
    """
    idl: Any = struct.__idl__
    idl.populate()
    for machine in (idl.v1_machine, idl.v2_machine):
        machine.members_machines[member] = BytesMachine()
