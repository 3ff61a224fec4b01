"""Compares this work tree with an earlier one: images, keys, options, public names, test ids.

usage: python tools/check/same_images.py BASE [--frames N] [--only NAME ...]

BASE is a work tree of the earlier revision (`git worktree add BASE REV`); both trees use the
environment that runs this script. Every file of configs/ that both trees have is rendered in both
at full size on the CPU, and the recorded arrays must be bit-identical:

- Streams run free, without console, DDS and Holoviz. Poses that come from outside (console, DDS,
  servo) are replaced by fixed ones.
- Loops (registration, optimiser) are switched off: their images are compared, their estimates
  depend on timing.
- `register` files render their own target and search for a few iterations: the poses are compared.

EXCEPTIONS names what is left out. No key of the configuration, option, public name or test may be
gone unless tools/check/renamed.yaml says what it is now.
Exit code 1 when something differs.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).parent.parent.parent
RENAMED = ROOT / "tools" / "check" / "renamed.yaml"
EXCEPTIONS = {"dataset.yaml": "describes a training set, which is no stream"}
"""Files of configs/ that are not compared, with the reason."""
FROM_OUTSIDE = ("console", "dds", "servo", "igtl")
FIXED_POSES = {"kind": "sweep", "lao_range_deg": [-40, 40], "cra_range_deg": [0, 25], "period_s": 1}
STREAM = [
    *("renderer.device=cpu", "console.enabled=false", "recorder.enabled=true"),
    *("recorder.formats=[npz]", "recorder.scene_movie=false", "recorder.contact_sheet=false"),
    *("run.pacing=free_running", "run.name=run"),
]
SMALL_SEARCH = ["registration.max_iterations=3", "registration.attempts=1", "run.animation=false"]


def app(tree: Path, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a tree's app.py."""
    environment = os.environ | {"FLUORO_OUTPUT_DIR": str(out), "PYTHONPATH": str(tree)}
    command = [sys.executable, "app.py", *words]
    return subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )


def settings_of(path: Path, frames: int) -> list[str]:
    """Return the overrides that make a stream repeatable and record its arrays."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = [*STREAM, f"run.frames={frames}"]
    if document["pose_source"]["kind"] in FROM_OUTSIDE:
        found.append(f"pose_source={json.dumps(FIXED_POSES)}")
    if "dds" in document:
        found.append("dds={}")
    if "holoviz" in document:
        found.append("holoviz={}")
    if document.get("registration", {}).get("enabled"):
        found.append("registration.enabled=false")
    if "optimiser" in document:
        found.append("optimiser=null")
    return found


def arrays(tree: Path, path: Path, frames: int) -> dict[str, Any]:
    """Return what a configuration renders, or the pose that it finds, by name.

    Raises:
        RuntimeError: The application refuses or fails.
    """
    name = f"configs/{path.name}"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        if "target" in yaml.safe_load(path.read_text(encoding="utf-8")):
            done = app(tree, out, "register", name, "--set", "run.name=run", *SMALL_SEARCH)
            results = list(out.glob("run/result.json"))
            if not results:
                raise RuntimeError(done.stderr.strip() or done.stdout.strip())
            return {"pose": json.loads(results[0].read_text())["pose"]}
        done = app(tree, out, "run", name, "--set", *settings_of(path, frames))
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        with np.load(out / "run" / "frames.npz") as stored:
            return {key: stored[key] for key in stored.files}


def difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Return what differs between two sets of arrays; empty: nothing does."""
    if old.keys() != new.keys():
        return f"keys {sorted(old)} became {sorted(new)}"
    for key, before in old.items():
        after = new[key]
        if not isinstance(before, np.ndarray):
            if before != after:
                return f"{key} {before} became {after}"
        elif before.shape != after.shape or before.dtype != after.dtype:
            return f"{key}: {before.shape} {before.dtype} became {after.shape} {after.dtype}"
        elif before.tobytes() != after.tobytes():
            off = np.count_nonzero(before != after)
            return f"{key}: {off} of {before.size} values differ"
    return ""


def compare_images(base: Path, frames: int, only: list[str]) -> Iterator[tuple[str, str]]:
    """Return for each configuration its name and what differs, or why it cannot be rendered."""
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        if (only and path.stem not in only) or not (base / "configs" / path.name).is_file():
            continue
        if path.name in EXCEPTIONS:
            print(f"left out  configs/{path.name}: {EXCEPTIONS[path.name]}")
            continue
        try:
            old = arrays(base, base / "configs" / path.name, frames)
            what = difference(old, arrays(ROOT, path, frames))
        except RuntimeError as failure:
            what = str(failure)
        yield f"configs/{path.name}", what


def output_of(tree: Path, *words: str) -> str:
    """Return what a command of a tree's Python prints."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(
        [sys.executable, *words], cwd=tree, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


PUBLIC_NAMES = """
import ast, pathlib
for path in sorted(pathlib.Path('fluoro').rglob('*.py')):
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        targets = getattr(node, 'targets', ())
        if any(getattr(target, 'id', '') == '__all__' for target in targets):
            print(*ast.literal_eval(node.value), sep='\\n')
"""


def lines_of(tree: Path, *words: str) -> set[str]:
    """Return the lines that a command of a tree's Python prints."""
    return set(output_of(tree, *words).splitlines())


def test_ids(tree: Path) -> set[str]:
    """Return the ids of all tests, without their folders: each file has a name of its own."""
    found = lines_of(tree, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider")
    return {re.sub(r"^tests/(\w+/)*", "", line) for line in found if "::" in line}


def moved(name: str, renamed: dict[str, str]) -> str | None:
    """Return the new name of a name or of a test with parameters; None: the map has none."""
    test, bracket, parameters = name.partition("[")
    if name in renamed or test not in renamed:
        return renamed.get(name)
    return f"{renamed[test]}{bracket}{parameters}"


def gone(old: set[str], new: set[str], renamed: dict[str, str]) -> str:
    """Return the names that have disappeared without a line in the map; empty: none has.

    A line for a test without its parameters holds for all of them.
    """
    explained = {name for name in old - new if (moved(name, renamed) or "").startswith("gone: ")}
    missing = sorted(n for n in old - new - explained if moved(n, renamed) not in new)
    return f"{len(missing)} are gone: {', '.join(missing[:5])}" if missing else ""


def compare_texts(base: Path) -> Iterator[tuple[str, str]]:
    """Return a line for schemas, options, public names and test ids: nothing may be gone."""
    renamed = yaml.safe_load(RENAMED.read_text(encoding="utf-8"))
    for of in ("stream", "registration"):
        schemas = (json.loads(output_of(tree, "app.py", "schema", of)) for tree in (base, ROOT))
        old, new = (set(keys_of(schema, schema)) for schema in schemas)
        yield f"schema {of}", gone(old, new, renamed["keys"])
    for command in ("", "run", "register", "validate", "schema", "fetch", "inspect", "preprocess"):
        words = ("app.py", *([command] if command else []), "--help")
        old, new = (options_of(output_of(tree, *words)) for tree in (base, ROOT))
        yield f"options {command}".strip(), gone(old, new, renamed["options"])
    names = [lines_of(tree, "-c", PUBLIC_NAMES) for tree in (base, ROOT)]
    yield "public names", gone(*names, renamed["names"])
    yield "test ids", gone(test_ids(base), test_ids(ROOT), renamed["tests"])


def keys_of(node: Any, schema: Any, at: str = "", seen: tuple[str, ...] = ()) -> Iterator[str]:
    """Return the dotted names of all keys that a JSON Schema allows below a node."""
    if isinstance(node, list):
        for each in node:
            yield from keys_of(each, schema, at, seen)
    if not isinstance(node, dict):
        return
    reference = node.get("$ref", "").rpartition("/")[2]
    if reference and reference not in seen:
        yield from keys_of(schema["$defs"][reference], schema, at, (*seen, reference))
    for name, value in node.get("properties", {}).items():
        yield f"{at}.{name}".lstrip(".")
        yield from keys_of(value, schema, f"{at}.{name}", seen)
    for word in ("anyOf", "oneOf", "items", "prefixItems", "additionalProperties"):
        yield from keys_of(node.get(word), schema, at, seen)


def options_of(text: str) -> set[str]:
    """Return the options and commands that a help text explains."""
    commands = re.findall(r"^ {4}([a-z-]+)  ", text, re.MULTILINE)
    return {*commands, *re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}


def main() -> int:
    """Compare, print a line each, and tell whether all is the same."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("base", type=Path, metavar="BASE")
    parser.add_argument("--frames", type=int, default=3, metavar="N")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="files of configs/")
    arguments = parser.parse_args()
    base = arguments.base.resolve()
    if not (base / "app.py").is_file():
        parser.error(f"BASE must be a work tree with app.py, got {arguments.base}")
    texts = () if arguments.only else compare_texts(base)
    different = 0
    for each in (texts, compare_images(base, arguments.frames, arguments.only)):
        for name, what in each:
            print(
                f"{'DIFFERS' if what else 'same   '}  {name}{': ' if what else ''}{what}",
                flush=True,
            )
            different += bool(what)
    print(f"{different} differences")
    return different > 0


if __name__ == "__main__":
    sys.exit(main())
