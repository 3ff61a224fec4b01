"""The pedal in a real browser: pointer buttons, the space bar, focus, tabs and connections."""

from urllib.parse import urlsplit

import pytest
from playwright import sync_api

from tests.console_support import STATUS, Consoles, make_controls, make_frame, wait_until
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.browser

HELD_MS = 300
"""After so long a wrong press would have reached the graph."""


@pytest.fixture
def controls():
    """Every button there is; the beam is off."""
    volume = {"phantom": "thorax", "contrast": {"vessels": "aorta"}}
    found = make_controls(volume=volume, image_chain={"dsa": {}})
    found.update(beam_on=False)
    return found


@pytest.fixture
def console(controls):
    consoles = Consoles()
    console, url = consoles.start(controls)
    console.show(make_frame(1), STATUS)
    console.url = url
    yield console
    consoles.close()


@pytest.fixture
def page(console, open_page):
    return open_page(console.url)


def wait_for_beam(controls, on):
    wait_until(lambda: controls.snapshot().beam_on == on, f"the beam {'on' if on else 'off'}")


def assert_off(page, controls):
    page.wait_for_timeout(HELD_MS)
    assert not controls.snapshot().beam_on


def press(page, **button):
    box = page.locator("#pedal").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down(**button)


def dispatch(page, event):
    page.evaluate(f"window.dispatchEvent(new Event('{event}'))")


# Pointers


def test_the_beam_is_on_as_long_as_the_main_button_is_down(page, controls):
    press(page)
    wait_for_beam(controls, True)
    sync_api.expect(page.locator("body")).to_have_class("beam-on")
    page.wait_for_timeout(1500)  # longer than the server believes in without a heartbeat
    assert controls.snapshot().beam_on
    page.mouse.move(10, 300)  # the pointer may leave the button
    page.wait_for_timeout(HELD_MS)
    assert controls.snapshot().beam_on
    page.mouse.up()
    wait_for_beam(controls, False)


@pytest.mark.parametrize("button", ["right", "middle"])
def test_no_other_button_of_the_mouse_presses_the_pedal(page, controls, button):
    press(page, button=button)
    assert_off(page, controls)
    page.mouse.up(button=button)
    assert_off(page, controls)


def test_the_main_button_ends_the_beam_though_another_stays_down(page, controls):
    press(page)
    wait_for_beam(controls, True)
    page.mouse.down(button="right")
    page.mouse.up()
    wait_for_beam(controls, False)
    page.mouse.up(button="right")


# The space bar


CLICKS = {
    "a button": "#save",
    "a view": "[data-view='45,0']",
    "inject": "[data-press=inject]",
    "a switch": "[data-key=last_image_hold]",
    "a switch's label": "label:has([data-key=last_image_hold])",
    "a radio button": "[value=bone_bright]",
    "a slider": "#roll_deg-range",
    "the image": "#image",
    "the 3D view": "#scene",
    "the pedal": "#pedal",
}


def test_space_is_the_pedal_wherever_the_pointer_clicked_before(page, controls):
    for what, selector in CLICKS.items():
        page.locator(selector).first.click()
        page.wait_for_timeout(100)  # what was clicked reaches the graph
        before = controls.snapshot()
        page.keyboard.down("Space")
        wait_until(lambda: controls.snapshot().beam_on, f"the beam on, after a click on {what}")
        page.keyboard.up("Space")
        wait_for_beam(controls, False)
        after = controls.snapshot()
        for key in ("pose", "injections", "last_image_hold", "polarity", "window_level"):
            assert getattr(after, key) == getattr(before, key), f"{key}, after a click on {what}"


def test_space_is_the_pedal_while_a_slider_is_dragged(page, controls):
    box = page.locator("#roll_deg-range").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.keyboard.down("Space")
    wait_for_beam(controls, True)
    page.mouse.up()
    page.wait_for_timeout(HELD_MS)
    assert controls.snapshot().beam_on
    page.keyboard.up("Space")
    wait_for_beam(controls, False)


def test_a_control_that_the_keyboard_was_moved_to_keeps_space(page, controls):
    assert controls.snapshot().last_image_hold
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.key === 'last_image_hold'"):
            break
    page.keyboard.press("Space")
    wait_until(lambda: not controls.snapshot().last_image_hold, "the switch")
    assert_off(page, controls)


def test_a_text_field_keeps_space(page, controls):
    page.locator("#roll_deg-number").click()
    page.keyboard.down("Space")
    assert_off(page, controls)
    page.keyboard.up("Space")


def test_the_pedal_s_own_button_takes_space_also_from_the_keyboard(page, controls):
    page.locator("#pedal").focus()
    page.keyboard.down("Space")
    wait_for_beam(controls, True)
    page.keyboard.up("Space")
    wait_for_beam(controls, False)


@pytest.mark.parametrize("modifier", ["Control", "Alt", "Meta"])
def test_a_shortcut_with_space_is_not_the_pedal(page, controls, modifier):
    page.keyboard.down(modifier)
    page.keyboard.down("Space")
    assert_off(page, controls)
    page.keyboard.up("Space")
    page.keyboard.up(modifier)


def test_pointer_and_space_together_end_with_the_last_of_them(page, controls):
    press(page)
    wait_for_beam(controls, True)
    page.keyboard.down("Space")
    page.mouse.up()
    page.wait_for_timeout(HELD_MS)
    assert controls.snapshot().beam_on
    page.keyboard.up("Space")
    wait_for_beam(controls, False)


# What else ends it


@pytest.mark.parametrize("end", ["blur", "pagehide"])
def test_the_beam_ends_when_the_page_loses_the_focus(page, controls, end):
    page.keyboard.down("Space")
    wait_for_beam(controls, True)
    dispatch(page, end)
    wait_for_beam(controls, False)
    page.keyboard.down("Space")  # the key is still down: it repeats
    assert_off(page, controls)
    page.keyboard.up("Space")


def test_the_beam_ends_when_the_tab_is_hidden(page, controls):
    page.keyboard.down("Space")
    wait_for_beam(controls, True)
    page.evaluate(
        "Object.defineProperty(document, 'hidden', { get: () => true });"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    wait_for_beam(controls, False)


def test_the_beam_ends_when_the_tab_is_closed(page, controls):
    page.keyboard.down("Space")
    wait_for_beam(controls, True)
    page.close()
    wait_for_beam(controls, False)


def test_of_two_pages_the_last_release_ends_the_beam(console, open_page, controls):
    one, other = open_page(console.url), open_page(console.url)
    one.keyboard.down("Space")
    press(other)
    wait_for_beam(controls, True)
    one.keyboard.up("Space")
    other.wait_for_timeout(1500)
    assert controls.snapshot().beam_on
    other.mouse.up()
    wait_for_beam(controls, False)


def test_a_pedal_released_while_the_socket_is_cut_stays_up(console, open_page, controls):
    proxy = TcpProxy(urlsplit(console.url).port)
    page = open_page(proxy.url)
    press(page)
    wait_for_beam(controls, True)
    proxy.freeze()
    proxy.cut()
    wait_for_beam(controls, False)
    sync_api.expect(page.locator("#pedal")).not_to_have_class("down")
    page.mouse.up()
    proxy.thaw()
    sync_api.expect(page.locator("body")).not_to_have_class("no-signal")
    assert_off(page, controls)
    proxy.close()


def test_a_pedal_still_down_when_the_socket_is_back_must_be_pressed_again(
    console, open_page, controls
):
    proxy = TcpProxy(urlsplit(console.url).port)
    page = open_page(proxy.url)
    page.keyboard.down("Space")
    wait_for_beam(controls, True)
    proxy.cut()
    wait_for_beam(controls, False)
    sync_api.expect(page.locator("#notice")).to_contain_text("No connection")
    sync_api.expect(page.locator("body")).not_to_have_class("no-signal")
    page.keyboard.down("Space")  # still down: it repeats
    assert_off(page, controls)
    page.keyboard.up("Space")
    page.keyboard.down("Space")
    wait_for_beam(controls, True)
    page.keyboard.up("Space")
    wait_for_beam(controls, False)
    proxy.close()
