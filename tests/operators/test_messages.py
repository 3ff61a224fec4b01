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
        emit(self, output, "view", array(), SimpleNamespace(number=1, truth=None))

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


TRUTH = """
import operators.runtime
import numpy as np
from types import SimpleNamespace
from holoscan.conditions import CountCondition
from holoscan.core import Application, Operator
from fluoro.annotations.boxes import BoxAnnotator
from fluoro.annotations.masks import MaskAnnotator, MaskConfig
from fluoro.annotations.truth import TruthMaker
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.label_renderer import LabelRenderer
from operators.messages import as_array, emit
from tests.rendering.test_label_renderer import POSES, blobs, view_at

labels, device = blobs(3), CpuDevice(1)
masks = MaskAnnotator(MaskConfig(), LabelRenderer(labels, device))
truth = TruthMaker({"masks": masks, "boxes": BoxAnnotator(labels)}, device).begin(
    view_at(POSES["frontal"], labels)
)

class Sender(Operator):
    def setup(self, spec):
        spec.output("view")

    def compute(self, input_, output, context):
        emit(self, output, "view", np.ones((4, 6), np.float32), SimpleNamespace(truth=truth))

class Reader(Operator):
    def setup(self, spec):
        spec.input("frame")

    def compute(self, input_, output, context):
        message = input_.receive("frame")
        assert as_array(message).shape == (4, 6)
        found = {name: np.asarray(each) for name, each in message.items() if "." in name}
        np.testing.assert_array_equal(found["truth.masks"], truth.masks.bits)
        for box, known in zip(found["truth.boxes_px"], truth.boxes.boxes_px, strict=True):
            np.testing.assert_allclose(box, known, rtol=1e-6)
        assert found["truth.pixel_from_world"].shape == (3, 4)
        print(*sorted(found))

class Annotated(Application):
    def compose(self):
        sender = Sender(self, CountCondition(self, 2), name="sender")
        self.add_flow(sender, Reader(self, name="reader"), {("view", "frame")})

Annotated().run()
"""


def test_an_operator_of_the_graph_reads_the_truth_as_tensors():
    done = subprocess.run(
        [sys.executable, "-c", TRUTH], cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names = "truth.boxes_px truth.masks truth.pixel_from_world"
    assert done.stdout.splitlines() == [names] * 2


def test_headers_are_kept_by_number_and_the_oldest_given_up():
    headers = _Headers()
    first = headers.keep("first")
    assert headers.header(first) == "first"
    numbers = [headers.keep(str(n)) for n in range(KEPT)]
    assert headers.header(numbers[-1]) == str(KEPT - 1)
    with pytest.raises(LookupError, match="message 0 is no longer kept"):
        headers.header(first)
