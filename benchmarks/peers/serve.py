"""A peer in a process of its own: takes one JSON line a command, answers with one.

    python -m benchmarks.peers.serve

Runs in the peers' environment, which has no fluoro. Commands: `open` (the program, its volume and
threads), `view` (a pose in the program's own words), `run` (a task) and `register` (from the pose
that was taken). The last two are timed in here: starting up, loading the volume and handing the
images over are left out.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module, metadata
from typing import Any

import numpy as np

from benchmarks.harness.stopwatch import timed


class Server:
    """Holds one program with its volume and pose."""

    def open(self, program: str, variant: str, **setting: Any) -> dict[str, Any]:
        """Load the program and the volume."""
        module = import_module(f"benchmarks.peers.{program}_peer")
        volume = np.load(setting["volume"], mmap_mode="r")
        self.peer = module.Peer(variant, volume, setting)
        versions = {name: metadata.version(name) for name in module.PACKAGES}
        return {"versions": versions | getattr(self.peer, "facts", {})}

    def view(self, **pose: Any) -> dict[str, Any]:
        """Take a pose."""
        self.peer.set_view(pose)
        return {}

    def run(self, task: str, keep: str) -> dict[str, Any]:
        """Do a task; the image goes to the file `keep`, if there is a name."""
        call = self.peer.forward if task == "forward" else self.peer.gradient
        (image, shift_gradient), seconds, cpu_seconds = timed(call)
        if keep:
            np.save(keep, self.peer.to_host(image))
        return {
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "shift_gradient": None if shift_gradient is None else list(map(float, shift_gradient)),
        }

    def register(self, target: str, **method: Any) -> dict[str, Any]:
        """Find the pose of the image in a file."""
        image = np.load(target)
        found, seconds, cpu_seconds = timed(lambda: self.peer.register(image, method))
        return {**found, "seconds": seconds, "cpu_seconds": cpu_seconds}


def main() -> None:
    """Answer until the input ends; the programs' own chatter goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = Server()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(server, command.pop("do"))(**command)
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
            answer = {"error": f"{type(error).__name__}: {error}".partition("\n")[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
