"""The first touch of an NVIDIA GPU, on a stand-in for its driver (tests/stand_in)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from fluoro.errors import DeviceError
from fluoro.rendering.devices import cuda, nvrtc, selection, trial
from fluoro.rendering.devices.nvidia_driver import NvidiaDriver, NvidiaGpu
from fluoro.rendering.devices.nvrtc import Nvrtc, find_nvrtc
from fluoro.rendering.devices.vulkan_adapters import DISCRETE, INTEGRATED, SOFTWARE, VulkanAdapter
from tests.session_support import small_ct, small_document
from tests.stand_in.build import build, real_nvrtc
from tests.stand_in.run import ROOT, make_cache, on_stand_in, require_stand_in, run_on_stand_in

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """Runs code on the stand-in, with one cache for all tests of this file."""
    require_stand_in()
    cache = make_cache(tmp_path_factory.mktemp("cache") / "cache")
    return lambda code, *arguments, **settings: on_stand_in(code, cache, *arguments, **settings)


# -- NVRTC -------------------------------------------------------------------------------------


def places(monkeypatch, *found):
    """Have these NVRTCs be all that are here: library, version or what is wrong, headers."""
    versions = {Path(library): version for library, version, _ in found}
    monkeypatch.setattr(
        nvrtc, "_places", lambda: iter([(Path(library), include) for library, _, include in found])
    )
    monkeypatch.setattr(nvrtc, "_version", versions.__getitem__)


def test_the_first_nvrtc_that_is_not_newer_than_the_driver_is_taken(monkeypatch):
    here = Path("/include")
    places(monkeypatch, ("/a", (12, 9), here), ("/b", (12, 0), None), ("/c", (12, 2), here))
    found = find_nvrtc((12, 2))
    assert found == Nvrtc(library=Path("/c"), version=(12, 2), include=here)


@pytest.mark.parametrize(
    ("found", "reported"),
    [
        ([], "there is none"),
        ([("/a", (12, 0), Path("/i"))], "/a is of CUDA 12.0, the driver supports up to 11.4"),
        ([("/a", "does not load (no ELF)", None)], "/a does not load (no ELF)"),
        ([("/a", (11, 0), None)], "/a has no cuda_runtime.h beside it"),
    ],
    ids=["none", "old driver", "broken", "no headers"],
)
def test_without_an_nvrtc_that_fits_one_line_says_what_there_is_and_the_fix(
    monkeypatch, found, reported
):
    places(monkeypatch, *found)
    with pytest.raises(DeviceError) as error:
        find_nvrtc((11, 4))
    (line,) = str(error.value).splitlines()
    assert reported in line
    assert "pip install -r requirements.txt" in line


def test_a_file_that_is_no_library_is_reported_as_broken(tmp_path, monkeypatch):
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libnvrtc.so").write_bytes(b"no library")
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    library, _ = next(nvrtc._places())
    assert "does not load" in nvrtc._version(library)


def test_nvrtc_of_the_wheels_is_served_to_both_who_look_for_it(tmp_path):
    """By CUDA_PATH with headers, and by the name libnvrtc.so alone."""
    if real_nvrtc() is None:
        pytest.skip("needs NVRTC: pip install -r requirements.txt")
    code = """
        import ctypes, os
        from pathlib import Path
        from fluoro.rendering.devices.nvrtc import find_nvrtc, serve_nvrtc
        os.environ["CUDA_PATH"] = "/nowhere"
        found = find_nvrtc((99, 0))
        with serve_nvrtc(found):
            toolkit = Path(os.environ["CUDA_PATH"])
            assert (toolkit / "include" / "cuda_runtime.h").is_file()
            assert (toolkit / "lib64" / "libnvrtc.so").is_file()
        assert os.environ["CUDA_PATH"] == "/nowhere"
        major, minor = ctypes.c_int(), ctypes.c_int()
        library = ctypes.CDLL("libnvrtc.so")
        assert library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)) == 0
        assert (major.value, minor.value) == found.version, found
    """
    environment = os.environ | {"FLUORO_CACHE_DIR": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, cwd=ROOT, env=environment
    )


def test_the_pinned_nvrtc_is_the_oldest_of_its_major_and_the_one_that_is_checked():
    pins = (ROOT / "requirements.txt").read_text(), (ROOT / "requirements/cu13.txt").read_text()
    assert "nvidia-cuda-nvrtc-cu12==12.0." in pins[0]
    assert "nvidia-cuda-nvrtc==13.0." in pins[1]
    assert "nvrtc" not in (ROOT / "requirements/cuda_check.txt").read_text().split("\n", 1)[1]


# -- the device --------------------------------------------------------------------------------

OPEN = """
    import logging, sys
    from fluoro.errors import DeviceError
    from fluoro.rendering.devices import trial
    from fluoro.rendering.devices.selection import open_device
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
    trial.LIMIT_S = float(sys.argv[2])
    trial.forget_trial_results()  # a result does not depend on the stand-in's faults
    try:
        print(open_device(sys.argv[1]).name)
    except DeviceError as error:
        print("error", error)
"""


def opened(stand_in, requested, limit_s=120, before="", **settings):
    return stand_in(before + OPEN, requested, str(limit_s), **settings).splitlines()


def test_auto_takes_a_gpu_that_renders_as_it_should(stand_in):
    assert opened(stand_in, "auto") == ["Stand-in GPU 0"]


@pytest.mark.slow
def test_auto_leaves_out_a_gpu_that_is_wrong_in_contrast_alone(stand_in):
    code = """
        from fluoro.config import Config
        from fluoro.rendering.devices import trial
        from fluoro.rendering.devices.selection import choose_device
        trial.forget_trial_results()
        for contrast in ({}, {"contrast": {"vessels": "coronary"}}):
            volume = {"phantom": "thorax", **contrast}
            config = Config.model_validate({"volume": volume, "pose_source": {"kind": "static"}})
            sections = trial.trial_sections(config)
            print(choose_device("auto", sections).kind)
    """
    assert stand_in(code, idle="contrast_fill").split() == ["cuda", "cpu"]


@pytest.mark.slow
def test_a_result_is_remembered_until_something_changes(stand_in):
    code = """
        from fluoro.rendering.devices import trial
        from fluoro.rendering.devices.selection import choose_device
        asked, ask = [], trial._ask
        trial.forget_trial_results()
        trial._ask = lambda *given: asked.append(given) or ask(*given)
        sections = {"renderer": {"projector": "siddon"}}
        for _ in range(2):
            assert choose_device("auto", sections).kind == "cuda"
        trial.forget_trial_results()
        choose_device("auto", sections)
        print(len(asked))
    """
    assert stand_in(code) == "2\n"


FAULTS = {
    "idle": "of its line integrals are wrong",
    "wrong": "of its line integrals are wrong",
    "crash": "it ended the process that tried it (SIGABRT)",
    "hang": "it gave no image within 20 s",
    "refuse": "does not open",
    "dead": "the NVIDIA driver does not start (cuInit gives 999)",
}
SLOW = ("hang",)


@pytest.mark.parametrize(
    "fault", [pytest.param(f, marks=[pytest.mark.slow] * (f in SLOW)) for f in FAULTS]
)
def test_auto_leaves_a_gpu_that_fails_with_one_line(stand_in, fault):
    warning, name = opened(stand_in, "auto", 20 if fault == "hang" else 120, fault=fault)
    assert name.startswith("CPU, ")
    assert warning.startswith("WARNING renderer.device: auto leaves out cuda: ")
    assert FAULTS[fault] in warning
    assert "`app.py doctor` looks for the reason" in warning


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ({"fault": "refuse"}, "Stand-in GPU 0 does not open: "),
        ({"version": "11040"}, "the driver supports up to 11.4: update the driver"),
        ({"gpus": "0"}, "cuda is not available: the NVIDIA driver finds no GPU"),
        ({"fault": "dead"}, "cuda is not available: the NVIDIA driver does not start"),
        (
            {"memory": str(1 << 27)},
            "too little memory: 0.2 GiB more are wanted, 0.1 of 0.1 GiB are",
        ),
    ],
    ids=["refuses kernels", "too old", "no GPU", "dead", "little memory"],
)
def test_a_gpu_that_is_named_stays_an_error_with_its_fix(stand_in, settings, reported):
    (line,) = opened(stand_in, "cuda", **settings)
    assert line.startswith("error ")
    assert reported in line


BROKEN = {
    "no library": "does not load",
    "no function": "does not load",
    "no headers": "has no cuda_runtime.h beside it",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_nvrtc_is_one_line_with_its_fix(stand_in, tmp_path, kind):
    library = tmp_path / "lib64" / "libnvrtc.so"
    library.parent.mkdir()
    if kind == "no library":
        library.write_bytes(b"no library")
    else:
        other = "cuda/lib64/libnvrtc.so" if kind == "no headers" else "libcuda.so.1"
        library.symlink_to(build() / other)
    broken = """
    import os
    from fluoro.rendering.devices import nvrtc
    os.environ["CUDA_PATH"] = os.environ["STAND_IN_BROKEN"]
    nvrtc._wheels = lambda: []
    """
    (line,) = opened(stand_in, "cuda", before=broken, broken=str(tmp_path))
    assert line.startswith("error NVRTC, CUDA's runtime compiler, is missing (")
    assert BROKEN[kind] in line
    assert line.endswith("(requirements/cu13.txt for CUDA 13) brings one that fits")


def test_gpus_that_are_hidden_are_reported_with_the_variable(stand_in, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (line,) = opened(stand_in, "cuda")
    assert "CUDA_VISIBLE_DEVICES='' hides every NVIDIA GPU: unset it" in line


def test_the_second_gpu_has_the_arrays_and_the_launches(stand_in):
    code = """
        import numpy as np
        from fluoro.errors import DeviceError
        from fluoro.rendering.devices.selection import choose_device, open_device
        from fluoro.rendering.renderer import DrrRenderer
        from tests import volumes
        view, images = volumes.view(volumes.POSES["frontal"]), []
        for name in ("cuda:1", "cuda:0"):
            device = open_device(name)
            image = DrrRenderer(volumes.noise(), device).render(view)
            assert image.device.id == int(name[-1])
            assert device.name == f"Stand-in GPU {name[-1]}"
            images.append(device.to_host(image))
        assert np.ptp(images[0]) > 0
        assert np.array_equal(*images)
        try:
            choose_device("cuda:2")
        except DeviceError as error:
            print(error)
    """
    assert stand_in(code, gpus="2") == (
        "renderer.device: cuda:2 is not available: there is cuda:0 (Stand-in GPU 0), "
        "cuda:1 (Stand-in GPU 1), not cuda:2\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("memory", "wanted"),
    [(1 << 27, "0.2 GiB more are wanted, 0.1 of 0.1 GiB"), (5 << 27, "0.5 GiB more are wanted")],
    ids=["for slangpy", "for the volume"],
)
def test_a_gpu_with_too_little_memory_is_left_for_the_next_device(stand_in, memory, wanted):
    code = """
        import logging, sys
        from fluoro.rendering.devices import trial
        from fluoro.rendering.devices.selection import on_first_device
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        trial.forget_trial_results()
        device, _ = on_first_device("auto", lambda device: device.empty((1 << 27,)))
        print(device.kind)
    """
    warning, kind = stand_in(code, memory=str(memory)).splitlines()
    assert f"Stand-in GPU 0 has too little memory: {wanted}" in warning
    assert "volume.spacing_mm" in warning
    assert kind == "cpu"


@pytest.mark.slow
def test_kernels_are_compiled_once_for_a_driver(tmp_path):
    require_stand_in()
    code = """
        import ctypes, os
        from fluoro.rendering.devices.selection import open_device
        from fluoro.rendering.renderer import DrrRenderer
        from tests import volumes
        library = ctypes.CDLL(os.environ["CUDA_PATH"] + "/lib64/libnvrtc.so")
        device = open_device("cuda")
        opened = library.stand_in_compiled()
        DrrRenderer(volumes.noise(), device, projector="joseph").render(
            volumes.view(volumes.POSES["frontal"])
        )
        print(library.stand_in_compiled() - opened)
        device.close()
    """
    counts = [
        on_stand_in(code, tmp_path, version=version) for version in ("12030", "12030", "12040")
    ]
    assert counts == ["1\n", "0\n", "1\n"]


TEXTS = """
    import ctypes, os, sys
    from fluoro.rendering.devices.selection import open_device
    from fluoro.rendering.devices.base import KernelText
    slang = (
        "uniform float* image; [shader(\\"compute\\")]"
        "[numthreads(1, 1, 1)] void filled() { image[0] = %s; }"
    )
    nvrtc = ctypes.CDLL(os.environ["CUDA_PATH"] + "/lib64/libnvrtc.so")
    nvrtc.stand_in_options.restype = ctypes.c_char_p
    device = open_device("cuda")
    for value in sys.argv[1].split(","):
        before, image = nvrtc.stand_in_compiled(), device.empty((1,))
        exact = value.endswith("!")
        text = KernelText(slang % value.rstrip("!"))
        device.launch(text, "filled", (1, 1, 1), {"image": image}, exact=exact)
        new = nvrtc.stand_in_compiled() - before
        fast = b"--use_fast_math" in nvrtc.stand_in_options() if new else None
        print(float(device.to_host(image)[0]), new, fast)
    device.close()
"""


@pytest.mark.slow
def test_kernels_are_kept_by_source_and_options_and_only_those_of_projectors_are_fast(tmp_path):
    require_stand_in()
    cache = make_cache(tmp_path / "cache", cuda=False)
    first = on_stand_in(TEXTS, cache, "1.0,2.0,2.0!").splitlines()
    assert first == ["1.0 1 True", "2.0 1 True", "2.0 1 False"]
    again = on_stand_in(TEXTS, cache, "2.0!,1.0,3.0!").splitlines()
    assert again == ["2.0 0 None", "1.0 0 None", "3.0 1 False"]


def test_a_change_of_any_shader_makes_another_folder_of_kernels(tmp_path, monkeypatch):
    (tmp_path / "stages").mkdir()
    stage = tmp_path / "stages" / "lag.slang"
    monkeypatch.setattr("fluoro.paths.shader_dir", lambda: tmp_path)
    gpu = NvidiaGpu(index=0, name="GPU", capability=(8, 6), memory_bytes=1)
    driver = NvidiaDriver(version=(12, 2), gpus=(gpu,))
    found = Nvrtc(library=Path("/n"), version=(12, 0), include=Path("/i"))
    keys = set()
    for text in ("a", "b"):
        stage.write_text(text)
        keys.add(cuda._kernel_key(driver, gpu, found))
    assert len(keys) == 2


def test_python_reads_utf8_after_nvrtc_was_at_work(stand_in):
    """NVRTC leaves the thread that it compiles on in the locale "C"."""
    code = """
        import locale
        from fluoro.rendering.devices.selection import open_device
        before = locale.getencoding()
        device = open_device("cuda")
        device.launch("window", "window", (1, 1, 1), {
            "image": device.empty((1, 1)), "image_size": (1, 1, 1), "lower": 0.0, "width": 1.0,
            "inverted": 0,
        })
        print(before == locale.getencoding())
    """
    assert stand_in(code) == "True\n"


def test_a_run_on_a_gpu_that_does_nothing_ends_on_the_cpu_with_one_warning(tmp_path):
    require_stand_in()
    document = small_document(
        small_ct(tmp_path), tmp_path, renderer={"device": "auto"}, run={"frames": 3}
    )
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(document))
    command = [sys.executable, "app.py", "run", str(config)]
    done = run_on_stand_in(command, make_cache(tmp_path / "cache"), {"fault": "idle"})
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert "auto leaves out cuda: 100% of its line integrals are wrong" in warnings[0]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["device"].startswith("CPU, ")


SINKS = """
    import ctypes, json, sys
    from pathlib import Path
    from tests.session_support import run_small, small_ct, small_document
    folder = Path(sys.argv[1])
    run_small(small_document(
        small_ct(folder), folder, renderer={"device": "cuda"}, console={"enabled": True},
        igtl={"enabled": True, "port": 0}, run={"frames": 12, "fps": 10},
    ))
    driver = ctypes.CDLL("libcuda.so.1")
    ways = ("to host, own stream", "to host, null stream", "to host, waiting")
    print(json.dumps([driver.stand_in_count(way.encode()) for way in ways]))
"""


def test_a_frame_is_copied_once_however_many_sinks_take_it(stand_in, tmp_path):
    """Recorder, console and OpenIGTLink: one copy a frame, on a stream of its own."""
    assert json.loads(stand_in(SINKS, str(tmp_path)).splitlines()[-1]) == [12, 0, 0]


# -- without a GPU -----------------------------------------------------------------------------


def test_a_machine_without_a_gpu_starts_no_process_and_imports_nothing_for_it(tmp_path):
    if selection.has_driver():
        pytest.skip("this machine has an NVIDIA driver")
    code = """
        import subprocess, sys
        from fluoro.rendering.devices import selection
        subprocess.Popen = None
        selection.vulkan_adapters = lambda: []
        assert selection.open_device("auto").kind == "cpu"
        print(sorted({"cupy", "slangpy", "fluoro.diagnostics.device_trial"} & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env=os.environ | {"FLUORO_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_an_adapter_with_memory_of_its_own_comes_before_the_processors(monkeypatch):
    listed = [("Intel Iris", INTEGRATED), ("llvmpipe", SOFTWARE), ("GeForce", DISCRETE)]
    found = [VulkanAdapter(name=name, kind=kind, driver_version=1) for name, kind in listed]
    monkeypatch.setattr(
        "fluoro.rendering.devices.vulkan_adapters._adapters", lambda _vulkan, _instance: found
    )
    from fluoro.rendering.devices.vulkan_adapters import LIBRARY, vulkan_adapters

    try:
        names = [adapter.name for adapter in vulkan_adapters()]
    except OSError:
        names = []
    if not names:
        pytest.skip(f"needs {LIBRARY}: apt install libvulkan1")
    assert names == ["GeForce", "Intel Iris", "llvmpipe"]


def test_a_trial_whose_cache_cannot_be_written_still_has_a_result(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(trial, "_ask", lambda *_: trial.TrialResult(fault="off"))
    parts = {"kind": "cuda", "adapter": "", "index": 0}
    assert trial.try_device(parts, {}).fault == "off"
