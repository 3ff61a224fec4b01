"""Kernels of the CPU are compiled side by side, before the first frame, each by one translation."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

from fluoro.config import Config
from fluoro.errors import DeviceError
from fluoro.paths import shader_dirs, shader_files
from fluoro.rendering.devices.cpu import compiler, kernel_loader
from fluoro.rendering.devices.cpu.device import CpuDevice, CpuQueue
from fluoro.rendering.devices.cpu.kernel_loader import KernelLoader, early_compiler
from fluoro.rendering.devices.cpu.slang_cpp import kernel_cpp
from fluoro.rendering.devices.load_slangpy import load_slangpy
from fluoro.rendering.devices.uniforms import uniform_places
from fluoro.steady_clock import steady_ns
from operators.assembly import assemble
from tests.session_support import QuietReporter, small_ct, small_document, use_cache

LIMIT_S = 60.0
"""Nothing waits as long, but where a test fails."""
SHAPE = (8, 8)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path))
    return tmp_path / "kernels"


@pytest.fixture
def queues():
    """A device with two queues."""
    device = CpuDevice(1)
    found = [device.queue(), device.queue()]
    yield found
    for each in found:
        each.close()
    device.close()


@pytest.fixture
def compile_by(monkeypatch):
    """Have every kernel be missing, and compiled by another function."""

    def replace(function):
        monkeypatch.setattr(compiler.KernelFiles, "exist", lambda _files: False)
        monkeypatch.setattr(kernel_loader, "load_cpu_kernel", function)

    return replace


def open_kernel(files):
    """Return a kernel of the cache that all tests share."""
    if not files.library.is_file():
        compiler._build(files)
    return compiler._open(files, compiler.load_thread_library())


def launch(queue, kernel, image, source, **uniforms):
    height, width = image.shape
    shared = {"image": image, "image_size": (width, height, 1), "integrals": source}
    queue.launch(kernel, kernel, (width, height, 1), shared | uniforms, exact=True)


def photons(queue, image, source):
    launch(queue, "beer_lambert", image, source, open_field_photons=2.0)


def images(count):
    return [np.zeros(SHAPE, np.float32) for _ in range(count)]


def test_kernels_of_one_queue_are_compiled_side_by_side(queues, compile_by):
    both_at_work = threading.Barrier(2, timeout=LIMIT_S)

    def compiled(files):
        both_at_work.wait()
        return open_kernel(files)

    compile_by(compiled)
    source, one, other = images(3)
    photons(queues[0], one, source)
    launch(queues[0], "copy_integrals", other, one)
    queues[0].finish()
    assert np.all(other == 2.0)


def test_launches_keep_their_order_though_the_first_kernel_comes_last(queues, compile_by):
    second_is_there = threading.Event()

    def compiled(files):
        if files.entry == "beer_lambert":
            assert second_is_there.wait(LIMIT_S)
        kernel = open_kernel(files)
        if files.entry == "copy_integrals":
            second_is_there.set()
        return kernel

    compile_by(compiled)
    source, one, other = images(3)
    photons(queues[0], one, source)
    queues[1].after(queues[0].fence())
    launch(queues[1], "copy_integrals", other, one)
    queues[1].finish()
    assert np.all(other == 2.0)


def test_who_waits_for_a_kernel_that_does_not_compile_gets_the_error(queues, compile_by):
    def failed(files):
        raise DeviceError(f"cannot compile {files.entry}")

    compile_by(failed)
    source, one, other = images(3)
    photons(queues[0], one, source)
    rendering = queues[0].fence()
    queues[1].after(rendering)
    launch(queues[1], "copy_integrals", other, one)
    for fence in (rendering, queues[1].fence()):
        with pytest.raises(DeviceError, match="cannot compile beer_lambert"):
            fence.wait()
    compile_by(open_kernel)  # the next launch tries again
    photons(queues[0], one, source)
    queues[0].finish()
    assert np.all(one == 2.0)


def test_a_launch_of_wrong_uniforms_whose_kernel_comes_later_is_an_error_too(queues, compile_by):
    compile_by(open_kernel)
    source, image = images(2)
    launch(queues[0], "beer_lambert", image, source)
    with pytest.raises(KeyError, match="open_field_photons"):
        queues[0].finish()


def test_closing_gives_up_what_is_not_compiled_yet(queues, compile_by, monkeypatch):
    go_on, begun = threading.Event(), []
    pool = ThreadPoolExecutor(1)
    monkeypatch.setattr(kernel_loader, "_compilers", lambda: pool)

    def compiled(files):
        begun.append(files.entry)
        assert go_on.wait(LIMIT_S)
        return open_kernel(files)

    compile_by(compiled)
    source, one, other = images(3)
    launch(queues[0], "copy_integrals", one, source)
    photons(queues[1], other, source)
    queues[1].close()
    go_on.set()
    queues[0].finish()
    assert begun == ["copy_integrals"]
    photons(queues[0], other, source)  # it is wanted again
    queues[0].finish()
    pool.shutdown()
    assert np.all(other == 2.0)


def test_progress_counts_the_kernels_that_are_compiled(compile_by):
    told, loader = [], KernelLoader()
    loader.watch(lambda *counts: told.append(counts))
    compile_by(open_kernel)
    source, image = images(2)
    device = CpuDevice(1)
    device.kernel_loader = loader
    launch(device, "copy_integrals", image, source)
    launch(device, "copy_integrals", image, source)
    photons(device, image, source)
    assert told == [(0, 1), (1, 1), (1, 2), (2, 2)]


def test_all_kernels_of_a_run_are_begun_before_the_first_is_waited_for(tmp_path, monkeypatch):
    """Of the first frame of a full chain, which also measures its own image."""
    use_cache(tmp_path, monkeypatch)
    ct, out = small_ct(tmp_path), tmp_path / "out"
    document = small_document(ct, out, recorder={"enabled": False}, console={"enabled": True})
    document["volume"]["materials"] = {"kind": "tissues"}
    document["image_chain"] = {
        "xray": {},
        "scatter": {},
        "mtf": {},
        "brightness": {"target_ngy": 20},
        "edge_enhancement": {},
        "window": {"level": 0, "width": 1},
    }
    order, load, wait = [], KernelLoader._load, CpuQueue.wait_for
    monkeypatch.setattr(
        KernelLoader, "_load", lambda loader, key: order.append(key[1]) or load(loader, key)
    )
    monkeypatch.setattr(
        CpuQueue, "wait_for", lambda queue, mark: order.append("wait") or wait(queue, mark)
    )
    config = Config.model_validate(document)
    with ExitStack() as stack:
        assemble(config, "run", QuietReporter(), steady_ns(), stack, shown_elsewhere=False)
    kernels = [entry for entry in order if entry != "wait"]
    assert len(kernels) > 10
    assert order[: len(kernels)] == kernels


class AtOnce:
    """Takes the place of the threads that compile."""

    def __call__(self):
        return self

    def submit(self, function):
        function()

    def shutdown(self, *, cancel_futures):
        assert cancel_futures

    def cache_clear(self):
        """Nothing is kept."""


def test_an_early_begin_loads_slang_only_where_kernels_must_be_missing(cache, monkeypatch):
    loaded = []
    monkeypatch.setattr(kernel_loader, "_compilers", AtOnce())
    monkeypatch.setattr(kernel_loader, "load_slang", lambda: loaded.append("slang"))
    for _ in range(2):
        with early_compiler():
            assert compiler.has_thread_library()
    assert loaded == ["slang"]


def test_a_program_that_ends_early_leaves_nothing_unfinished_in_the_cache(cache):
    with pytest.raises(KeyboardInterrupt), early_compiler():
        raise KeyboardInterrupt
    assert all(path.is_file() for path in cache.glob("*"))


def test_the_image_chain_is_compiled_with_slangs_prelude_precompiled(cache):
    """GCC alone; where the precompiled file is of no use, the header stands beside it."""
    compiler.load_cpu_kernel(compiler.kernel_files("window", "window", exact=True))
    found = list(cache.glob("prelude-*.gch"))
    if "clang" in compiler.find_compiler():
        assert not found
        return
    (precompiled,) = found
    precompiled.write_bytes(b"of another compiler")
    compiler.load_cpu_kernel(compiler.kernel_files("logarithm", "logarithm", exact=True))
    precompiled.with_suffix("").unlink()
    compiler.load_cpu_kernel(compiler.kernel_files("gain_bias", "gain_bias", exact=True))


@pytest.mark.parametrize("name", ["window", "poisson_weighted", "scatter_rows", "make_cells"])
def test_the_layout_is_that_of_slangs_own_reflection(name):
    """slangpy reads it from a program of its own, as for other devices."""
    spy = load_slangpy()
    module = next(path for path in shader_files() if path.stem == name)
    found = kernel_cpp(module, name, shader_dirs(), compiler.DEFINES)
    device = spy.Device(type=spy.DeviceType.cpu, enable_hot_reload=False)
    try:
        options = {"include_paths": shader_dirs(), "defines": compiler.DEFINES}
        session = device.create_slang_session(compiler_options=options)
        program = session.load_program(module.name, [name])
        assert found.places == uniform_places(program)
        size = program.layout.entry_points[0].compute_thread_group_size
        assert found.group_size == (size.x, size.y, size.z)
    finally:
        device.close()
