"""A data set compared and registered, view by view; what is done stays when the program ends."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fluoro.config import RegistrationSettings
from fluoro.datasets.evaluation.comparison import STEP_MM, compare_view
from fluoro.datasets.evaluation.registrations import Registered, register_view
from fluoro.datasets.evaluation.report import write_report
from fluoro.datasets.evaluation.rows import Row, Rows
from fluoro.datasets.evaluation.summary import summary
from fluoro.datasets.published.checksums import Checked, check_files
from fluoro.datasets.published.open_set import open_published
from fluoro.datasets.published.subject import (
    PublishedSet,
    SetName,
    Subject,
    VoxelOrigin,
    views_of,
)
from fluoro.datasets.published.volumes import published_attenuation, with_labels
from fluoro.errors import InputError
from fluoro.files.image_files import save_image
from fluoro.geometry.projection import View
from fluoro.plot.frusta import write_frusta
from fluoro.recording.run_record import versions
from fluoro.registration.register import Registrar
from fluoro.registration.report.overlay import comparison as overlay_images
from fluoro.registration.search.pyramid import bin_image, bin_view
from fluoro.registration.targets.target import Target
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.renderer import DrrRenderer

__all__ = ["Evaluation", "Settings", "evaluate"]

Progress = Callable[[str, float], None]
OVERLAYS = 6
"""A subject."""
OVERLAY_PX = 128


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the statistics.

    Attributes:
        dataset: Which data set.
        subset: Views a subject, evenly spread; None: all.
        starts: Registrations of each view; 0: none.
        seed: Of the starts.
        voxel_origin: As for `open_published`.
        labels: Structures that are registered, by number; None: all that is in the CT. xvr takes
            1, 2, 3, 4 and 7 of DeepFluoro: the pelvis without the femurs, which move by themselves.
        excluded: Whether views with a wrong reference pose count too.

    Raises:
        InputError: A number below its least.
    """

    dataset: SetName
    subset: int | None = None
    starts: int = 1
    seed: int = 0
    voxel_origin: VoxelOrigin | None = None
    labels: tuple[int, ...] | None = None
    excluded: bool = False

    def __post_init__(self) -> None:
        for name, least in (("subset", 1), ("starts", 0), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} must be at least {least}, got {value}")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How an evaluation ended.

    Attributes:
        statistics: Of `summary`.
        layout: What is missing of the data set, one line each.
        checksums: What the files' content was compared with, one line.
        folder: Where the report is.
    """

    statistics: dict[str, Any]
    layout: list[str]
    checksums: str
    folder: Path


def evaluate(
    path: Path | str,
    settings: Settings,
    folder: Path | str,
    device: ComputeDevice,
    progress: Progress = lambda _what, _fraction: None,
) -> Evaluation:
    """Compare and register the views of a data set, and write the report.

    A view or subject that cannot be read is a row with its error; the others go on.

    Args:
        path: The HDF5 file, or the folder of xvr's form.
        settings: What is done.
        folder: Where rows and report go; rows that are there are not done again.
        device: Where to render.
        progress: Told what is being done, and which fraction of it, 0 to 1.

    Raises:
        InputError: The data set cannot be opened, a file has another checksum than the one beside
            it, or the folder has rows of other settings or data.
        OutputError: A file cannot be written.
    """
    folder = Path(folder)
    path = Path(path)
    with open_published(path, settings.dataset, voxel_origin=settings.voxel_origin) as data:
        progress("checking the layout", 0.0)
        layout = data.check()
        given = asdict(settings) | {"voxel_origin": data.voxel_origin, "form": data.form}
        checked = _checked(path, data, progress)
        given |= {"files": {"sha256": checked.sha256, "count": checked.files}}
        rows = Rows(folder, _plain(given))
        run = _Run(data, settings, folder, device, rows, progress)
        chosen = list(_chosen(data, settings))
        for subject in sorted({subject for subject, _ in chosen}):
            run.subject(subject, [view for name, view in chosen if name == subject])
        statistics = summary(rows.all)
        facts = {
            "settings": _plain(given),
            "layout": layout,
            "checksums": checked.line(),
            "views": len(chosen),
            "statistics": statistics,
            "versions": versions(),
            "pages": sorted(each.name for each in folder.glob("poses_*.html")),
        }
        write_report(folder, facts, rows.all)
    return Evaluation(statistics=statistics, layout=layout, checksums=checked.line(), folder=folder)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def _checked(path: Path, data: PublishedSet, progress: Progress) -> Checked:
    """The files' content, compared with the checksums that lie beside them."""
    inside = path / data.name if (path / data.name).is_dir() else path
    folder = inside.absolute() if data.form == "xvr" else path.absolute().parent
    top = folder.parent if data.form == "xvr" else folder
    return check_files(folder, data.files(), top, lambda share: progress("SHA-256", share))


def _chosen(data: PublishedSet, settings: Settings) -> Iterator[tuple[str, str]]:
    """Subjects and views that are wanted."""
    every = list(views_of(data, excluded=settings.excluded))
    for subject in data.subjects():
        views = [view for name, view in every if name == subject]
        yield from ((subject, view) for view in _spread(views, settings.subset))


def _spread(names: Sequence[str], count: int | None) -> list[str]:
    """Evenly from first to last; None: all."""
    if count is None or count >= len(names):
        return list(names)
    return [names[k] for k in np.linspace(0, len(names) - 1, count).round().astype(int)]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scene:
    """A subject with what renders and registers it."""

    subject: Subject
    renderer: DrrRenderer
    registrar: Registrar | None
    drawn: frozenset[str]


class _Run:
    """Subject after subject, view after view."""

    def __init__(
        self,
        data: PublishedSet,
        settings: Settings,
        folder: Path,
        device: ComputeDevice,
        rows: Rows,
        progress: Progress,
    ) -> None:
        self._data, self._settings, self._folder = data, settings, folder
        self._device, self._rows, self._progress = device, rows, progress

    def subject(self, name: str, views: Sequence[str]) -> None:
        """Do what is missing of a subject's views."""
        missing = [key for key in self._keys(name, views) if not self._rows.has(**key)]
        if not missing:
            return
        self._progress(f"reading {name}", 0.0)
        try:
            scene = self._scene(name, views)
        except InputError as error:
            for key in missing:
                self._rows.add(key | {"error": str(error)})
            return
        self._write_poses(scene, views)
        for number, key in enumerate(missing):
            self._progress(name, number / len(missing))
            try:
                row = self._row(scene, key)
            except InputError as error:
                row = {"error": str(error)}
            self._rows.add(key | row)
        self._progress(name, 1.0)

    def _keys(self, subject: str, views: Sequence[str]) -> Iterator[Row]:
        for view in views:
            yield {"task": "compare", "subject": subject, "view": view, "start": None}
            for start in range(self._settings.starts):
                yield {"task": "register", "subject": subject, "view": view, "start": start}

    def _scene(self, name: str, views: Sequence[str]) -> _Scene:
        subject = self._data.subject(name)
        whole = published_attenuation(subject, self._data.name)
        registrar = None
        if self._settings.starts:
            if not len(subject.targets_xyz_mm):
                raise InputError(f"{subject.source}: must have landmarks for errors, has none")
            registrar = Registrar(
                with_labels(whole, subject, self._settings.labels),
                self._device,
                RegistrationSettings(),
                center_xyz_mm=subject.targets_xyz_mm.mean(axis=0),
            )
        return _Scene(
            subject=subject,
            renderer=DrrRenderer(whole, self._device, projector="march", step_mm=STEP_MM),
            registrar=registrar,
            drawn=frozenset(_spread(views, OVERLAYS)),
        )

    def _row(self, scene: _Scene, key: Row) -> Row:
        xray = self._data.view(key["subject"], key["view"])
        if key["task"] == "compare":
            center = scene.subject.grid.center_xyz_mm

            def render(view: View) -> NDArray[np.float32]:
                return np.asarray(self._device.to_host(scene.renderer.render(view)))

            return asdict(compare_view(xray, self._data.name, render, center))
        assert scene.registrar is not None
        seed = [self._settings.seed, _number(key["subject"]), _number(key["view"]), key["start"]]
        points = scene.subject.targets_xyz_mm
        found = register_view(scene.registrar, xray, self._data.name, points, seed)
        if key["start"] == 0 and key["view"] in scene.drawn:
            file_name = f"overlay_{key['subject']}_{key['view']}.png"
            _write_overlay(self._folder / file_name, scene.registrar, found)
            return found.row | {"overlay": file_name}
        return found.row

    def _write_poses(self, scene: _Scene, views: Sequence[str]) -> None:
        """The frusta of all views that can be read."""
        found = {}
        for name in views:
            with suppress(InputError):  # its row says so
                found[name] = self._data.view(scene.subject.name, name).view
        if found:
            write_frusta(
                self._folder / f"poses_{scene.subject.name}.html",
                found,
                title=f"{self._data.name} {scene.subject.name}: camera poses",
                grid=scene.subject.grid,
                points_xyz_mm=scene.subject.targets_xyz_mm,
            )


def _number(name: str) -> int:
    """A number that is the same on every machine."""
    return zlib.crc32(name.encode())


def _write_overlay(path: Path, registrar: Registrar, found: Registered) -> None:
    """Start and end over the image, about 128 columns wide."""
    height, width = found.target.image.shape
    factor = max(1, round(min(height, width) / OVERLAY_PX))
    image, mask = bin_image(found.target.image, found.target.mask, factor)
    step_mm = float(np.linalg.norm(found.start.column_step_xyz_mm)) * factor
    renderer = registrar.renderer(step_mm / 2)
    before, after = (
        renderer.device.to_host(renderer.render(bin_view(view, factor)))
        for view in (found.start, found.result.views[0])
    )
    overlay = overlay_images(Target(image=image, mask=mask), before, after)
    save_image(path, Image.fromarray(overlay))
