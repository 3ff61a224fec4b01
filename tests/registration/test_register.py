"""`app.py register`: an image to a pose, and no pose where the image shows something else."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

import app
from fluoro.config import load_config
from fluoro.errors import InputError
from fluoro.registration.config import is_register_file, load_register_config
from tests.registration_support import blobs
from tests.session_support import use_cache

TRUTH = {"lao_deg": 20, "cra_deg": 8, "roll_deg": 3, "translation_mm": [6, -4, 9]}
SIZE_PX = 64
QUICK = {
    "start": {"seed": 1, "mtre_mm": 15},
    "widths_px": [16, 32, 64],
    "attempts": 1,
    "max_iterations": 12,
    "multi_start": {"starts": 4},
}
DOCUMENT = {
    "volume": {"phantom": "thorax", "spacing_mm": 5.0},
    "carm": {
        "detector_width_px": SIZE_PX,
        "detector_height_px": SIZE_PX,
        "pixel_spacing_mm": 6.0,
    },
    "target": {"pose": TRUTH},
    "registration": QUICK,
    "renderer": {"device": "cpu"},
    "run": {"name": "run", "animation": False},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache of their own, so that the phantom is made once."""
    with pytest.MonkeyPatch.context() as patch:
        use_cache(tmp_path_factory.mktemp("register"), patch)
        yield


@pytest.fixture
def quick(cache, tmp_path, monkeypatch):
    """The command on a small document, sections given replacing its own; None leaves one out."""
    monkeypatch.setenv("FLUORO_OUTPUT_DIR", str(tmp_path / "out"))

    def register(*options, **sections):
        path = tmp_path / "small.yaml"
        merged = {**DOCUMENT, **sections}
        path.write_text(yaml.safe_dump({k: v for k, v in merged.items() if v is not None}))
        return app.main(["register", str(path), *options])

    return register


def result_of(folder):
    return json.loads((folder / "out" / "run" / "result.json").read_text())


@pytest.mark.parametrize("kind", ["display", "raw", "log"])
def test_noisy_image_made_here_is_found(quick, tmp_path, capsys, kind):
    assert quick(target={"pose": TRUTH, "kind": kind}) == 0
    found = result_of(tmp_path)
    assert found["converged"]
    assert found["mtre_start_mm"] == pytest.approx(15, abs=1e-6)
    assert found["mtre_mm"] < 1
    assert found["pose"]["lao_deg"] == pytest.approx(20, abs=1)
    assert found["history"][-1]["mtre_mm"] < 1
    assert {"reason", "seconds", "iterations", "sigma", "truth", "config"} <= found.keys()
    out, err = capsys.readouterr()
    assert f"files in {tmp_path / 'out' / 'run'}" in out
    lines = [line for line in err.splitlines() if "px, start " in line]
    assert len(lines) == len(found["history"])


def test_tissues_at_another_energy_are_what_the_image_is_held_against(quick, tmp_path):
    costs = []
    for energy in ("null", "40"):
        folder = f"run.name=at_{energy}"
        assert quick("--set", f"registration.tissues_at_kev={energy}", folder) == 0
        found = json.loads((tmp_path / "out" / f"at_{energy}" / "result.json").read_text())
        assert found["mtre_mm"] < 1
        costs.append(found["history"][-1]["cost"])
    assert costs[1] > 1.05 * costs[0]  # the image is of 70 keV


def test_images_show_where_it_began_and_ended(quick, tmp_path):
    assert quick(run={"name": "run"}) == 0
    folder = tmp_path / "out" / "run"
    comparison = np.asarray(Image.open(folder / "comparison.png"))
    halves = np.split(comparison[: len(comparison) // 2 * 2].astype(float), 2)
    before, after = (half[40:, : half.shape[1] // 2] for half in halves)
    disagreement = [np.abs(half[..., 0] - half[..., 2]).mean() for half in (before, after)]
    assert disagreement[1] < 0.25 * disagreement[0]  # the overlay's two colours become grey
    assert Image.open(folder / "errors.png").size == (1000, 600)
    assert Image.open(folder / "target.png").size == (SIZE_PX, SIZE_PX)
    assert Image.open(folder / "convergence.webp").n_frames > 3


def test_start_of_another_seed_ends_at_the_same_pose(quick, tmp_path):
    assert (
        quick(
            "--set",
            "registration.start.seed=2",
            "registration.start.mtre_mm=10",
            "--set",
            "run.name=other",
        )
        == 0
    )
    found = json.loads((tmp_path / "out" / "other" / "result.json").read_text())
    assert found["mtre_start_mm"] == pytest.approx(10, abs=1e-6)
    assert found["mtre_mm"] < 1


@pytest.mark.parametrize("suffix", ["png", "tiff", "npy"])
def test_image_from_a_file_is_found_from_a_given_start(quick, tmp_path, suffix):
    assert quick(target={"pose": TRUTH, "kind": "raw"}) == 0
    made = tmp_path / "out" / "run" / "target.png"
    image = np.array(Image.open(made))
    path = tmp_path / f"foreign.{suffix}"
    if suffix == "npy":
        np.save(path, image)
    else:
        Image.fromarray(image).save(path)
    start = {"pose": {**TRUTH, "lao_deg": 26, "translation_mm": [0, 0, 0]}}
    target = {"path": str(path), "kind": "raw"}
    assert (
        quick("--set", "run.name=file", target=target, registration={**QUICK, "start": start}) == 0
    )
    found = json.loads((tmp_path / "out" / "file" / "result.json").read_text())
    assert found["converged"]
    assert "mtre_mm" not in found
    assert found["pose"]["lao_deg"] == pytest.approx(20, abs=0.5)
    assert found["pose"]["translation_mm"] == pytest.approx([6, -4, 9], abs=2)
    assert found["history"][-1]["distance_to_result_mm"] < 0.5


def test_magnified_image_is_registered_as_one(quick, tmp_path):
    """An image at magnification 2 shows half the field on as many pixels."""
    carm = {**DOCUMENT["carm"], "magnification": 2}
    assert quick(target={"pose": TRUTH, "kind": "log"}, carm=carm) == 0
    made = np.load(tmp_path / "out" / "run" / "target.npy")
    half = {**DOCUMENT["carm"], "pixel_spacing_mm": DOCUMENT["carm"]["pixel_spacing_mm"] / 2}
    assert quick("--set", "run.name=half", target={"pose": TRUTH, "kind": "log"}, carm=half) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "half" / "target.npy"), made)


def test_own_image_takes_the_place_of_a_shipped_files_and_what_is_assumed_is_reported(
    quick, tmp_path, capsys
):
    """As `register configs/register_phantom.yaml --set target.path=...`, and bones are dark."""
    assert quick(target={"pose": TRUTH, "kind": "display"}) == 0
    made = tmp_path / "out" / "run" / "target.png"
    chain = {"dose_ngy": 5, "window": {"level": 3.1, "width": 4.4}}
    sections = {"target": {"pose": TRUTH, "kind": "display"}, "image_chain": chain}
    own = ["--set", f"target.path={made}", "run.name=own"]
    assert quick(*own, **sections) == 2
    assert "leave it out (--set image_chain={})" in capsys.readouterr().err
    assert quick(*own, "image_chain={}", **sections) == 3
    assert "polarity not given: taken as bone_bright" in capsys.readouterr().out
    dark = "target.polarity=bone_dark"
    assert quick(*own, "image_chain={}", dark, "run.name=dark", **sections) == 0


def test_image_without_the_anatomy_is_not_converged_and_ends_with_3(quick, tmp_path, capsys):
    path = tmp_path / "clouds.npy"
    np.save(path, blobs((SIZE_PX, SIZE_PX), seed=4, sigma_px=5.0))
    code = quick(target={"path": str(path), "pose": TRUTH, "kind": "log"})
    assert code == 3
    found = result_of(tmp_path)
    assert not found["converged"]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fluoro:")]
    assert line == f"fluoro: not converged: {found['reason']}"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"target": {"kind": "raw"}}, "target.pose: must be given where there is no path"),
        (
            {"target": {"path": "x.png"}},
            "registration.start.pose: must be given: target.pose is not known",
        ),
        ({"target": {"path": "x.png", "pose": TRUTH}}, "x.png: there is no such file"),
        ({"target": {"pose": TRUTH, "i0": 3.0}}, "target: i0 has no effect on a display image"),
        ({"target": {"pose": TRUTH, "crop": [40, 40, 0, 0]}}, "crop must leave pixels of 64 x 64"),
        (
            {"target": {"pose": TRUTH, "polarity": "bone_dark"}},
            "target.polarity: of a rendered image is image_chain.polarity",
        ),
        (
            {"target": {"path": "x.png", "pose": TRUTH}, "image_chain": {"dose_ngy": 5}},
            "image_chain: has no effect on a target from a file",
        ),
        (
            {
                "target": {"path": "x.png", "pose": TRUTH},
                "renderer": {"projector": "march", "device": "cpu"},
            },
            "renderer.projector: has no effect on a target from a file",
        ),
        (
            {"renderer": {"projector": "march", "device": "cpu", "texture": True}},
            "the cpu device has no textures",
        ),
        (
            {
                "target": {"path": "x.png", "pose": TRUTH},
                "renderer": {"texture": True, "device": "cpu"},
            },
            "renderer.texture: has no effect on a target from a file",
        ),
        (
            {"image_chain": {"xray": {"tube_voltage_kv": 80}}},
            "image_chain.xray: cannot be used: the target has one energy",
        ),
        ({"image_chain": {"dsa": {}}}, "image_chain.dsa: cannot be used: the target is one frame"),
        ({"image_chain": {"pulse_rate_hz": 15}}, "image_chain.pulse_rate_hz: cannot be used"),
        (
            {"image_chain": {"image_intensifier": {"diameter_mm": 300, "pin_cushion": 0.05}}},
            "image_chain.image_intensifier.pin_cushion: must be 0",
        ),
        (
            {"volume": {"phantom": "thorax", "spacing_mm": 5.0, "motion": {}}},
            "volume.motion: has no effect on one image's registration",
        ),
        ({"registration": {"widths_px": [64, 32]}}, "registration.widths_px: must rise"),
        ({"registration": {"measure": "mutual_information"}}, "registration.optimiser: leven"),
        ({"registration": {"enabled": True}}, "registration.enabled: has no effect on one image"),
        ({"registration": {"predict": False}}, "registration.predict: has no effect on one image"),
        ({"start": {"seed": 1}}, "start: unknown key: its name is registration.start now"),
        ({"registration": {"fixed": ["turn"]}}, "registration.fixed.0: must be"),
        (
            {"registration": {"start": {"mtre_mm": 200}}},
            "registration.start.mtre_mm: must be at most 150",
        ),
        ({"run": {"frames": 3}}, "run.frames: unknown key"),
    ],
)
def test_error_is_one_line_and_ends_with_2(quick, capsys, tmp_path, sections, message):
    assert quick(**sections) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fluoro:")]
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((SIZE_PX, SIZE_PX), 3.0), "constant"),
        (np.full((SIZE_PX, SIZE_PX), np.nan), "must be finite"),
        (np.ones((10, 20)), "must have carm's detector size, 64 x 64, got 20 x 10"),
        (np.ones((SIZE_PX, SIZE_PX, 3)), "must hold one grey image"),
    ],
    ids=["constant", "nan", "size", "colour"],
)
def test_image_that_cannot_be_used_is_one_line(quick, tmp_path, capsys, image, message):
    path = tmp_path / "bad.npy"
    np.save(path, image)
    assert quick(target={"path": str(path), "pose": TRUTH, "kind": "log"}) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fluoro:")]
    assert message in line


@pytest.mark.parametrize("name", ["register_phantom.yaml", "register_chest.yaml"])
def test_shipped_file_is_distinguished_from_one_of_a_stream(name, capsys):
    path = app.Path(__file__).parents[2] / "configs" / name
    assert is_register_file(path)
    assert load_register_config(path).target.pose is not None
    assert app.main(["validate", str(path)]) == 0
    with pytest.raises(InputError, match=r"describes a registration: app\.py register"):
        load_config(path)
    said = capsys.readouterr().out
    assert said in (f"{path}: valid\n", f"{path}: valid, but cache:chest-ct is not there\n")


def test_shipped_file_of_a_stream_is_refused_in_one_line():
    path = app.Path(__file__).parents[2] / "configs" / "sweep.yaml"
    with pytest.raises(InputError, match=r"^\S+: describes a stream: app\.py run \S+$"):
        load_register_config(path)


def test_set_takes_several_values_and_leaves_what_follows_alone():
    words = ["register", "--set", "a.b=1", "c=x=y", "file.yaml", "--set", "d=-2", "--debug"]
    arguments = app.parser().parse_args(words)
    assert arguments.set == ["a.b=1", "c=x=y", "d=-2"]
    assert arguments.config == app.Path("file.yaml")
    assert arguments.debug
