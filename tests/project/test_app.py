"""The application as its user meets it: commands, errors in one line, exit codes, the terminal."""

import contextlib
import json
import os
import pty
import re
import resource
import select
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from PIL import Image

import app
import fluoro
from fluoro.paths import bare_name, cache_dir, config_path
from operators.assembly import COMPILING
from tests.config.shipped_files import REGISTRATIONS, STREAMS
from tests.dds_support import own_domain
from tests.session_support import (
    ROOT,
    Program,
    images_of,
    record_of,
    small_ct,
    small_document,
    use_cache,
)
from tests.volume_files import meta_bytes, nifti_bytes, written

SWEEP = ROOT / "configs" / "sweep.yaml"


@pytest.fixture
def yaml_file(tmp_path, monkeypatch):
    """Writes a YAML file of a small run; its folder is out/run."""
    use_cache(tmp_path, monkeypatch)
    monkeypatch.setenv("FLUORO_OUTPUT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)

    def write(**sections):
        path = tmp_path / "small.yaml"
        document = small_document(small_ct(tmp_path), tmp_path / "out", **sections)
        path.write_text(yaml.safe_dump(document))
        return path

    return write


def run_main(capsys, *arguments):
    """Exit code, standard output and standard error of a command run in this process."""
    code = app.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def complaint(capsys, *arguments, code=2):
    """The one line with which a command fails."""
    returned, _, err = run_main(capsys, *arguments)
    assert returned == code, err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("fluoro: ")]
    assert err.endswith(f"{line}\n"), "the complaint comes last"
    return line.removeprefix("fluoro: ")


# -- commands ----------------------------------------------------------------------------------


def test_shipped_configuration_is_known_by_its_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_main(capsys, "validate", "sweep") == (0, f"{SWEEP}: valid\n", "")


def test_name_of_no_configuration_is_refused_with_those_there_are(capsys):
    line = complaint(capsys, "run", "swep")
    assert line.startswith("swep: must be a YAML file or one of ")
    assert line.endswith(", waypoints (did you mean sweep?)")
    assert ", sweep, " in line


def test_file_counts_more_than_a_shipped_configuration_of_that_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep").write_text("[]\n")
    assert complaint(capsys, "validate", "sweep").startswith("sweep: must be a mapping of sections")


def test_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as caught:
        app.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"fluoro {fluoro.__version__}\n"


def test_missing_package_is_named_with_the_way_to_get_it(capsys, monkeypatch, yaml_file):
    monkeypatch.setitem(sys.modules, "operators.session", None)
    line = complaint(capsys, "run", yaml_file(), code=1)
    assert line.startswith("needs the package operators.session: pip install 'fluoro[app]'")


def test_without_a_command_the_help_is_shown(capsys):
    code, out, err = run_main(capsys)
    assert (code, out) == (2, "")
    assert all(name in err for name in ("run", "validate", "schema", "fetch", "inspect"))


@pytest.mark.parametrize("arguments", [["walk"], ["run"], ["run", "x.yaml", "--frames", "x"]])
def test_unknown_command_or_option_is_named_in_one_line(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        app.main(arguments)
    assert caught.value.code == 2
    *usage, last = capsys.readouterr().err.splitlines()
    assert usage[0].startswith("usage: app.py")
    assert "error: " in last


def test_run_streams_records_and_sums_up(yaml_file, tmp_path, capsys):
    code, out, err = run_main(capsys, "run", yaml_file())
    assert code == 0, err
    folder = tmp_path / "out" / "run"
    assert len(images_of(folder)) == 20
    lines = out.splitlines()
    assert re.fullmatch(r"20 frames at [\d.]+ fps on CPU, 1 thread, completed", lines[0])
    assert lines[1] == "dropped: none"
    assert re.fullmatch(r"first frame [\d.]+ s after the start", lines[2])
    assert lines[-1] == f"files in {folder}"


def test_options_of_run_stand_for_keys(yaml_file, tmp_path, capsys):
    other = small_ct(tmp_path, "other [1].nii")
    options = ["--frames", "3", "--name", "mine", "--ct", other.name, "--set", "run.seed=4"]
    code, _, err = run_main(capsys, "run", yaml_file(), *options)
    assert code == 0, err
    record = record_of(tmp_path / "out" / "mine")
    assert record["frames"] == 3
    assert record["seed"] == 4
    assert record["config"]["volume"]["path"] == str(other)


def test_a_run_without_a_name_is_called_by_its_file_and_the_time(yaml_file, tmp_path, capsys):
    path = yaml_file(run={"name": None, "output_dir": None, "frames": 2})
    assert run_main(capsys, "run", path)[0] == 0
    (folder,) = (tmp_path / "elsewhere").iterdir()
    assert re.fullmatch(r"small-\d{8}-\d{6}", folder.name)


def test_validate_names_every_file_with_its_errors(yaml_file, tmp_path, capsys):
    good, bad = yaml_file(), tmp_path / "bad.yaml"
    bad.write_text("volume: {phantom: thorax}\npose_source: {kind: static}\nrun: {fps: fast}")
    code, out, err = run_main(capsys, "validate", bad, good)
    assert (code, out) == (2, f"{good}: valid\n")
    assert err == f"fluoro: {bad}: run.fps: must be a number, got 'fast'\n"


def test_validate_does_without_numpy():
    """Files of training sets need it: their poses are drawn."""
    files = [str(path) for path in (*STREAMS, *REGISTRATIONS)]
    code = (
        f"import app, sys; print(app.main(['validate', *{files}])); print('numpy' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.stdout.splitlines()[-2:] == ["0", "False"], out.stderr


def test_validate_takes_overrides(yaml_file, capsys):
    assert run_main(capsys, "validate", yaml_file(), "--set", "run.fps=3")[0] == 0
    line = complaint(capsys, "validate", yaml_file(), "--set", "run.fps=0")
    assert line == "command line: run.fps: must be at least 0.01, got 0"


def test_validate_says_that_a_ct_is_not_there(yaml_file, tmp_path, capsys):
    options = ["--set", "volume.phantom=null", f"volume.path={tmp_path}/none.nii.gz"]
    code, out, _ = run_main(capsys, "validate", yaml_file(), *options)
    assert (code, out) == (0, f"{yaml_file()}: valid, but {tmp_path}/none.nii.gz is not there\n")


@pytest.mark.parametrize("key", ["volume.labels.path", "annotations.landmarks.path", "carm.flex"])
def test_validate_names_every_file_that_is_not_there(yaml_file, tmp_path, capsys, key):
    code, out, _ = run_main(capsys, "validate", yaml_file(), "--set", f"{key}={tmp_path}/none.csv")
    assert (code, out) == (0, f"{yaml_file()}: valid, but {tmp_path}/none.csv is not there\n")


def test_schema_is_json_schema_of_the_shipped_files(capsys):
    code, out, _ = run_main(capsys, "schema")
    assert code == 0
    jsonschema.validate(yaml.safe_load(SWEEP.read_text()), json.loads(out))
    code, out, _ = run_main(capsys, "schema", "registration")
    assert code == 0
    file = ROOT / "configs" / "register_chest.yaml"
    jsonschema.validate(yaml.safe_load(file.read_text()), json.loads(out))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(SWEEP.read_text()), json.loads(out))


def test_inspect_tells_what_is_in_a_ct_and_draws_its_slices(yaml_file, tmp_path, capsys):
    ct = small_ct(tmp_path)
    code, out, err = run_main(capsys, "inspect", ct)
    assert code == 0, err
    assert "-1000 to 700 HU" in out
    path = tmp_path / "elsewhere" / "ct_slices.png"
    assert f"slices: {path}" in out
    with Image.open(path) as image:
        assert image.width > image.height


def test_inspect_leaves_an_earlier_image_where_it_cannot_make_another(
    yaml_file, tmp_path, capsys, monkeypatch
):
    image = tmp_path / "mine.png"
    image.write_bytes(b"earlier")

    def full(_self, path, *_args, **_kwargs):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    line = complaint(capsys, "inspect", small_ct(tmp_path), "--image", image)
    assert line == f"{image}: cannot be written: No space left on device"
    assert image.read_bytes() == b"earlier"
    assert {path.name for path in tmp_path.glob("*.png")} | {
        path.name for path in tmp_path.glob(".*.png")
    } == {"mine.png"}


def test_inspect_s_image_is_a_png(yaml_file, tmp_path, capsys):
    line = complaint(capsys, "inspect", small_ct(tmp_path), "--image", "slices.bmp")
    assert line == "--image must end in .png, got slices.bmp"


def test_fetch_names_what_there_is(capsys):
    assert "chest-ct" in complaint(capsys, "fetch", "moon")


# -- bad input ---------------------------------------------------------------------------------


NAN_VOXEL = np.where(np.arange(120) == 60, np.nan, 0).astype("<f4").reshape(4, 5, 6)
BAD_FILES = {
    "empty.nii": (b"", "empty"),
    "truncated.nii": (nifti_bytes()[:400], "truncated"),
    "text.nii": (b"not a CT at all" * 50, "NIfTI"),
    "nan.mha": (meta_bytes(NAN_VOXEL, ElementType="MET_FLOAT"), "not finite"),
    "zero.nii": (nifti_bytes(pixdim=(1, 1, 0, 3, 0, 0, 0, 0)), "must be positive lengths"),
    "huge.nii": (nifti_bytes(dim=(3, 30000, 30000, 30000, 1, 1, 1, 1)), "GiB"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_ct_is_one_line_for_run_and_inspect_and_no_folder_is_made(
    yaml_file, tmp_path, capsys, name
):
    raw, words = BAD_FILES[name]
    ct = written(tmp_path, name, raw)
    for command in (["run", yaml_file(), "--ct", ct], ["inspect", ct]):
        line = complaint(capsys, *command)
        assert name in line
        assert words in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("transform", "left_mm"), [("sform", 12.5), ("qform", 1.5)])
def test_the_chosen_transform_of_a_nifti_counts_in_every_command(
    yaml_file, tmp_path, capsys, transform, left_mm
):
    """Sform and qform disagree, which is refused without the choice."""
    raw = nifti_bytes(qform_code=1, quatern=(0, 0, 1, 1, 2, 3))
    ct, document, folder = written(tmp_path, "two.nii", raw), yaml_file(), tmp_path / "folder"
    choice = ["--set", f"volume.nifti_transform={transform}"]
    run = ["run", document, "--ct", ct, "--frames", "1"]
    for command in (["inspect", ct], ["preprocess", "--ct", ct, "--output", folder], run):
        line = complaint(capsys, *command)
        assert "choose with volume.nifti_transform: sform or qform" in line
        code, out, err = run_main(capsys, *command, *choice)
        assert code == 0, err
        if command is not run:
            assert re.search(rf"centre: +\({left_mm:g},", out)


def test_options_of_reading_have_no_effect_on_a_preprocessed_folder(yaml_file, tmp_path, capsys):
    folder = tmp_path / "folder"
    assert run_main(capsys, "preprocess", "--ct", small_ct(tmp_path), "--output", folder)[0] == 0
    line = complaint(capsys, "inspect", folder, "--series", "3")
    assert line.startswith("volume.series: has no effect on ")


def test_missing_ct_and_folder_in_its_place_are_named(yaml_file, tmp_path, capsys):
    assert "no.nii" in complaint(capsys, "run", yaml_file(), "--ct", tmp_path / "no.nii")
    folder = tmp_path / "folder.nii"
    folder.mkdir()
    assert "folder.nii" in complaint(capsys, "inspect", folder)


def test_waypoint_that_is_not_finite_is_named_before_anything_is_loaded(
    yaml_file, tmp_path, capsys
):
    path = tmp_path / "poses.csv"
    path.write_text("time_s,lao_deg,cra_deg\n0,0,0\n1,nan,0\n")
    source = {"kind": "waypoints", "path": str(path)}
    line = complaint(capsys, "run", yaml_file(pose_source=source), "--ct", "missing.nii")
    assert line == f"{path}: row 2: lao_deg must be a finite number, got 'nan'"


@pytest.mark.parametrize("frames", [0, -1])
def test_number_of_frames_must_be_positive(yaml_file, capsys, frames):
    line = complaint(capsys, "run", yaml_file(), "--frames", frames)
    assert line == f"command line: run.frames: must be at least 1, got {frames}"


def test_port_in_use_is_named_with_a_fix_and_leaves_no_folder(yaml_file, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = yaml_file(console={"enabled": True, "port": port})
        line = complaint(capsys, "run", path)
    assert line.startswith(f"console.port must be free, but {port} on 127.0.0.1 is in use")
    assert "--set console.port=" in line
    assert not (tmp_path / "out").exists()


def test_output_folder_that_cannot_be_made_is_named(yaml_file, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    line = complaint(capsys, "run", yaml_file(run={"output_dir": str(tmp_path / "file")}))
    assert line.startswith(f"{tmp_path / 'file' / 'run'}: cannot make the run's folder: ")


def test_full_disk_ends_the_run_and_leaves_earlier_output_whole(yaml_file, tmp_path):
    path = yaml_file(recorder={"formats": ["npy"]}, run={"frames": 200, "fps": 100})
    first = Program("run", path, "--frames", "5")
    assert first.end()[0] == 0
    limited = (
        "import resource, sys; sys.path.insert(0, '.'); import app\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))\n"
        "app.program()"
    )
    code, _, err = Program("run", path, code=limited).end()
    assert code == 2, err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("fluoro: ")]
    folder = tmp_path / "out" / "run-2"
    assert line == f"fluoro: {folder / 'frames.npy'}: cannot be written: File too large"
    record = record_of(folder)
    assert not record["completed"]
    assert "File too large" in record["stopped_by"]
    assert 0 < len(images_of(folder)) <= 20
    assert len(images_of(tmp_path / "out" / "run")) == 5


def test_limit_of_file_size_holds_only_where_it_was_set():
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_cache_that_cannot_be_written_is_named(yaml_file, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "file" / "cache"))
    line = complaint(capsys, "run", yaml_file())
    assert "FLUORO_CACHE_DIR" in line


def test_missing_compiler_is_named_with_its_fix_before_a_folder_is_made(yaml_file, tmp_path):
    fresh = {"FLUORO_CACHE_DIR": str(tmp_path / "fresh"), "CXX": "no-such-compiler"}
    code, _, err = Program("run", yaml_file(), **fresh).end()
    assert code == 2
    assert "fluoro: no C++ compiler found" in err
    assert "apt install g++" in err
    assert not (tmp_path / "out").exists()


def test_holoviz_without_a_gpu_is_one_line_with_its_fix(yaml_file, capsys, monkeypatch):
    from fluoro.rendering.devices import selection

    monkeypatch.setattr(selection, "_cuda_device_count", lambda: 0)
    line = complaint(capsys, "run", yaml_file(holoviz={"enabled": True}))
    assert line.startswith("holoviz.enabled: true needs an NVIDIA GPU")
    assert "use the console" in line


def test_an_error_not_foreseen_is_one_line_too(yaml_file, capsys, monkeypatch):
    def broken(*_args):
        raise ZeroDivisionError("who\nknows")

    monkeypatch.setattr("operators.assembly.load_volume", broken)
    line = complaint(capsys, "run", yaml_file(), code=1)
    assert line == "ZeroDivisionError: who knows (--debug tells more)"


@pytest.mark.parametrize("arguments", [["--debug", "run"], ["run", "--debug"]])
def test_debug_shows_the_stack_and_the_line(tmp_path, capsys, arguments):
    code, _, err = run_main(capsys, *arguments, tmp_path / "missing.yaml")
    assert code == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("fluoro: ")


def test_ctrl_c_while_loading_is_130(yaml_file, capsys, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("operators.assembly.load_volume", interrupted)
    code, _, err = run_main(capsys, "run", yaml_file())
    assert (code, err.splitlines()[-1]) == (130, "fluoro: interrupted")


def test_a_reader_that_has_seen_enough_ends_the_program_quietly():
    command = f"{sys.executable} app.py schema | head -1"
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("{\n", "")


# -- the terminal ------------------------------------------------------------------------------

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)")


def on_a_terminal(*arguments, **environment):
    """What a program writes to a terminal of 80 columns, its exit code."""
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.environ.update({"COLUMNS": "80", "LINES": "24", "TERM": "xterm", **environment})
        os.execv(sys.executable, [sys.executable, "app.py", *map(str, arguments)])
    written = b""
    with contextlib.suppress(OSError):  # the terminal closes with the program
        while select.select([screen], [], [], 60)[0] and (part := os.read(screen, 65536)):
            written += part
    os.close(screen)
    return written.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_terminal_of_80_columns_shows_bars_times_and_the_console_s_address(yaml_file, tmp_path):
    ct = small_ct(tmp_path, "a_chest_ct_with_quite_a_long_name_indeed.nii")
    path = yaml_file(console={"enabled": True}, recorder={"scene_movie": True})
    text, code = on_a_terminal("run", path, "--ct", ct)
    assert code == 0, text
    lines = [ESCAPES.sub("", line).rstrip() for line in re.split(r"[\r\n]+", text)]
    assert any(re.fullmatch(r"console at    http://127\.0\.0\.1:\d+/", line) for line in lines)
    assert any(
        re.fullmatch(r"✓ streaming +━{18} 20/20 +[\d.]+ fps +0:00:\d\d", line) for line in lines
    )
    assert any(re.match(r"✓ reading a_chest_ct_with_q… +━{18} 100% +0:00:\d\d", ln) for ln in lines)
    bars = [line for line in lines if "━" in line]
    assert max(map(len, bars)) <= 80


def test_bars_are_plain_where_the_terminal_knows_no_unicode(yaml_file):
    text, code = on_a_terminal("run", yaml_file(), PYTHONIOENCODING="ascii")
    assert code == 0, text
    assert text.isascii()
    assert re.search(r"\+ streaming", ESCAPES.sub("", text))


def test_piped_output_is_plain_and_short(yaml_file):
    code, out, err = Program("run", yaml_file(console={"enabled": True})).end()
    assert code == 0
    for text in (out, err):
        assert "\x1b" not in text
        assert "━" not in text
    names = [line.split("  ")[0] for line in err.splitlines()]
    assert [name for name in names if name != COMPILING] == [
        "reading ct.nii", "attenuation of ct.nii", "preparing the kernels",
        "rendering on", "recording to", "console at", "stop with", "streaming",
    ]  # fmt: skip


@pytest.mark.dds
def test_a_run_with_connections_prints_where_other_programs_find_it(yaml_file):
    dds = {"domain": own_domain(), "frames": {}, "control_topic": "/fluoro/control"}
    code, _, err = Program("run", yaml_file(dds=dds, igtl={"enabled": True, "port": 0})).end()
    assert code == 0, err
    topics = "frames to /fluoro/image_raw, controls from /fluoro/control"
    assert f"DDS           domain {dds['domain']} on lo, {topics}\n" in err
    assert re.search(r"^OpenIGTLink   127\.0\.0\.1, port [1-9]\d+$", err, re.MULTILINE)


@pytest.mark.parametrize("wait_s", [0.3, 0.8])
def test_ctrl_c_in_the_first_second_gives_one_line(yaml_file, wait_s):
    program = Program("validate", yaml_file())
    time.sleep(wait_s)
    program.interrupt()
    code, _, err = program.end()
    if "init_import_site" in err:  # Python itself had not started: the machine is very busy
        return
    assert (code, err) in ((130, "fluoro: interrupted\n"), (0, ""), (-2, ""))  # or it was done


def test_a_wrong_setting_is_reported_once_for_several_files(yaml_file, capsys):
    path = str(yaml_file())
    assert app.main(["validate", path, path, "--set", "run.fps=0"]) == 2
    assert capsys.readouterr().err.count("command line: run.fps") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_the_commands_and_their_options(capsys, shell):
    pytest.importorskip("shtab")
    assert app.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("register", "--frames", "--overwrite", "completion"):
        assert word in script


def test_completion_without_shtab_says_how_to_install_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert app.main(["completion", "bash"]) == 2
    assert f"{sys.executable} -m pip install shtab" in capsys.readouterr().err


def test_several_values_follow_one_set_in_every_command(capsys, tmp_path):
    ct = small_ct(tmp_path)
    settings = ["--set", "volume.crop_mm=null", "volume.hu_clip_max=2000"]
    assert app.main(["inspect", str(ct), *settings, "--image", str(tmp_path / "a.png")]) == 0
    folder = str(tmp_path / "mu")
    assert app.main(["preprocess", "--ct", str(ct), *settings, "--output", folder]) == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["run", "configs/sweep.yaml", "--fames", "3"],
            'unknown option "--fames"; did you mean --frames?',
        ),
        (
            ["inspect", "--picture", "ct"],
            'unknown option "--picture"; did you mean --image?',
        ),
        (["validate", "configs/sweep.yaml", "--zzz"], 'unknown option "--zzz"'),
    ],
)
def test_unknown_option_names_the_one_that_is_meant(capsys, words, line):
    with pytest.raises(SystemExit) as stop:
        app.main(words)
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: {line}")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "sweep", "--frames", "9.5"], "--frames: must be a whole number, got '9.5'"),
        (["rnu", "sweep"], "repair, completion, got 'rnu'; did you mean run?"),
        (
            ["schema", "datasets"],
            "stream, registration, dataset, got 'datasets'; did you mean dataset?",
        ),
    ],
)
def test_wrong_word_of_the_command_line_names_those_there_are(capsys, words, line):
    with pytest.raises(SystemExit) as stop:
        app.main(words)
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(line)


def test_several_settings_follow_one_flag_in_either_form(yaml_file, capsys):
    path = str(yaml_file())
    for words in (
        ["--set", "run.fps=7", "run.frames=3"],
        ["--set=run.fps=7", "run.frames=3"],
        ["--set=run.fps=7", "--set", "run.frames=3"],
    ):
        arguments = app.parser().parse_args(["validate", *words, "--", path])
        assert arguments.set == ["run.fps=7", "run.frames=3"]
        assert app.main(["validate", path, *words]) == 0
    capsys.readouterr()
    plugins = ["--allow-plugins", "a,b.c", "--allow-plugins", "d"]
    assert app.parser().parse_args(["run", "x", *plugins]).allow_plugins == ["a", "b.c", "d"]


def test_commands_that_take_a_file_take_several_and_do_all_that_they_can(yaml_file, capsys):
    for number in (1, 2):
        written(Path(), f"ct{number}.mha", meta_bytes(np.zeros((4, 5, 6), np.int16)))
    code = app.main(["inspect", "ct1.mha", "missing.mha", "ct2.mha"])
    out, err = capsys.readouterr()
    assert code == app.EXIT_BAD_INPUT
    assert [line for line in out.splitlines() if line.startswith("slices: ")] == [
        f"slices: {os.environ['FLUORO_OUTPUT_DIR']}/ct{n}_slices.png" for n in (1, 2)
    ]
    assert err.count("missing.mha: ") == 1
    assert app.main(["inspect", "ct1.mha", "ct2.mha", "--image", "x.png"]) == app.EXIT_BAD_INPUT
    assert "--image is of one file" in capsys.readouterr().err
    assert app.main(["inspect", "ct1.mha", "./ct1.mha"]) == app.EXIT_BAD_INPUT
    assert "two files named ct1 have one image" in capsys.readouterr().err
    assert app.main(["repair", "nowhere", "nor_here"]) == app.EXIT_BAD_INPUT
    assert [line.split(":")[1] for line in capsys.readouterr().err.splitlines()] == [
        " nowhere", " nor_here"
    ]  # fmt: skip


def test_nothing_is_imported_before_ctrl_c_is_taken_care_of():
    code = """if True:
        import sys
        before = set(sys.modules)
        import fluoro.command_line.early_stop
        print(*sorted(set(sys.modules) - before))"""
    out = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)
    assert out.split() == [
        *("__future__", "fluoro", "fluoro.command_line", "fluoro.command_line.early_stop"),
        "fluoro.lazy_names",
    ]


def test_ctrl_c_is_taken_over_from_app_py_but_not_where_it_is_ignored(tmp_path):
    imports = re.findall(r"^(?:from|import) ([\w.]+)", (ROOT / "app.py").read_text(), re.MULTILINE)
    assert imports[:3] == ["__future__", "_signal", "fluoro.command_line.early_stop"]
    (tmp_path / "app.py").write_text(
        """if True:
        import _signal, sys
        _signal.signal(_signal.SIGINT, getattr(_signal, sys.argv[1]))
        import fluoro.command_line.early_stop as early
        print(_signal.getsignal(_signal.SIGINT) is early._stop)"""
    )
    for word, taken in (("default_int_handler", True), ("SIG_DFL", True), ("SIG_IGN", False)):
        out = subprocess.check_output(
            [sys.executable, tmp_path / "app.py", word], env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert out.decode().strip() == str(taken), word


SHELLS = {
    "bash": ("bash --norc --noprofile -i", 'eval "$(app.py completion bash)"'),
    "zsh": (
        "zsh -f -i",
        'autoload -Uz compinit && compinit -u -D; eval "$(app.py completion zsh)"',
    ),
    "fish": ("fish --no-config -i", "app.py completion fish | source"),
}
"""How each is started without a user's settings, and what loads the completion."""


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_options_and_words(shell, tmp_path):
    pexpect = pytest.importorskip("pexpect")
    pytest.importorskip("shtab")
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    command, source = SHELLS[shell]
    (tmp_path / "a_volume.nii").touch()
    (tmp_path / "app.py").write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/app.py "$@"\n')
    (tmp_path / "app.py").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TERM": "dumb"}
    terminal = pexpect.spawn(
        command, cwd=tmp_path, env=environment, timeout=30, encoding="utf-8", dimensions=(40, 200)
    )
    terminal.sendline(f"{source}; echo sour''ced")
    terminal.expect("sourced\r?\n")
    for typed, completed in (
        ("app.py prep\t", "preprocess"),
        ("app.py run --fram\t", "--frames"),
        ("app.py evaluate deep\t", "deepfluoro"),
        ("app.py run --ct a_vol\t", "a_volume.nii"),
        ("app.py inspect a_vol\t", "a_volume.nii"),
    ):
        terminal.send(typed)
        terminal.expect(re.escape(completed))
        terminal.sendcontrol("u")
    terminal.close(force=True)


@pytest.mark.parametrize(
    "words",
    [["inspect", ""], ["run", "sweep", "--ct", ""], ["run", "sweep", "--set", 'volume.path=""']],
)
def test_an_empty_path_is_not_the_current_folder(capsys, words):
    try:
        code = app.main(words)
    except SystemExit as ended:
        code = ended.code
    last = capsys.readouterr().err.splitlines()[-1]
    assert (code, last.endswith("must be the path of a file or folder, got ''")) == (2, True)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("p01.t0.nii.gz", "p01.t0"),
        ("p01.t1.NII", "p01.t1"),
        ("1.2.840.10", "1.2.840.10"),
        (".", "ct.of.folder"),
        ("../ct.of.folder", "ct.of.folder"),
    ],
)
def test_files_are_named_by_all_of_a_name_but_its_format(tmp_path, monkeypatch, given, name):
    folder = tmp_path / "ct.of.folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert bare_name(Path(given)) == name


def test_a_folder_does_not_hide_a_configuration_of_its_name(tmp_path, monkeypatch):
    (tmp_path / "ros2").mkdir()
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path)
    assert config_path(Path("ros2")) == ROOT / "configs" / "ros2.yaml"
    assert config_path(Path("own")) == Path("own")


def test_a_relative_cache_folder_of_the_system_is_none(monkeypatch):
    """As the XDG Base Directory Specification has it."""
    for name in ("FLUORO_CACHE_DIR", "FLUOROSIM_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir() == Path.home() / ".cache" / "fluoro"
