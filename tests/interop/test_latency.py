"""What a receiver measures by stamps, and that the benchmark of latencies runs; not how fast."""

import argparse
import json

import pytest

from benchmarks import latency
from fluoro.errors import InputError
from fluoro.interop.latency import FrameLog, LatencyRow, median_row, table_lines, write_rows
from tests.dds_support import own_domain

MS = 1_000_000


def make_row(p50_ms=1.0, **changes):
    row = {
        "what": "bare loopback",
        "size": 512,
        "rate_hz": 60.0,
        "p50_ms": p50_ms,
        "p95_ms": 2.0,
        "p99_ms": 3.0,
        "max_ms": 4.0,
        "jitter_ms": 0.5,
        "received": 10,
        "lost": 1,
        "load_1min": 0.5,
    }
    return LatencyRow(**{**row, **changes})


def test_latency_and_loss_are_counted_by_stamps_and_numbers():
    log = FrameLog()
    for number, came_ms in ((0, 3), (1, 12), (3, 31)):  # number 2 never came
        log.add(10 * number * MS, came_ms * MS)
        log.add_number(number, 10 * number * MS)
    log.add_number(4, 40 * MS)  # its info came, its image did not
    row = log.row("a way", 256, None)
    assert (row.received, row.lost) == (3, 2)
    assert (row.p50_ms, row.max_ms) == (2.0, 3.0)
    assert row.rate_hz == pytest.approx(2 / 0.028, abs=0.1)


def test_log_of_one_frame_measures_nothing():
    log = FrameLog()
    log.add(0, 1)
    assert log.lost() == 0
    with pytest.raises(InputError, match="must have 2 frames"):
        log.row("a way", 256, None)


def test_runs_are_identified_by_their_medians_and_sums():
    row = median_row([make_row(9.0, lost=0), make_row(1.0), make_row(2.0)])
    assert (row.p50_ms, row.received, row.lost, row.runs) == (2.0, 30, 2, 3)


def test_file_keeps_what_is_not_measured_again(tmp_path):
    path = tmp_path / "results" / "latency.json"
    write_rows(path, [make_row(1.0), make_row(5.0, size=256)], tracker={"ours_ms": 1.0})
    write_rows(path, [make_row(2.0)])
    document = json.loads(path.read_text())
    assert {(row["size"], row["p50_ms"]) for row in document["rows"]} == {(256, 5.0), (512, 2.0)}
    assert document["tracker"] == {"ours_ms": 1.0}
    needed = {"what", "size", "rate_hz", "p50_ms", "p95_ms", "p99_ms", "received", "lost"}
    assert all(needed <= row.keys() for row in document["rows"])


def test_table_is_80_columns_wide():
    lines = table_lines([make_row(what="transport and graph")])
    assert {len(line) for line in lines} == {80}
    assert lines[0].startswith("latency [ms]")


@pytest.mark.parametrize(
    ("graph", "result"),
    [((2.9, 8.9), "within"), ((3.1, 8.9), "outside"), ((2.9, 9.1), "outside")],
)
def test_what_is_to_be_reached_is_assessed_beside_the_bare_loopback(graph, result):
    p50_ms, p99_ms = graph
    rows = [make_row(p99_ms=3.0), make_row(p50_ms, p99_ms=p99_ms, what="transport and graph")]
    assert f"\nresult: {result} the aims, at a load average of 0.5" in latency.reach_line(rows)


def test_a_result_with_more_work_than_cores_says_so(monkeypatch):
    monkeypatch.setattr(latency.os, "cpu_count", lambda: 2)
    rows = [make_row(), make_row(9.0, what="transport and graph", load_1min=7.1)]
    assert "at a load average of 7.1 on 2 cores; more work than cores" in latency.reach_line(rows)
    quiet = [make_row(), make_row(9.0, what="transport and graph", load_1min=1.9)]
    assert "more work" not in latency.reach_line(quiet)


@pytest.mark.dds
def test_benchmark_measures_both_ways_and_holds_holoscans_tracker_beside(monkeypatch):
    monkeypatch.setattr(latency, "WARM_UP_S", 0.3)
    arguments = argparse.Namespace(
        seconds=0.4, sizes=[32], rates=[50.0, 25.0], repeat=1, domain=own_domain()
    )
    rows = {(row.what, row.rate_hz): row for row in latency.measure_all(arguments)}
    ways = ("bare loopback", "transport and graph")
    assert rows.keys() == {(way, rate_hz) for way in ways for rate_hz in arguments.rates}
    for (_, rate_hz), row in rows.items():
        assert row.received + row.lost == 0.4 * rate_hz
        assert 0 < row.p50_ms <= row.p99_ms <= row.max_ms
    arguments.seconds = 1.5  # on a loaded machine frames are lost
    found = latency.compare_with_tracker(arguments)
    assert found["frames"] > 5
    assert found["tracker_ms"] > 0 < found["ours_ms"]
    assert "within 1 ms" in latency.tracker_line(found)


def test_a_user_s_measurement_leaves_the_repository_s_record_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("FLUORO_OUTPUT_DIR", str(tmp_path))
    assert latency.parser().parse_args([]).results == tmp_path / "latency.json"
    assert latency.parser().parse_args(["--record"]).results == latency.RECORD
