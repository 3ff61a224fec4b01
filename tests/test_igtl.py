"""OpenIGTLink: pyigtl's own client gets frame and C-arm where they are, in RAS and unmirrored."""

import socket
import threading

import numpy as np
import pytest
from pyigtl import OpenIGTLinkClient

from tests.dds_support import wait_until
from tests.session_support import run_small, small_ct, small_document

# isort: split

from fluoro.dds.igtl import IgtlServer, ras_from_pixel
from fluoro.errors import DeviceError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.frame import FluoroFrame, to_uint8

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


def test_client_gets_picture_and_c_arm_in_the_patients_place(server):
    client = OpenIGTLinkClient(port=server.port)
    try:
        wait_until(lambda: server._clients == 1)
        server.send(frame())
        image = client.wait_for_message("fluoro", timeout=10)
        carm = client.wait_for_message("CarmToPatient", timeout=10)
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


def test_client_that_takes_nothing_misses_frames_and_holds_nobody(server):
    with socket.create_connection(("127.0.0.1", server.port)):
        wait_until(lambda: server._clients == 1)
        for number in range(2000):
            server.send(frame(number))
        assert server.sent < 2000
    wait_until(lambda: bool(server.send(frame(-1)) or server._clients == 0))


def test_port_that_is_taken_is_named(server):
    with pytest.raises(DeviceError, match=f"cannot listen at 127.0.0.1:{server.port}"):
        IgtlServer("127.0.0.1", server.port, ISOCENTER)


def test_stream_is_served_while_the_graph_runs(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = small_document(small_ct(tmp_path), tmp_path, igtl={"enabled": True, "port": port})
    settings["run"] |= {"frames": 120, "fps": 60}
    received = []

    def look():
        client = OpenIGTLinkClient(port=port)
        received.append(client.wait_for_message("fluoro", timeout=30))
        client.stop()

    looker = threading.Thread(target=look)
    looker.start()
    outcome = run_small(settings)
    looker.join()
    assert received[0].image.shape == (1, 24, 32)
    assert "igtl" in outcome.summary["dropped"]
