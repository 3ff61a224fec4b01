#!/usr/bin/env python3
"""fluoro: live fluoroscopy from a CT.

app.py run configs/sweep.yaml            stream what a YAML file describes
app.py register configs/register_phantom.yaml   find the C-arm's pose from an image
app.py evaluate deepfluoro FILE.h5      compare and register a published data set
app.py dataset configs/dataset.yaml      make a training set: drawn views, masks, boxes, poses
app.py validate configs/sweep.yaml       check a YAML file
app.py schema [registration|dataset]     JSON Schema of the YAML, for editors
app.py presets                           C-arms that carm.preset may name
app.py fetch chest-ct                    bring a public CT
app.py doctor                            whether all that is needed works here, and on which device
app.py inspect CT.nii.gz                 what is in a CT or an X-ray file, with an image
app.py segment CT.nii.gz                 labels of a CT by another program, for volume.labels: auto
app.py preprocess --nifti CT.nii.gz      attenuation as a folder that `run --ct` takes
app.py repair output/sweep-1             record and bag of a run that was killed
app.py completion bash                   what completes these commands in a shell
"""

from __future__ import annotations

import _signal  # Python has it by now

if __name__ == "__main__" and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # no traceback until early_stop is imported

from fluoro.command_line.early_stop import end_early_stop  # before all that takes time

# isort: split

import fluoro.command_line.one_blas_thread  # noqa: F401  (before NumPy)

# isort: split

import argparse
import difflib
import json
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.logging import RichHandler

from fluoro import __version__, plugins
from fluoro.command_line.collector import keep_what_is_there, no_collections
from fluoro.command_line.standard_streams import guard_standard_streams, silence_output
from fluoro.command_line.terminal import make_reporter, terminal
from fluoro.config.carm_presets import PRESET_SOURCE, carm_presets
from fluoro.errors import FluoroError, InputError, to_install
from fluoro.interop.dds.installed import require_cyclonedds
from fluoro.paths import bare_name, config_path, output_dir
from fluoro.steady_clock import steady_ns

if TYPE_CHECKING:
    from fluoro.config import Config
    from fluoro.registration.config import RegisterConfig
    from operators.distributed_app import SplitOptions

STARTED_NS = steady_ns()

EXIT_BAD_INPUT = 2
EXIT_FAILED = 1
EXIT_NOT_CONVERGED = 3
EXIT_SIGNAL = 128
"""Plus the signal's number, as shells have it: 129 for SIGHUP, 130 for Ctrl-C, 143 for SIGTERM."""

CONFIG_HELP = "a YAML file, or the name of one that comes with fluoro, such as sweep"

GRAPH_THREAD = "graph"
"""Name of the thread in which a session runs its graph."""

SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*=")
"""How a value of --set begins."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def run(arguments: argparse.Namespace) -> int:
    """Stream what a YAML file describes."""
    config_file = config_path(arguments.config)
    with no_collections():
        from fluoro.config import load_config

        config = load_config(config_file, _overrides(arguments))
    with _compiler_at_work(config):
        return _stream(arguments, config, config_file.stem)


def _compiler_at_work(config: Config) -> AbstractContextManager[None]:
    """The compiler begins while Python imports the application, where the CPU may render."""
    if config.renderer.device not in ("auto", "cpu"):
        return nullcontext()
    from fluoro.rendering.devices.cpu.kernel_loader import early_compiler

    return early_compiler()


def _stream(arguments: argparse.Namespace, config: Config, name: str) -> int:
    with no_collections():
        from fluoro.recording.run_record import summary_lines
        from operators.session import run_session

    split = _split(arguments)
    reporter = make_reporter(config.run.frames)
    try:
        if split and split.fragment == "display":
            require_cyclonedds("--fragments display")
            from operators.display_session import run_display

            outcome = run_display(config, split, reporter, STARTED_NS)
        else:
            outcome = run_session(config, name, reporter, STARTED_NS, split)
    finally:
        reporter.close()
    files = [f"files in {outcome.folder}"] if outcome.folder else []
    _tell(*summary_lines(outcome.summary), *files)
    if outcome.failure:
        print(f"fluoro: {outcome.failure}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_SIGNAL + outcome.signal_number if outcome.signal_number else 0


def _tell(*lines: str) -> None:
    """Print what files hold; an output without a reader or on a full disk loses it."""
    try:
        print(*lines, sep="\n", flush=True)
    except OSError:
        silence_output()


def _split(arguments: argparse.Namespace) -> SplitOptions | None:
    """The part of this process where the graph runs over two machines; None: it runs here."""
    from operators.distributed_app import SplitOptions

    if not (arguments.driver or arguments.worker):
        for name in ("fragments", "address", "worker_address"):
            if getattr(arguments, name):
                raise InputError(f"--{name.replace('_', '-')} needs --driver or --worker")
        return None
    if not (arguments.worker and arguments.fragments and arguments.address):
        raise InputError(
            "over two machines each needs --worker, --fragments render or display, and "
            "--address HOST:PORT of the one that is --driver too"
        )
    return SplitOptions(
        fragment=arguments.fragments,
        driver=arguments.driver,
        address=arguments.address,
        worker_address=arguments.worker_address,
    )


def _overrides(arguments: argparse.Namespace) -> list[str]:
    """--set, and the options that are short for one; the last word is --set's."""
    found = []
    if arguments.frames is not None:
        found.append(f"run.frames={arguments.frames}")
    if arguments.ct is not None:
        path = json.dumps(str(arguments.ct))
        found += ["volume.phantom=null", "volume.body=null", f"volume.path={path}"]
        found += ["volume.spacing_mm=null", "volume.select={}"]
        found += ["volume.gaps=refuse", "volume.nan_voxels=refuse"]
        found += [f"volume.{key}=null" for key in ("series", "nifti_transform", "array")]
    if arguments.series is not None:
        found.append(f"volume.series={json.dumps(arguments.series)}")
    if arguments.name is not None:
        found.append(f"run.name={json.dumps(arguments.name)}")
    return [*found, *arguments.set]


def register(arguments: argparse.Namespace) -> int:
    """Find the C-arm's pose from an image."""
    with no_collections():
        from fluoro.registration.config import load_register_config
        from fluoro.registration.register_run import run_register
        from fluoro.registration.report.report import result_lines

    config_file = config_path(arguments.config)
    config = load_register_config(config_file, arguments.set)
    reporter = make_reporter()
    try:
        outcome = run_register(config, config_file.stem, reporter)
    finally:
        reporter.close()
    _tell(*result_lines(outcome.facts), f"files in {outcome.folder}")
    if not outcome.facts["converged"]:
        print(f"fluoro: not converged: {outcome.facts['reason']}", file=sys.stderr)
        return EXIT_NOT_CONVERGED
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Compare and register the views of a published data set."""
    with no_collections():
        from fluoro.datasets.evaluation.evaluate import Settings
        from fluoro.datasets.evaluation.evaluate import evaluate as evaluate_set
        from fluoro.datasets.evaluation.report import report_lines
        from fluoro.rendering.devices.selection import open_device

    settings = Settings(
        dataset=arguments.dataset,
        subset=arguments.subset,
        starts=arguments.starts,
        seed=arguments.seed,
        voxel_origin=arguments.voxel_origin,
        labels=tuple(arguments.labels) if arguments.labels else None,
        excluded=arguments.excluded,
    )
    folder = arguments.output or output_dir() / f"evaluate-{arguments.dataset}"
    reporter = make_reporter()
    try:
        with closing(open_device(arguments.device)) as device:
            found = evaluate_set(arguments.path, settings, folder, device, reporter.stage)
    finally:
        reporter.close()
    layout = [f"layout        {line}" for line in found.layout]
    checksums = f"checksums     {found.checksums}"
    report = f"report in {folder / 'report.html'}"
    _tell(*layout, checksums, *report_lines(found.statistics), report)
    failed = found.statistics["failed"]
    if failed:
        count = sum(len(each["views"]) for each in failed)
        print(f"fluoro: {count} views failed, the others are done", file=sys.stderr)
        return EXIT_FAILED
    return 0


def dataset(arguments: argparse.Namespace) -> int:
    """Make a training set, or one frame of it again."""
    _require_effect(arguments)
    if arguments.frame is not None:
        return _remade_frame(arguments)
    with no_collections():
        from fluoro.datasets.training.build import build, plan_of
        from fluoro.datasets.training.config import load_dataset_file
        from fluoro.datasets.training.preview import write_preview

    if arguments.config is None:
        raise InputError("dataset needs a YAML file, or --frame SHARD:KEY")
    config_file = config_path(arguments.config)
    frames = [] if arguments.frames is None else [f"dataset.frames={arguments.frames}"]
    file = load_dataset_file(config_file, [*frames, *arguments.set])
    out = arguments.output or (file.config.output_dir or output_dir()) / config_file.stem
    if arguments.preview:
        page = out / "preview.png"
        with closing(make_reporter()) as reporter:
            count = write_preview(plan_of(file, out)[0], page, reporter)
        _tell(f"{count} frames: {page}")
        return 0
    with closing(make_reporter()) as reporter:
        outcome = build(file, out, reporter, workers=arguments.workers, ray_address=arguments.ray)
    _tell(outcome.line(), f"files in {out}")
    for line in outcome.problems():
        print(f"fluoro: {line}", file=sys.stderr)
    return 0 if outcome.complete else EXIT_FAILED


def _require_effect(arguments: argparse.Namespace) -> None:
    """Refuse options of the dataset command that do nothing beside others."""
    if arguments.frame is not None:
        what = "--frame makes frames again"
        idle = ["config", "frames", "workers", "preview", "ray", "set"]
    elif arguments.preview:
        what, idle = "--preview renders here", ["workers", "ray"]
    elif arguments.ray:
        what, idle = "a cluster has its own number of tasks", ["workers"]
    else:
        return
    for name in idle:
        if getattr(arguments, name) not in (None, False, []):
            option = "CONFIG" if name == "config" else f"--{name}"
            raise InputError(f"{what}: {option} has no effect")


def _remade_frame(arguments: argparse.Namespace) -> int:
    """Make frames of a training set again, compare them, and write them where they are wanted."""
    same = [_is_remade(place, arguments.output) for place in arguments.frame]
    return 0 if all(same) else EXIT_FAILED


def _is_remade(place: str, output: Path | None) -> bool:
    """Make one frame again; whether it is bit-identical."""
    from fluoro.datasets.training.remake import remake

    found = remake(place)
    if output:
        found.write(output)
    if found.differing:
        print(f"{place}: differs in {', '.join(found.differing)}")
        return False
    print(f"{place}: bit-identical ({', '.join(sorted(found.files))})")
    return True


def validate(arguments: argparse.Namespace) -> int:
    """Check YAML files, of streams, of registrations and of training sets."""
    from fluoro.config import load_config
    from fluoro.datasets.training.config import is_dataset_file
    from fluoro.registration.config import is_register_file, load_register_config

    errors = []
    for given in arguments.config:
        try:
            path = config_path(given)
            if is_dataset_file(path):
                print(", but ".join([f"{path}: valid", *_missing_of_dataset(path, arguments)]))
                continue
            load = load_register_config if is_register_file(path) else load_config
            print(", but ".join([f"{path}: valid", *_missing(load(path, arguments.set))]))
        except InputError as error:
            errors.append(str(error))
    if errors:  # a fault of the command line concerns each file
        raise InputError("\n".join(dict.fromkeys("\n".join(errors).splitlines())))
    return 0


def _missing_of_dataset(path: Path, arguments: argparse.Namespace) -> list[str]:
    """What frames of a valid training set name and this machine does not have."""
    from fluoro.datasets.training.build import checked_frames
    from fluoro.datasets.training.config import load_dataset_file

    file = load_dataset_file(path, arguments.set)
    return list(dict.fromkeys(line for c in checked_frames(file) for line in _missing(c)))


def _missing(config: Config | RegisterConfig) -> list[str]:
    """What a valid configuration names and this machine does not have."""
    from fluoro.config import Config
    from fluoro.interop.dds.network import unresolved_peers

    found = [f"{path} is not there" for path in _read_paths(config) if not _is_there(path)]
    if isinstance(config, Config):
        found += unresolved_peers(config.dds)
        if config.optimiser and not plugins.allowed(config.optimiser.module):
            found.append(f"optimiser.class needs --allow-plugins {config.optimiser.module}")
    return found


def _read_paths(value: object) -> Iterator[Path]:
    """Yield every path that a section names to be read, in its order."""
    from fluoro.config import Section

    if isinstance(value, Path):
        yield value
    elif isinstance(value, Section):
        for name in type(value).model_fields:
            if name != "output_dir":
                yield from _read_paths(getattr(value, name))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _read_paths(each)


def _is_there(path: Path) -> bool:
    from fluoro.volume.store.fetch import volume_path

    try:
        return volume_path(path).exists()
    except InputError:  # not fetched
        return False


def schema(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema of the YAML."""
    from fluoro.config import Config
    from fluoro.config.schema_rules import json_schema
    from fluoro.datasets.training.schema import dataset_schema
    from fluoro.registration.config import RegisterConfig

    if arguments.of == "dataset":
        found = dataset_schema()
    else:
        found = json_schema({"stream": Config, "registration": RegisterConfig}[arguments.of])
    print(json.dumps(found, indent=2))
    return 0


def presets(_arguments: argparse.Namespace) -> int:
    """List the C-arms that `carm.preset` may name."""
    print(f"{'carm.preset':<24}  SDD mm  SOD mm  detector px   pixel mm   ({PRESET_SOURCE})")
    for name, keys in carm_presets().items():
        pixels = f"{keys['detector_width_px']} x {keys['detector_height_px']}"
        lengths = f"{keys['source_to_detector_mm']:6g}  {keys['source_to_isocenter_mm']:6g}"
        print(f"{name:<24}  {lengths}  {pixels:<12}  {keys['pixel_spacing_mm']:g}")
    return 0


def fetch(arguments: argparse.Namespace) -> int:
    """Bring public data sets into the cache."""
    for name in arguments.name:
        _fetch(name)
    return 0


def _fetch(name: str) -> None:
    """Bring one data set into the cache."""
    from fluoro.volume.store.fetch import fetch as fetch_data

    reporter = make_reporter()
    try:
        path = fetch_data(name, reporter.stage)
    finally:
        reporter.close()
    print(f"{name}: {path}")
    print(f"volume.path: cache:{name} names it in a YAML file")


def doctor(arguments: argparse.Namespace) -> int:
    """Examine this machine and its devices, and say on which one to render."""
    from operators.doctor import advice, examine, report_lines, write_report

    rows = list(examine())
    for line in report_lines(rows):
        print(line)
    if arguments.report:
        write_report(arguments.report, rows)
    found = advice(rows)
    print(found.text)
    return 0 if found.device else EXIT_FAILED


def inspect(arguments: argparse.Namespace) -> int:
    """Tell what is in CTs and X-ray files and save an image of each."""
    if arguments.image and len(arguments.path) > 1:
        raise InputError("--image is of one file: leave it away, or inspect one at a time")
    names = [bare_name(path) for path in arguments.path]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"two files named {twice[0]} have one image: inspect one at a time")
    _each(arguments.path, lambda path: _inspect(path, arguments))
    return 0


def _inspect(given_path: Path, arguments: argparse.Namespace) -> None:
    """Tell what is in one file and save an image of it."""
    from fluoro.config import volume_config
    from fluoro.files.image_files import save_image
    from fluoro.plot.slice_image import draw_slices
    from fluoro.volume.inspect import attenuation_lines, label_lines, report, series_lines
    from fluoro.volume.labels.load import load_labels
    from fluoro.volume.load import load_volume
    from fluoro.volume.open_ct import open_ct
    from fluoro.volume.store.fetch import volume_path
    from fluoro.volume.store.preprocessed_folder import is_preprocessed
    from fluoro.xray_files.header import is_xray_file

    path = volume_path(given_path)
    if is_xray_file(path):
        _inspect_xray(path, arguments)
        return
    if arguments.frame is not None:
        wrong = "--frame is of an X-ray file, which it is not"
        raise InputError(f"{path}: {wrong if path.exists() else 'there is no such file'}")
    given: dict[str, Any] = {"path": path, "series": arguments.series}
    if arguments.labels:
        given["labels"] = {"path": str(arguments.labels), "names": arguments.names}
    config = volume_config(given, arguments.set)
    if is_preprocessed(path):
        for line in attenuation_lines(load_volume(config)):
            print(line)
        return
    for line in series_lines(path):
        print(line)
    image = _image_path(arguments, f"{bare_name(path)}_slices.png")
    ct = open_ct(path, config)
    hu = ct.volume()
    for line in report(ct, hu).lines():
        print(line)
    labels = load_labels(config, ct.grid)
    for line in label_lines(labels) if labels else ():
        print(line)
    save_image(image, draw_slices(hu))
    print(f"slices: {image}")


def _inspect_xray(path: Path, arguments: argparse.Namespace) -> None:
    """Tell what is in an X-ray file and save an image of one frame."""
    from fluoro.files.image_files import save_image
    from fluoro.plot.xray_image import draw_xray_frame
    from fluoro.xray_files.report import report_lines
    from fluoro.xray_files.xray_file import XrayFile

    if arguments.series is not None or arguments.set:
        raise InputError(f"--series and --set are of a CT, which {path} is not")
    file, number = XrayFile(path), 1 if arguments.frame is None else arguments.frame
    image = _image_path(arguments, f"{bare_name(path)}_frame_{number}.png")
    frame = file.frame(number)
    for line in report_lines(file, frame):
        print(line)
    save_image(image, draw_xray_frame(file, number, frame))
    print(f"image: {image}")


def _image_path(arguments: argparse.Namespace, name: str) -> Path:
    image = arguments.image or output_dir() / name
    if image.suffix.lower() != ".png":
        raise InputError(f"--image must end in .png, got {image}")
    if not arguments.image:
        from fluoro.files.atomic_write import writing

        with writing(image):
            image.parent.mkdir(parents=True, exist_ok=True)
    return image


def segment(arguments: argparse.Namespace) -> int:
    """Have another program label a CT, and keep the labels for `volume.labels: auto`."""
    from fluoro.config import volume_config
    from fluoro.volume.labels.segment import SEGMENTERS
    from fluoro.volume.labels.segment import segment as segment_ct

    given = {"path": arguments.path, "series": arguments.series}
    config = volume_config(given, arguments.set)
    reporter = make_reporter()
    try:
        command = arguments.command_line or SEGMENTERS[arguments.program]
        kept = segment_ct(config, command, reporter.stage)
    finally:
        reporter.close()
    print(f"labels: {kept}")
    print("volume.labels: auto takes them")
    return 0


def preprocess(arguments: argparse.Namespace) -> int:
    """Write attenuation as a folder that `run --ct` takes."""
    from fluoro.config import volume_config
    from fluoro.volume.inspect import attenuation_lines
    from fluoro.volume.load import preprocess_volume

    config = volume_config(_source_of(arguments), arguments.set)
    name = bare_name(config.path) if config.path else config.phantom
    folder = arguments.output or output_dir() / f"preprocessed-{name}"
    reporter = make_reporter()
    try:
        volume = preprocess_volume(
            config, folder, overwrite=arguments.overwrite, progress=reporter.stage
        )
    finally:
        reporter.close()
    for line in attenuation_lines(volume):
        print(line)
    print(f"files in {folder}")
    return 0


def _source_of(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the volume of the preprocess command, as keys of the section `volume`."""
    if arguments.synthetic:
        return {"phantom": "thorax"}
    if arguments.nifti and not arguments.nifti.name.lower().endswith((".nii", ".nii.gz")):
        raise InputError(f"--nifti must end in .nii or .nii.gz, got {arguments.nifti}; try --ct")
    if arguments.dicom and not arguments.dicom.is_dir():
        raise InputError(f"--dicom must be a folder, got {arguments.dicom}")
    path = str(arguments.nifti or arguments.dicom or arguments.ct)
    return (
        {"path": path} if arguments.series is None else {"path": path, "series": arguments.series}
    )


def repair(arguments: argparse.Namespace) -> int:
    """Make what is missing of runs that were killed or whose disk was full."""
    _each(arguments.folder, _repair)
    return 0


def _each(values: Sequence[Path], act: Callable[[Path], object]) -> None:
    """Act on each value; those that cannot be done are reported when the others are.

    Raises:
        InputError: One of them cannot be done.
    """
    errors = []
    for value in values:
        try:
            act(value)
        except InputError as error:
            errors.append(str(error))
    if errors:
        raise InputError("\n".join(errors))


def _repair(folder: Path) -> None:
    """Make what is missing of one run."""
    from fluoro.recording.run_repair import repair_run

    made = repair_run(folder)
    bag = folder / "bag"
    if bag.is_dir():
        from fluoro.interop.bag.bag_repair import repair_bag

        count = repair_bag(bag)
        made += [] if count is None else [f"bag: {count} messages"]
    for line in made or ["nothing is missing"]:
        print(line)
    print(f"files in {folder}")


def completion(arguments: argparse.Namespace) -> int:
    """Print a script that completes commands and options in a shell."""
    try:
        import shtab
    except ImportError:
        needed = f"completion needs the package shtab: {to_install('shtab')}"
        raise InputError(needed) from None
    top = parser()
    _complete_files(top, shtab.FILE)
    print(shtab.complete(top, shell=arguments.shell))
    return 0


def _complete_files(command: argparse.ArgumentParser, files: dict[str, str]) -> None:
    """Let a shell complete files where an argument is one."""
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                _complete_files(each, files)
        elif action.type is _path:
            action.complete = files  # type: ignore[attr-defined]


class Parser(argparse.ArgumentParser):
    """Accept several values after one --set; name the option that is meant by an unknown one."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the base class."""
        words = sys.argv[1:] if args is None else list(args)
        arguments, unknown = super().parse_known_args(_one_value_each(words), namespace)
        for word in unknown:
            if word.startswith("--"):
                option = word.partition("=")[0]
                self.error(f'unknown option "{option}"{self._suggestion(option)}')
        return arguments, unknown

    def _suggestion(self, option: str) -> str:
        return _meant(FORMER_OPTIONS.get(option, option), list(self._option_string_actions))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a word that is none of those there are, and name the one that is meant."""
        words = list(action.choices or ())
        if words and value not in words:
            known = ", ".join(words)
            text = f"must be one of {known}, got {value!r}{_meant(value, words)}"
            raise argparse.ArgumentError(action, text)


def _meant(given: str, known: list[str]) -> str:
    """Return a hint at the word that is close to a wrong one; else nothing."""
    alike = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {alike[0]}?" if alike else ""


def _whole_number(text: str) -> int:
    """The number that an option is given.

    Raises:
        argparse.ArgumentTypeError: No whole number.
    """
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None


FORMER_OPTIONS = {"--picture": "--image"}
"""Options that have another name now."""


def _one_value_each(words: list[str]) -> list[str]:
    """`--set a=1 b=2` and `--set=a=1 b=2` as `--set a=1 --set b=2`."""
    found: list[str] = []
    setting = False
    for word in (part for each in words for part in _flag_and_value(each)):
        is_first = bool(found) and found[-1] == "--set"
        setting = word == "--set" or is_first or (setting and bool(SETTING.match(word)))
        if setting and not is_first and word != "--set":
            found.append("--set")
        found.append(word)
    return found


def _flag_and_value(word: str) -> list[str]:
    """`--set=a=1` as `--set`, `a=1`."""
    flag, equals, value = word.partition("=")
    return [flag, value] if flag == "--set" and equals else [word]


def _path(text: str) -> Path:
    """An argument that names a file or folder: an empty one would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("must be the path of a file or folder, got ''")
    return Path(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    installed = Path(__file__).parent.name == "application"  # in the package of a wheel
    top = Parser(
        prog="fluoro" if installed else "app.py", description="Live fluoroscopy from a CT."
    )
    top.add_argument("--version", action="version", version=f"fluoro {__version__}")
    top.add_argument("--debug", action="store_true", help="full log and stack traces")
    top.set_defaults(function=lambda _arguments: _help(top))
    commands = top.add_subparsers(metavar="COMMAND")
    _run_options(_add_command(commands, "run", run, "stream what a YAML file describes"))
    _register_options(
        _add_command(commands, "register", register, "find the C-arm's pose from an image")
    )
    _evaluate_options(
        _add_command(commands, "evaluate", evaluate, "compare and register a published data set")
    )
    _dataset_options(
        _add_command(commands, "dataset", dataset, "make a training set that a YAML file describes")
    )
    _validate_options(_add_command(commands, "validate", validate, "check YAML files"))
    _schema_options(_add_command(commands, "schema", schema, "print the JSON Schema of the YAML"))
    _add_command(commands, "presets", presets, "list the C-arms that carm.preset may name")
    _fetch_options(_add_command(commands, "fetch", fetch, "bring a public CT into the cache"))
    _doctor_options(
        _add_command(commands, "doctor", doctor, "whether this machine works, and on which device")
    )
    _inspect_options(_add_command(commands, "inspect", inspect, "what is in a CT or an X-ray file"))
    _segment_options(_add_command(commands, "segment", segment, "labels of a CT by a program"))
    _preprocess_options(
        _add_command(commands, "preprocess", preprocess, "CT to a folder of attenuation")
    )
    _repair_options(_add_command(commands, "repair", repair, "record and bag of a killed run"))
    _completion_options(
        _add_command(commands, "completion", completion, "completion of commands in a shell")
    )
    return top


def _run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", type=_path, metavar="CONFIG", help=CONFIG_HELP)
    command.add_argument(
        "--ct",
        type=_path,
        metavar="PATH",
        help="CT instead of volume.path, at its own resolution",
    )
    _add_series(command)
    command.add_argument("--frames", type=_whole_number, metavar="N", help="run.frames")
    command.add_argument("--name", metavar="NAME", help="run.name, the folder under output/")
    _add_split(command)
    _add_set(command)


def _register_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", type=_path, metavar="CONFIG", help=CONFIG_HELP)
    _add_set(command)


def _evaluate_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("dataset", choices=("deepfluoro", "ljubljana"))
    command.add_argument(
        "path", type=_path, metavar="PATH", help="the HDF5 file, or a folder in xvr's form"
    )
    command.add_argument(
        "--subset",
        type=_whole_number,
        metavar="N",
        help="views a subject, evenly spread; default: all",
    )
    command.add_argument(
        "--starts", type=_whole_number, default=1, metavar="N", help="registrations a view; 0: none"
    )
    command.add_argument("--seed", type=_whole_number, default=0, metavar="N", help="of the starts")
    command.add_argument(
        "--labels",
        nargs="+",
        type=_whole_number,
        metavar="N",
        help="structures that are registered alone, such as 1 2 3 4 7 (DeepFluoro's pelvis)",
    )
    command.add_argument(
        "--voxel-origin",
        choices=("center", "corner"),
        help="what a volume's origin is of its first voxel; default: docs/data.md",
    )
    command.add_argument(
        "--excluded", action="store_true", help="also views whose reference pose is wrong"
    )
    command.add_argument("--device", default="auto", metavar="DEVICE", help="where to render")
    command.add_argument(
        "--output",
        type=_path,
        metavar="DIR",
        help="where; evaluate-NAME in FLUORO_OUTPUT_DIR or ./output if not given; a folder with "
        "rows of the same settings goes on",
    )


def _dataset_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", type=_path, nargs="?", metavar="CONFIG", help=CONFIG_HELP)
    command.add_argument(
        "--output",
        type=_path,
        metavar="DIR",
        help="the set's folder; a set that was begun there goes on; default: the YAML's name in "
        "FLUORO_OUTPUT_DIR or ./output. With --frame: where to write its files",
    )
    command.add_argument("--frames", type=_whole_number, metavar="N", help="dataset.frames")
    command.add_argument(
        "--workers",
        type=_whole_number,
        metavar="N",
        help="processes; default: one per core, on a GPU one",
    )
    command.add_argument(
        "--preview", action="store_true", help="a page of 16 frames with their truth, nothing else"
    )
    command.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="by the machines of a Ray cluster that share the folder; without address on this one",
    )
    command.add_argument(
        "--frame",
        nargs="+",
        metavar="SHARD:KEY",
        help="make frames of a set again and compare them",
    )
    _add_set(command)


def _validate_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", type=_path, nargs="+", metavar="CONFIG", help=CONFIG_HELP)
    _add_set(command)


def _fetch_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", nargs="+", metavar="NAME", help="chest-ct")


def _schema_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "of",
        metavar="{stream,registration,dataset}",
        nargs="?",
        choices=("stream", "registration", "dataset"),
        default="stream",
        help="of which files: those of run, the default, of register or of dataset",
    )


def _doctor_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--report", type=_path, metavar="FILE", help="also write the table as JSON"
    )


def _inspect_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", type=_path, nargs="+", metavar="PATH")
    command.add_argument(
        "--image",
        type=_path,
        metavar="PNG",
        help="where to save the image; default: NAME_slices.png, or NAME_frame_N.png of an X-ray "
        "file, in FLUORO_OUTPUT_DIR or ./output",
    )
    command.add_argument(
        "--frame",
        type=_whole_number,
        metavar="N",
        help="of an X-ray file, counted from 1; default: 1",
    )
    command.add_argument(
        "--labels", type=_path, metavar="FILE", help="also list the structures of this label map"
    )
    command.add_argument(
        "--names", metavar="NAMES", help="of --labels: totalsegmentator, or a YAML or CSV file"
    )
    _add_series(command)
    _add_set(command)


def _segment_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", type=_path, metavar="CT")
    program = command.add_mutually_exclusive_group()
    program.add_argument(
        "--with",
        dest="program",
        choices=("totalsegmentator",),
        default="totalsegmentator",
        help="a program that is installed; the default: totalsegmentator",
    )
    program.add_argument(
        "--command",
        dest="command_line",
        metavar="WORDS",
        help="any program: {ct} stands for the CT, {labels} for the NIfTI file that it makes",
    )
    _add_series(command)
    _add_set(command)


def _preprocess_options(command: argparse.ArgumentParser) -> None:
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--synthetic", action="store_true", help="the thorax phantom")
    source.add_argument("--dicom", type=_path, metavar="DIR", help="a folder with a DICOM series")
    source.add_argument("--nifti", type=_path, metavar="FILE", help="a NIfTI file")
    source.add_argument("--ct", type=_path, metavar="PATH", help="whatever volume.path may name")
    command.add_argument(
        "--output",
        type=_path,
        metavar="DIR",
        help="where; preprocessed-NAME in FLUORO_OUTPUT_DIR or ./output if not given",
    )
    command.add_argument(
        "--overwrite", action="store_true", help="replace a volume that was preprocessed earlier"
    )
    _add_series(command)
    _add_set(command)


def _repair_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=_path, nargs="+", metavar="RUN", help="folders of the runs")


def _completion_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "shell",
        choices=("bash", "zsh", "fish"),
        help='such as: eval "$(fluoro completion bash)"; needs the extra "completion"',
    )


def _help(top: argparse.ArgumentParser) -> int:
    top.print_help(sys.stderr)
    return EXIT_BAD_INPUT


def _add_command(
    commands: Commands, name: str, function: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    command.add_argument(
        "--allow-plugins",
        action="extend",
        type=lambda text: text.split(","),
        default=[],
        metavar="MODULE",
        help="import this module for what it adds (docs/plugins.md); commas separate several",
    )
    command.set_defaults(function=function)
    return command


def _add_series(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--series", metavar="NUMBER", help="of a DICOM folder: SeriesNumber or SeriesInstanceUID"
    )


def _add_split(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("over two machines (docs/hardware_in_the_loop.md)")
    group.add_argument("--driver", action="store_true", help="bring the machines together")
    group.add_argument("--worker", action="store_true", help="run a fragment here")
    group.add_argument("--fragments", choices=["render", "display"], help="which one")
    group.add_argument("--address", metavar="HOST:PORT", help="of the driver")
    group.add_argument("--worker-address", metavar="HOST[:PORT]", help="of this process")


def _add_set(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key, e.g. renderer.step_mm=0.25; more may follow, or --set be repeated",
    )


def main(argv: list[str] | None = None) -> int:
    """Run a command; one clear line for what goes wrong, a stack trace with --debug."""
    arguments = parser().parse_args(argv)
    end_early_stop()
    _log(debug=arguments.debug)
    try:
        plugins.allow(getattr(arguments, "allow_plugins", ()))
        code: int = arguments.function(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("fluoro: interrupted", file=sys.stderr)
        code = EXIT_SIGNAL + signal.SIGINT
    except BrokenPipeError:  # the reader of our output has seen enough
        silence_output()
        code = EXIT_SIGNAL + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001  (the last stop: every error becomes one line)
        if arguments.debug:
            traceback.print_exc()
        for line in _lines(error):
            print(f"fluoro: {line}", file=sys.stderr)
        code = EXIT_BAD_INPUT if isinstance(error, FluoroError) else EXIT_FAILED
    return code


def _lines(error: Exception) -> list[str]:
    """The error's own lines; its kind beside it where the message was not made for users."""
    if isinstance(error, FluoroError):
        return str(error).splitlines()
    if isinstance(error, ModuleNotFoundError):
        return [f"needs the package {error.name}: pip install 'fluoro[app]' (--debug tells more)"]
    text = " ".join(str(error).split())
    return [f"{type(error).__name__}: {text} (--debug tells more)"]


def _log(*, debug: bool) -> None:
    """Warnings, or with --debug everything, above the bars."""
    if debug:
        os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "ERROR")
    shown = RichHandler(console=terminal, show_path=False, show_time=False)
    handler = shown if terminal.is_terminal else logging.StreamHandler()
    form = "%(message)s" if terminal.is_terminal else "%(levelname)s %(message)s"
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format=form, handlers=[handler], force=True)
    for noisy in ("PIL", "matplotlib", "asyncio", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def program() -> None:
    """Run a command and leave with its exit code; at once after a signal, or from a stuck graph."""
    guard_standard_streams()
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _leave)
    code = main()
    try:
        sys.stdout.flush()
    except OSError:
        silence_output()
    stuck = any(thread.name == GRAPH_THREAD for thread in threading.enumerate())
    if stuck or code > EXIT_SIGNAL:  # files are closed; tearing Python down takes half a second
        os._exit(code)
    keep_what_is_there()
    sys.exit(code)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(EXIT_SIGNAL + number)


if __name__ == "__main__":
    program()
