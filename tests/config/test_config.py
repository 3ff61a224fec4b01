"""The YAML: what it may say, and one line with the key's path for each error."""

import copy
import json
import math
from pathlib import Path
from typing import Annotated, Literal

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from fluoro import config as schema
from fluoro.config import Config, load_config
from fluoro.config.poses import POSE_SOURCES
from fluoro.config.schema_rules import json_schema
from fluoro.config.validation_errors import described_errors
from fluoro.config.yaml_text import parse_yaml
from fluoro.errors import InputError
from fluoro.rendering.projectors import names_where
from tests.config.shipped_files import STREAMS

POSE_KINDS = ", ".join(source.word() for source in POSE_SOURCES)
MINIMAL = {"volume": {"phantom": "thorax"}, "pose_source": {"kind": "static"}}
FULL = {
    "volume": {
        "phantom": "thorax",
        "spacing_mm": 1.4,
        "hu_to_mu": {"kind": "physical", "energy_kev": 70.0},
        "crop_mm": {"min": [-100, None, None], "max": [100, None, None]},
        "hu_clip_max": None,
        "bone_multiplier": 1.5,
    },
    "carm": {
        "source_to_detector_mm": 1200,
        "source_to_isocenter_mm": 900,
        "detector_width_px": 256,
        "detector_height_px": 256,
        "pixel_spacing_mm": 1.68,
        "isocenter_mm": [1, 2, 3],
    },
    "pose_source": {
        "kind": "sweep",
        "lao_range_deg": [-40, 40],
        "cra_range_deg": [0, 25],
        "roll_deg": 0,
        "translation_mm": [0, 0, 0],
        "period_s": 10,
    },
    "renderer": {
        "projector": "march",
        "step_mm": 1.4,
        "texture": False,
        "device": "auto",
        "workers": 0,
    },
    "image_chain": {
        "dose_ngy": 20,
        "poisson": True,
        "blur_sigma_mm": 0.1,
        "window": {"level": 3.0, "width": 5.0},
        "polarity": "bone_dark",
    },
    "console": {"enabled": True, "host": "127.0.0.1", "port": 0, "jpeg_quality": 90},
    "recorder": {"enabled": True, "formats": ["mp4", "png"], "queue_frames": 120},
    "holoviz": {"enabled": False, "headless": False},
    "run": {"name": "x", "frames": 3, "fps": 30, "pacing": "paced", "seed": 0},
}


def written(folder, content):
    """A YAML file of text, bytes or a document."""
    path = folder / "config.yaml"
    if isinstance(content, dict):
        content = yaml.safe_dump(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def changed(key, value):
    """The full document with one key set."""
    document = copy.deepcopy(FULL)
    *sections, last = key.split(".")
    section = document
    for name in sections:
        section = section.setdefault(name, {})
    section[last] = value
    return document


def mistake(folder, content, *overrides):
    """Return the one line of the error, without the file's name."""
    path = written(folder, content)
    with pytest.raises(InputError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    assert "\n" not in message, "one error, one line"
    return message.removeprefix(f"{path}: ")


def test_minimal_document_takes_the_defaults(tmp_path):
    config = load_config(written(tmp_path, MINIMAL))
    assert config == Config.model_validate(MINIMAL)
    assert config.console.host == "127.0.0.1"
    assert config.run.frames is None


def test_full_document_is_valid(tmp_path):
    assert load_config(written(tmp_path, FULL)).carm.isocenter_mm == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("foo", 1, "foo: unknown key"),
        ("volume.foo", 1, "volume.foo: unknown key"),
        ("image_chain.window.foo", 1, "image_chain.window.foo: unknown key"),
        ("pose_source.foo", 1, "pose_source.foo: unknown key"),
        ("pose_source.lao_deg", 1, "pose_source.lao_deg: unknown key"),
        (
            "pose_source.kind",
            "foo",
            f"pose_source.kind: must be one of {POSE_KINDS}, got 'foo'",
        ),
        (
            "pose_source.kind",
            None,
            f"pose_source.kind: must be one of {POSE_KINDS}, got null",
        ),
        ("pose_source", {}, "pose_source.kind: must be given"),
        ("pose_source", 3, "pose_source: must be a mapping of keys, got 3"),
        ("console", None, "console: must be a mapping of keys, got null"),
        ("console", [1], "console: must be a mapping of keys, got [1]"),
        ("image_chain.window", 3, "image_chain.window: must be a mapping of keys, got 3"),
        ("renderer.step_mm", "1.4", "renderer.step_mm: must be a number, got '1.4'"),
        ("renderer.step_mm", True, "renderer.step_mm: must be a number, got true"),
        ("renderer.step_mm", 0, "renderer.step_mm: must be at least 0.001, got 0"),
        ("renderer.step_mm", math.nan, "renderer.step_mm: must be a finite number, got nan"),
        ("run.fps", math.nan, "run.fps: must be a finite number, got nan"),
        ("renderer.device", "gpu", "renderer.device: must be 'auto', 'cuda', 'vulkan', 'metal', "),
        ("renderer.workers", -1, "renderer.workers: must be at least 0, got -1"),
        ("carm.detector_width_px", 25.5, "carm.detector_width_px: must be a whole number, "),
        ("carm.detector_width_px", 256.0, "carm.detector_width_px: must be a whole number, "),
        ("carm.detector_width_px", True, "carm.detector_width_px: must be a whole number, "),
        ("carm.detector_width_px", 0, "carm.detector_width_px: must be at least 1, got 0"),
        ("carm.pixel_spacing_mm", math.inf, "carm.pixel_spacing_mm: must be "),
        ("carm.isocenter_mm", [1, 2], "carm.isocenter_mm: must be a list of 3 numbers, got [1, 2]"),
        ("carm.isocenter_mm", "0", "carm.isocenter_mm: must be a list of 3 numbers, got '0'"),
        ("carm.isocenter_mm", [1, 2, "a"], "carm.isocenter_mm.2: must be a number, got 'a'"),
        ("carm.isocenter_mm", [1, 2, math.nan], "carm.isocenter_mm.2: must be a finite number, "),
        (
            "carm.source_to_isocenter_mm",
            1200,
            "carm.source_to_isocenter_mm: must be less than source_to_detector_mm (1200), got 1200",
        ),
        ("pose_source.lao_range_deg", [1], "pose_source.lao_range_deg: must be a list of 2 "),
        ("pose_source.lao_range_deg", [0, 400], "pose_source.lao_range_deg.1: must be at most 360"),
        ("pose_source.period_s", 0, "pose_source.period_s: must be at least 0.01, got 0"),
        ("image_chain.poisson", "yes", "image_chain.poisson: must be true or false, got 'yes'"),
        ("image_chain.poisson", 1, "image_chain.poisson: must be true or false, got 1"),
        ("image_chain.dose_ngy", 0, "image_chain.dose_ngy: must be greater than 0, got 0"),
        ("image_chain.window.width", -1, "image_chain.window.width: must be greater than 0, "),
        (
            "image_chain.brightness",
            {},
            "image_chain.window.level: must lie within half a width of 0, where brightness holds",
        ),
        ("image_chain.beer_lambert", False, "image_chain.beer_lambert: false leaves no signal for"),
        ("console.port", 70000, "console.port: must be at most 65535, got 70000"),
        ("console.host", 1, "console.host: must be text, got 1"),
        ("recorder.formats", "mp4", "recorder.formats: must be a list, got 'mp4'"),
        (
            "recorder.formats",
            ["gif"],
            "recorder.formats.0: must be 'mp4', 'png', 'npy', 'npz', 'dicom' or 'geometry', ",
        ),
        ("run.name", "../x", "run.name: must be text that matches "),
        ("run.frames", 0, "run.frames: must be at least 1, got 0"),
        ("run.seed", -1, "run.seed: must be at least 0, got -1"),
        ("run.seed", 2**63, "run.seed: must be less than 9223372036854775808, got "),
        ("run.fps", 0, "run.fps: must be at least 0.01, got 0"),
        ("volume", {}, "volume: must have either phantom or path, got neither"),
        ("volume.path", "ct.nii", "volume: must have either phantom or path, got both"),
        ("volume", {"path": 3}, "volume.path: must be the path of a file or folder, got 3"),
        ("volume", {"path": "a\0b"}, "volume.path: must be the path of a file or folder, got "),
        ("volume", {"path": "~no-such-user/ct"}, "volume.path: must be the path of a file "),
        ("volume.phantom", "skull", "volume.phantom: must be 'body' or 'thorax', got 'skull'"),
    ],
)
def test_error_is_one_line_with_the_path_of_its_key(tmp_path, key, value, line):
    assert mistake(tmp_path, changed(key, value)).startswith(line)


def test_step_belongs_to_a_projector_with_steps(tmp_path):
    line = mistake(tmp_path, changed("renderer.projector", "siddon"))
    stepped = " or ".join(names_where(lambda each: each.steps))
    assert line == f"renderer.step_mm: has no effect with projector: siddon; use {stepped}"


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("renderer.projector", "joseph", "has no effect with projector: joseph; use march"),
        ("image_chain.xray", {"tube_voltage_kv": 80}, "cannot be true with image_chain.xray"),
    ],
)
def test_a_texture_belongs_to_a_march_of_one_still_volume(tmp_path, key, value, line):
    document = changed(key, value)
    document["renderer"] = {**document["renderer"], "texture": True, "step_mm": None}
    assert mistake(tmp_path, document) == f"renderer.texture: {line}"


def test_console_poses_need_the_console(tmp_path):
    document = {**MINIMAL, "pose_source": {"kind": "console"}, "console": {"enabled": False}}
    assert mistake(tmp_path, document) == "pose_source.kind: console needs console.enabled: true"


def test_nested_sections_of_a_pose_source_name_their_keys(tmp_path):
    document = {**MINIMAL, "pose_source": {"kind": "random_walk", "center": {"lao": 3}}}
    assert mistake(tmp_path, document) == (
        "pose_source.center.lao: unknown key; did you mean lao_deg?"
    )


@pytest.mark.parametrize(
    ("section", "content"),
    [
        ("image_chain.lut", {"kind": "gamma", "gamma": 99}),
        ("image_chain.collimator", {"kind": "iris", "diameter_mm": -1}),
        ("volume.hu_to_mu", {"kind": "linear", "hu_min": "a"}),
    ],
)
def test_the_kind_of_a_section_is_no_part_of_a_key(tmp_path, section, content):
    key = list(content)[-1]
    line = mistake(tmp_path, changed(section, content))
    assert line.startswith(f"{section}.{key}: must be ")


@pytest.mark.parametrize("value", [[1], {"a": 1}, -1])
def test_a_value_of_several_types_is_named_by_its_key(tmp_path, value):
    document = {**MINIMAL, "volume": {"path": "x", "series": value}}
    with pytest.raises(InputError) as caught:
        load_config(written(tmp_path, document))
    lines = str(caught.value).splitlines()
    assert all(": volume.series: must be " in line for line in lines), lines


class Square(BaseModel):
    kind: Literal["square"]
    square: int


class Circle(BaseModel):
    kind: Literal["circle"]
    circle: int


Shape = Annotated[Square | Circle, Field(discriminator="kind")]


class Drawing(BaseModel):
    first: Shape | None = None
    second: Square | Circle = Field(Square(kind="square", square=1), discriminator="kind")
    others: tuple[Shape, ...] = ()


def test_sections_with_a_kind_are_found_in_the_models():
    wrong = {"kind": "circle", "circle": "a"}
    document = {"first": wrong, "second": wrong, "others": [{"kind": "square"}, wrong]}
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate(document)
    assert [key for key, _ in described_errors(caught.value, Drawing)] == [
        "first.circle",
        "second.circle",
        "others.0.square",
        "others.1.circle",
    ]


@pytest.mark.parametrize("section", ["volume", "pose_source"])
def test_missing_section_is_named(tmp_path, section):
    document = {name: keys for name, keys in MINIMAL.items() if name != section}
    assert mistake(tmp_path, document) == f"{section}: must be given"


def test_key_that_is_no_word_is_refused(tmp_path):
    line = mistake(tmp_path, "volume: {phantom: thorax, 3: 4}\npose_source: {kind: static}")
    assert line == "volume.3: unknown key: keys are words"


def test_every_error_gets_its_own_line(tmp_path):
    path = written(tmp_path, changed("run.fps", -1) | {"foo": 1, "console": {"port": "a"}})
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value).splitlines() == [
        f"{path}: console.port: must be a whole number, got 'a'",
        f"{path}: run.fps: must be at least 0.01, got -1",
        f"{path}: foo: unknown key",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "must be a mapping of sections, got nothing"),
        ("- a\n- b", "must be a mapping of sections, got a list"),
        ("just words", "must be a mapping of sections, got a str"),
        ("volume: [", "not valid YAML: line 1, column 10: "),
        ("volume: {phantom: thorax}\n\tx: 1", "not valid YAML: line 2, column 1: "),
        ("run: {fps: 1, fps: 2}", "not valid YAML: line 1, column 15: key 'fps' is given twice"),
        ("run: {}\nrun: {}", "not valid YAML: line 2, column 1: key 'run' is given twice"),
        ("run: !!python/object:os.system {}", "not valid YAML: line 1, column 6: "),
        ("run: !!timestamp 2020-13-45", "not valid YAML: month must be in 1..12"),
        ("{[1]: 2}", "not valid YAML: line 1, column 2: found unhashable key"),
        ("a: 1\n---\nb: 2", "not valid YAML: line 2, column 1: but found another document"),
        ("a: " + "[" * 5000, "not valid YAML: nested too deeply"),
        ("a: " + "1" * 5000, "not valid YAML: Exceeds the limit"),
        (b"a: \xff\xfe", "must be UTF-8 text in YAML; a CT stands behind --ct, as in app.py run"),
        (b"a: \x01", "not valid YAML: unacceptable character #x0001: special"),
    ],
)
def test_file_that_is_no_configuration_is_refused_in_one_line(tmp_path, content, line):
    assert mistake(tmp_path, content).startswith(line)


def test_missing_file_and_folder_are_named(tmp_path):
    missing = tmp_path / "no.yaml"
    with pytest.raises(InputError, match=r"no\.yaml: there is no such file$"):
        load_config(missing)
    (tmp_path / "sweep.yaml").write_text("{}")
    with pytest.raises(InputError, match=r"no such file; did you mean .*sweep\.yaml\?$"):
        load_config(tmp_path / "sweep.yml")
    with pytest.raises(InputError, match="got a folder; a CT stands behind --ct"):
        load_config(tmp_path)


def test_long_values_are_shortened(tmp_path):
    line = mistake(tmp_path, changed("run.fps", "x" * 5000))
    assert line.startswith("run.fps: must be a number, got 'xxx")
    assert len(line) < 200


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", "+1e-3", "0.001"])
def test_exponents_are_numbers(tmp_path, text):
    config = load_config(written(tmp_path, MINIMAL), [f"renderer.step_mm={text}"])
    assert config.renderer.step_mm == 0.001


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("030", 30), ("-045", -45), ("010", 10), ("0400", 400), ("0o20", 16), ("0x1E", 30)),
        *(("1:30", "1:30"), ("2_56", "2_56"), ("0b11", "0b11"), ("yes", "yes"), ("on", "on")),
        *(("2026-01-01", "2026-01-01"), ("true", True), ("~", None), ("1e-3", 0.001), (".5", 0.5)),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text, value):
    parsed = parse_yaml(text, "text")
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("run.fps=1:30", "run.fps: must be a number, got '1:30'"),
        (
            "carm.detector_width_px=2_56",
            "carm.detector_width_px: must be a whole number, got '2_56'",
        ),
        ("image_chain.poisson=yes", "image_chain.poisson: must be true or false, got 'yes'"),
    ],
)
def test_scalars_of_yaml_1_1_are_refused_by_their_key(tmp_path, setting, line):
    with pytest.raises(InputError) as caught:
        load_config(written(tmp_path, MINIMAL), [setting])
    assert str(caught.value) == f"command line: {line}"


def test_numbers_with_a_leading_zero_are_decimal(tmp_path):
    config = load_config(written(tmp_path, MINIMAL), ["run.fps=030", "image_chain.dose_ngy=020"])
    assert (config.run.fps, config.image_chain.dose_ngy) == (30, 20)


def test_anchors_and_merge_keys_work(tmp_path):
    text = "volume: {phantom: thorax}\npose_source: {<<: &a {kind: orbit}, kind: static}\n"
    assert load_config(written(tmp_path, text)).pose_source.kind == "static"


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path, monkeypatch):
    document = {
        "volume": {"path": "ct.nii"},
        "pose_source": {"kind": "waypoints", "path": "../poses.csv"},
        "run": {"output_dir": "out"},
    }
    folder = tmp_path / "configs"
    folder.mkdir()
    config = load_config(written(folder, document))
    assert config.volume.path == folder / "ct.nii"
    assert config.pose_source.path.resolve() == tmp_path / "poses.csv"
    assert config.run.output_dir == folder / "out"
    monkeypatch.chdir(tmp_path)
    overrides = ["volume.path=other.nii", "run={output_dir: /there}"]
    config = load_config(folder / "config.yaml", overrides)
    assert config.volume.path == tmp_path / "other.nii"
    assert config.run.output_dir == Path("/there")


def test_home_and_cache_are_no_relative_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    path = written(tmp_path, MINIMAL)
    for given_path, expected in (
        ("~/ct.nii", "/home/somebody/ct.nii"),
        ("cache:chest-ct", "cache:chest-ct"),
    ):
        config = load_config(path, ["volume.phantom=null", f"volume.path={given_path}"])
        assert config.volume.path == Path(expected)


def test_overrides_are_applied_in_order_and_make_sections(tmp_path):
    overrides = ["run.fps=10", "run.fps=20", "carm.isocenter_mm=[1, 2, 3]", "image_chain.log=true"]
    config = load_config(written(tmp_path, MINIMAL), overrides)
    assert config.run.fps == 20
    assert config.carm.isocenter_mm == (1, 2, 3)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("run.fps", "--set must be key.path=value, got 'run.fps'"),
        ("=3", "--set must be key.path=value, got '=3'"),
        ("run..fps=3", "--set must be key.path=value, got 'run..fps=3'"),
        ("run.fps.x=3", "--set run.fps.x: fps is not a section"),
        ("run.fps=[", "--set run.fps: not valid YAML: line 1, column 2: "),
        ("run.fps=fast", "command line: run.fps: must be a number, got 'fast'"),
        ("run={fps: fast}", "command line: run.fps: must be a number, got 'fast'"),
        ("run.speed=3", "command line: run.speed: unknown key"),
        (
            "pose_source={kind: orbit, cra_range_deg: [0, 9]}",
            "command line: pose_source.cra_range_deg: unknown key of this kind; "
            "it belongs to sweep",
        ),
        (
            "volume.hu_to_mu={kind: linear, energy_kev: 60}",
            "command line: volume.hu_to_mu.energy_kev: unknown key of this kind; "
            "it belongs to physical",
        ),
        ("runs.fps=3", "command line: runs: unknown key; did you mean run?"),
        ("renderer.step_m=3", "command line: renderer.step_m: unknown key; did you mean step_mm?"),
        (
            "pose_source={kind: xray_file, path: a.dcm, pictures: true}",
            "command line: pose_source.pictures: unknown key: its name is images now",
        ),
        (
            "registration.search_starts=8",
            "command line: registration.search_starts: unknown key: its name is "
            "multi_start.starts now",
        ),
        ("dose_ngy=3", "command line: dose_ngy: unknown key; did you mean image_chain.dose_ngy?"),
        ("volume.series=[1]", "command line: volume.series: must be text or a whole number"),
    ],
)
def test_bad_override_says_that_it_stood_on_the_command_line(tmp_path, override, line):
    assert mistake(tmp_path, changed("run.fps", 30), override).startswith(line)


def test_a_hash_in_the_text_of_a_setting_begins_no_comment(tmp_path):
    path = written(tmp_path, MINIMAL)
    settings = ["run.output_dir=/d/a #b", "run.name='x' # quoted", "run.fps=20 # x"]
    config = load_config(path, settings)
    assert config.run.output_dir == Path("/d/a #b")
    assert (config.run.name, config.run.fps) == ("x", 20)


def test_an_unknown_section_of_the_file_is_not_blamed_on_a_setting_in_it(tmp_path):
    path = written(tmp_path, {**MINIMAL, "runs": {"fps": 3}})
    with pytest.raises(InputError, match=f"^{path}: runs: unknown key; did you mean run"):
        load_config(path, ["runs.fps=4"])


# -- drawn documents ---------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.dates(),
    st.sampled_from(["console", "orbit", "siddon", "mp4", "cache:x", "~x", 10**400]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers(), st.none()), inner),
    ),
    max_leaves=6,
)
KEYS = [f"{name}.{key}" for name, keys in FULL.items() for key in keys] + list(FULL)


DRAWN = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3), st.text(max_size=6))
@DRAWN
def test_no_document_raises_anything_but_input_errors(tmp_path, mutations, extra_key):
    document = copy.deepcopy(FULL)
    for key, value in mutations.items():
        section, _, name = key.partition(".")
        if not name:
            document[section] = value
        elif isinstance(document[section], dict):
            document[section][name] = value
            document[section][extra_key] = value
    path = written(tmp_path, yaml.safe_dump(document, allow_unicode=False))
    refusal = refused(path)
    assert refusal is None or all(line.startswith(f"{path}: ") for line in refusal.splitlines())


@given(st.one_of(st.text(max_size=60), st.binary(max_size=60)))
@DRAWN
def test_no_file_raises_anything_but_input_errors(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refused(path) is not None


def refused(path):
    try:
        load_config(path)
    except InputError as error:
        return str(error)
    return None


# -- the schema --------------------------------------------------------------------------------

SCHEMA = jsonschema.Draft202012Validator(json_schema(Config))


def test_schema_is_one():
    assert SCHEMA.schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA.schema)


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name)
def test_schema_admits_the_shipped_configurations(path):
    SCHEMA.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("foo", 1),
        ("run.foo", 1),
        ("renderer.step_mm", "1"),
        ("renderer.projector", "ray"),
        ("pose_source.kind", "foo"),
        ("carm.isocenter_mm", [1, 2]),
        ("run.frames", 0),
    ],
)
def test_schema_refuses_errors_as_the_program_does(key, value):
    assert not SCHEMA.is_valid(changed(key, value))


def test_schema_describes_every_key():
    for section in Config.model_json_schema()["$defs"].values():
        for name, key in section.get("properties", {}).items():
            assert name == "kind" or "description" in key, json.dumps(key)


def test_each_name_of_the_schema_is_where_the_package_looks_for_it():
    found = {name: getattr(schema, name) for name in schema.__all__}
    assert found["Config"] is Config
    assert all(value.__name__ == name for name, value in found.items() if isinstance(value, type))
    assert not hasattr(schema, "json")
