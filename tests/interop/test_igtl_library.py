"""OpenIGTLink's own C++ library (igtl_peer.cpp) as our client and as our server."""

import socket
import subprocess
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pyigtl import TransformMessage

from tests.interop.test_igtl import FLIP, FLOAT32_MM, GEOMETRY, ISOCENTER, POSE, frame, transform
from tests.support import require_library, require_program

# isort: split

from fluoro.config import CarmConfig, IgtlConfig, IgtlPoses
from fluoro.geometry.from_config import make_limits
from fluoro.imaging.frame import to_uint8
from fluoro.interop.igtl.igtl_poses import IgtlPoseFeed
from fluoro.interop.igtl.igtl_replies import KNOWN_TYPES
from fluoro.interop.igtl.igtl_server import IgtlServer, ras_from_pixel
from tests.dds_support import wait_until

SOURCE = Path(__file__).parent / "igtl_peer.cpp"
UINT8 = 3
"""OpenIGTLink's number of the pixel type."""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    require_library("openigtlink/igtlTransformMessage.h", "libopenigtlink-dev")
    made = tmp_path_factory.mktemp("igtl") / "igtl_peer"
    include = ["-w", "-I/usr/include/openigtlink"]
    command = [require_program("g++"), *include, SOURCE, "-lOpenIGTLink", "-lpthread", "-o", made]
    subprocess.run(list(map(str, command)), check=True)
    return made


@pytest.fixture
def feed():
    config = IgtlPoses(kind="igtl", device="Tracker", watchdog_ms=60_000)
    return IgtlPoseFeed(config, ISOCENTER, make_limits(CarmConfig()))


@pytest.fixture
def serve(feed):
    """What makes a server whose poses go to the feed."""
    made = []

    def make(host="127.0.0.1", servers=()):
        made.append(IgtlServer(host, 0, ISOCENTER, feed.take, servers))
        return made[-1]

    yield make
    for server in made:
        server.close()


def ras_from_carm():
    return FLIP @ POSE.world_from_carm(ISOCENTER) @ FLIP


def started(program, *words):
    words = [str(word) for word in (program, *words)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write(" ".join(f"{value:.9g}" for value in ras_from_carm()[:3].ravel()) + "\n")
    process.stdin.flush()
    return process


def lines_of(process, server):
    """What the program has unpacked, while frames are sent until it ends."""
    while process.poll() is None:
        server.send(frame(lines_of.number))
        lines_of.number += 1
        try:
            process.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return dict(line.split(" ", 1) for line in output.splitlines())


lines_of.number = 0


def packed(matrix):
    return bytes(TransformMessage(matrix, timestamp=0.0, device_name="Tracker").pack())


def has_received(feed, count):
    return feed.counts()["received"] == count


def numbers(words):
    return np.array(words, float)


def check(lines, feed, server):
    """Image, transform, status and capability as the library unpacked them; its own transform."""
    device, width, height, kind, sx, sy, adler, *matrix = lines["IMAGE"].split()
    assert [device, width, height, int(kind)] == ["fluoro", "12", "7", UINT8]
    assert adler == f"{zlib.adler32(to_uint8(frame().image).tobytes()):08x}"
    spacing = GEOMETRY.pixel_spacing_mm
    np.testing.assert_allclose(numbers([sx, sy]), spacing, rtol=1e-5)
    np.testing.assert_allclose(numbers(matrix).reshape(3, 4), library_matrix(), atol=0.01)
    device, *matrix = lines["TRANSFORM"].split()
    assert device == "CarmToPatient"
    np.testing.assert_allclose(numbers(matrix).reshape(3, 4), ras_from_carm()[:3], atol=0.01)
    assert lines["CAPABILITY"].split() == ["fluoro", *KNOWN_TYPES]
    device, code, text = lines["STATUS"].split(" ", 2)
    assert (device, code in ("1", "13"), "frame" in text) == ("fluoro", True, True)
    pose = feed.latest().pose
    expected = POSE.world_from_carm(ISOCENTER)
    np.testing.assert_allclose(pose.world_from_carm(ISOCENTER), expected, atol=FLOAT32_MM)
    assert not server.refusals.counts()
    assert not feed.refusals.counts()


def library_matrix():
    """The image's axes as unit vectors and its middle, which is what the library's matrix holds."""
    expected = ras_from_pixel(GEOMETRY.view(POSE, ISOCENTER))
    middle = expected @ [(12 - 1) / 2, (7 - 1) / 2, 0, 1]
    axes = expected[:3, :3] / np.linalg.norm(expected[:3, :3], axis=0)
    return np.column_stack([axes, middle[:3]])


def test_the_librarys_client_gets_all_messages_and_moves_the_c_arm(program, serve, feed):
    server = serve()
    process = started(program, "client", "127.0.0.1", server.port, "Tracker", 6)
    check(lines_of(process, server), feed, server)


@pytest.mark.parametrize("host", ["::1", "[::1]", "localhost"])
def test_server_is_reached_at_the_address_that_it_is_bound_to(serve, feed, host):
    try:
        socket.getaddrinfo(host.strip("[]"), None)
    except OSError:
        pytest.skip(f"{host} has no address on this machine, which has no /etc/hosts")
    with socket.create_connection((host.strip("[]"), serve(host).port)) as client:
        client.sendall(transform(device="Tracker"))
        wait_until(lambda: feed.latest() is not None)


def test_each_refusal_has_its_own_reason(serve, feed, caplog):
    spoilt = bytearray(transform(device="Tracker"))
    spoilt[-1] ^= 1
    mirror, scale = ras_from_carm(), ras_from_carm()
    mirror[:3, 0] *= -1
    scale[:3, :3] *= 2
    with socket.create_connection(("127.0.0.1", serve().port)) as client:
        for bad in (bytes(spoilt), *map(packed, (mirror, scale))):
            client.sendall(bad)
        wait_until(lambda: sum(feed.refusals.counts().values()) == 3)
    feed.close()
    assert "crc must be the body's checksum" in caplog.text
    assert "got a mirror (determinant -1)" in feed.refusals.last() + caplog.text
    assert "got a scale: columns of length 2, 2, 2" in feed.refusals.last() + caplog.text


def test_the_librarys_server_is_found_and_heard(program, serve, feed):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = serve(servers=[("127.0.0.1", port)])
    check(lines_of(started(program, "server", port, "Tracker", 6), server), feed, server)


def test_server_that_goes_is_found_again(serve, feed):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as tracker:
        serve(servers=[("::1", tracker.getsockname()[1])])
        for received in (1, 2):
            with tracker.accept()[0] as connection:
                connection.sendall(transform(device="Tracker"))
                wait_until(partial(has_received, feed, received))


def test_server_that_is_this_program_is_not_connected_to(serve, caplog):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = IgtlServer("127.0.0.1", port, ISOCENTER, None, [("127.0.0.1", port)])
    try:
        wait_until(lambda: "no other program listens there; trying again" in caplog.text)
        wait_until(lambda: server.clients == 0)
    finally:
        server.close()


def test_servers_without_the_sink_have_no_effect():
    with pytest.raises(ValueError, match="has no effect with enabled: false"):
        IgtlConfig(servers=("tracker:18944",))


@pytest.mark.parametrize(
    "address", ["tracker", "tracker:0", "tracker:65536", ":18944", "::1:18944", "a b:18944", 5]
)
def test_address_of_a_server_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match=r"HOST:PORT|valid string"):
        IgtlConfig(enabled=True, servers=(address,))


@pytest.mark.parametrize("version", [1, 2])
def test_either_version_of_the_header_carries_a_transform(serve, feed, version):
    message = TransformMessage(ras_from_carm(), timestamp=0.0, device_name="Tracker")
    message.header_version = version
    if version == 2:
        message.metadata = {"source": "tracker"}
    with socket.create_connection(("127.0.0.1", serve().port)) as client:
        client.sendall(bytes(message.pack()))
        wait_until(lambda: feed.latest() is not None)
    assert not feed.refusals.counts()
