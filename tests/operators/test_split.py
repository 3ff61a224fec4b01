"""Renderer and display in two processes, joined by Holoscan's driver and workers on loopback."""

import socket
from contextlib import ExitStack

import numpy as np
import pytest
import yaml

import app
from tests.session_support import Program, images_of, record_of, small_ct, small_document

# isort: split

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.exposure.dose_meter import DoseTotal, Exposure, Pulse
from fluoro.imaging.frame import FrameHeader, PoseOrigin
from fluoro.imaging.frame_packet import pack_header, unpack_header

FRAMES = 40
GEOMETRY = CarmGeometry(detector_width_px=32, detector_height_px=24)
DISPLAY = """
import os
import sys
import numpy as np
import app
import operators.display_session as module

class Kept(module.Console):
    frames, again = {}, []

    def show(self, frame, status):
        self.frames[frame.number] = frame
        super().show(frame, status)

    def show_again(self, frame):
        self.again.append(frame)
        super().show_again(frame)
        open(os.environ["KEEP"] + str(len(self.again)), "x").close()

module.Console = Kept
code = app.main()
frames = [Kept.frames[number] for number in sorted(Kept.frames)]
np.savez(os.environ["KEEP"], numbers=[f.number for f in frames], images=[f.image for f in frames],
         lao_deg=[f.pose.lao_deg for f in frames], again=[f.image for f in Kept.again],
         held=[f.number for f in Kept.again])
sys.exit(code)
"""

RENDER = """
import os
import sys
import threading
import time
import app
from fluoro.console.controls import LiveControls
from operators.live_chain import LiveChain

controls, finished = [], []
make, finish = LiveControls.from_config, LiveChain.finished

def from_config(config):
    controls.append(make(config))
    return controls[0]

def when(reached):
    while not reached():
        time.sleep(0.02)

def is_shown(count):
    return os.path.exists(os.environ["KEEP"] + str(count))

def stands_still():
    before = len(finished)
    time.sleep(0.5)
    return len(finished) == before

def look():
    when(lambda: len(finished) > 10)
    before = controls[0].snapshot()
    controls[0].update(beam_on=False)
    when(stands_still)
    controls[0].update(window_level=1.0, window_width=2.0)
    when(lambda: is_shown(1))
    window = {"window_level": before.window_level, "window_width": before.window_width}
    controls[0].update(**window)
    when(lambda: is_shown(2))
    controls[0].update(beam_on=True)

LiveControls.from_config = from_config
LiveChain.finished = lambda self, header: (finished.append(header), finish(self, header))
threading.Thread(target=look, daemon=True).start()
sys.exit(app.main())
"""
"""The user who looks at the held image has a console elsewhere; here he acts on its controls."""


def free_ports(count):
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [one.getsockname()[1] for one in sockets]


def test_header_crosses_as_bytes():
    header = FrameHeader(
        number=7,
        pose=CarmPose(lao_deg=-37.0, cra_deg=21.5, roll_deg=8.0, translation_mm=(1.0, -2.0, 3.0)),
        geometry=GEOMETRY,
        stamps_ns={"pose": 1_763_677_545_123_456_789, "render_start": 2},
        origin=PoseOrigin(stamp_ns=5, sequence=6, time_ns=7),
        pulse=False,
        exposure=Exposure(pulse=Pulse(dose_ngy=10.0), total=DoseTotal(pulses=3)),
    )
    assert unpack_header(pack_header(header), GEOMETRY) == header


@pytest.mark.parametrize("packet", [b"", b"{}", b"\x80\x04cos\nsystem", b'{"number": "x"}'])
def test_bytes_that_are_no_header_are_refused(packet):
    with pytest.raises(InputError, match="header cannot be read"):
        unpack_header(packet, GEOMETRY)


@pytest.mark.timeout(300)
def test_display_in_another_process_shows_the_renderers_own_images(tmp_path):
    settings = small_document(small_ct(tmp_path), tmp_path)
    settings["run"] |= {"frames": FRAMES, "fps": 10}
    settings["console"]["enabled"] = True
    settings["image_chain"] = {"window": {"level": 3.0, "width": 20.0}}
    path, shown = tmp_path / "split.yaml", tmp_path / "shown.npz"
    path.write_text(yaml.safe_dump(settings))
    driver, *workers = free_ports(3)
    common = ["run", path, "--worker", "--address", f"127.0.0.1:{driver}", "--worker-address"]
    display = Program(
        *common, f"127.0.0.1:{workers[0]}", "--fragments", "display", code=DISPLAY, KEEP=str(shown)
    )
    render = Program(
        *common,
        *(f"127.0.0.1:{workers[1]}", "--fragments", "render", "--driver"),
        code=RENDER,
        KEEP=str(shown),
    )
    ends = [render.end(timeout_s=200), display.end()]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert "console at" in ends[1][2]
    assert "console at" not in ends[0][2]
    record, kept = record_of(tmp_path / "run"), np.load(shown)
    assert record["frames"] == FRAMES
    assert len(kept["numbers"]) >= 5
    np.testing.assert_array_equal(kept["images"], images_of(tmp_path / "run")[kept["numbers"]])
    poses = [record["per_frame"][number]["pose"]["lao_deg"] for number in kept["numbers"]]
    np.testing.assert_allclose(kept["lao_deg"], poses)
    narrow, as_before = kept["again"]
    assert kept["held"][0] == kept["held"][1]
    last = images_of(tmp_path / "run")[kept["held"][0]]
    np.testing.assert_array_equal(as_before, last)
    values = 3.0 + (0.5 - last) * 20.0
    np.testing.assert_allclose(narrow, np.clip(0.5 - (values - 1) / 2, 0, 1), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--worker"], "each needs --worker, --fragments render or display, and --address"),
        (["--fragments", "render"], "--fragments needs --driver or --worker"),
        (
            ["--worker", "--fragments", "display", "--address", "nowhere"],
            "--address must be HOST:PORT, got 'nowhere'",
        ),
    ],
)
def test_options_that_say_too_little_are_one_line(options, expected, capsys):
    assert app.main(["run", "configs/sweep.yaml", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fluoro: ")
    assert expected in line
