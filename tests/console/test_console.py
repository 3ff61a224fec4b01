"""The console without a browser: controls, messages, who is served, and who cannot hold it up."""

import io
import logging
import threading
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import InvalidStatus

from fluoro.config import ConsoleConfig
from fluoro.console import server
from fluoro.console.page_messages import in_parts, preview_message
from fluoro.console.pages import listen, url_of
from fluoro.console.scene_view import SceneModel, body_message, carm_message
from fluoro.console.stream_status import StreamStatus, slowdown_reason
from fluoro.errors import InputError, OutputError
from fluoro.geometry.carm import CarmPose
from fluoro.imaging.frame import to_uint8
from tests.console_support import (
    ISOCENTER,
    STATUS,
    Consoles,
    Peer,
    large_body,
    make_controls,
    make_frame,
    make_scene,
    request,
    unpacked,
    wait_until,
)

JPEG_TOLERANCE_LEVELS = 3
"""Grey levels by which JPEG at quality 90 may change a smooth image."""


@pytest.fixture
def start_console():
    """Starts consoles at a free port; returns console and address; closes them at the end."""
    consoles = Consoles()
    yield consoles.start
    consoles.close()


@pytest.fixture
def open_peer():
    peers = []

    def open_at(url, **options):
        peers.append(Peer(url, **options))
        return peers[-1]

    yield open_at
    for peer in peers:
        peer.socket.close()


# Controls


def test_controls_start_as_the_configuration_says():
    state = make_controls(
        pose_source={"kind": "static", "lao_deg": 30.0, "translation_mm": [1.0, 2.0, 3.0]},
        image_chain={"dose_ngy": 7.0, "window": {"level": 2.0, "width": 4.0}},
        carm={"source_to_detector_mm": 1200.0},
    ).snapshot()
    assert state.pose == CarmPose(lao_deg=30.0, translation_mm=(1.0, 2.0, 3.0))
    assert (state.dose_ngy, state.window_level, state.window_width) == (7.0, 2.0, 4.0)
    assert state.source_to_detector_mm == 1200.0
    assert state.beam_on
    assert not state.manual_pose


def test_a_snapshot_stays_as_it_was_when_the_controls_change():
    controls = make_controls()
    before = controls.snapshot()
    after = controls.update(dose_ngy=50.0, beam_on=False)
    assert before.dose_ngy == 20.0
    assert controls.snapshot() == after
    assert (after.dose_ngy, after.beam_on, after.version) == (50.0, False, before.version + 1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lao_deg": 181.0}, "lao_deg must be -180 to 180, got 181"),
        ({"window_width": float("nan")}, "window_width must be a finite number, got nan"),
        ({"window_width": 0.0}, "window_width must be 0.1 to 12, got 0"),
        ({"source_to_detector_mm": 500.0}, "source_to_detector_mm must be 638 to 1400, got 500"),
        ({"dose_ngy": "much"}, "dose_ngy must be a finite number, got 'much'"),
        ({"roll_deg": True}, "roll_deg must be a finite number, got True"),
        ({"beam_on": 1}, "beam_on must be true or false, got 1"),
        ({"polarity": "pink"}, "polarity must be bone_dark or bone_bright, got 'pink'"),
        ({"version": 3}, "unknown control 'version'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_changes_nothing(values, words):
    controls = make_controls()
    before = controls.snapshot()
    with pytest.raises(InputError) as caught:
        controls.apply({"cra_deg": 5.0, **values}, stream_pose=None)
    assert str(caught.value) == words
    assert controls.snapshot() == before


def test_touching_one_angle_takes_the_carm_over_where_the_stream_has_it():
    controls = make_controls()
    streamed = CarmPose(lao_deg=20.0, cra_deg=10.0, translation_mm=(1.0, 2.0, 3.0))
    state = controls.apply({"cra_deg": 15.0}, stream_pose=streamed)
    assert state.manual_pose
    assert state.pose == CarmPose(lao_deg=20.0, cra_deg=15.0, translation_mm=(1.0, 2.0, 3.0))
    later = controls.apply({"lao_deg": 0.0}, stream_pose=CarmPose(lao_deg=99.0))
    assert (later.pose.lao_deg, later.pose.cra_deg) == (0.0, 15.0)
    assert not controls.apply({"manual_pose": False}, stream_pose=streamed).manual_pose


def test_checking_manual_holds_the_carm_where_the_stream_has_it():
    streamed = CarmPose(lao_deg=33.0)
    state = make_controls().apply({"manual_pose": True}, stream_pose=streamed)
    assert state.pose == streamed


def test_a_table_move_shifts_the_carm_the_other_way():
    state = make_controls().apply({"table_z_mm": 40.0}, stream_pose=None)
    assert state.pose.translation_mm == (0.0, 0.0, -40.0)


def test_controls_that_are_the_only_pose_source_cannot_follow_another():
    controls = make_controls(pose_source={"kind": "console", "lao_deg": 12.0})
    assert controls.snapshot().manual_pose
    with pytest.raises(InputError, match="manual_pose cannot be false"):
        controls.apply({"manual_pose": False}, stream_pose=None)


def test_sliders_reach_to_what_is_configured_even_beyond_the_usual():
    limits = make_controls(
        carm={"source_to_detector_mm": 2000.0},
        image_chain={"dose_ngy": 5000.0, "window": {"level": 30.0, "width": 20.0}},
    ).limits
    assert limits["source_to_detector_mm"].high == 2000.0
    assert limits["dose_ngy"].high == 5000.0
    assert (limits["window_level"].high, limits["window_width"].high) == (30.0, 20.0)


def test_no_change_is_lost_between_threads():
    controls = make_controls()

    def change():
        for level in range(200):
            controls.update(window_level=float(level))

    threads = [threading.Thread(target=change) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert controls.snapshot().version == 800


# Status


@pytest.mark.parametrize(
    ("fps", "dropped", "reason"),
    [
        (30.0, {}, ""),
        (27.5, {}, ""),
        (7.0, {}, "renderer 140 ms"),
        (30.0, {"recorder": 4}, "recorder slow"),
        (7.0, {"recorder": 4}, "renderer 140 ms, recorder slow"),
        (7.0, {"recorder": 3}, "renderer 140 ms"),
    ],
)
def test_a_slow_stream_says_why(fps, dropped, reason):
    status = StreamStatus(
        fps=fps,
        target_fps=30.0,
        latency_ms={"image chain": 12.0, "renderer": 140.2},
        dropped=dropped,
    )
    assert slowdown_reason(status, {"recorder": 3}) == reason


def test_a_free_running_stream_is_never_late():
    assert slowdown_reason(StreamStatus(fps=3.0, target_fps=None, latency_ms={"a": 9.0}), {}) == ""


def test_a_stream_that_stops_is_reported_to_the_browser(start_console, open_peer, monkeypatch):
    monkeypatch.setattr(server, "SILENCE_S", 0.05)
    console, url = start_console()
    peer = open_peer(url)
    assert peer.next("status")["reason"] == "waiting for the first frame"
    console.show(make_frame(), STATUS)
    fields = {"reason": ""}
    while not fields["reason"].startswith("no frame for"):
        fields = peer.next("status")
    assert fields["fps"] == 0.0


# Serving


def test_a_port_in_use_is_one_line_that_names_the_key_and_the_fix(start_console):
    _, url = start_console()
    port = int(url.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(OutputError) as caught:
        start_console(port=port)
    assert str(caught.value) == (
        f"console.port must be free, but {port} on 127.0.0.1 is in use; "
        "choose another with --set console.port=PORT (0: any free one)"
    )


def test_two_consoles_without_a_port_of_their_own_work_at_once(caplog):
    first, second = (listen(ConsoleConfig()) for _ in range(2))
    with first, second:
        ports = [server.getsockname()[1] for server in (first, second)]
    assert ports[0] < ports[1]
    assert f"is in use: the console takes port {ports[1]}" in caplog.text


def test_a_port_that_is_given_is_never_replaced_by_another_one():
    with listen(ConsoleConfig(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OutputError, match=f"console.port must be free, but {port} on 127"):
            listen(ConsoleConfig(port=port))


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")])
def test_address_of_the_page_can_be_opened_on_this_machine(host, shown):
    with listen(ConsoleConfig(host=host, port=0)) as server:
        assert url_of(server) == f"http://{shown}:{server.getsockname()[1]}/"


def test_an_address_of_another_machine_is_refused_by_its_key(start_console):
    with pytest.raises(OutputError, match=r"console\.host must be .*, got '192\.0\.2\.1'"):
        start_console(host="192.0.2.1")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc/net/tcp")
def test_by_default_only_the_loopback_address_is_bound(start_console):
    _, url = start_console()
    assert url.startswith("http://127.0.0.1:")
    port = int(url.rstrip("/").rsplit(":", 1)[1])
    bound = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert next(at for at in bound if at.endswith(f":{port:04X}")) == f"0100007F:{port:04X}"


def test_closing_frees_the_port_and_may_be_done_twice(start_console):
    console, url = start_console()
    console.close()
    console.close()
    console.show(make_frame(), STATUS)
    port = int(url.rstrip("/").rsplit(":", 1)[1])
    _, again = start_console(port=port)
    assert again == url


def test_the_page_and_nothing_else_is_served(start_console):
    _, url = start_console()
    status, head, body = request(url)
    assert status == HTTPStatus.OK
    assert "default-src 'self'" in head
    assert b"<title>fluoro</title>" in body
    for path in ("/../server.py", "/%2e%2e/server.py", "/server.py", "//"):
        assert request(url, path)[0] == HTTPStatus.NOT_FOUND


def test_a_foreign_name_for_the_loopback_address_is_not_answered(start_console):
    _, url = start_console()
    assert request(url, host="evil.example:80")[0] == HTTPStatus.FORBIDDEN
    assert request(url, host="localhost:9000")[0] == HTTPStatus.OK


def test_the_page_of_another_site_gets_no_websocket(start_console, open_peer):
    _, url = start_console()
    with pytest.raises(InvalidStatus) as caught:
        open_peer(url, origin="http://evil.example")
    assert caught.value.response.status_code == HTTPStatus.FORBIDDEN
    assert open_peer(url, origin=url.rstrip("/")).next("hello")["follows_stream"]


# Frames and requests


def test_a_browser_gets_the_image_its_angles_and_its_letters(start_console, open_peer):
    console, url = start_console()
    frame = make_frame(number=7, pose=CarmPose(lao_deg=30.0, cra_deg=-15.0))
    console.show(frame, STATUS)
    fields, jpeg = open_peer(url).next("frame")
    shown = np.asarray(Image.open(io.BytesIO(jpeg)), int)
    assert np.abs(shown - to_uint8(frame.image)).max() <= JPEG_TOLERANCE_LEVELS
    assert fields["number"] == 7
    assert fields["angles"] == "LAO 30 / CAU 15"
    assert fields["letters"] == ["RA", "LP", "H", "F"]
    assert fields["pose"]["cra_deg"] == -15.0


def test_a_lower_jpeg_quality_makes_smaller_messages(start_console, open_peer):
    noise = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    frame = make_frame()
    frame.image[:] = noise
    sizes = []
    for quality in (40, 95):
        console, url = start_console(jpeg_quality=quality)
        console.show(frame, STATUS)
        sizes.append(len(open_peer(url).next("frame")[1]))
    assert 2 * sizes[0] < sizes[1]


def test_a_browser_that_shows_nothing_gets_two_frames_and_delays_no_other(start_console, open_peer):
    console, url = start_console()
    stuck, alive = open_peer(url), open_peer(url)
    stuck.next("hello")
    alive.next("hello")
    for number in range(50):
        console.show(make_frame(number), STATUS)
        if number < 49:
            alive.next("frame")
            alive.send(got="frame")
    assert alive.next("frame")[0]["number"] == 49
    numbers = [stuck.next("frame")[0]["number"] for _ in range(2)]
    assert numbers[0] < numbers[1] < 49
    stuck.send(got="frame")
    assert stuck.next("frame")[0]["number"] == 49


def test_without_a_browser_nothing_is_encoded(start_console, open_peer, monkeypatch):
    encoded = []
    original = server.frame_message

    def counting(frame, quality):
        encoded.append(frame.number)
        return original(frame, quality)

    monkeypatch.setattr(server, "frame_message", counting)
    console, url = start_console()
    for number in range(20):
        console.show(make_frame(number), STATUS)
    assert encoded == []
    assert open_peer(url).next("frame")[0]["number"] == 19
    assert encoded == [19]


def test_what_one_browser_sets_the_graph_and_the_other_browsers_see(start_console, open_peer):
    controls = make_controls()
    _, url = start_console(controls)
    one, other = open_peer(url), open_peer(url)
    other.next("controls")
    one.send(set={"lao_deg": 25.0, "polarity": "bone_bright"})
    values = other.next("controls")["values"]
    assert (values["lao_deg"], values["manual_pose"]) == (25.0, True)
    state = controls.snapshot()
    assert (state.pose.lao_deg, state.polarity) == (25.0, "bone_bright")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("not JSON", "must be a JSON object, got 'not JSON'"),
        ("[1]", "must be a JSON object"),
        ('{"set": 3}', "set must be a JSON object, got 3"),
        ('{"set": {"lao_deg": 500}}', "lao_deg must be -180 to 180, got 500"),
        ('{"set": {"colour": 1}}', "unknown control 'colour'"),
        ('{"set": {"lao_deg": 1' + 400 * "0" + "}}", "lao_deg must be a finite number"),
        (5000 * "[", "must be a JSON object"),
    ],
)
def test_a_bad_request_is_answered_and_the_browser_stays(start_console, open_peer, message, words):
    controls = make_controls()
    _, url = start_console(controls)
    peer = open_peer(url)
    peer.socket.send(message)
    notice = peer.next("notice")
    assert words in notice["text"]
    assert notice["error"]
    peer.send(set={"dose_ngy": 33.0})
    wait_until(lambda: controls.snapshot().dose_ngy == 33.0, "the next request")


def test_saving_writes_the_frame_on_show_and_names_the_file(start_console, open_peer):
    saved = []

    def save(frame):
        saved.append(frame.number)
        return Path("output/frame.png")

    console, url = start_console(on_save=save)
    console.show(make_frame(number=5), STATUS)
    peer = open_peer(url)
    assert peer.next("hello")["can_save"]
    peer.send(save=True)
    assert peer.next("notice") == {
        "kind": "notice",
        "text": "Saved output/frame.png",
        "error": False,
    }
    assert saved == [5]


def test_a_full_disk_is_reported_to_who_requested_the_file(start_console, open_peer):
    def save(_frame):
        raise OutputError("output/frame.png: cannot be written: No space left on device")

    console, url = start_console(on_save=save)
    console.show(make_frame(), STATUS)
    peer = open_peer(url)
    peer.send(save=True)
    notice = peer.next("notice")
    assert notice["error"]
    assert "No space left" in notice["text"]


def test_a_browser_that_leaves_at_once_leaves_no_error_in_the_log(start_console, caplog):
    caplog.set_level(logging.WARNING)
    console, url = start_console(scene=make_scene())
    console.show(make_frame(), STATUS)
    for _ in range(5):
        peer = Peer(url)
        peer.socket.socket.close()
    other = Peer(url)
    assert other.next("frame")
    other.socket.close()
    assert caplog.records == []


# 3D scene


def test_the_carm_is_drawn_about_its_isocentre_and_the_patient_moves_with_the_table():
    pose = CarmPose(translation_mm=(0.0, 0.0, -50.0))
    fields, payload = unpacked(carm_message(make_scene(), make_frame(pose=pose)))
    assert fields["patient_offset_mm"] == [0.0, 0.0, 50.0]
    source = np.frombuffer(payload, "<f4", 3)
    np.testing.assert_allclose(source, [0.0, 510.0, 0.0], atol=1e-3)
    corners = np.frombuffer(payload, "<f4", 12, offset=12).reshape(4, 3)
    np.testing.assert_allclose(corners.mean(axis=0), [0.0, -510.0, 0.0], atol=1e-3)


def test_the_body_is_sent_about_the_isocentre_with_outward_normals():
    fields, payload = unpacked(body_message(make_scene()))
    assert fields["parts"] == {"skin": [8, 12], "bone": [8, 12]}
    positions, normals = np.frombuffer(payload, "<f4", 48).reshape(2, 8, 3)
    np.testing.assert_allclose(np.abs(positions), np.tile([150.0, 100.0, 200.0], (8, 1)))
    assert np.all(np.sum(positions * normals, axis=1) > 0)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_the_messages_hold_exactly_what_their_headers_announce():
    frame = make_frame(pose=CarmPose(lao_deg=30.0))
    for message, points in (
        (body_message(make_scene()), 0),
        (carm_message(make_scene(), frame), 5),
    ):
        fields, payload = unpacked(message)
        per_vertex = 24 if fields["kind"] == "body" else 12
        announced = sum(per_vertex * v + 12 * f for v, f in fields["parts"].values())
        assert len(payload) == 12 * points + announced
        assert (len(message) - len(payload)) % 4 == 0


def test_the_scene_follows_the_sliders_while_the_beam_is_off(start_console, open_peer):
    """No frame comes then, but the C-arm moves; the image keeps the pose that it was taken at."""
    controls = make_controls()
    console, url = start_console(controls, scene=make_scene())
    console.show(make_frame(1), STATUS)
    peer = open_peer(url)
    assert peer.next("carm") == unpacked(carm_message(make_scene(), make_frame(1)))
    peer.send(set={"beam_on": False}, got="frame")
    peer.send(set={"lao_deg": 45.0})
    moved = make_frame(1, pose=CarmPose(lao_deg=45))
    assert peer.next("carm") == unpacked(carm_message(make_scene(), moved))


def test_the_scene_comes_along_with_the_frames(start_console, open_peer):
    console, url = start_console(scene=make_scene())
    console.show(make_frame(), STATUS)
    peer = open_peer(url)
    before = peer.next("carm")[1]
    peer.send(got="frame")
    assert peer.next("body")
    console.show(make_frame(1, pose=CarmPose(lao_deg=40.0)), STATUS)
    assert peer.next("carm")[1] != before


def test_patient_is_drawn_once_when_a_page_is_there_and_the_table_comes_with_him(
    start_console, open_peer
):
    whole, drawn = make_scene(), []

    def surfaces():
        drawn.append(threading.current_thread().name)
        return whole.skin, whole.bone

    without = replace(whole, skin=None, bone=None)
    console, url = start_console(scene=without, surfaces=surfaces)
    console.show(make_frame(), STATUS)
    assert drawn == []
    peer = open_peer(url)
    assert peer.next("carm") == unpacked(carm_message(without, make_frame()))
    peer.send(got="frame")
    assert peer.next("body") == unpacked(body_message(whole))
    peer.send(got="carm")
    assert peer.next("carm") == unpacked(carm_message(whole, make_frame()))
    assert open_peer(url).next("carm") == unpacked(carm_message(whole, make_frame()))
    assert len(drawn) == 1
    assert "console" not in drawn[0]


def test_patient_that_cannot_be_drawn_is_logged_and_frames_go_on(start_console, open_peer, caplog):
    def surfaces():
        raise InputError("no voxel is denser than water")

    console, url = start_console(scene=SceneModel(isocenter_xyz_mm=ISOCENTER), surfaces=surfaces)
    peer = open_peer(url)
    wait_until(lambda: "could not draw the patient" in caplog.text, "the log")
    console.show(make_frame(), STATUS)
    assert peer.next("frame")


def test_a_page_starts_with_a_large_frame_at_fewer_pixels_and_then_gets_the_whole(
    start_console, open_peer
):
    frame = make_frame(5, size=1000)
    console, url = start_console()
    console.show(frame, STATUS)
    peer = open_peer(url)
    sizes = [Image.open(io.BytesIO(peer.next_whole("frame")[1])).size for _ in range(2)]
    assert sizes == [(250, 250), (1000, 1000)]
    assert preview_message(make_frame(size=256)) is None


def test_parts_put_together_are_the_message():
    message = body_message(large_body(40))
    parts = [unpacked(part) for part in in_parts(message)]
    assert [fields["more"] for fields, _ in parts] == [True] * (len(parts) - 1) + [False]
    assert {fields["of"] for fields, _ in parts} == {"body"}
    assert b"".join(payload for _, payload in parts) == message
    assert in_parts(message[:100]) == [message[:100]]


def test_no_part_of_the_body_is_sent_before_the_first_frame_is_shown(start_console, open_peer):
    console, url = start_console(scene=large_body())
    console.show(make_frame(3), STATUS)
    peer = open_peer(url)
    kinds = []
    while kinds.count("status") < 6:
        kinds.append(peer.receive()[0]["kind"])
    assert "frame" in kinds
    assert "part" not in kinds
    peer.send(got="frame")
    assert peer.next("part")[0]["of"] == "body"


def test_a_page_that_confirms_no_part_gets_no_more(start_console, open_peer):
    console, url = start_console(scene=large_body())
    peer = open_peer(url)
    kinds = []
    while kinds.count("status") < 6:
        kinds.append(peer.receive()[0]["kind"])
    assert kinds.count("part") == 1
    console.show(make_frame(4), STATUS)
    assert peer.next("frame")[0]["number"] == 4
