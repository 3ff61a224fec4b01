"""The folder of a training set: begun once, finished by the same configuration alone."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from fluoro import paths, plugins
from fluoro.datasets.training.config import DatasetFile
from fluoro.datasets.training.plan import PARTS, Plan, ShardReport, file_of
from fluoro.errors import InputError
from fluoro.files.atomic_write import replacing, whole_file, writing

__all__ = [
    "INDEX_NAME",
    "SUMS_NAME",
    "begin",
    "clear_leftovers",
    "finished_reports",
    "locked",
    "read_manifest",
    "write_index",
]

MANIFEST_NAME, INDEX_NAME, SUMS_NAME = "dataset.json", "index.parquet", "SHA256SUMS"
LOCK_NAME = ".lock"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """The folder, made if need be, for one program at a time.

    Raises:
        InputError: Another program makes a training set there.
        OutputError: The folder cannot be made.
    """
    with writing(out):
        (out / PARTS).mkdir(parents=True, exist_ok=True)
        file = (out / LOCK_NAME).open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{out}: another program makes a training set there") from None
        yield


def begin(plan: Plan) -> None:
    """Write what the set is, or check that a set that was begun is this one; clear leftovers.

    Raises:
        InputError: The folder was begun with another configuration or another version.
        OutputError: It cannot be written.
    """
    out, facts = plan.out, _facts(plan.file)
    path = out / MANIFEST_NAME
    if path.exists():
        _require_same(out, _read(path), facts)
    else:
        with replacing(path) as file:
            file.write(json.dumps(facts, indent=1))
    clear_leftovers(out)


def clear_leftovers(out: Path) -> None:
    """Remove what killed workers have left.

    Raises:
        OutputError: It cannot be removed.
    """
    for leftover in out.glob(".shard-*"):
        with writing(leftover):
            leftover.unlink(missing_ok=True)


def _facts(file: DatasetFile) -> dict[str, Any]:
    return {
        "code": _code_sha256(),
        "plugins": plugins.versions(),
        "folder": str(file.folder),
        "document": file.document,
    }


@cache
def _code_sha256() -> str:
    """SHA-256 of what makes frames: fluoro's Python and Slang sources."""
    hasher = hashlib.sha256()
    for path in [*sorted(Path(paths.__file__).parent.rglob("*.py")), *paths.shader_files()]:
        hasher.update(path.read_bytes())
    return hasher.hexdigest()


def _require_same(out: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for key, what in (("code", "version of fluoro"), ("plugins", "version of a plugin")):
        if begun.get(key) != now[key]:
            raise InputError(
                f"{out}: was begun with another {what}, whose frames may differ: use another "
                "--output"
            )
    found = _difference(begun.get("document"), now["document"])
    if found:
        raise InputError(
            f"{out}: was begun with another configuration: {found}; use another --output"
        )


def _difference(begun: Any, now: Any, key: str = "") -> str:
    """The first key that differs, and both values; empty: none does."""
    if isinstance(begun, dict) and isinstance(now, dict):
        for name in {**begun, **now}:
            there, here = begun.get(name, "absent"), now.get(name, "absent")
            found = _difference(there, here, f"{key}.{name}".lstrip("."))
            if found:
                return found
        return ""
    return "" if begun == now else f"{key} was {_short(begun)}, is {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path}: is no description of a training set") from None
    if not isinstance(found, dict) or not {"document", "folder"} <= found.keys():
        raise InputError(f"{path}: is no description of a training set")
    return found


def read_manifest(out: Path) -> DatasetFile:
    """Return the file that a set was begun with.

    Raises:
        InputError: There is no set in the folder.
    """
    found = _read(out / MANIFEST_NAME)
    return file_of(found["document"], Path(found["folder"]))


def finished_reports(plan: Plan) -> dict[int, ShardReport]:
    """Return the reports of the files that are there, as long as they were when finished."""
    numbers = range(plan.file.config.shards)
    found = {number: _report(plan, number) for number in numbers}
    return {number: report for number, report in found.items() if report is not None}


def _report(plan: Plan, number: int) -> ShardReport | None:
    with suppress(OSError, ValueError):
        report = ShardReport.from_text(plan.report_path(number).read_text(encoding="utf-8"))
        if plan.shard_path(number).stat().st_size == report.bytes:
            return report
    return None


def write_index(plan: Plan, reports: Sequence[ShardReport]) -> None:
    """Write the index of all frames, and the checksums as `sha256sum -c` takes them.

    Raises:
        OutputError: They cannot be written.
    """
    ordered = sorted(reports, key=lambda report: report.shard)
    rows = [row for report in ordered for row in report.rows]
    _write_parquet(plan.out / INDEX_NAME, rows)
    with replacing(plan.out / SUMS_NAME) as file:
        for report in ordered:
            file.write(f"{report.sha256}  {plan.shard_path(report.shard).name}\n")


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    texts, counts = ("key", "shard", "config"), ("index", "case", "first_byte", "bytes")
    sizes, matrices = ("width_px", "height_px"), ("pixel_from_camera", "camera_from_world")
    numbers = ("time_s", "lao_deg", "cra_deg", "roll_deg", "x_mm", "y_mm", "z_mm", "dose_ngy")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in texts[:2]),
            *((name, pa.int64()) for name in counts),
            *((name, pa.int32()) for name in sizes),
            *((name, pa.float64()) for name in numbers),
            *((name, pa.list_(pa.float64())) for name in matrices),
            (texts[2], pa.string()),
        ]
    )
    with whole_file(path) as unfinished:
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), unfinished)
