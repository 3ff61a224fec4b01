"""SIGTERM ends a run soon, whatever its frame rate is and however silent its clients are."""

import base64
import os
import signal
import socket
import time
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import yaml

from tests.dds_support import own_domain, wait_until
from tests.session_support import Program, record_of, small_ct, small_document, use_cache

pytestmark = pytest.mark.dds

SOON_S = 4.5
"""It takes half a second on an idle machine; to wait for a client that does not read, 5 s more."""
LARGE = {"detector_width_px": 512, "detector_height_px": 512, "pixel_spacing_mm": 1.0}
"""Images that fill the buffers of a connection at once."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture
def yaml_file(tmp_path, monkeypatch):
    use_cache(tmp_path, monkeypatch)

    def write(**sections):
        path = tmp_path / "small.yaml"
        document = small_document(small_ct(tmp_path), tmp_path / "out", **sections)
        document["run"] |= {"frames": None, **sections.get("run", {})}
        path.write_text(yaml.safe_dump(document))
        return path

    return write


@contextmanager
def silent_client(port, says=b""):
    """Connects, says something and never reads."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wait_until(lambda: client.connect_ex(("127.0.0.1", port)) == 0)
        client.sendall(says)
        yield client


def upgrade(port):
    """What a browser says to have frames."""
    key = base64.b64encode(os.urandom(16)).decode()
    host = f"127.0.0.1:{port}"
    return (
        f"GET /live HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def stopped_after_s(program, folder, beside):
    """Seconds from SIGTERM to the end of a program that streams."""
    program.wait_for((folder / "run.json").exists)
    time.sleep(0.5)
    with beside():
        time.sleep(1.0)
        start_s = time.monotonic()
        program.interrupt(signal.SIGTERM)
        code, _, err = program.end()
    assert code == 128 + signal.SIGTERM, err
    return time.monotonic() - start_s


DDS = {"domain": own_domain(), "frames": {"protocol": "ros2"}}
SLOW = {"fps": 0.02}


@pytest.mark.parametrize(
    "sections",
    [
        {"run": SLOW},
        {"run": SLOW, "pose_source": {"kind": "dds", "trigger": "clock"}, "dds": DDS},
        {"pose_source": {"kind": "dds", "trigger": "lockstep"}, "dds": DDS},
    ],
    ids=["slow", "slow clock over DDS", "lockstep without poses"],
)
def test_sigterm_ends_a_run_that_waits_for_its_next_frame(yaml_file, tmp_path, sections):
    program = Program("run", yaml_file(**sections))
    assert stopped_after_s(program, tmp_path / "out" / "run", nullcontext) < SOON_S
    assert record_of(tmp_path / "out" / "run")["stopped_by"] == "SIGTERM"


def test_sigterm_ends_a_run_whose_openigtlink_client_never_reads(yaml_file, tmp_path):
    port = free_port()
    path = yaml_file(igtl={"enabled": True, "port": port}, carm=LARGE, run={"fps": 30})
    program = Program("run", path)
    beside = lambda: silent_client(port)  # noqa: E731
    assert stopped_after_s(program, tmp_path / "out" / "run", beside) < SOON_S


@pytest.mark.parametrize("upgrades", [False, True], ids=["silent", "takes no frames"])
def test_sigterm_ends_a_run_whose_browser_never_reads(yaml_file, tmp_path, upgrades):
    port = free_port()
    path = yaml_file(console={"enabled": True, "port": port}, carm=LARGE, run={"fps": 30})
    program = Program("run", path)
    beside = lambda: silent_client(port, upgrade(port) if upgrades else b"")  # noqa: E731
    assert stopped_after_s(program, tmp_path / "out" / "run", beside) < SOON_S


@pytest.mark.parametrize("fps", [2.5, 4.9, 5.0, 30.0, 1000.0])
def test_pace_of_any_rate_keeps_its_period_and_its_phase(monkeypatch, fps):
    """A tick that comes a fifth of a step early or late is the same frame's."""
    import operators.runtime  # noqa: F401
    from operators import pace

    found, steps = pace.Pace(fps), max(1, -(-round(1e9 / fps) // pace.LONGEST_STEP_NS))
    step_s = 1 / fps / steps
    due = []
    for tick in range(12 * steps):
        now_s = tick * step_s + (tick % 3 - 1) * step_s / 5
        monkeypatch.setattr(pace.time, "monotonic_ns", lambda now_s=now_s: round(now_s * 1e9))
        due.append(found.is_due())
    monkeypatch.undo()
    assert due == [tick % steps == 0 for tick in range(12 * steps)]
    assert steps == 1 or step_s <= pace.LONGEST_STEP_NS * 1e-9


def test_slow_stream_has_its_rate(yaml_file, tmp_path):
    path = yaml_file(run={"fps": 2.5, "frames": 6})
    code, _, err = Program("run", path).end()
    assert code == 0, err
    frames = record_of(tmp_path / "out" / "run")["per_frame"]
    poses_ns = np.array([frame["stamps_ns"]["pose"] for frame in frames[1:]])
    assert np.median(np.diff(poses_ns)) * 1e-9 == pytest.approx(1 / 2.5, abs=0.08)


READY = """
import os, signal, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever ignores them for the tests
signal.signal(signal.SIGINT, signal.default_int_handler)
import app
from operators.links import Links

def start(self):
    open(os.environ["READY"], "x").close()
    time.sleep(60)

Links.start = start
app.program()
"""
"""A run that has opened its files and waits before its first frame."""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_before_the_stream_leaves_no_folder(yaml_file, tmp_path, number, code):
    """SIGHUP too, which a library that Holoscan loads takes for itself."""
    ready = tmp_path / "ready"
    recorder = {"formats": ["mp4", "npz", "png"]}
    program = Program("run", yaml_file(recorder=recorder), code=READY, READY=str(ready))
    program.wait_for(ready.exists)
    assert (tmp_path / "out" / "run" / "run.json").is_file()
    program.interrupt(number)
    returned, _, err = program.end(timeout_s=20)
    assert returned == code, err
    assert list((tmp_path / "out").iterdir()) == []
