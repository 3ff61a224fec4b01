"""The pedal as a dead-man's switch, without a browser: holders, silence, commands that are late."""

import threading
import time
from pathlib import Path

import pytest

from fluoro.console.browser import COMPARED_S, LATE_S, Uplink
from fluoro.console.pedal import HOLD_S, Pedal
from fluoro.errors import InputError
from tests.console_support import STATUS, Consoles, Peer, make_controls, make_frame, wait_until
from tests.tcp_proxy import TcpProxy

SOON_S = HOLD_S + 10.0
"""The pedal's silence and what a loaded machine adds."""


@pytest.fixture
def closing():
    """Closes what is handed to it, the newest first."""
    things = []
    yield lambda thing: things.append(thing) or thing
    for thing in reversed(things):
        thing.close()


@pytest.fixture
def controls():
    found = make_controls()
    found.update(beam_on=False)
    return found


@pytest.fixture
def address(controls, closing):
    return closing(Consoles()).start(controls)[1]


def holder(closing, url):
    """A page that presses the pedal."""
    peer = Peer(url)
    closing(peer.socket)
    peer.send(pedal="down")
    return peer


def beam(controls):
    return controls.snapshot().beam_on


def wait_for_beam(controls, on, timeout_s=20.0):
    wait_until(lambda: beam(controls) == on, f"the beam {'on' if on else 'off'}", timeout_s)


def keep_holding(peers, seconds, controls):
    """Send heartbeats; the beam must be on at each of them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for peer in peers:
            peer.send(pedal="held")
        time.sleep(0.1)
        assert beam(controls)


def test_the_beam_is_on_while_the_pedal_is_held(address, controls, closing):
    peer = holder(closing, address)
    wait_for_beam(controls, True)
    keep_holding([peer], 1.5 * HOLD_S, controls)
    peer.send(pedal="up")
    wait_for_beam(controls, False)


def test_a_holder_that_falls_silent_releases_it(address, controls, closing):
    peer = holder(closing, address)
    wait_for_beam(controls, True)
    wait_for_beam(controls, False, SOON_S)
    peer.send(pedal="held")
    assert peer.next("pedal") == {"kind": "pedal", "held": False}
    assert not beam(controls), "a heartbeat does not bring the beam back"


def test_a_holder_whose_connection_ends_releases_it(address, controls, closing):
    controls._pedal._hold_s = 100.0  # no silence ends it
    peer = holder(closing, address)
    wait_for_beam(controls, True)
    peer.socket.socket.close()
    wait_for_beam(controls, False)


def test_a_holder_whose_cable_is_pulled_releases_it(address, controls, closing):
    proxy = closing(TcpProxy(int(address.rstrip("/").rsplit(":", 1)[1])))
    peer = holder(closing, proxy.url)
    wait_for_beam(controls, True)
    proxy.freeze()
    for _ in range(20):
        peer.send(pedal="held")
        time.sleep(0.1)
    assert not beam(controls)
    proxy.thaw()
    assert peer.next("pedal") == {"kind": "pedal", "held": False}
    assert not beam(controls)


def test_with_two_holders_the_beam_ends_when_the_last_releases_it(address, controls, closing):
    first, second = holder(closing, address), holder(closing, address)
    wait_for_beam(controls, True)
    keep_holding([first, second], 0.3, controls)
    first.send(pedal="up")
    keep_holding([second], 1.5 * HOLD_S, controls)
    second.socket.close()
    wait_for_beam(controls, False)


def test_who_turns_the_beam_off_ends_every_hold(address, controls, closing):
    peer, other = holder(closing, address), Peer(address)
    closing(other.socket)
    wait_for_beam(controls, True)
    other.send(set={"beam_on": False})
    wait_for_beam(controls, False)
    peer.send(pedal="held")
    assert peer.next("pedal") == {"kind": "pedal", "held": False}
    other.send(set={"beam_on": True})
    wait_for_beam(controls, True)
    peer.send(pedal="up")
    other.send(set={"dose_ngy": 33.0})
    wait_until(lambda: controls.snapshot().dose_ngy == 33.0, "the last command")
    assert beam(controls), "one who holds no more lets nothing go"


def test_a_slow_disk_does_not_hold_the_pedal_up(controls, closing):
    writing = threading.Event()

    def save(_frame):
        writing.wait(20)
        return Path("saved.png")

    console, url = closing(Consoles()).start(controls, on_save=save)
    console.show(make_frame(), STATUS)
    peer = holder(closing, url)
    wait_for_beam(controls, True)
    peer.send(save=True)
    keep_holding([peer], 1.5 * HOLD_S, controls)
    peer.send(pedal="up")
    wait_for_beam(controls, False)
    writing.set()
    assert peer.next("notice")["text"] == "Saved saved.png"


@pytest.mark.parametrize("word", ["pressed", True, None, 1, ["down"]])
def test_another_word_is_reported_and_changes_nothing(address, controls, closing, word):
    peer = Peer(address)
    closing(peer.socket)
    peer.send(pedal=word)
    assert "pedal must be down, held or up" in peer.next("notice")["text"]
    assert not beam(controls)


def test_a_pedal_whose_beam_cannot_be_turned_off_still_forgets_its_holder(caplog):
    def broken(on):
        if not on:
            raise InputError("no way to the renderer")

    pedal = Pedal(broken, hold_s=0.05)
    pedal.apply("a page", "down")
    for count in (1, 2):
        wait_until(lambda count=count: caplog.text.count("silent pedal") == count, "the log line")
        assert not pedal.apply("a page", "held")
        assert pedal.apply("a page", "down"), "it can be pressed again"


# Commands that are late


def test_a_command_that_was_long_on_its_way_is_not_carried_out(address, controls, closing):
    peer = Peer(address)
    closing(peer.socket)
    clock_ms = 5e6  # a page's clock starts anywhere
    peer.send(at_ms=clock_ms)
    time.sleep(LATE_S + 0.3)
    for request in ({"set": {"dose_ngy": 50.0}}, {"pedal": "down"}, {"press": "mask"}):
        peer.send(**request, at_ms=clock_ms + 100)
        assert "late and was not carried out" in peer.next("notice")["text"]
        assert peer.next("controls")["values"]["dose_ngy"] == 20.0, "the page is set right"
    assert controls.snapshot().dose_ngy == 20.0
    assert not beam(controls)
    peer.send(set={"dose_ngy": 30.0}, at_ms=clock_ms + 1000 * (LATE_S + 0.3))
    wait_until(lambda: controls.snapshot().dose_ngy == 30.0, "a command in time")


@pytest.mark.parametrize("request_", [{"set": {"beam_on": False}}, {"pedal": "up"}])
def test_the_beam_goes_off_however_late_that_comes(address, controls, closing, request_):
    peer = Peer(address)
    closing(peer.socket)
    controls._pedal._hold_s = 100.0  # no silence ends it
    peer.send(at_ms=0.0, pedal="down")
    wait_for_beam(controls, True)
    keep_holding([peer], LATE_S + 0.3, controls)
    peer.send(**request_, at_ms=0.0)
    wait_for_beam(controls, False)


def delays(*messages):
    """The delays of messages that were sent and came at these times [s]."""
    uplink = Uplink()
    return [uplink.late_s({"at_ms": 1000 * sent_s}, came_s) for sent_s, came_s in messages]


def test_delay_is_that_beyond_the_quickest_message():
    late_s = delays((1.0, 50.0), (2.0, 51.2), (3.0, 51.95), (3.1, 60.0), (3.2, 60.0))
    assert late_s == pytest.approx([0.0, 0.2, 0.0, 7.95, 7.85])
    assert Uplink().late_s({}, 0.0) == 0.0


def test_a_burst_after_a_cut_is_late_however_many_messages_it_has():
    before = [(at, at + 100.0) for at in range(5)]
    burst = [(5 + k / 100, 200.0) for k in range(150)]
    assert min(delays(*before, *burst)[5:]) > 90.0


def test_a_clock_that_drifts_or_was_stopped_makes_nothing_late_for_long():
    drifting = [(at * 0.999, float(at)) for at in range(10_000)]
    assert max(delays(*drifting)) < 0.02
    suspended = [(at, at + (100.0 if at < 50 else 130.0)) for at in range(100)]
    late_s = delays(*suspended)
    assert max(late_s[50:]) == pytest.approx(30.0)
    assert max(late_s[50 + int(COMPARED_S) + 1 :]) == pytest.approx(0.0)


@pytest.mark.parametrize("stamp", [True, "soon", None, float("inf"), 10**400])
def test_a_stamp_that_is_no_time_is_reported(stamp):
    with pytest.raises(InputError, match="at_ms must be"):
        Uplink().late_s({"at_ms": stamp}, 0.0)
