"""Watches a console as a page does: takes each frame and confirms it at once.

python benchmarks/harness/console_viewer.py URL     until the console closes; prints its frames
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

CONFIRMED = {"frame", "carm", "tracking", "body"}


def confirmation(message: bytes) -> str | None:
    """Return the kind of message that is to be confirmed; None: nothing, or parts follow."""
    (length,) = struct.unpack_from("<I", message)
    header = json.loads(message[4 : 4 + length])
    kind = header["kind"]
    if kind == "part":
        kind = header["of"] if header["of"] == "body" or not header["more"] else None
    return kind if kind in CONFIRMED else None


async def watch(url: str) -> int:
    """Return how many frames came until the console closed."""
    frames, address = 0, url.replace("http://", "ws://").rstrip("/") + "/live"
    async with connect(address, compression=None, max_size=None, origin=url.rstrip("/")) as socket:
        try:
            async for message in socket:
                kind = confirmation(message) if isinstance(message, bytes) else None
                frames += kind == "frame"
                if kind:
                    await socket.send(json.dumps({"got": kind}))
        except ConnectionClosed:
            pass
    return frames


if __name__ == "__main__":
    print(asyncio.run(watch(sys.argv[1])))
