"""Compares pairs of images: `python -m fluoro.xray_simulator.validation pairs.json --output FILE`.

The manifest is xray_simulator's: schema_version 1, domain, data_range, histogram_range, bins,
provenance, and pairs of reference, rendered and mask, with paths relative to it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluoro.errors import FluoroError, InputError
from fluoro.files.atomic_write import replacing, writing
from fluoro.xray_simulator.validation.metrics import Domain, evaluate_pair

__all__ = ["main"]

DRAWS = 2000
"""Of acquisitions, for the interval of a median."""
MEASURES = ("ncc", "gradient_ncc", "mi_nats", "ssim", "rmse", "wasserstein")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Pair(_Part):
    dataset: str
    subject: str
    view: str
    reference: str
    rendered: str
    mask: str
    misposed: str | None = None
    acquisition: str | None = None

    def files(self) -> dict[str, str]:
        """Return the pair's files by what they are."""
        found = {"reference": self.reference, "rendered": self.rendered, "mask": self.mask}
        return found | ({"misposed": self.misposed} if self.misposed else {})


class _Manifest(_Part):
    schema_version: Literal[1]
    domain: Domain
    data_range: Annotated[float, Field(gt=0)]
    histogram_range: Annotated[list[float], Field(min_length=2, max_length=2)]
    bins: Annotated[int, Field(ge=2)] = 64
    provenance: dict[str, Any] = {}
    pairs: Annotated[list[_Pair], Field(min_length=1)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fluoro.xray_simulator.validation",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("manifest", type=Path, help="a JSON file")
    parser.add_argument("--output", type=Path, required=True, help="report to write; a new file")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals' draws (0)")
    parser.add_argument("--dryrun", "--dry-run", action="store_true", help="only check the files")
    asked = parser.parse_args(arguments)
    try:
        _run(asked)
    except FluoroError as error:
        sys.stderr.write(f"xray_simulator.validation: {error}\n")
        return 2
    return 0


def _run(asked: argparse.Namespace) -> None:
    manifest = _read(asked.manifest)
    if asked.output.exists():
        raise InputError(f"--output: {asked.output} is there already: name a new file")
    folder = asked.manifest.parent
    for path in _files(manifest, folder):
        if not path.is_file():
            raise InputError(f"{asked.manifest}: {path} is not there")
    if asked.dryrun:
        sys.stdout.write(f"{asked.manifest}: {len(manifest.pairs)} pairs, all files are there\n")
        return
    scores = [_score(pair, manifest, folder) for pair in manifest.pairs]
    report = {
        "manifest": manifest.model_dump(),
        "sha256": {str(path): _sha256(path) for path in _files(manifest, folder)},
        "pairs": scores,
        "subjects": _subjects(manifest.pairs, scores, asked.seed),
    }
    with writing(asked.output):
        asked.output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(asked.output) as file:
        file.write(json.dumps(report, indent=2) + "\n")
    sys.stdout.write(f"{asked.output}: {len(scores)} pairs\n")


def _read(path: Path) -> _Manifest:
    try:
        return _Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {where}: {first['msg']}") from None


def _files(manifest: _Manifest, folder: Path) -> Iterator[Path]:
    names = {name for pair in manifest.pairs for name in pair.files().values()}
    yield from (folder / name for name in sorted(names))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _array(path: Path) -> NDArray[np.float64]:
    """A 2D array, or a grey PNG of 8 bits as 0 to 1."""
    if path.suffix.lower() == ".npy":
        try:
            return np.asarray(np.load(path, allow_pickle=False), float)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: is no array of numbers: {error}") from None
    try:
        with Image.open(path) as image:
            levels = np.asarray(image.convert("RGBA"))
    except OSError as error:
        raise InputError(f"{path}: is no image: {error}") from None
    grey = levels[..., 0]
    if (levels[..., 3] != 255).any() or any((levels[..., n] != grey).any() for n in (1, 2)):
        raise InputError(f"{path}: must be opaque and grey")
    return grey / 255


def _score(pair: _Pair, manifest: _Manifest, folder: Path) -> dict[str, Any]:
    images = {name: _array(folder / file) for name, file in pair.files().items()}
    low, high = manifest.histogram_range

    def compared(rendered: NDArray[np.float64]) -> dict[str, Any]:
        return evaluate_pair(
            images["reference"],
            rendered,
            images["mask"],
            domain=manifest.domain,
            data_range=manifest.data_range,
            histogram_range=(low, high),
            bins=manifest.bins,
        )

    try:
        found = {"pair": pair.model_dump(), **compared(images["rendered"])}
        if "misposed" in images:
            found["misposed"] = compared(images["misposed"])["as_configured"]
            ours, theirs = found["as_configured"]["gradient_ncc"], found["misposed"]["gradient_ncc"]
            known = ours is not None and theirs is not None
            found["gradient_ncc_gain"] = ours - theirs if known else None
    except InputError as error:
        raise InputError(f"{pair.dataset}, {pair.subject}, {pair.view}: {error}") from None
    return found


def _subjects(
    pairs: Sequence[_Pair], scores: Sequence[Mapping[str, Any]], seed: int
) -> dict[str, Any]:
    """Median, quartiles and, by acquisition, an interval of the median, a subject at a time."""
    groups: dict[str, list[int]] = {}
    for number, pair in enumerate(pairs):
        groups.setdefault(f"{pair.dataset}/{pair.subject}", []).append(number)
    return {
        name: {
            measure: _spread(
                [scores[n]["as_configured"][measure] for n in numbers],
                [pairs[n].acquisition for n in numbers],
                seed,
            )
            for measure in MEASURES
        }
        for name, numbers in groups.items()
    }


def _spread(
    values: Sequence[float | None], acquisitions: Sequence[str | None], seed: int
) -> dict[str, Any]:
    known = [each for each in values if each is not None]
    if not known:
        return {"views": 0, "median": None, "quartiles": None, "interval_95": None}
    quartiles = np.percentile(known, (25, 75)).tolist()
    return {
        "views": len(known),
        "median": float(np.median(known)),
        "quartiles": quartiles,
        "iqr": quartiles[1] - quartiles[0],
        "interval_95": _interval(values, acquisitions, seed),
    }


def _interval(
    values: Sequence[float | None], acquisitions: Sequence[str | None], seed: int
) -> list[float] | None:
    """Of the median, by drawing whole acquisitions; None: fewer than two, or a view without one."""
    if None in values or None in acquisitions or len(set(acquisitions)) < 2:
        return None
    by_acquisition: dict[str | None, list[float]] = {}
    for value, acquisition in zip(values, acquisitions, strict=True):
        by_acquisition.setdefault(acquisition, []).append(float(value or 0.0))
    groups, rng = list(by_acquisition.values()), np.random.default_rng(seed)
    drawn = rng.integers(0, len(groups), (DRAWS, len(groups)))
    medians = [np.median(np.concatenate([groups[n] for n in row])) for row in drawn]
    return [float(each) for each in np.percentile(medians, (2.5, 97.5))]


if __name__ == "__main__":
    sys.exit(main())
