"""What clients and senders leave behind: descriptors, threads, lines of the log."""

import os
import resource
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from fluoro.config import Config, DdsConfig, IgtlPoses
from fluoro.console.controls import LiveControls
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.imaging.frame import FluoroFrame
from fluoro.interop.dds import qos
from fluoro.interop.dds.node import DdsNode
from fluoro.interop.dds.remote_controls import RemoteControls
from fluoro.interop.dds.ros_diagnostic import KeyValue
from fluoro.interop.igtl.igtl_poses import IgtlPoseFeed
from fluoro.interop.igtl.igtl_server import SEND_TIMEOUT_S, IgtlServer
from tests.dds_support import own_domain, wait_until
from tests.session_support import small_document

ORIGIN = (0.0, 0.0, 0.0)
MOST_CLIENTS = 32
REFUSED = "an OpenIGTLink client is refused: Too many open files"


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@contextmanager
def serving(*, hears):
    """A server of OpenIGTLink, with or without a feed that takes its clients' poses."""
    feed = IgtlPoseFeed(IgtlPoses(kind="igtl"), ORIGIN, CarmLimits())
    server = IgtlServer("127.0.0.1", 0, ORIGIN, feed.take if hears else None)
    try:
        yield server
    finally:
        server.close()


def connected(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def frame(number, side_px=8):
    geometry = CarmGeometry(detector_width_px=side_px, detector_height_px=side_px)
    image = np.zeros((side_px, side_px), np.float32)
    return FluoroFrame(image=image, number=number, pose=CarmPose(), geometry=geometry, stamps_ns={})


def is_served(client, server):
    """Whether frames that are offered again and again reach a client."""
    for number in range(1000):
        server.send(frame(number))
        client.settimeout(0.05)
        try:
            return client.recv(1) != b""
        except TimeoutError:
            continue
    return False


def serves(server):
    """Whether frames reach a new client."""
    with connected(server) as client:
        return is_served(client, server)


@pytest.mark.parametrize("hears", [False, True])
def test_clients_that_leave_while_no_frame_is_made_leave_nothing_behind(hears):
    with serving(hears=hears) as server:
        files, threads = descriptors(), threading.active_count()
        for _ in range(100):
            connected(server).close()
        wait_until(lambda: serves(server))  # until those in the queue are seen to have left
        wait_until(lambda: descriptors() <= files and threading.active_count() <= threads)


def test_clients_beyond_the_most_are_refused_until_others_leave(caplog):
    with serving(hears=False) as server, ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(MOST_CLIENTS)]
        wait_until(lambda: server.clients == MOST_CLIENTS)
        for _ in range(5):
            with connected(server) as late:
                assert late.recv(1) == b""
        assert server.refusals.counts() == {"too many": 5}
        assert "an OpenIGTLink client is refused: 32 are connected" in caplog.text
        clients[0].close()
        wait_until(lambda: server.clients == MOST_CLIENTS - 1)
        with connected(server) as client:
            assert is_served(client, server)


def test_server_outlives_a_time_without_free_descriptors(caplog):
    with serving(hears=False) as server, socket.socket() as client:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        next_free = os.dup(client.fileno())
        os.close(next_free)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (next_free, hard))
            client.connect(("127.0.0.1", server.port))
            wait_until(lambda: REFUSED in caplog.text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert is_served(client, server)


def test_close_does_not_wait_for_a_client_that_never_reads():
    with serving(hears=True) as server, connected(server) as client:
        for number in range(20):
            server.send(frame(number, 2048))
            time.sleep(0.02)
        start_s = time.monotonic()
        server.close()
        assert time.monotonic() - start_s < SEND_TIMEOUT_S - 1.0
        assert client.fileno() > 0


@pytest.mark.dds
def test_refused_controls_are_one_line_a_key_and_second_with_their_number(tmp_path, caplog):
    config = Config.model_validate(small_document("ct.nii", tmp_path))
    node = DdsNode(DdsConfig(domain=own_domain()))
    try:
        controls = LiveControls.from_config(config)
        remote = RemoteControls(node, "/fluoro/control", controls, lambda: None)
        writer = node.writer("rt/fluoro/control", KeyValue, qos.reliable(100))
        wait_until(lambda: writer.readers() == 1)
        start_s = time.monotonic()
        for number in range(500):
            writer.write(KeyValue(key="dose_ngy", value="-1"))
            writer.write(KeyValue(key=f"strange {number}", value="x" * 79))
            if number % 20 == 19:  # the reader keeps 100
                wait_until(lambda sent=2 * number + 2: remote.refused == sent)
        seconds = time.monotonic() - start_s
        lines = caplog.text.splitlines()
        assert 2 <= len(lines) <= 2 * (seconds + 1)
        assert sum(map(len, lines)) < 1000 * (seconds + 1)
        time.sleep(1.1)
        writer.write(KeyValue(key="dose_ngy", value="-1"))
        wait_until(lambda: "more for this reason)" in caplog.text)
    finally:
        node.close()
