"""The console's page in a real browser: headless Chromium, driven as a user would."""

import itertools
import os
import re
import signal
import subprocess
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright import sync_api

from fluoro.console.stream_status import StreamStatus
from fluoro.geometry.carm import CarmPose
from fluoro.imaging.exposure.dose_meter import DoseTotal, Exposure, Pulse
from fluoro.imaging.exposure.tube import TubeSetting
from fluoro.scene.setup import SceneSetup
from fluoro.scene.wire import WireInclusion
from fluoro.volume.posed_solid import LiveInsertion
from tests.console_support import (
    STATUS,
    Consoles,
    grey,
    make_controls,
    make_frame,
    make_scene,
    pixels,
    wait_until,
)
from tests.support import CHROMIUM_FLAGS

pytestmark = pytest.mark.browser

GREY_TOLERANCE = 0.02
"""Display values by which JPEG, scaling and the screenshot may change an image's mean."""


@pytest.fixture
def start_console():
    consoles = Consoles()
    yield consoles.start
    consoles.close()


def show_and_wait(console, page, frame):
    console.show(frame, STATUS)
    sync_api.expect(page.locator("#number")).to_have_text(f"frame {frame.number}")


def test_a_slider_moves_the_carm_and_the_image_changes(start_console, open_page):
    controls = make_controls()
    console, url = start_console(controls)
    page = open_page(url)
    show_and_wait(console, page, make_frame(1, 0.3, CarmPose(lao_deg=10.0)))
    before = pixels(page, "#image")
    sync_api.expect(page.locator("#lao_deg-number")).to_have_value("10.0")
    page.locator("#lao_deg-range").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    wait_until(lambda: controls.snapshot().pose.lao_deg == 12.0, "the slider's move")
    assert controls.snapshot().manual_pose
    sync_api.expect(page.locator("[data-key=manual_pose]")).to_be_checked()
    show_and_wait(console, page, make_frame(2, 0.7, controls.snapshot().pose))
    sync_api.expect(page.locator("#angles")).to_have_text("LAO 12 / CRA 0")
    assert np.abs(pixels(page, "#image") - before).mean() > 0.2


def test_every_control_reaches_the_graph(start_console, open_page):
    controls = make_controls()
    _, url = start_console(controls)
    page = open_page(url)
    typed = {
        "lao_deg": -30.0,
        "cra_deg": 20.0,
        "roll_deg": 5.0,
        "table_x_mm": 10.0,
        "table_y_mm": -20.0,
        "table_z_mm": 30.0,
        "source_to_detector_mm": 1100.0,
        "window_level": 2.5,
        "window_width": 4.0,
        "dose_ngy": 80.0,
    }
    for key, value in typed.items():
        page.locator(f"#{key}-number").fill(str(value))
        page.keyboard.press("Enter")
    page.get_by_label("Bone bright").check()
    page.get_by_label("Last image hold").uncheck()
    page.get_by_role("button", name="Beam on").click()
    wait_until(lambda: not controls.snapshot().beam_on, "the last of the changes")
    state = controls.snapshot()
    assert state.pose == CarmPose(
        lao_deg=-30.0, cra_deg=20.0, roll_deg=5.0, translation_mm=(-10.0, 20.0, -30.0)
    )
    assert (state.source_to_detector_mm, state.dose_ngy) == (1100.0, 80.0)
    assert (state.window_level, state.window_width) == (2.5, 4.0)
    assert (state.polarity, state.last_image_hold) == ("bone_bright", False)


ANGIOGRAPHY = {
    "volume": {"phantom": "thorax", "contrast": {"vessels": "aorta"}},
    "image_chain": {"dsa": {}},
}


WIRE = {
    "kind": "wire",
    "name": "guide",
    "preset": "guide_wire",
    "path_mm": [[0, 0, 0], [0, 0, 200]],
    "inserted": [{"time_s": 0, "inserted_mm": 100}],
    "tip_angle_deg": 45,
}


def test_sliders_of_a_wire_insert_it_and_turn_its_tip(start_console, open_page):
    scene = {"volume": {"phantom": "thorax", "materials": {"inclusions": [WIRE]}}}
    controls = make_controls(**scene, image_chain={"xray": {}})
    (wire,) = WireInclusion(**WIRE).posed(SceneSetup())

    def insert(inserted_mm, roll_deg):
        wire.steer(LiveInsertion(inserted_mm=inserted_mm, roll_deg=roll_deg))

    controls.insert = insert
    _, url = start_console(controls)
    page = open_page(url)
    sync_api.expect(page.locator("#insertion_mm-number")).to_have_value("100")
    tip = wire.center_line(0.0)[0]
    page.locator("#insertion_mm-range").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    wait_until(lambda: wire.insertion(0.0)[0] == 103.0, "the slider's move")
    page.locator("#insertion_roll_deg-number").fill("90")
    page.keyboard.press("Enter")
    wait_until(lambda: wire.insertion(0.0) == (103.0, 90.0), "the turn")
    moved = wire.center_line(0.0)[0] - tip
    assert moved[2] == pytest.approx(3.0, abs=1e-6)
    assert np.hypot(*moved[:2]) > 2.0  # the bent tip points elsewhere


def test_buttons_of_angiography_pulses_and_zoom_reach_the_graph(start_console, open_page):
    controls = make_controls(**ANGIOGRAPHY)
    _, url = start_console(controls)
    page = open_page(url)
    page.get_by_role("button", name="New mask").click()
    page.get_by_role("button", name="Inject").click()
    page.get_by_role("button", name="Inject").click()
    page.get_by_role("button", name="7.5", exact=True).click()
    for key, value in {
        "mask_shift_x_px": 1.25,
        "mask_shift_y_px": -2.0,
        "magnification": 2.0,
    }.items():
        page.locator(f"#{key}-number").fill(str(value))
        page.keyboard.press("Enter")
    wait_until(lambda: controls.snapshot().magnification == 2.0, "the last of the changes")
    state = controls.snapshot()
    assert (state.masks, state.injections, state.pulse_rate_hz) == (1, 2, 7.5)
    assert (state.mask_shift_x_px, state.mask_shift_y_px) == (1.25, -2.0)


def test_buttons_without_an_effect_are_not_there(start_console, open_page):
    _, url = start_console(make_controls(pose_source={"kind": "dds"}))
    page = open_page(url)
    for name in ("New mask", "Inject", "7.5"):
        sync_api.expect(page.get_by_role("button", name=name, exact=True)).to_be_hidden()
    sync_api.expect(page.locator("#mask_shift_x_px-number")).to_be_hidden()
    sync_api.expect(page.locator("#pulse_rate_hz-number")).to_be_hidden()


def test_the_beam_is_on_while_the_pedal_is_down(start_console, open_page):
    controls = make_controls()
    console, url = start_console(controls)
    page = open_page(url)
    show_and_wait(console, page, make_frame(1))
    page.get_by_role("button", name="Beam on").click()
    wait_until(lambda: not controls.snapshot().beam_on, "the beam off")
    box = page.locator("#pedal").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    wait_until(lambda: controls.snapshot().beam_on, "the pedal down")
    page.mouse.up()
    wait_until(lambda: not controls.snapshot().beam_on, "the pedal up")
    page.mouse.click(300, 300)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.down("Space")
    wait_until(lambda: controls.snapshot().beam_on, "the space bar down")
    page.keyboard.up("Space")
    wait_until(lambda: not controls.snapshot().beam_on, "the space bar up")
    page.keyboard.down("Space")
    wait_until(lambda: controls.snapshot().beam_on, "the space bar down again")
    page.evaluate("window.dispatchEvent(new Event('blur'))")  # the window loses focus
    wait_until(lambda: not controls.snapshot().beam_on, "the window left")
    page.keyboard.up("Space")


def test_dose_and_tube_are_shown(start_console, open_page):
    console, url = start_console()
    page = open_page(url)
    show_and_wait(console, page, make_frame(1))
    sync_api.expect(page.locator("#dose")).to_be_hidden()
    tube = TubeSetting(tube_voltage_kv=81, charge_mas=0.4, pulse_width_ms=8.0)
    total = DoseTotal(pulses=2, beam_s=12.34, kerma_area_mgycm2=1234.0, reference_kerma_mgy=10.0)
    exposure = Exposure(pulse=Pulse(dose_ngy=23.4567, tube=tube), total=total)
    show_and_wait(console, page, replace(make_frame(2), exposure=exposure))
    shown = {"pulse": "23.5 nGy", "tube": "81 kV · 50 mA · 0.4 mAs", "kap": "1.23 Gy cm²"}
    shown |= {"kerma": "10 mGy", "skin": "13.8 mGy", "time": "12.3 s"}
    for name, text in shown.items():
        sync_api.expect(page.locator(f"#dose-{name}")).to_have_text(text)


def test_each_five_minutes_of_beam_call_out_once(start_console, open_page):
    console, url = start_console()
    page = open_page(url)
    notice, numbers = page.locator("#notice"), itertools.count(1)

    def after(beam_s):
        page.evaluate("document.getElementById('notice').hidden = true")
        exposure = Exposure(pulse=Pulse(dose_ngy=20.0), total=DoseTotal(beam_s=beam_s))
        show_and_wait(console, page, replace(make_frame(next(numbers)), exposure=exposure))

    after(299.9)
    sync_api.expect(notice).to_be_hidden()
    after(300.0)
    sync_api.expect(notice).to_have_text("5 minutes of beam")
    sync_api.expect(notice).to_be_visible()
    after(301.0)
    sync_api.expect(notice).to_be_hidden()
    after(601.0)
    sync_api.expect(notice).to_have_text("10 minutes of beam")
    after(1.0)  # another run
    after(300.0)
    sync_api.expect(notice).to_have_text("5 minutes of beam")
    sync_api.expect(notice).to_be_visible()


def test_dragging_on_the_image_sets_the_window(start_console, open_page):
    controls = make_controls()
    console, url = start_console(controls)
    page = open_page(url)
    show_and_wait(console, page, make_frame(1))
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(350, 250, steps=5)
    page.mouse.up()
    wait_until(lambda: controls.snapshot().window_width > 5.5, "a wider window")
    assert controls.snapshot().window_level < 2.5
    sync_api.expect(page.locator("#window")).not_to_have_text("L 3.00  W 5.00")


def test_a_browser_that_does_not_keep_up_is_named_as_the_reason(start_console, open_page):
    console, url = start_console()
    page = open_page(url)
    status = StreamStatus(fps=500.0, target_fps=500.0)
    for number in range(40):
        console.show(make_frame(number), status)
        page.wait_for_timeout(50)
    sync_api.expect(page.locator("#reason")).to_have_text(re.compile(r"this browser \d+ fps"))


def test_sliders_follow_the_stream_until_touched_and_again_when_released(start_console, open_page):
    controls = make_controls()
    console, url = start_console(controls)
    page = open_page(url)
    slider, manual = page.locator("#lao_deg-number"), page.get_by_label("Manual")
    show_and_wait(console, page, make_frame(1, pose=CarmPose(lao_deg=22.5)))
    sync_api.expect(slider).to_have_value("22.5")
    page.get_by_role("button", name="Lateral").click()
    sync_api.expect(manual).to_be_checked()
    show_and_wait(console, page, make_frame(2, pose=CarmPose(lao_deg=-10.0)))
    sync_api.expect(slider).to_have_value("90.0")
    manual.uncheck()
    wait_until(lambda: not controls.snapshot().manual_pose, "released")
    show_and_wait(console, page, make_frame(3, pose=CarmPose(lao_deg=-11.0)))
    sync_api.expect(slider).to_have_value("-11.0")


def test_what_is_selected_in_a_field_stays_so_when_other_values_come(start_console, open_page):
    controls = make_controls(pose_source={"kind": "console"})
    _, url = start_console(controls)
    page = open_page(url)
    field = page.locator("#cra_deg-number")
    field.select_text()
    controls.update(pose=CarmPose(cra_deg=3.0))
    sync_api.expect(page.locator("#cra_deg-range")).to_have_value("3")
    page.keyboard.insert_text("20")
    sync_api.expect(field).to_have_value("20")


def test_a_reload_and_a_second_browser_show_the_same(start_console, open_page):
    controls = make_controls()
    console, url = start_console(controls)
    console.show(make_frame(3, 0.6, CarmPose(cra_deg=-20.0)), STATUS)
    controls.update(dose_ngy=55.0, polarity="bone_bright")
    first = open_page(url)
    first.reload()
    for page in (first, open_page(url)):
        sync_api.expect(page.locator("#angles")).to_have_text("LAO 0 / CAU 20")
        sync_api.expect(page.locator("#dose_ngy-number")).to_have_value("55.0")
        sync_api.expect(page.get_by_label("Bone bright")).to_be_checked()
        assert grey(page) == pytest.approx(0.6, abs=GREY_TOLERANCE)


def test_the_beam_off_holds_the_last_image_marked_as_such_or_shows_black(start_console, open_page):
    controls = make_controls()
    console, url = start_console(controls)
    page = open_page(url)
    show_and_wait(console, page, make_frame(1, 0.6))
    mark = page.locator("#hold")
    sync_api.expect(mark).to_be_hidden()
    page.get_by_role("button", name="Beam on").click()
    sync_api.expect(mark).to_have_text("BEAM OFF · LAST IMAGE HOLD")
    assert grey(page) == pytest.approx(0.6, abs=GREY_TOLERANCE)
    page.get_by_label("Last image hold").uncheck()
    sync_api.expect(mark).to_have_text("BEAM OFF")
    sync_api.expect(page.locator("#image")).to_be_hidden()
    assert pixels(page, "#frame")[150:250, 100:200].max() < GREY_TOLERANCE
    page.get_by_role("button", name="Beam off").click()
    sync_api.expect(mark).to_be_hidden()
    assert controls.snapshot().beam_on


def test_the_3d_view_is_drawn_and_moves_with_the_carm(start_console, open_page):
    console, url = start_console(scene=make_scene())
    page = open_page(url)
    empty = pixels(page, "#scene")
    shots = []
    for number, lao_deg in enumerate((0.0, 60.0)):
        show_and_wait(console, page, make_frame(number, pose=CarmPose(lao_deg=lao_deg)))
        page.wait_for_timeout(400)  # the 3D view comes at most ten times a second
        shots.append(pixels(page, "#scene"))
    assert np.mean(np.abs(shots[0] - empty) > 0.05) > 0.05
    assert np.mean(np.abs(shots[1] - shots[0]) > 0.05) > 0.05
    assert page.locator("#no-scene").is_hidden()


def test_a_click_saves_the_frame_and_tells_where(start_console, open_page, tmp_path):
    console, url = start_console(on_save=lambda frame: tmp_path / f"{frame.number}.png")
    page = open_page(url)
    show_and_wait(console, page, make_frame(8))
    page.get_by_role("button", name="Save to run folder").click()
    sync_api.expect(page.locator("#notice")).to_have_text(f"Saved {tmp_path / '8.png'}")


def test_the_page_says_when_the_simulator_is_gone_and_comes_back_with_it(start_console, open_page):
    console, url = start_console()
    page = open_page(url)
    console.close()
    sync_api.expect(page.locator("#notice")).to_contain_text("No connection to the simulator")
    sync_api.expect(page.locator("#no-signal")).to_have_text("NO SIGNAL")
    sync_api.expect(page.locator("#beam")).to_have_text("Beam")
    again, _ = start_console(port=urlsplit(url).port)
    sync_api.expect(page.locator("#notice")).to_be_hidden()
    show_and_wait(again, page, make_frame(1, 0.4))
    assert grey(page) == pytest.approx(0.4, abs=GREY_TOLERANCE)


def test_the_printed_address_opens_the_console_and_a_reload_too(
    start_console, open_page, monkeypatch
):
    monkeypatch.delenv("FLUORO_CONSOLE_TOKEN", raising=False)
    console, url = start_console(host="0.0.0.0")
    address = urlsplit(url)
    page = open_page(f"http://127.0.0.1:{address.port}/?{address.query}")
    show_and_wait(console, page, make_frame(1))
    assert "token" not in page.url
    page.reload()
    sync_api.expect(page.locator("#number")).to_have_text("frame 1")
    console.close()
    start_console(host="0.0.0.0", port=address.port)  # which draws another token
    sync_api.expect(page.locator("#notice")).to_contain_text("needs its token")


def test_the_page_asks_no_other_host_and_reports_no_error(start_console, browser):
    console, url = start_console(scene=make_scene())
    console.show(make_frame(), STATUS)
    page = browser.new_page()
    hosts, errors = set(), []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("websocket", lambda link: hosts.add(urlsplit(link.url).netloc))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    sync_api.expect(page.locator("#number")).to_have_text("frame 0")
    page.wait_for_timeout(300)
    page.close()
    assert hosts - {""} == {urlsplit(url).netloc}  # the icon is a data: URL without a host
    assert errors == []


@pytest.mark.parametrize("blow", [signal.SIGSTOP, signal.SIGKILL])
def test_a_frozen_or_killed_browser_holds_nothing_up(
    start_console, open_page, chromium, tmp_path, blow
):
    saved = []
    console, url = start_console(on_save=saved.append, scene=make_scene())
    victim = subprocess.Popen(
        [chromium, "--headless", *CHROMIUM_FLAGS, f"--user-data-dir={tmp_path}",
         "--remote-debugging-port=0", url],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: console.browser_count == 1, "the other browser's visit")
        os.killpg(victim.pid, blow)
        for number in range(300):
            console.show(make_frame(number, size=512), STATUS)
        page = open_page(url)
        show_and_wait(console, page, make_frame(300, 0.7, size=512))
        assert grey(page) == pytest.approx(0.7, abs=GREY_TOLERANCE)
    finally:
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()


def test_annotations_are_drawn_over_the_image_and_can_be_hidden(start_console, open_page):
    from fluoro.annotations.boxes import BoxAnnotator
    from fluoro.annotations.landmarks import LandmarkAnnotator
    from fluoro.annotations.masks import MaskAnnotator, MaskConfig
    from fluoro.annotations.truth import FrameTruth
    from fluoro.rendering.devices.cpu.device import CpuDevice
    from fluoro.rendering.label_renderer import LabelRenderer
    from tests.rendering.test_label_renderer import POSES, blobs, view_at

    labels = blobs(4)
    view = view_at(POSES["oblique"], labels)
    annotators = {
        "masks": MaskAnnotator(MaskConfig(), LabelRenderer(labels, CpuDevice(1))),
        "boxes": BoxAnnotator(labels),
        "landmarks": LandmarkAnnotator({"middle": tuple(labels.grid.center_xyz_mm.tolist())}),
    }
    truth = FrameTruth(view=view, parts={key: each.begin(view) for key, each in annotators.items()})
    console, url = start_console(make_controls())
    page = open_page(url)
    show_and_wait(console, page, make_frame(1))
    sync_api.expect(page.locator("#truth")).to_be_hidden()
    show_and_wait(console, page, replace(make_frame(2), truth=truth))
    sync_api.expect(page.locator("#truth")).to_be_visible()
    data = "c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
    drawn = f"(c) => {data}.filter((value) => value).length"
    wait_until(lambda: page.locator("#truth").evaluate(drawn) > 500, "the annotations")
    page.locator("#show-truth").uncheck()
    sync_api.expect(page.locator("#truth")).to_be_hidden()
