"""Messages between operators, where a queue drops one for a newer one."""

import subprocess
import sys
from pathlib import Path

import pytest

import operators.runtime  # noqa: F401  (before Holoscan)
from operators.messages import KEPT, _Headers

ROOT = Path(__file__).parents[2]
FLOOD = """
import operators.runtime
import numpy as np
from types import SimpleNamespace
from holoscan.conditions import CountCondition
from holoscan.core import Application, ConditionType, IOSpec, Operator
from operators.graph import make_scheduler
from fluoro.rendering.devices.graphics import DeviceArray
from operators.messages import as_array, emit, header_of
from operators.gil_state import keep_gil_state

taken = []
KIND = "{kind}"

def array():
    if KIND == "device":
        return DeviceArray(bytearray(8), (8, 8), np.dtype(np.float32))
    return np.zeros((8, 8), np.float32)

class Sender(Operator):
    def setup(self, spec):
        spec.output("view").condition(ConditionType.NONE)

    @keep_gil_state
    def compute(self, input_, output, context):
        emit(self, output, "view", array(), SimpleNamespace(number=1))

class Display(Operator):
    def setup(self, spec):
        spec.input("frame", size=1, policy=IOSpec.QueuePolicy.POP)

    @keep_gil_state
    def compute(self, input_, output, context):
        assert as_array(input_.receive("frame")).shape == (8, 8)
        taken.append(header_of(self).number)

class Flood(Application):
    def compose(self):
        sender = Sender(self, CountCondition(self, 20000), name="sender")
        for name in ("one", "two"):
            display = Display(self, name=name)
            self.add_flow(sender, display, {("view", "frame")})
            self.make_thread_pool(name + "_thread", 1).add(display, pin_operator=True)

app = Flood()
app.scheduler(make_scheduler(app))
app.run()
print(len(taken))
"""


@pytest.mark.parametrize("kind", ["host", "device"])
def test_a_flood_of_frames_does_not_stop_displays_that_take_the_newest(kind):
    # with the header itself as metadata, or a device's array as the message, this stood still
    # within some thousand frames; the process is killed then, because no stop signal ends it
    program = FLOOD.replace("{kind}", kind)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 100


def test_headers_are_kept_by_number_and_the_oldest_given_up():
    headers = _Headers()
    first = headers.keep("first")
    assert headers.header(first) == "first"
    numbers = [headers.keep(str(n)) for n in range(KEPT)]
    assert headers.header(numbers[-1]) == str(KEPT - 1)
    with pytest.raises(LookupError, match="message 0 is no longer kept"):
        headers.header(first)
