"""The whole graph on every device gives the CPU's frames and dose."""

import threading
import time

import numpy as np
import pytest

from fluoro.rendering.devices.slang import SlangDevice, SlangQueue
from tests.session_support import (
    images_of,
    record_of,
    run_small,
    small_ct,
    small_document,
    use_cache,
)
from tests.support import require_vulkan

DEVICES = ["llvmpipe", pytest.param("cuda", marks=pytest.mark.gpu)]
CHAINS = {
    "noise and window": {"dose_ngy": 5},
    "pulses, lag, blur": {"pulse_rate_hz": 50, "lag": {}, "mtf": {}},
    "brightness": {"brightness": {}, "xray": {}, "window": {"level": 0, "width": 4}},
    "materials": {"xray": {}, "scatter": {"grid_factor": 0.3}},
}


@pytest.fixture
def document(tmp_path, monkeypatch):
    use_cache(tmp_path, monkeypatch)
    ct = small_ct(tmp_path)

    def of(device, chain, **renderer):
        return small_document(
            ct,
            tmp_path / device,
            renderer={"device": device, "projector": "march", **renderer},
            image_chain=chain,
            run={"frames": 6, "fps": 100, "pacing": "free_running", "name": "run"},
        )

    return of


@pytest.fixture(params=DEVICES)
def device(request):
    if request.param == "llvmpipe":
        require_vulkan()
    return request.param


@pytest.mark.parametrize("chain", CHAINS)
def test_frames_and_dose_are_those_of_the_cpu(tmp_path, document, device, chain):
    for where in ("cpu", device):
        run_small(document(where, CHAINS[chain]))
    folders = [tmp_path / where / "run" for where in ("cpu", device)]
    ours, theirs = (images_of(folder) for folder in folders)
    assert np.ptp(ours) > 0.3
    assert np.mean(np.abs(ours - theirs) > 1e-3) < 1e-2
    for one, other in zip(*map(exposures, folders), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("chain", CHAINS)
def test_no_two_threads_launch_on_a_queue_at_once(document, device, chain, monkeypatch):
    busy, met, push = {}, [], SlangQueue._push

    def slowly(self, launch):
        lock = busy.setdefault(id(self), threading.Lock())
        if not lock.acquire(blocking=False):
            met.append(launch)
            return push(self, launch)
        time.sleep(1e-3)
        push(self, launch)
        return lock.release()

    settings = document(device, CHAINS[chain])
    settings["run"] |= {"frames": 30}
    monkeypatch.setattr(SlangQueue, "_push", slowly)
    run_small(settings)
    assert busy
    assert not met


@pytest.mark.parametrize("chain", ["noise and window", "pulses, lag, blur"])
def test_one_kernel_makes_the_frames_of_two(tmp_path, document, device, chain):
    found = {}
    for fused in (False, True):
        run_small(document(device, CHAINS[chain], fused=fused))
        found[fused] = images_of(tmp_path / device / "run"), record_of(tmp_path / device / "run")
        (tmp_path / device / "run").rename(tmp_path / f"run-{fused}")
    assert np.mean(np.abs(found[True][0] - found[False][0]) > 1e-3) < 1e-2
    for frame in found[True][1]["per_frame"]:
        times = frame["stamps_ns"]
        assert list(times) == ["pose", "render_start", "render_end", "chain_end"]
        assert list(times.values()) == sorted(times.values())


def exposures(folder):
    frames = record_of(folder)["per_frame"]
    return [[frame["pulse"], frame["dose_ngy"], frame.get("charge_mas", 0.0)] for frame in frames]


def test_stamps_are_in_order(tmp_path, document, device):
    run_small(document(device, CHAINS["noise and window"]))
    for frame in record_of(tmp_path / device / "run")["per_frame"]:
        times = list(frame["stamps_ns"].values())
        assert list(frame["stamps_ns"]) == ["pose", "render_start", "render_end", "chain_end"]
        assert times == sorted(times)


def test_a_frame_is_two_submissions_however_many_stages(tmp_path, document, device, monkeypatch):
    counts, submit = [], SlangDevice.submit

    def counted(self, encoder):
        counts.append(encoder)
        return submit(self, encoder)

    monkeypatch.setattr(SlangDevice, "submit", counted)
    submissions = []
    for frames in (4, 10):
        counts.clear()
        settings = document(device, CHAINS["materials"])
        settings["run"] |= {"frames": frames, "name": f"run-{frames}"}
        run_small(settings)
        submissions.append(len(counts))
    assert submissions[1] - submissions[0] == 6 * 2
