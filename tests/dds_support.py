"""What the tests of DDS share: a domain of their own, a robot in a process of its own."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from fluoro.interop.dds import qos

ROOT = Path(__file__).parent.parent
ROBOT = ROOT / "examples" / "robot_carm.py"


def own_domain():
    """A domain that other processes of tests on this machine do not use, as a rule."""
    return 60 + os.getpid() % 170


def wait_until(holds, timeout_s=60.0):
    end_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end_s, "waited too long"
        time.sleep(0.005)


class Heard(list):
    """Samples of a topic as they come."""

    def __init__(self, node, topic, kind):
        super().__init__()
        self.listener = node.listen(topic, kind, qos.reliable(), lambda s, _w: self.append(s))

    def one(self):
        wait_until(lambda: len(self) > 0)
        return self[-1]


@contextmanager
def robot(config, *options):
    """examples/robot_carm.py in the configuration's domain, killed at the end."""
    command = [sys.executable, ROBOT, "--domain", config.dds.domain, "--seconds", 60, *options]
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def peer(*arguments):
    """tests/dds_peer.py, its lines read as they come, killed at the end."""
    command = [sys.executable, ROOT / "tests" / "dds_peer.py", arguments[0], str(own_domain())]
    process = subprocess.Popen(
        [*command, *arguments[1:]],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
