"""The console's page on screens of several sizes, and for assistive technology."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright import sync_api

from fluoro.geometry.carm import CarmPose
from fluoro.imaging.exposure.dose_meter import DoseTotal, Exposure, Pulse
from tests.console.test_console_tracking import view
from tests.console_support import STATUS, Consoles, make_controls, make_frame, wait_until
from tests.support import require_npm

pytestmark = pytest.mark.browser

SIZES = {400: 800, 1400: 900, 3840: 2160}
"""Heights of the screens by their widths [CSS pixels]."""
PHONE = {"viewport": {"width": 844, "height": 390}, "has_touch": True, "is_mobile": True}
"""A phone in landscape."""
ANGIOGRAPHY = {
    "volume": {"phantom": "thorax", "contrast": {"vessels": "aorta"}},
    "image_chain": {"dsa": {}},
}
EXPOSURE = Exposure(pulse=Pulse(dose_ngy=23.4), total=DoseTotal(pulses=2, beam_s=12.3))
SPEECH_S = 2.0
"""Least time between two texts of a live region."""


@pytest.fixture
def start_console():
    consoles = Consoles()
    yield consoles.start
    consoles.close()


@pytest.fixture
def visit(browser, start_console):
    """Opens a console with every control, a frame and an estimate, on a screen of its own."""
    contexts = []

    def visit(controls=None, **screen):
        console, url = start_console(controls or make_controls(**ANGIOGRAPHY))
        contexts.append(browser.new_context(**screen))
        page = contexts[-1].new_page()
        page.goto(url)
        console.show(replace(make_frame(1, pose=CarmPose(lao_deg=30.0)), exposure=EXPOSURE), STATUS)
        sync_api.expect(page.locator("#number")).to_have_text("frame 1")
        return console, page

    yield visit
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", SIZES)
def test_axe_finds_no_violation(visit, width):
    axe = require_npm(Path(__file__).parent / "axe", "axe-core/axe.min.js").read_text()
    console, page = visit(viewport={"width": width, "height": SIZES[width]})
    console.show_tracking(view(7, 0.42))
    sync_api.expect(page.locator("#tracking")).to_be_visible()
    page.evaluate(axe)
    assert violations(page) == []
    page.keyboard.press("?")
    assert violations(page) == []
    page.keyboard.press("?")
    page.locator("#beam").click()
    sync_api.expect(page.locator("#hold")).to_be_visible()
    assert violations(page) == []
    console.close()
    sync_api.expect(page.locator("#no-signal")).to_have_text("NO SIGNAL")
    assert violations(page) == []


def violations(page):
    """What axe-core finds, a rule and an element a line."""
    found = page.evaluate("axe.run().then(({ violations }) => violations)")
    return [
        f"{each['id']}: {node['html'][:100]}: {node['failureSummary'][:150]}"
        for each in found
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("width", SIZES)
def test_all_controls_and_values_fit_the_screen(visit, width):
    console, page = visit(viewport={"width": width, "height": SIZES[width]})
    console.show_tracking(view(7, 0.42))
    sync_api.expect(page.locator("#tracking")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("track-pose", "track-table", "track-error", "track-ncc", "track-time"):
        assert_within(page.locator(f"#{name}"), width)
        clipped = page.locator(f"#{name}").evaluate("e => e.scrollWidth > e.clientWidth")
        assert not clipped, name
    for selector in ("#beam", "#pedal", "#save", "#dose_ngy-range", "#windowing", "#help"):
        page.locator(selector).scroll_into_view_if_needed()
        assert_within(page.locator(selector), width)
    text_px = page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")
    assert text_px >= (20 if width > 3000 else 13)


def assert_within(locator, width):
    box = locator.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_a_phone_in_landscape_reaches_every_control_and_a_swipe_scrolls(visit):
    controls = make_controls(**ANGIOGRAPHY)
    console, page = visit(controls, **PHONE)
    image = page.locator("#image").bounding_box()
    assert image["height"] > 300
    page.locator("#mask_shift_y_px-number").scroll_into_view_if_needed()
    sync_api.expect(page.locator("#mask_shift_y_px-number")).to_be_in_viewport()
    sync_api.expect(page.locator("#image")).to_be_in_viewport()
    console.show_tracking(view(7, 0.42))
    sync_api.expect(page.locator("#tracking")).to_be_visible()
    page.locator("#windowing").scroll_into_view_if_needed()
    before = controls.snapshot()
    swipe(page, 0, -150)
    wait_until(lambda: page.evaluate("scrollY") > 100, "the page's scroll")
    assert controls.snapshot() == before
    page.wait_for_timeout(500)  # the scroll runs out
    page.evaluate("scrollTo(0, 0)")
    page.locator("#windowing").tap()
    swipe(page, 60, 0)
    wait_until(lambda: controls.snapshot().window_width != before.window_width, "the window")
    assert page.evaluate("scrollY") == 0


def swipe(page, across, down):
    """A finger's way over the image."""
    box = page.locator("#image").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    client = page.context.new_cdp_session(page)
    where = [(x + across * k / 10, y + down * k / 10) for k in range(11)]
    kinds = ["touchStart", *["touchMove"] * 10]
    for kind, (left, top) in zip(kinds, where, strict=True):
        points = [{"x": left, "y": top}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_timeout(16)
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_names_units_and_real_values_reach_assistive_technology(visit):
    controls = make_controls(image_chain={"dose_ngy": 5.0}, pose_source={"kind": "console"})
    _, page = visit(controls)
    sync_api.expect(page.locator("#dose_ngy-range")).to_have_attribute("aria-valuetext", "5.0 nGy")
    controls.update(pose=CarmPose(lao_deg=-30.0))
    angle = page.get_by_role("slider", name="LAO / RAO")
    sync_api.expect(angle).to_have_attribute("aria-valuetext", "30.0 degrees RAO")
    assert page.get_by_role("spinbutton", name="SID, source to image distance, mm").count() == 1
    image = page.get_by_role("img", name="X-ray image, LAO 30 / CRA 0; left edge RA")
    assert image.count() == 1


def test_live_regions_speak_at_most_every_2_s(visit):
    console, page = visit()
    page.evaluate("""() => {
        window.spoken = [];
        document.querySelectorAll("[role=status], [role=alert], [aria-live]").forEach((region) => {
            new MutationObserver(() => window.spoken.push([performance.now(), region.textContent]))
                .observe(region, { childList: true, characterData: true, subtree: true });
        });
    }""")
    for number in range(2, 42):
        slow = replace(STATUS, fps=10.0, latency_ms={"render": 100.0 + number})
        console.show(make_frame(number), slow)
        console.show_tracking(view(number, converged=number % 2 == 0))
        page.wait_for_timeout(100)
    spoken = page.evaluate("window.spoken")
    times_s = np.array([at_ms for at_ms, _ in spoken]) / 1000
    assert len(spoken) >= 2
    assert np.diff(times_s).min() > SPEECH_S - 0.1
    texts = " ".join(text for _, text in spoken)
    assert texts.count("render") == 1  # the same reason with other figures is not repeated
    console.show_tracking(view(50, converged=False))  # what lasts is spoken
    wait_until(lambda: "racking lost" in str(page.evaluate("window.spoken")), "the lost tracking")


def test_numbers_show_what_is_set_and_a_clamped_one_says_so(visit):
    controls = make_controls(pose_source={"kind": "console"})
    _, page = visit(controls)
    page.get_by_role("button", name="3.75", exact=True).click()
    sync_api.expect(page.locator("#pulse_rate_hz-number")).to_have_value("3.75")
    dose = page.locator("#dose_ngy-number")
    dose.fill("0.125")
    page.keyboard.press("Enter")
    sync_api.expect(dose).to_have_value("0.125")
    wait_until(lambda: controls.snapshot().dose_ngy == 0.125, "the dose")
    sync_api.expect(page.locator("#notice")).to_be_hidden()
    dose.fill("5000")
    page.keyboard.press("Enter")
    text = "Dose must be 0.1 to 1000 nGy: 5000 was set to 1000.0"
    sync_api.expect(page.locator("#notice")).to_have_text(text)
    wait_until(lambda: controls.snapshot().dose_ngy == 1000.0, "the limit")


def test_fields_update_after_a_reconnect_even_one_that_is_being_edited(start_console, open_page):
    console, url = start_console(make_controls())
    page = open_page(url)
    port = console.port
    page.locator("#window_level-number").focus()
    page.keyboard.type("7")
    console.close()
    sync_api.expect(page.locator("#no-signal")).to_have_text("NO SIGNAL")
    again = make_controls()
    again.update(window_level=1.25, dose_ngy=77.0)
    start_console(again, port=port)
    sync_api.expect(page.locator("#window_level-number")).to_have_value("1.25")
    sync_api.expect(page.locator("#dose_ngy-number")).to_have_value("77.0")


def test_save_downloads_the_image_with_letters_pose_and_time(visit):
    console, page = visit()
    console.show(make_frame(12, 0.5, CarmPose(lao_deg=30.0, cra_deg=-10.0), size=512), STATUS)
    sync_api.expect(page.locator("#number")).to_have_text("frame 12")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save frame").click()
    name = download.value.suggested_filename
    pattern = r"fluoro_000012_LAO_30_CAU_10_\d{4}-\d\d-\d\d_\d{6}\.png"
    assert re.fullmatch(pattern, name)
    saved = np.asarray(Image.open(download.value.path()).convert("L"))
    assert saved.shape == (512, 512)
    sync_api.expect(page.locator("#notice")).to_contain_text(name)
    plain = saved[100:150, 100:400].astype(float)
    assert abs(plain.mean() / 255 - 0.5) < 0.05
    for place in ((15, 20), (15, 480), (256, 20), (256, 490), (490, 20), (490, 450)):
        row, column = place
        around = saved[max(0, row - 12) : row + 12, max(0, column - 20) : column + 20].astype(int)
        assert np.ptp(around) > 120, place


def test_keys_are_listed_and_work_and_can_be_switched_off(visit):
    controls = make_controls(pose_source={"kind": "console"})
    _, page = visit(controls)
    before = controls.snapshot()
    page.keyboard.press("?")
    sync_api.expect(page.locator("#keys")).to_be_visible()
    listed = page.locator("#keys dt").all_inner_texts()
    page.get_by_role("button", name="Close").click()
    for key in ("ArrowRight", "ArrowUp", "p", "h"):
        page.keyboard.press(key)
    wait_until(lambda: not controls.snapshot().last_image_hold, "the last key")
    state = controls.snapshot()
    assert (state.pose.lao_deg, state.pose.cra_deg) == (1.0, 1.0)
    assert state.polarity != before.polarity
    page.keyboard.press("w")
    sync_api.expect(page.locator("#windowing")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("f")
    sync_api.expect(page.locator("#pane:fullscreen")).to_be_visible()
    page.keyboard.press("f")
    sync_api.expect(page.locator("#pane:fullscreen")).to_have_count(0)
    assert {"Space", "P", "H", "W", "F", "S", "A", "?"} <= set(listed)
    page.keyboard.press("?")
    page.locator("#use-keys").uncheck()
    page.keyboard.press("?")
    page.keyboard.press("h")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert controls.snapshot() == state


def test_keys_of_a_text_field_stay_its_own(visit):
    controls = make_controls(pose_source={"kind": "console"})
    _, page = visit(controls)
    before = controls.snapshot()
    page.locator("#window_level-number").focus()
    page.keyboard.press("p")
    page.keyboard.press("ArrowUp")
    wait_until(lambda: controls.snapshot().window_level == before.window_level + 0.05, "a step")
    assert controls.snapshot().polarity == before.polarity


@pytest.mark.parametrize("width", SIZES)
def test_images_that_come_ready_leave_window_and_polarity_to_set(visit, width):
    source = {"kind": "bag", "path": "bag", "images": "/fluoro/image_raw"}
    controls = make_controls(pose_source=source)
    _, page = visit(controls, viewport={"width": width, "height": SIZES[width]})
    sync_api.expect(page.get_by_text("The images come ready")).to_be_visible()
    for label in ("Level", "Window"):
        sync_api.expect(page.get_by_label(label, exact=True).first).to_be_visible()
    for selector in ("#carm", "[data-slider=dose_ngy]", "[data-slider=pulse_rate_hz]"):
        sync_api.expect(page.locator(selector)).to_be_hidden()
