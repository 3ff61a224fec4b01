"""The console's view of a tracked pose: its message, and the page in a real browser."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image
from playwright import sync_api

from fluoro.console.stream_status import StreamStatus, slowdown_reason
from fluoro.console.tracking_view import POINTS, TrackingView, Trail
from fluoro.geometry.carm import CarmPose
from tests.console_support import STATUS, Consoles, make_frame

HALVES = np.zeros((64, 64), np.float32)
HALVES[:, 32:] = 1.0


def view(number=0, mtre_mm=0.5, *, converged=True, state="lost", frame=HALVES, rendered=HALVES):
    return TrackingView(
        number=number,
        pose=CarmPose(lao_deg=12.3, cra_deg=4.0, roll_deg=-0.01, translation_mm=(1.0, 0.0, -2.0)),
        mtre_mm=mtre_mm,
        ncc=0.998,
        converged=converged,
        state="tracked" if converged else state,
        confidence=0.75,
        reason="a reason",
        next_step="",
        seconds=0.15,
        frame=frame,
        rendered=rendered,
    )


def unpacked(message):
    (size,) = struct.unpack("<I", message[:4])
    return json.loads(message[4 : 4 + size]), message[4 + size :]


def test_the_message_has_the_figures_the_curve_and_both_images():
    trail = Trail()
    for number in range(POINTS + 5):
        trail.add(view(number, mtre_mm=number / 10, rendered=np.zeros_like(HALVES)))
    header, payload = unpacked(trail.message)
    assert (header["kind"], header["number"]) == ("tracking", POINTS + 4)
    assert header["pose"]["lao_deg"] == 12.3
    assert (header["ncc"], header["converged"], header["seconds"]) == (0.998, True, 0.15)
    assert (header["state"], header["confidence"]) == ("tracked", 0.75)
    assert len(header["curve"]) == POINTS
    assert header["curve"][-1] == [POINTS + 4, 30.4, True]
    both = np.asarray(Image.open(io.BytesIO(payload)), float) / 255
    assert both.shape == (64, 128)
    np.testing.assert_allclose(both[:, :64], HALVES, atol=0.03)
    assert both[:, 64:].max() < 0.03


def test_what_the_registration_skips_is_not_called_slow():
    status = StreamStatus(fps=30, target_fps=30, dropped={"registration": 9, "console": 1})
    assert slowdown_reason(status, {"registration": 1, "console": 1}) == ""


@pytest.fixture
def shown(browser):
    """A console, and a page of it that has one frame."""
    consoles = Consoles()
    console, url = consoles.start()
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    page = context.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(url)
    console.show(make_frame(1), STATUS)
    sync_api.expect(page.locator("#number")).to_have_text("frame 1")
    yield console, page
    context.close()
    consoles.close()
    assert faults == []


def overlay(page):
    """The overlay's pixels as the page drew them, (64, 64, 3), 0 to 1."""
    script = "c => [...c.getContext('2d').getImageData(0, 0, 64, 64).data]"
    data = page.locator("#overlay").evaluate(script)
    return np.array(data, float).reshape(64, 64, 4)[..., :3] / 255


@pytest.mark.browser
def test_without_tracking_the_page_has_no_such_pane(shown):
    _, page = shown
    sync_api.expect(page.locator("#tracking")).to_be_hidden()


@pytest.mark.browser
def test_pose_and_error_are_shown_live(shown):
    console, page = shown
    console.show_tracking(view(7, 0.42))
    sync_api.expect(page.locator("#track-pose")).to_have_text("LAO 12 / CRA 4  ROLL 0.0")
    sync_api.expect(page.locator("#track-table")).to_have_text("-1.0, 0.0, 2.0 mm")
    sync_api.expect(page.locator("#track-error")).to_have_text("0.42 mm")
    sync_api.expect(page.locator("#track-state")).to_have_text("tracked, frame 7")
    before = page.locator("#error-curve").screenshot()
    console.show_tracking(view(9, 55.0, converged=False))
    sync_api.expect(page.locator("#track-state")).to_have_text("lost, frame 9")
    console.show_tracking(view(10, 0.4, converged=False, state="in doubt"))
    sync_api.expect(page.locator("#track-state")).to_have_text("in doubt, frame 10")
    title = "a reason; confidence 0.75"
    sync_api.expect(page.locator("#track-state")).to_have_attribute("title", title)
    assert page.locator("#error-curve").screenshot() != before
    assert page.locator("#image").bounding_box()["height"] > 200


@pytest.mark.browser
def test_the_overlay_blends_frame_and_rendered_image_and_is_chosen_by_buttons(shown):
    console, page = shown
    rendered = HALVES.T.copy()  # bright below, where the frame is bright on the right
    console.show_tracking(view(1, rendered=rendered))
    sync_api.expect(page.locator("#tracking")).to_be_visible()
    corners = {"dark": (8, 8), "frame": (8, 56), "rendered": (56, 8), "both": (56, 56)}
    blend = {name: overlay(page)[at] for name, at in corners.items()}
    np.testing.assert_allclose(blend["dark"], (0, 0, 0), atol=0.1)
    np.testing.assert_allclose(blend["frame"], (1, 0, 0), atol=0.1)
    np.testing.assert_allclose(blend["rendered"], (0, 1, 1), atol=0.1)
    np.testing.assert_allclose(blend["both"], (1, 1, 1), atol=0.1)
    page.get_by_role("button", name="Frame", exact=True).click()
    np.testing.assert_allclose(overlay(page)[..., 0], HALVES, atol=0.15)
    page.get_by_role("button", name="Rendered").click()
    np.testing.assert_allclose(overlay(page)[..., 0], rendered, atol=0.15)
    page.get_by_role("button", name="Checker").click()
    checker = overlay(page)[..., 0]
    assert checker[4, 60] != checker[4, 52]  # neighbouring tiles of the frame's bright half
    sync_api.expect(page.get_by_role("button", name="Checker")).to_have_attribute(
        "aria-pressed", "true"
    )
