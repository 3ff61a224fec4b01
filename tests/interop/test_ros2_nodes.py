"""Nodes made as rmw_fastrtps makes them (ros2_node, Fast DDS), and fluoro's own DDS.

On one machine, and on two network namespaces as two machines; images must be bit-identical.
"""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from fluoro.interop.ros_transforms import LINKS
from tests.dds_support import ROOT, own_domain, wait_until
from tests.namespaces import ADDRESSES, two_machines
from tests.support import require_library, require_program

pytestmark = pytest.mark.dds

FOUND_S = 6.0
"""How long two programs may take to find each other; with Cyclone's own interval it is 8 s."""
DISCOVERY = ("default", "subnet", "localhost", "localhost_only")
"""Settings of ROS 2: Humble's default, Jazzy's two ranges, ROS_LOCALHOST_ONLY=1."""


@pytest.fixture(scope="module")
def node_program(tmp_path_factory):
    require_library("fastdds/dds/domain/DomainParticipant.hpp", "libfastrtps-dev")
    require_program("fastddsgen")
    require_program("g++")
    folder = tmp_path_factory.mktemp("ros2_node")
    subprocess.run([Path(__file__).parent / "ros2_node" / "build.sh", folder], check=True)
    return folder / "node"


@pytest.fixture
def machines(tmp_path):
    """Prefixes of commands that run on two machines."""
    with two_machines(tmp_path) as prefixes:
        yield prefixes


class Program:
    """A process whose lines are noted with the time at which they came."""

    def __init__(self, *command):
        self._process = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self.began_s = time.monotonic()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        for line in self._process.stdout:
            self.lines.append((time.monotonic(), line.split()))

    def all(self, name):
        """Words after the name of each line that begins with it."""
        return [words[1:] for _, words in list(self.lines) if words and words[0] == name]

    def first_s(self, name):
        """When the first line with that name came; None: none has."""
        return next((at for at, words in list(self.lines) if words and words[0] == name), None)

    def wait_for(self, name, timeout_s=60.0):
        wait_until(lambda: self.first_s(name) is not None, timeout_s)
        return self.first_s(name)

    def ended(self, timeout_s=60.0):
        self._process.wait(timeout_s)
        self._thread.join()
        return self

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._thread.join()


@pytest.fixture
def start():
    """What starts a program, which is killed at the end."""
    with ExitStack() as stack:

        def begin(*command):
            program = Program(*command)
            stack.callback(program.kill)
            return program

        yield begin


def simulator(start, prefix=(), *, size_px=256, hz=10, **dds):
    """Our side, open."""
    config = {"domain": own_domain(), "frames": {}, **dds}
    script = Path(__file__).parent / "ros2_simulator.py"
    program = start(*prefix, sys.executable, script, json.dumps(config), size_px, hz)
    program.wait_for("adler", 90)
    return program


def found_within(ours, node, since_s):
    """Seconds until the later of two directions was found, and the pose was here."""
    found_s = max(node.first_s("reader"), node.first_s("writer"), ours.first_s("pose"))
    return found_s - since_s


def require_equal_images(ours, node, at_least=3):
    """Every image that the node has received is the one that was sent."""
    encoding, adler = ours.all("adler")[0]
    images = node.all("image")
    assert len(images) >= at_least
    assert {(image[2], image[-1]) for image in images} == {(encoding, adler)}


def require_whole_tree(node):
    """The node, which may have come late, knows each frame of /tf and /tf_static."""
    assert [child for _, child in node.all("tf_static")] == ["table", "carm_base"]
    assert [child for _, child in node.all("tf")] == [*LINKS[1:], "carm_detector", "carm_camera"]


def counts(ours):
    return json.loads(" ".join(ours.all("counts")[-1]))


def test_nodes_of_each_setting_are_found_whenever_they_start(node_program, start):
    node = [node_program, own_domain()]
    before = start(*node, "default", 30)
    time.sleep(1)
    ours = simulator(start, frames={"transforms": True})
    nodes = [before, *(start(*node, discovery, 30) for discovery in DISCOVERY)]
    for each in nodes:
        each.wait_for("writer")
        each.wait_for("reader")
        wait_until(lambda each=each: len(each.all("image")) > 3)
        require_equal_images(ours, each)
        require_whole_tree(each)
        late = max(each.began_s, ours.first_s("adler"))
        assert found_within(ours, each, late) < FOUND_S
    wait_until(lambda: counts(ours).get("refused: second writer", 0) > 0)
    assert ours.all("pose") == [["10.0"]]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nodes_that_start_45_s_after_us_are_found_as_soon(node_program, start, machines):
    ours = [simulator(start, machines[0], domain=n) for n in range(len(DISCOVERY))]
    time.sleep(45)
    nodes = [start(*machines[0], node_program, n, each, 20) for n, each in enumerate(DISCOVERY)]
    for one, node in zip(ours, nodes, strict=True):
        one.wait_for("pose")
        node.wait_for("reader")
        node.wait_for("writer")
        assert found_within(one, node, node.began_s) < FOUND_S
    for one, node in zip(ours, nodes, strict=True):
        wait_until(lambda node=node: len(node.all("image")) > 5)
        require_equal_images(one, node)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"peers": [ADDRESSES[1]]}, "default"),
        ({"peers": [ADDRESSES[1]]}, "localhost_only"),
        ({"peers": [], "multicast": True}, "default"),
        ({"peers": []}, f"peer:{ADDRESSES[0]}"),
    ],
    ids=["our peer", "node that stays at home", "multicast", "ROS_STATIC_PEERS"],
)
def test_two_machines_find_each_other(node_program, start, machines, ours, theirs):
    simulators = [
        simulator(start, machines[0], interface="eth0", domain=n, **ours) for n in range(2)
    ]
    nodes = [start(*machines[1], node_program, 0, theirs, 60)]
    time.sleep(45)
    nodes.append(start(*machines[1], node_program, 1, theirs, 15))
    time.sleep(4)
    for one, node in zip(simulators, nodes, strict=True):
        if theirs == "localhost_only":
            assert not node.all("reader")
            continue
        assert found_within(one, node, node.began_s) < FOUND_S
        require_equal_images(one, node)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("encoding", ["8UC1", "mono16", "16UC1", "32FC1"])
def test_images_to_4_mb_arrive_bit_identical(node_program, start, machines, encoding):
    ours = simulator(start, machines[0], size_px=1024, hz=2, frames={"encoding": encoding})
    node = start(*machines[0], node_program, own_domain(), "default", 100)
    wait_until(lambda: len(node.all("image")) > 8, 60)
    require_equal_images(ours, node)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_best_effort_reader_of_large_images_gets_a_hint_small_ones_arrive(
    node_program, start, machines
):
    ours = [
        simulator(start, machines[0], size_px=size_px, hz=5, domain=n)
        for n, size_px in enumerate((256, 1024, 1024))
    ]
    buffers = ("buffer=0", "buffer=0", "buffer=4194304")
    nodes = [
        start(*machines[0], node_program, n, "default", 12, "best_effort", buffer)
        for n, buffer in enumerate(buffers)
    ]
    for node in nodes:
        node.ended()
    small, large, with_buffer = (share_received(node) for node in nodes)
    assert small == 1
    assert large < 1
    assert with_buffer > large
    require_equal_images(ours[0], nodes[0])
    require_equal_images(ours[2], nodes[2])
    hints = [" ".join(" ".join(words) for words in each.all("images")) for each in ours]
    assert not hints[0]
    assert "best-effort readers (1) lose some of the images, 1048576 bytes each" in hints[1]


def share_received(node):
    """Of the images between the first and the last that the node has received."""
    stamps = sorted(float(image[4]) for image in node.all("image"))
    assert len(stamps) > 1
    return len(stamps) / (1 + round((stamps[-1] - stamps[0]) * 5))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_keeps_a_node_from_us_is_named(node_program, start, machines):
    ours = simulator(start, machines[0], domain=3)
    start(*machines[0], node_program, 5, "default", 20)
    wait_until(lambda: "look like domain 5" in said(ours))
    other = start(*machines[0], node_program, 3, "default", 20, "pose=rt/robot/pose")
    other.wait_for("reader")
    wait_until(lambda: "none writes rt/carm/pose" in said(ours))


def said(ours):
    return " ".join(word for words in ours.all("hint")[-1:] for word in words)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_node_that_floods_is_counted_and_frames_go_on(node_program, start, machines):
    ours = simulator(start, machines[0])
    quiet = start(*machines[0], node_program, own_domain(), "default", 12, "pose=rt/other")
    quiet.wait_for("reader")
    start(*machines[0], node_program, own_domain(), "localhost", 8, "hz=0")
    quiet.ended()
    assert counts(ours)["flooded seconds"] > 0
    assert len(quiet.all("image")) > 80
    require_equal_images(ours, quiet)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_default_is_found_on_its_own_machine_alone(node_program, start, machines):
    ours = simulator(start, machines[0])
    here = start(*machines[0], node_program, own_domain(), "default", 60)
    there = [
        start(*machines[1], node_program, own_domain(), discovery, 60, "lao=20")
        for discovery in ("default", f"peer:{ADDRESSES[0]}")
    ]
    here.wait_for("reader")  # it listens to the network's multicast, on our machine
    time.sleep(8)
    assert not any(node.all("reader") or node.all("writer") for node in there)
    assert counts(ours)["writers"] == 1


CYCLONE = ("localhost_only", "localhost", "peer", "documented")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nodes_of_rmw_cyclonedds_are_found(start, machines):
    ours = [simulator(start, machines[0], domain=n) for n in range(len(CYCLONE))]
    script = Path(__file__).parent / "rmw_cyclonedds_node.py"
    nodes = [
        start(*machines[0], sys.executable, script, n, setting, 40)
        for n, setting in enumerate(CYCLONE)
    ]
    for one, node in zip(ours, nodes, strict=True):
        node.wait_for("writer", 60)
        node.wait_for("image", 60)
        one.wait_for("pose", 60)
        assert node.first_s("writer") - node.first_s("open") < FOUND_S


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("ours", "setting"),
    [
        ({"peers": [], "multicast": True}, "default"),
        ({"peers": [], "multicast": True}, "subnet"),
        ({"peers": [ADDRESSES[1]]}, f"peer {ADDRESSES[0]}"),
    ],
)
def test_node_of_rmw_cyclonedds_on_another_machine_is_found(start, machines, ours, setting):
    simulated = simulator(start, machines[0], interface="eth0", **ours)
    script = Path(__file__).parent / "rmw_cyclonedds_node.py"
    node = start(*machines[1], sys.executable, script, own_domain(), setting, 60)
    node.wait_for("writer", 60)
    node.wait_for("image", 60)
    simulated.wait_for("pose", 60)
    assert node.first_s("writer") - node.first_s("open") < FOUND_S
