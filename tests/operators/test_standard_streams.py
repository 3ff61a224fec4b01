"""A run goes on without terminal, log or output, keeps its files clean, and ends with SIGHUP."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from tests.session_support import (
    HEIGHT_PX,
    ROOT,
    WIDTH_PX,
    Program,
    images_of,
    record_of,
    small_ct,
    small_document,
    use_cache,
)

FRAMES = 20
FRAME_BYTES = HEIGHT_PX * WIDTH_PX * 4
NPY_HEADER_BYTES = 128


@pytest.fixture
def small_yaml(tmp_path, monkeypatch):
    """Writes a YAML file of a small run; its folder is out/run."""
    use_cache(tmp_path, monkeypatch)

    def write(**sections):
        path = tmp_path / "small.yaml"
        sections = {"recorder": {"formats": ["npy", "mp4"]}, **sections}
        document = small_document(small_ct(tmp_path), tmp_path / "out", **sections)
        path.write_text(yaml.safe_dump(document))
        return path

    return write


def in_shell(line, path, **environment):
    """Run `line`, in which $RUN is the run of a YAML file; the shell's exit code."""
    run = f"{sys.executable} app.py run {path}"
    done = subprocess.run(
        ["bash", "-c", line.replace("$RUN", run)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=100,
        check=False,
    )
    return done.returncode


def assert_whole(folder):
    """The run is complete, and its files hold its frames and nothing else."""
    record = record_of(folder)
    assert (record["completed"], record["frames"]) == (True, FRAMES)
    assert len(images_of(folder)) == FRAMES
    assert np.isfinite(images_of(folder)).all()
    size = (folder / "frames.npy").stat().st_size
    assert size == NPY_HEADER_BYTES + FRAMES * FRAME_BYTES
    with av.open(str(folder / "frames.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == FRAMES


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_run_with_closed_descriptors_keeps_its_files_clean(small_yaml, tmp_path, closed):
    assert in_shell(f"$RUN {closed}", small_yaml(), HOLOSCAN_LOG_LEVEL="TRACE") == 0
    assert_whole(tmp_path / "out" / "run")


@pytest.mark.parametrize(
    "line",
    [
        "set -o pipefail; $RUN 2>&1 | head -n 1",
        "$RUN >/dev/full 2>/dev/full",
    ],
)
def test_a_run_whose_log_or_output_is_not_read_is_complete(small_yaml, tmp_path, line):
    assert in_shell(line, small_yaml()) == 0
    assert_whole(tmp_path / "out" / "run")


def test_a_command_whose_output_is_its_product_says_that_it_is_lost():
    command = [sys.executable, "app.py", "schema"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "No space left on device" in line


def endless(small_yaml):
    return small_yaml(recorder={"formats": ["npy"]}, run={"frames": None, "fps": 60})


def wait_for_frames(folder, least=10):
    """Wait until a run has written frames."""
    end = time.monotonic() + 60
    path = folder / "frames.npy"
    while not (path.exists() and path.stat().st_size > least * FRAME_BYTES):
        assert time.monotonic() < end, "the run did not get that far"
        time.sleep(0.05)


def exit_code(pid, timeout_s=60):
    """Exit code of a child, which is killed if it goes on."""
    end = time.monotonic() + timeout_s
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return os.waitstatus_to_exitcode(ended[1])


def test_closing_the_terminal_ends_the_run_with_its_record(small_yaml, tmp_path):
    path, folder = endless(small_yaml), tmp_path / "out" / "run"
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "app.py", "run", str(path)])
    try:
        wait_for_frames(folder)
    finally:
        os.close(screen)
        code = exit_code(pid)
    assert code == 128 + signal.SIGHUP
    record = record_of(folder)
    assert record["stopped_by"] == "SIGHUP"
    assert record["frames"] == len(images_of(folder)) > 0


def test_a_second_hangup_does_not_cost_the_record(small_yaml, tmp_path):
    path, folder = endless(small_yaml), tmp_path / "out" / "run"
    program = Program("run", path)
    program.wait_for((folder / "frames.npy").exists)
    wait_for_frames(folder)
    for _ in range(3):
        program.interrupt(signal.SIGHUP)
    code, _, err = program.end()
    assert (code, record_of(folder)["stopped_by"]) == (129, "SIGHUP"), err


def test_nohup_is_respected(small_yaml, tmp_path):
    path, folder = endless(small_yaml), tmp_path / "out" / "run"
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    program = Program("run", path, code=f"{ignoring}import app; app.program()")
    program.wait_for((folder / "frames.npy").exists)
    wait_for_frames(folder)
    program.interrupt(signal.SIGHUP)
    before = (folder / "frames.npy").stat().st_size
    wait_for_frames(folder, before // FRAME_BYTES + 10)
    program.interrupt(signal.SIGTERM)
    code, _, err = program.end()
    assert (code, record_of(folder)["stopped_by"]) == (143, "SIGTERM"), err
