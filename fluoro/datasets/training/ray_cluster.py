"""Work spread over the machines of a Ray cluster; the work of a lost machine is done again.

All machines write into the set's folder, so it must be on a file system that they share, at the
same path, as must the CTs. Each needs the same version of fluoro.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fluoro import plugins
from fluoro.datasets.training.plan import Plan
from fluoro.datasets.training.processes import Done, Event, Failed, Step
from fluoro.datasets.training.shard_maker import ShardMaker
from fluoro.errors import DeviceError, InputError, OutputError, to_install
from fluoro.paths import application_dir

__all__ = ["LOCAL", "in_cluster"]

LOCAL = "local"
"""Stands for a cluster that is started on this machine."""
ATTEMPTS_AFTER_LOSS = 10
"""How often a file is begun again when its machine is lost."""
ANSWER_S = 10.0
"""How long a cluster may take to answer."""

_makers: dict[str, ShardMaker] = {}
"""Of this process, by the plan's text: what a patient needs is prepared once."""


def in_cluster(plan: Plan, numbers: Sequence[int], address: str) -> Iterator[Event]:
    """Make files of a set on a cluster, and yield what happens.

    Args:
        plan: Of the set.
        numbers: Of the files.
        address: Of the cluster, as `ray.init` takes it; `local`: one on this machine.

    Raises:
        InputError: Ray is not installed.
        DeviceError: The cluster does not answer.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError(f"--ray needs the package ray: {to_install('ray')}")
    import ray

    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    try:
        yield from _events(ray, plan, numbers)
    finally:
        if ours:
            ray.shutdown()


def _require_answer(address: str) -> None:
    """See whether something listens there: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        raise InputError(f"--ray must be HOST:PORT of a cluster, got {address}")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except OSError as error:
        reason = error.strerror or error
        raise DeviceError(f"--ray {address}: the cluster does not answer: {reason}") from None


def _connect(ray: Any, address: str) -> None:
    if address != LOCAL:
        _require_answer(address)
    environment = {"env_vars": {"PYTHONPATH": str(application_dir().absolute())}}
    given = {} if address == LOCAL else {"address": address}
    try:
        ray.init(
            **given,
            include_dashboard=False if not given else None,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env=environment,
        )
    except Exception as error:  # noqa: BLE001  (Ray's own are of many kinds)
        first = str(error).strip().splitlines()[0]
        raise DeviceError(f"--ray {address}: the cluster does not answer: {first}") from None


def _events(ray: Any, plan: Plan, numbers: Sequence[int]) -> Iterator[Event]:
    gpus = int(_on_gpu(plan))
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=ATTEMPTS_AFTER_LOSS)(_make)
    text, allowed = replace(plan, threads=1).text(), plugins.allowed_modules()
    running = {remote.remote(text, number, allowed): number for number in numbers}
    while running:
        done, _ = ray.wait(list(running), num_returns=1)
        for each in done:
            yield from _events_of(ray, each, running.pop(each))


def _on_gpu(plan: Plan) -> bool:
    """Whether a task needs an NVIDIA GPU."""
    device = (plan.file.document.get("renderer") or {}).get("device")
    return isinstance(device, str) and device.startswith("cuda")


def _events_of(ray: Any, task: Any, number: int) -> Iterator[Event]:
    try:
        report, sizes = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else error
        first = (str(cause).splitlines() or [type(cause).__name__])[0]
        yield Failed(number, f"shard {number}: {first}", full=isinstance(cause, OutputError))
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        yield Failed(number, f"shard {number}: {first}")
    else:
        yield from (Step(size) for size in sizes)
        yield Done(number, report)


def _make(text: str, number: int, allowed: Sequence[str]) -> Any:
    """Make a file, in a process of the cluster."""
    plugins.allow(allowed)
    if text not in _makers:
        _makers.clear()
        _makers[text] = ShardMaker(Plan.from_text(text))
    sizes: list[int] = []
    report = _makers[text].make(number, sizes.append)
    return report, sizes
