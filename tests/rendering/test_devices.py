"""Device choice, parity between devices, and the CPU path's manners towards Python."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fluoro.config import ImageChainConfig
from fluoro.errors import DeviceError, InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.chain import ImageChain
from fluoro.physics.dose import open_field_photons
from fluoro.rendering.devices import selection
from fluoro.rendering.devices.cpu import compiler
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.devices.trial import TrialResult
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume
from tests import volumes


@pytest.mark.parametrize("projector", PROJECTORS)
def test_line_integrals_agree_between_devices(other, projector):
    views = [volumes.view(pose) for pose in volumes.POSES.values() if pose.lao_deg != 90]
    images = [
        device.to_host(DrrRenderer(volumes.noise(), device, projector=projector).render(views))
        for device in (CpuDevice(), other)
    ]
    off = np.abs(images[0] - images[1]) / images[0].max()
    # where a march's path is a whole number of steps, devices may round its count differently
    assert np.quantile(off, 0.999) < 1e-5
    assert off.max() < (1e-3 if PROJECTORS[projector].steps else 1e-5)


def test_photon_counts_agree_between_devices(other):
    integrals = np.random.default_rng(0).random((256, 256)).astype(np.float32) * 6
    config = ImageChainConfig(log=False, window={"level": 0.5, "width": 1.0})
    images = [
        device.to_host(ImageChain(device, 99).apply(device.to_device(integrals), config, 5, 0.5))
        for device in (CpuDevice(), other)
    ]
    counts = [np.rint(image * open_field_photons(20.0, 0.5)) for image in images]
    off = np.abs(counts[0] - counts[1])
    assert off.max() <= 1
    assert np.mean(off > 0) <= 1e-4


@pytest.mark.parametrize(
    "config",
    [
        ImageChainConfig(blur_sigma_mm=0.7, electronic_noise_photons=3.0, gain=1.2, bias=0.01),
        ImageChainConfig(beer_lambert=False, poisson=False, log=False, polarity="bone_bright"),
    ],
    ids=["everything", "integrals"],
)
def test_images_agree_between_devices(other, config):
    integrals = np.random.default_rng(0).random((100, 90)).astype(np.float32) * 6
    images = [
        device.to_host(ImageChain(device, 99).apply(device.to_device(integrals), config, 5, 0.5))
        for device in (CpuDevice(), other)
    ]
    assert np.mean(np.abs(images[0] - images[1]) > 1e-5) <= 1e-4


def found(monkeypatch, *, cuda=0, vulkan=()):
    monkeypatch.setattr(selection, "_cuda_device_count", lambda: cuda)
    monkeypatch.setattr(selection, "has_driver", lambda: cuda > 0)
    monkeypatch.setattr(selection, "try_device", lambda choice, sections: TrialResult())
    monkeypatch.setattr(
        selection, "_adapters", lambda kind: list(vulkan) if kind == "vulkan" else []
    )
    monkeypatch.setattr(sys, "platform", "linux")


LLVMPIPE = "llvmpipe (LLVM 15.0.6, 256 bits)"


@pytest.mark.parametrize(
    ("cuda", "vulkan", "kind"),
    [
        (1, ["NVIDIA H200"], "cuda"),
        (0, ["AMD Radeon"], "vulkan"),
        (0, [LLVMPIPE, "AMD Radeon"], "vulkan"),
        (0, [LLVMPIPE], "cpu"),
        (0, [], "cpu"),
    ],
)
def test_auto_takes_cuda_then_a_real_gpu_then_the_cpu(monkeypatch, cuda, vulkan, kind):
    found(monkeypatch, cuda=cuda, vulkan=vulkan)
    choice = selection.choose_device("auto")
    assert choice.kind == kind
    assert "llvmpipe" not in choice.adapter
    assert choice.reason


def test_auto_takes_the_first_device_that_passes_and_tells_of_each_other(monkeypatch, caplog):
    found(monkeypatch, cuda=1, vulkan=["AMD Radeon", LLVMPIPE])
    faults = {"cuda": "90% of its line integrals are wrong", "vulkan": None}
    monkeypatch.setattr(
        selection, "try_device", lambda choice, _: TrialResult(fault=faults[choice["kind"]])
    )
    assert selection.choose_device("auto").adapter == "AMD Radeon"
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("renderer.device: auto leaves out cuda: 90% of its line integrals")
    faults["vulkan"] = "it gave no image within 60 s"
    assert selection.choose_device("auto").kind == "cpu"
    assert len(caplog.records) == 3


def test_a_driver_without_a_gpu_is_no_news(monkeypatch, caplog):
    found(monkeypatch, cuda=1)
    monkeypatch.setattr(
        selection, "try_device", lambda *_: TrialResult(fault="no GPU", absent=True)
    )
    assert selection.choose_device("auto").kind == "cpu"
    assert not caplog.records


@pytest.mark.parametrize(("gpus", "warnings"), [(1, 1), (0, 0)])
def test_a_gpu_that_only_lacks_cupy_is_not_passed_over_in_silence(
    monkeypatch, caplog, gpus, warnings
):
    found(monkeypatch)
    monkeypatch.setattr(selection, "has_driver", lambda: gpus > 0)
    monkeypatch.setattr(selection, "_driver_gpu_count", lambda: gpus)
    monkeypatch.setattr(selection.importlib.util, "find_spec", lambda name: None)
    assert selection.choose_device("auto").kind == "cpu"
    assert [r.message for r in caplog.records] == warnings * [
        "the NVIDIA GPU is left alone: CuPy is not installed "
        "(pip install cupy-cuda12x, or cupy-cuda13x for CUDA 13)"
    ]


def test_a_software_adapter_is_taken_only_when_named(monkeypatch):
    found(monkeypatch, vulkan=[LLVMPIPE])
    assert selection.choose_device("llvmpipe").adapter == LLVMPIPE
    with pytest.raises(DeviceError, match=r"renderer\.device: vulkan is not available"):
        selection.choose_device("vulkan")


@pytest.mark.parametrize("requested", ["cuda", "vulkan", "metal", "llvmpipe"])
def test_a_device_that_is_not_there_is_an_error_and_no_fallback(monkeypatch, requested):
    found(monkeypatch)
    with pytest.raises(DeviceError, match=rf"renderer\.device: {requested} is not available"):
        selection.choose_device(requested)


def test_an_unknown_device_names_those_there_are():
    with pytest.raises(InputError, match=r"must be one of auto, cuda, .* got 'tpu'"):
        selection.choose_device("tpu")


def load(name):
    """Compile a kernel of the image chain, or take it from the cache."""
    return compiler.load_cpu_kernel(compiler.kernel_files(name, name, exact=True))


def test_without_a_compiler_the_error_names_the_fix(monkeypatch):
    compiler.find_compiler.cache_clear()
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    try:
        with pytest.raises(DeviceError, match=r"no C\+\+ compiler found .*apt install g\+\+"):
            load("window")
    finally:
        compiler.find_compiler.cache_clear()


def test_slangpy_is_loaded_without_pytorch_which_can_be_imported_after_it():
    """A module that must not be imported would stand there as None."""
    code = """
        import sys
        from fluoro.rendering.devices.load_slangpy import load_slangpy
        load_slangpy()
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_compiled_kernels_are_kept_on_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path))
    load("window")
    monkeypatch.setattr(compiler, "_translate", lambda *_: pytest.fail("compiled again"))
    load("window")
    kept = {path.suffix for path in (tmp_path / "kernels").iterdir()}
    assert kept in ({".so", ".json"}, {".so", ".json", ".h", ".gch"})  # with clang; with GCC


def test_a_damaged_kernel_is_named_with_its_fix(monkeypatch, tmp_path):
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "good"))
    load("logarithm")
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "bad"))
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    for name in ("dispatcher", "logarithm"):
        (library,) = (tmp_path / "bad" / "kernels").glob(f"{name}*.so")
        sound = library.read_bytes()
        library.write_bytes(b"no library")
        with pytest.raises(DeviceError, match=rf"{name}.* is damaged .*delete its folder"):
            load("logarithm")
        library.write_bytes(sound)


def test_a_cache_that_cannot_be_written_is_named_with_its_fix(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot write compiled kernels to .*FLUORO_CACHE_DIR"):
        load("window")


def test_loading_a_kernel_does_not_switch_the_process_to_flush_denormals():
    code = (
        "import numpy as np\n"
        "from fluoro.rendering.devices.cpu.compiler import kernel_files, load_cpu_kernel\n"
        "from fluoro.rendering.projectors.joseph import PROJECTOR as P\n"
        "from fluoro.rendering.ray_kernels import PLAIN, PROJECT, RAYS_ENTRY, ray_kernel\n"
        "kernel = ray_kernel(PROJECT, P.packet.of(PLAIN.sums))\n"
        "load_cpu_kernel(kernel_files(kernel, RAYS_ENTRY, exact=False))\n"
        "assert np.float32(1e-38) * np.float32(1e-3) > 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_workers_are_as_many_as_requested():
    assert CpuDevice(3).workers == 3
    assert CpuDevice().workers >= 1
    assert CpuDevice(1).name == "CPU, 1 thread"


def test_dispatches_at_the_same_time_come_to_the_same_images():
    """Six threads of Python over the threads that all kernels share."""
    volume, device = volumes.noise(), CpuDevice(3)
    views = [volumes.view(CarmPose(lao_deg=angle)) for angle in (0, 40, 80)]
    renderer = DrrRenderer(volume, device, projector="joseph")
    expected = [renderer.render(view) for view in views]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(renderer.render, views * 50))
    for number, image in enumerate(found):
        np.testing.assert_array_equal(image, expected[number % 3])


def test_a_forked_process_renders():
    """It has none of the threads that waited for work in its parent."""
    code = (
        "import os, sys\n"
        "import numpy as np\n"
        "from fluoro.geometry.carm import CarmPose\n"
        "from fluoro.rendering.devices.cpu.device import CpuDevice\n"
        "from fluoro.rendering.renderer import DrrRenderer\n"
        "from tests import volumes\n"
        "renderer = DrrRenderer(volumes.noise(), CpuDevice(3))\n"
        "view = volumes.view(CarmPose())\n"
        "here = renderer.render(view)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(0 if np.array_equal(renderer.render(view), here) else 7)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def long_gap_ms(busy, seconds=1.5):
    """Gap [ms] between ticks of a Python thread, one each millisecond, while `busy` runs.

    One gap in a hundred is longer. What the thread spent ready to run, but without a processor, is
    taken off: other programs do that to it, and no lock.
    """
    gaps, stop = [], threading.Event()

    def tick():
        with Path("/proc/thread-self/schedstat").open("rb") as schedule:
            before_ms = time.perf_counter() * 1e3 - queued_ms(schedule)
            while not stop.is_set():
                time.sleep(0.001)
                now_ms = time.perf_counter() * 1e3 - queued_ms(schedule)
                gaps.append(now_ms - before_ms)
                before_ms = now_ms

    thread = threading.Thread(target=tick)
    thread.start()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        busy()
    stop.set()
    thread.join()
    return np.quantile(gaps, 0.99)


def queued_ms(schedule):
    """Time [ms] that the thread of an open schedstat file has waited for a processor so far."""
    return int(os.pread(schedule.fileno(), 100, 0).split()[1]) / 1e6


def held_lock():
    """Keeps every other Python thread waiting for a twentieth of a second."""
    ctypes.PyDLL(None).usleep(50_000)


def test_python_threads_keep_running_while_frames_render():
    """A 512 x 512 frame takes a tenth of a second and more; a held lock would show as that."""
    grid = VolumeGrid(shape_zyx=(200, 200, 200), spacing_xyz_mm=(1.5, 1.5, 1.5))
    mu = np.full(grid.shape_zyx, 0.01, np.float32)
    renderer = DrrRenderer(MuVolume(mu_zyx=mu, grid=grid), CpuDevice())
    detector = CarmGeometry(detector_width_px=512, detector_height_px=512, pixel_spacing_mm=0.8)
    view = volumes.view(CarmPose(lao_deg=20), grid, detector)
    out = np.empty((512, 512), np.float32)
    renderer.render(view, out)
    limit_ms = long_gap_ms(lambda: time.sleep(0.05)) + 5.0
    # The thread that renders may itself lose its processor with the lock in hand, between two
    # frames: one tick in a hundred is left to that. A lock held for a frame would make nearly
    # every gap as long as the frame.
    assert long_gap_ms(lambda: renderer.render(view, out)) < limit_ms
    assert long_gap_ms(held_lock) > limit_ms, "a held lock must be seen"
