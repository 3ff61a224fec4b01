"""A run is assembled from lists: a sink or a pose source is one module and one line."""

import re
from typing import ClassVar, Literal

import pytest

from tests.session_support import (
    ROOT,
    QuietReporter,
    record_of,
    run_session,
    run_small,
    small_ct,
    small_document,
    use_cache,
)

# isort: split

from fluoro.config import Config
from fluoro.config.poses import POSE_SOURCES
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.poses.base import IssuedPose, PoseSetup, PoseSource, PoseSourceSection
from operators import assembly
from operators.sinks import SINKS
from operators.sinks.base import Sink

SETUP = PoseSetup(seed=1, isocenter_xyz_mm=(0.0, 0.0, 0.0), limits=CarmLimits())
NEEDED = {
    "waypoints": {"path": "no.csv"},
    "bag": {"path": "no"},
    "servo": {"wanted": {}},
    "xray_file": {"path": "no.dcm"},
}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    use_cache(tmp_path, monkeypatch)
    return small_document(small_ct(tmp_path), tmp_path / "out")


class KeptSink(Sink):
    """Keeps the numbers of the frames, and its other calls."""

    name = "kept"
    made: ClassVar[list["KeptSink"]] = []

    @classmethod
    def from_config(cls, context):
        cls.made.append(cls(context.config.run.frames))
        return cls.made[-1]

    def __init__(self, frames):
        self.frames, self.told, self.numbers = frames, [], []

    def take(self, frame):
        self.numbers.append(frame.number)

    def flush(self):
        self.told.append("flush")

    def conclude(self, *, interrupted):
        self.told.append(("conclude", interrupted))

    def dropped(self):
        return {"kept": self.frames - len(self.numbers)}


@pytest.mark.parametrize("port", ["record", "view"])
def test_a_sink_in_the_list_gets_the_frames_of_its_port(settings, monkeypatch, port):
    monkeypatch.setattr(KeptSink, "port", port)
    monkeypatch.setattr(assembly, "SINKS", (*SINKS, KeptSink))
    outcome = run_small(settings)
    sink = KeptSink.made.pop()
    assert sink.numbers == sorted(set(sink.numbers))
    assert sink.numbers == list(range(20)) or port == "view"
    assert 0 < len(sink.numbers) <= 20
    assert sink.told == ["flush", ("conclude", False)]
    assert record_of(outcome.folder)["dropped"]["kept"] == 20 - len(sink.numbers)


def test_sinks_have_names_of_their_own():
    assert len({sink.name for sink in SINKS}) == len(SINKS)


class CountedPoses(PoseSourceSection):
    """The number of the frame as its primary angle; ready every second time."""

    kind: Literal["counted"] = "counted"

    def make(self, setup):
        return CountedSource()


class CountedSource(PoseSource):
    """Poses by the frame's number."""

    asked, opened, closed = 0, 0, 0

    def start_pose(self):
        return CarmPose()

    def open(self, links):
        self.opened += 1

    def next(self, number, time_s, wait_s):
        self.asked += 1
        return IssuedPose(pose=CarmPose(lao_deg=number)) if self.asked % 2 == 0 else None

    def facts(self):
        return {"counted": {"asked": self.asked, "opened": self.opened}}


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_pose_source_is_its_model_and_its_runtime(settings):
    config = Config.model_validate(settings).model_copy(update={"pose_source": CountedPoses()})
    record = record_of(run_session(config, "small", QuietReporter()).folder)
    assert [frame["pose"]["lao_deg"] for frame in record["per_frame"]] == list(range(20))
    assert record["counted"] == {"asked": 40, "opened": 1}


@pytest.mark.parametrize("model", POSE_SOURCES, ids=lambda model: model.word())
def test_every_pose_source_tells_what_the_run_asks(model):
    source = model.model_validate({"kind": model.word(), **NEEDED.get(model.word(), {})})
    assert isinstance(source.shown_pose().carm_pose(), CarmPose)
    assert source.by_hand == (model.word() == "console")
    assert not (source.lockstep and source.by_clock)
    if model.word() not in ("waypoints", "bag", "xray_file"):  # they read a file
        assert source.make(SETUP).start_pose() == source.trajectory(SETUP.seed)(0.0)


def test_nothing_outside_the_modules_asks_for_the_kind_of_a_pose_source():
    models = "|".join(model.__name__ for model in POSE_SOURCES) + "|ReceivedPoses"
    asks = re.compile(rf"pose_source\.kind|isinstance\([^)]*\b({models})\b|case ({models})\(")
    files = [*ROOT.glob("operators/**/*.py"), *ROOT.glob("fluoro/**/*.py"), ROOT / "app.py"]
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        if path.parent.name != "poses"
        for line in path.read_text(encoding="utf-8").splitlines()
        if asks.search(line) and '"' not in line  # texts name the key
    ]
    assert found == []
