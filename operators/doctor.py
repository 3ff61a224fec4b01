"""`app.py doctor`: whether everything that fluoro needs works here, and on which device to render.

Whatever could end or stop the process is asked in one of its own.
"""

from __future__ import annotations

import json
import os
import re
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from fluoro.errors import DeviceError
from fluoro.files.atomic_write import replacing
from fluoro.paths import cache_dir
from fluoro.rendering.devices.nvidia_driver import has_driver
from fluoro.rendering.devices.selection import DeviceChoice, examined_devices
from fluoro.rendering.devices.trial import forget_trial_results

__all__ = ["Advice", "Row", "advice", "examine", "report_lines"]

SILENT_S = 60.0
"""A process that says nothing for so long has stopped; on an idle machine it says something within
a tenth of it."""
AT_ONCE = 2
"""Processes side by side, each on a core of its own."""
RUNNING: set[subprocess.Popen[bytes]] = set()
"""The processes of the checks that run at the moment."""
CONSOLE_PORT = 8080
STACK_MIB = 32
"""Which Holoscan recommends for a thread."""
MEMORY_GIB, DISK_GIB = 4, 2
GIB = 1 << 30

OPENS = "opens"
"""Name of the row of a device that could be opened, or not."""
UPDATE = "update its driver, or render on another device"
UPDATE_CPU = "name another C++ compiler in CXX"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was examined.
        state: "ok", "FAILED", "absent" or "note".
        text: What was found.
        device: The device that the row is about, as `renderer.device` names it; "": none.
        fix: What to do about it; "": nothing.
    """

    name: str
    state: str
    text: str
    device: str = ""
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """On which device to render.

    Attributes:
        device: As `renderer.device` names it; None: none renders as it should.
        text: The sentence for the user.
    """

    device: str | None
    text: str


def examine() -> Iterator[Row]:
    """Yield the rows of the table as they become known; stored results of devices are deleted."""
    forget_trial_results()
    yield from (_compiler(), _stack(), _memory(), _disk(), _port())
    names = ["libraries", "holoscan", "dds"]
    names += ["driver", "nvrtc", "cupy"] if has_driver() else []
    if not has_driver():
        yield Row(name="driver", state="absent", text="no NVIDIA driver (libcuda.so.1)")
    devices = examined_devices()
    with _ended_pool() as pool:
        checks = pool.map(_check, names)
        found = pool.map(_parity, devices)
        yield from checks
        rows = [row for each in found for row in each]
    yield from rows
    for row in _graphs(rows):
        rows.append(row)
        yield row
    best = advice(rows).device or ""
    if best.startswith("cuda"):
        yield replace(_check("holoviz", best), device="")  # the device is sound without
    elif has_driver():
        yield Row(name="holoviz", state="absent", text="needs a CUDA device that works")


@contextmanager
def _ended_pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for the checks; Ctrl-C drops those that wait and kills the others' processes."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in list(RUNNING):
            child.kill()
        raise
    finally:
        pool.shutdown()


def _graphs(rows: Sequence[Row]) -> Iterator[Row]:
    """The graph on the best device, and on the next one where it fails."""
    tried = set()
    while (best := advice(rows).device) and best not in tried:
        tried.add(best)
        yield _check("graph", best)


def advice(rows: Sequence[Row]) -> Advice:
    """Return on which device to render, and why on no better one."""
    devices = list(dict.fromkeys(row.device for row in rows if row.device))
    bad = [row for row in rows if row.device and row.state == "FAILED"]
    failed = {row.device: row for row in reversed(bad)}  # the first of each says the most
    sound = [device for device in devices if device not in failed and device != "llvmpipe"]
    better = "".join(
        f"; {device} fails ({failed[device].name}: {failed[device].text}){_fix(failed[device])}"
        for device in devices
        if device in failed
    )
    if not sound:
        return Advice(device=None, text=f"no device renders as it should{better}")
    why = "its images are those of the reference"
    if sound[0] == "cpu" and len(devices) == 1:
        why += ", and there is no GPU"
    return Advice(device=sound[0], text=f"use renderer.device: {sound[0]}: {why}{better}")


def _fix(row: Row) -> str:
    """What to do, after a colon; a device that does not open says it itself."""
    fix = row.fix or (UPDATE_CPU if row.device == "cpu" else UPDATE)
    return "" if row.name == OPENS else f": {fix}"


def report_lines(rows: Sequence[Row]) -> list[str]:
    """Return the table, a line for each row."""
    width = max(len(_label(row)) for row in rows)
    return [
        f"{_label(row):<{width}}  {row.state:<6}  {row.text}" + (f"; {row.fix}" if row.fix else "")
        for row in rows
    ]


def write_report(path: Path, rows: Sequence[Row]) -> None:
    """Write table and advice as JSON.

    Raises:
        OutputError: The file cannot be written.
    """
    document = {"rows": [asdict(row) for row in rows], "advice": asdict(advice(rows))}
    with replacing(path) as file:
        file.write(json.dumps(document, indent=2) + "\n")


def _label(row: Row) -> str:
    return f"{row.device}: {row.name}" if row.device else row.name


FIXES = {
    "libraries": "make env, or pip install what is named",
    "holoscan": "make env, or pip install holoscan-cu12",
    "dds": "free the domain's ports, or leave dds and pose_source.kind: dds out",
    "driver": "see what nvidia-smi says",
    "nvrtc": "make env",
    "cupy": "pip install cupy-cuda12x (cupy-cuda13x for CUDA 13)",
    "graph": "run it with --debug and report it",
    "holoviz": "leave it out (holoviz.enabled: false) and use the console",
}


def _check(name: str, device: str = "") -> Row:
    """What one of operators/doctor_checks.py says."""
    lines, reason = _child(["operators.doctor_checks", name, *filter(None, [device])], "")
    if reason is None:
        return Row(name=name, state="ok", text=" ".join(lines), device=device)
    fix = "" if FIXES[name] in reason else FIXES[name]
    return Row(name=name, state="FAILED", text=reason, device=device, fix=fix)


def _parity(choice: DeviceChoice) -> list[Row]:
    """What fluoro/diagnostics/device_parity.py finds on a device."""
    parts = {"kind": choice.kind, "adapter": choice.adapter, "index": choice.index}
    lines, reason = _child(["fluoro.diagnostics.device_parity"], json.dumps(parts))
    rows = [_row(json.loads(line), choice.name) for line in lines if line.startswith("{")]
    if reason is not None:
        rows.append(Row(name="process", state="FAILED", text=reason, device=choice.name))
    return rows


def _row(finding: dict[str, Any], device: str) -> Row:
    return Row(
        name=finding["name"],
        state="ok" if finding["good"] else "FAILED",
        text=finding["text"],
        device=device,
    )


def _child(arguments: list[str], given: str) -> tuple[list[str], str | None]:
    """Output of a module run in a process of its own, and why it failed; None: it did not."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"PYTHONPATH": path},
        )
        RUNNING.add(child)
        said, hangs = _said(child, given.encode())
        RUNNING.discard(child)
        lines = said.decode(errors="replace").splitlines()
        if hangs:
            return lines, f"it hangs: it says nothing for {SILENT_S:g} s"
        if child.returncode < 0:
            return lines, f"it crashes ({signal.Signals(-child.returncode).name})"
        if child.returncode:
            errors.seek(0)
            return lines, _last_line(errors.read().decode(errors="replace"))
    return lines, None


def _said(child: subprocess.Popen[bytes], given: bytes) -> tuple[bytes, bool]:
    """Standard output of a process until it ends, and whether it had to be killed for silence."""
    said, pipe = b"", cast("IO[bytes]", child.stdout)
    with suppress(BrokenPipeError), cast("IO[bytes]", child.stdin) as stdin:
        stdin.write(given)
    with selectors.DefaultSelector() as ready, pipe:
        ready.register(pipe, selectors.EVENT_READ)
        while (heard := ready.select(SILENT_S)) and (part := os.read(pipe.fileno(), 1 << 16)):
            said += part
    try:
        child.wait(SILENT_S if heard else 0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return said, True
    return said, False


def _last_line(text: str) -> str:
    """Of a traceback, without the name of an error that is fluoro's own."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no message"]
    return re.sub(r"^fluoro\.errors\.\w+: ", "", lines[-1])


def _compiler() -> Row:
    from fluoro.rendering.devices.cpu.compiler import find_compiler

    try:
        return Row(name="compiler", state="ok", text=find_compiler())
    except DeviceError as error:
        return Row(name="compiler", state="FAILED", text=str(error))


def _stack() -> Row:
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if hard == resource.RLIM_INFINITY or hard >= STACK_MIB << 20:
        return Row(name="stack limit", state="ok", text=f"at least {STACK_MIB} MiB are allowed")
    text = f"{hard >> 20} MiB, Holoscan recommends {STACK_MIB}"
    return Row(name="stack limit", state="note", text=text, fix="ulimit -Hs unlimited")


def _memory() -> Row:
    free_gib = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    available = Path("/proc/meminfo")
    if available.is_file():
        lines = available.read_text().splitlines()
        kib = next((int(line.split()[1]) for line in lines if line.startswith("MemAvail")), 0)
        free_gib = kib / (1 << 20)
    enough = free_gib >= MEMORY_GIB
    return Row(
        name="memory",
        state="ok" if enough else "note",
        text=f"{free_gib:.1f} GiB are free",
        fix="" if enough else "large CTs need volume.spacing_mm or volume.crop_mm",
    )


def _disk() -> Row:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free_gib = shutil.disk_usage(folder).free / GIB
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        return Row(name="cache", state="FAILED", text=str(error), fix="set FLUORO_CACHE_DIR")
    good = writable and free_gib >= DISK_GIB
    return Row(
        name="cache",
        state="ok" if good else "FAILED",
        text=f"{folder}, {free_gib:.0f} GiB free" + ("" if writable else ", not writable"),
        fix="" if good else "set FLUORO_CACHE_DIR to another folder",
    )


def _port() -> Row:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", CONSOLE_PORT))
        except OSError:
            text = f"{CONSOLE_PORT} is in use; the console takes the next free one"
            return Row(name="console port", state="note", text=text)
    return Row(name="console port", state="ok", text=f"{CONSOLE_PORT} is free")
