"""Tests marked `gpu` are skipped by that reason where no NVIDIA GPU is; `make gpu` fails there."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.selection import open_device
from tests.support import CHROMIUM, CHROMIUM_FLAGS, require_program, require_vulkan

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent
REQUIRE_GPU = "FLUORO_REQUIRE_GPU"
"""Environment variable; at 1 (`make gpu`) a missing NVIDIA GPU fails the tests marked `gpu`."""


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium; without it the test is skipped by its name, and fails in CI."""
    return require_program(*CHROMIUM)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Headless Chromium."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Opens the console at an address, in a browser context of its own; waits for its status."""
    contexts = []

    def open_at(url: str) -> Page:
        contexts.append(browser.new_context(viewport={"width": 1000, "height": 1200}))
        page = contexts[-1].new_page()
        page.goto(url)
        page.wait_for_selector("#rate:not(:empty)")
        return page

    yield open_at
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("configs", "docs", "fluoro", "operators", "shaders"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    for name in ("app.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--no-index", "-q", "-w", str(out), str(source)], check=True)
    (made,) = out.glob("fluoro-*.whl")
    return made


@pytest.fixture(scope="session")
def unpacked_wheel(wheel: Path) -> Path:
    """The wheel of this checkout, unpacked."""
    folder = wheel.parent / "unpacked"
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.fixture(autouse=True)
def no_program_is_left_behind() -> Iterator[None]:
    """A test that fails may leave one that would take a core from all that follow."""
    yield
    support = sys.modules.get("tests.session_support")
    while support and support.RUNNING:
        process = support.RUNNING.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture(autouse=True)
def no_log_handler_is_left_behind() -> Iterator[None]:
    """A command that a test runs has one for its output, which is closed after the test."""
    before = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:], level = before
    logging.root.setLevel(level)


@pytest.fixture(scope="module", params=["llvmpipe", pytest.param("cuda", marks=pytest.mark.gpu)])
def other(request: pytest.FixtureRequest) -> Iterator[ComputeDevice]:
    """Every device that is here beside the CPU."""
    if request.param == "llvmpipe":
        require_vulkan()
    device = open_device(request.param)
    yield device
    device.close()


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """The garbage collector leaves out what is collected, which stays to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Before any fixture: one of a wider scope may open the GPU."""
    if item.get_closest_marker("gpu") is None or _count_cuda_devices() > 0:
        return
    reason = "needs an NVIDIA GPU and its driver (libcuda.so.1)"
    if os.environ.get(REQUIRE_GPU) == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _count_cuda_devices() -> int:
    count = ctypes.c_int(0)
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
