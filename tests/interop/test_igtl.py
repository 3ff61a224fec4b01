"""OpenIGTLink: pyigtl's own client gets frame and C-arm where they are, in RAS and unmirrored."""

import os
import signal
import socket
import struct
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from pyigtl import OpenIGTLinkClient, StringMessage, TransformMessage

from tests.dds_support import wait_until
from tests.session_support import record_of, run_small, small_ct, small_document

# isort: split

from fluoro.config import CarmConfig, Config, IgtlPoses, LimitsConfig
from fluoro.errors import DeviceError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.from_config import make_limits
from fluoro.imaging.frame import FluoroFrame, to_uint8
from fluoro.interop.igtl.igtl_poses import HEADER, IgtlPoseFeed
from fluoro.interop.igtl.igtl_server import IgtlServer, ras_from_pixel

ISOCENTER = (12.0, -34.0, 56.0)
POSE = CarmPose(lao_deg=-37.0, cra_deg=21.5, roll_deg=8.0, translation_mm=(10.0, -20.0, 30.0))
GEOMETRY = CarmGeometry(detector_width_px=12, detector_height_px=7)
FLOAT32_MM = 1e-3
"""Positions of hundreds of mm travel as float32."""


def frame(number=0):
    image = np.linspace(0, 0.5, 12 * 7, dtype=np.float32).reshape(7, 12)
    image[0, 0] = 1.0  # a mirror or a turn would move it
    return FluoroFrame(
        image=image, number=number, pose=POSE, geometry=GEOMETRY, stamps_ns={}, origin=None
    )


@pytest.fixture
def server():
    server = IgtlServer("127.0.0.1", 0, ISOCENTER)
    yield server
    server.close()


def test_client_gets_image_and_c_arm_in_the_patients_place(server):
    client = OpenIGTLinkClient(port=server.port)
    try:
        wait_until(lambda: server.clients == 1)
        server.send(frame())
        image = client.wait_for_message("fluoro", timeout=60)
        carm = client.wait_for_message("CarmToPatient", timeout=60)
    finally:
        client.stop()
    np.testing.assert_array_equal(image.image[0], to_uint8(frame().image))
    assert image.world_coordinate_system == "ras"
    expected = ras_from_pixel(GEOMETRY.view(POSE, ISOCENTER))
    np.testing.assert_allclose(image.ijk_to_world_matrix, expected, atol=FLOAT32_MM)
    lps_center = carm.matrix[:3, 3] * [-1, -1, 1]
    np.testing.assert_allclose(lps_center, [22.0, -54.0, 86.0], atol=FLOAT32_MM)


def test_pixels_lie_where_the_views_own_pixels_lie():
    view = GEOMETRY.view(POSE, ISOCENTER)
    column, row = 3, 5
    ras = ras_from_pixel(view) @ [column, row, 0, 1]
    np.testing.assert_allclose(ras[:3] * [-1, -1, 1], view.pixel_centers_xyz_mm()[row, column])


def test_turn_of_the_c_arm_keeps_its_axis_in_ras():
    lao = CarmPose(lao_deg=90).world_from_carm(ISOCENTER)
    flip = np.diag([-1.0, -1, 1, 1])
    np.testing.assert_allclose((flip @ lao @ flip)[:3, :3], lao[:3, :3], atol=1e-12)


def test_client_that_takes_nothing_misses_frames_and_delays_no_other(server):
    with socket.create_connection(("127.0.0.1", server.port)):
        wait_until(lambda: server.clients == 1)
        for number in range(2000):
            server.send(frame(number))
        assert server.sent < 2000
    wait_until(lambda: bool(server.send(frame(-1)) or server.clients == 0))


def test_port_that_is_taken_is_named(server):
    with pytest.raises(DeviceError, match=f"cannot listen at 127.0.0.1:{server.port}"):
        IgtlServer("127.0.0.1", server.port, ISOCENTER)


def test_stream_is_served_while_the_graph_runs(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = small_document(small_ct(tmp_path), tmp_path, igtl={"enabled": True, "port": port})
    settings["run"] |= {"frames": None, "fps": 60}
    received = []

    def look():
        client = OpenIGTLinkClient(port=port)
        received.append(client.wait_for_message("fluoro", timeout=60))
        client.stop()

    looker = threading.Thread(target=look)
    looker.start()
    outcome = run_small(settings, lambda _frames: bool(received))
    looker.join()
    assert received[0].image.shape == (1, 24, 32)
    assert "igtl" in outcome.summary["dropped"]


# -- poses in ----------------------------------------------------------------------------------

FLIP = np.diag([-1.0, -1, 1, 1])


def transform(pose=POSE, device="CarmToPatient", timestamp=None, isocenter=ISOCENTER):
    """What 3D Slicer would send: from the C-arm's frame to the patient's, mm, RAS."""
    matrix = FLIP @ pose.world_from_carm(isocenter) @ FLIP
    stamp = time.time() if timestamp is None else timestamp
    return bytes(TransformMessage(matrix, timestamp=stamp, device_name=device).pack())


@pytest.fixture
def heard():
    """A server that listens to its clients, and the feed that takes their poses."""
    limits = make_limits(CarmConfig(limits=LimitsConfig(lao_deg=(-120.0, 120.0))))
    feed = IgtlPoseFeed(IgtlPoses(kind="igtl", watchdog_ms=60_000), ISOCENTER, limits)
    server = IgtlServer("127.0.0.1", 0, ISOCENTER, feed.take)
    yield server, feed
    server.close()


def connected(server):
    return socket.create_connection(("127.0.0.1", server.port))


def test_transform_of_a_client_is_the_c_arms_pose_with_its_own_stamp(heard):
    server, feed = heard
    client = OpenIGTLinkClient(port=server.port)
    try:
        wait_until(lambda: client.is_connected())
        matrix = FLIP @ POSE.world_from_carm(ISOCENTER) @ FLIP
        message = TransformMessage(matrix, timestamp=1_700_000_000.25, device_name="CarmToPatient")
        wait_until(lambda: feed.latest() or not client.send_message(message))
    finally:
        client.stop()
    received = feed.latest()
    np.testing.assert_allclose(
        received.pose.world_from_carm(ISOCENTER), POSE.world_from_carm(ISOCENTER), atol=FLOAT32_MM
    )
    assert received.stamp_ns == pytest.approx(1_700_000_000_250_000_000, abs=1000)


def test_what_goes_out_comes_back_in_as_the_same_pose(heard):
    server, feed = heard
    client = OpenIGTLinkClient(port=server.port)
    try:
        wait_until(lambda: server.clients == 1)
        server.send(frame())
        carm = client.wait_for_message("CarmToPatient", timeout=60)
        client.send_message(carm)
        wait_until(lambda: feed.latest() is not None)
    finally:
        client.stop()
    np.testing.assert_allclose(
        feed.latest().pose.world_from_carm(ISOCENTER),
        POSE.world_from_carm(ISOCENTER),
        atol=FLOAT32_MM,
    )


def test_other_devices_and_other_messages_are_left_alone(heard):
    server, feed = heard
    with connected(server) as client:
        client.sendall(transform(device="Probe"))
        client.sendall(bytes(StringMessage("hello", device_name="CarmToPatient").pack()))
        client.sendall(transform())
        wait_until(lambda: feed.latest() is not None)
    assert feed.counts() == {"received": 1, "superseded": 0, "of other devices": 1}


def mirrored(pose):
    matrix = FLIP @ pose.world_from_carm(ISOCENTER) @ FLIP
    return matrix @ np.diag([-1.0, 1, 1, 1])


def packed(matrix):
    return bytes(TransformMessage(matrix, timestamp=0.0, device_name="CarmToPatient").pack())


def test_transforms_that_are_no_pose_are_refused_and_counted(heard):
    server, feed = heard
    wrong_sum = bytearray(transform())
    wrong_sum[-1] ^= 1
    bad = [packed(np.full((4, 4), np.nan)), packed(2 * np.eye(4)), packed(mirrored(POSE))]
    bad += [packed(np.eye(4) + np.eye(4, k=3) * 1e8), bytes(wrong_sum)]
    with connected(server) as client:
        client.sendall(b"".join(bad))
        wait_until(lambda: feed.counts()["received"] == len(bad))
        assert feed.refusals.counts() == {"matrix": 4, "crc": 1}
        client.sendall(transform())
        wait_until(lambda: feed.latest() is not None)


@pytest.mark.parametrize("kind", [b"TRANSFORM", b"IMAGE"])
def test_client_that_announces_an_absurd_size_is_cut_off_and_others_go_on(heard, kind):
    server, feed = heard
    with connected(server) as hostile:
        hostile.sendall(HEADER.pack(1, kind, b"CarmToPatient", 0, 0, 2**63, 0))
        hostile.settimeout(10)
        assert hostile.recv(1) == b""
    with connected(server) as client:
        client.sendall(transform())
        wait_until(lambda: feed.latest() is not None)


def test_mangled_queries_leave_the_server_alive(heard):
    server, feed = heard
    query = b"".join(
        HEADER.pack(1, kind, b"client", 0, 0, 0, 0) for kind in (b"GET_STATUS", b"GET_CAPABIL")
    )
    random = np.random.default_rng(6)
    for _ in range(60):
        with connected(server) as client:
            piece = bytearray(query * 3)
            for _ in range(random.integers(1, 8)):
                piece[random.integers(len(piece))] = random.integers(256)
            with suppress(OSError):
                client.sendall(piece[: random.integers(1, len(piece))])
    kinds = answers_when_there_is_room(server, query)
    assert kinds == [b"STATUS", b"CAPABILITY"]
    assert feed.latest() is None


def answers_when_there_is_room(server, query):
    """The kinds of two answers; the server refuses clients while many others are being ended."""
    until_s = time.monotonic() + 30
    while True:
        try:
            with connected(server) as client:
                client.sendall(query)
                return [HEADER.unpack(read_message(client))[1].rstrip(b"\0") for _ in range(2)]
        except (OSError, struct.error):
            assert time.monotonic() < until_s
            time.sleep(0.1)


def read_message(client):
    """The header of a message; its body is read too."""
    client.settimeout(10)
    header = client.recv(HEADER.size, socket.MSG_WAITALL)
    client.recv(HEADER.unpack(header)[5], socket.MSG_WAITALL)
    return header


def test_mangled_streams_never_reach_the_renderer_and_leave_the_server_alive(heard):
    server, feed = heard
    random = np.random.default_rng(5)
    for _ in range(60):
        with connected(server) as client:
            piece = bytearray(transform() * 3)
            for _ in range(random.integers(1, 8)):
                piece[random.integers(len(piece))] = random.integers(256)
            try:
                client.sendall(piece[: random.integers(1, len(piece))])
            except OSError:
                continue
    feed_pose = feed.latest()
    assert feed_pose is None or abs(feed_pose.pose.lao_deg) <= 120
    wait_until(lambda: not server.clients or bool(server.send(frame(server.sent))))
    assert struct.calcsize(HEADER.format) == 58


def test_a_client_moves_the_c_arm_of_a_whole_run_and_silence_is_reported(tmp_path, caplog):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    source = {"kind": "igtl", "watchdog_ms": 300, "trigger": "clock"}
    settings = small_document(
        small_ct(tmp_path), tmp_path, pose_source=source, igtl={"enabled": True, "port": port}
    )
    settings["run"]["frames"] = None
    clients, sent = [], []

    def each(frames):
        if not clients:
            clients.append(socket.create_connection(("127.0.0.1", port)))
        if frames < 5:
            clients[0].sendall(transform(CarmPose(lao_deg=7.0), isocenter=(0.0, 0.0, 0.0)))
        elif "(watchdog_ms): hold" in caplog.text and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    outcome = run_small(settings, each)
    clients[0].close()
    frames = record_of(outcome.folder)["per_frame"]
    assert {round(shown["pose"]["lao_deg"], 3) for shown in frames} == {7}
    assert "no pose on OpenIGTLink's TRANSFORM CarmToPatient" in caplog.text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"igtl": {"enabled": False}}, r"igtl needs igtl\.enabled: true"),
        ({"pose_source": {"kind": "igtl", "trigger": "lockstep"}}, "lockstep needs kind: dds"),
    ],
)
def test_settings_that_cannot_work_are_named(tmp_path, change, expected):
    document = small_document("ct.nii", tmp_path, pose_source={"kind": "igtl"})
    with pytest.raises(ValueError, match=expected):
        Config.model_validate({**document, "igtl": {"enabled": True}, **change})
