"""Poses of other programs: the same volume and the same pose give the same image.

Images that nanodrr, DiffDRR and RTK have rendered are kept in data/peer_references.npz (made by
tools/data/make_peer_references.py). The tests marked `peers` have the installed programs render
them again, and what a C-arm shows besides: `make peers` installs them and runs these.
"""

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.converters import (
    DeepdrrPose,
    DiffdrrPose,
    NanodrrPose,
    PlastimatchPose,
    RtkPose,
)
from fluoro.geometry.converters.patient_frames import LPS_FROM_IEC
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.reference import march_reference
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume
from tools.data import make_peer_references as peers

ROOT = Path(__file__).parents[2]
REFERENCES = Path(__file__).parents[1] / "data" / "peer_references.npz"
CLASSES = {"nanodrr": NanodrrPose, "diffdrr": DiffdrrPose, "rtk": RtkPose}
IMAGES = [
    *("nanodrr AP", "nanodrr AP turned", "nanodrr PA", "nanodrr PA turned"),
    *("diffdrr AP", "diffdrr PA", "diffdrr None, x not reversed"),
    *("rtk zero", "rtk gantry", "rtk all"),
]
LEAST_NCC = 0.9995
"""Two projectors of one geometry; half a pixel's shift leaves 0.985 at most, a mirror 0.7."""
ROUNDING_MM = 1e-8
ISOCENTER_XYZ_MM = (3.0, -4.0, 5.0)
CARM = CarmGeometry(detector_width_px=101, detector_height_px=80, pixel_spacing_mm=2.0)
POSES = [
    CarmPose(),
    CarmPose(lao_deg=30, cra_deg=20),
    CarmPose(lao_deg=-110, cra_deg=-40, roll_deg=-75, translation_mm=(10.0, -20.0, 30.0)),
    CarmPose(lao_deg=170, cra_deg=80, roll_deg=15),
]


@pytest.fixture(scope="module")
def references():
    """Volume, poses by name and images by name."""
    with np.load(REFERENCES) as file:
        record = json.loads(str(file["record"]))
        levels = file["levels"].astype(np.float32)
        images = {name: file[name] for name in file.files if name not in ("record", "levels")}
    grid = VolumeGrid(**{key: peers.tuples(value) for key, value in record["grid"].items()})
    volume = MuVolume(mu_zyx=levels * np.float32(peers.MU_PER_LEVEL), grid=grid)
    poses = {
        name: CLASSES[name.split()[0]](
            **{key: peers.tuples(value) for key, value in fields.items()}
        )
        for name, fields in record["poses"].items()
    }
    return volume, poses, images


def ncc(a, b):
    """Normalised cross-correlation."""
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def shift_px(a, b):
    """Row and column displacement of the peak of the images' cross-correlation, in pixels."""
    spectrum = np.fft.fft2(a - a.mean()).conj() * np.fft.fft2(b - b.mean())
    peak = np.unravel_index(np.fft.ifft2(spectrum).real.argmax(), a.shape)
    return tuple((np.array(peak) + np.array(a.shape) // 2) % a.shape - np.array(a.shape) // 2)


def difference(view, other):
    """Largest distance of what two views are made of [mm]."""
    fields = ("source_xyz_mm", "corner_xyz_mm", "column_step_xyz_mm", "row_step_xyz_mm")
    assert (view.width_px, view.height_px) == (other.width_px, other.height_px)
    return max(np.abs(getattr(view, name) - getattr(other, name)).max() for name in fields)


def as_program(program, view, center_xyz_mm=(1, 2, 3)):
    """A C-arm's view in a program's words, from the side that it can show."""
    return {
        "nanodrr PA": lambda: NanodrrPose.from_view(view, isocenter_xyz_mm=center_xyz_mm),
        "nanodrr AP": lambda: NanodrrPose.from_view(view.mirrored(), orientation="AP"),
        "nanodrr None": lambda: NanodrrPose.from_view(view.mirrored(), orientation=None),
        "diffdrr PA": lambda: DiffdrrPose.from_view(view, center_xyz_mm=center_xyz_mm),
        "diffdrr AP": lambda: DiffdrrPose.from_view(
            view.mirrored(), orientation="AP", center_xyz_mm=center_xyz_mm
        ),
        "diffdrr AP, x not reversed": lambda: DiffdrrPose.from_view(
            view, orientation="AP", reverse_x_axis=False
        ),
        "rtk": lambda: RtkPose.from_view(view),
        "rtk in IEC": lambda: RtkPose.from_view(view, lps_from_rtk=LPS_FROM_IEC),
        "plastimatch": lambda: PlastimatchPose.from_view(view.mirrored(), sad_mm=510.0),
        "deepdrr": lambda: DeepdrrPose.from_view(view.mirrored()),
        "deepdrr, not turned": lambda: DeepdrrPose.from_view(
            view.mirrored(), rotate_camera_left=False
        ),
    }[program]()


PROGRAMS = [
    *("nanodrr PA", "nanodrr AP", "nanodrr None", "diffdrr PA", "diffdrr AP"),
    *("diffdrr AP, x not reversed", "rtk", "rtk in IEC", "plastimatch", "deepdrr"),
    "deepdrr, not turned",
]


@pytest.mark.parametrize("name", IMAGES)
def test_image_is_the_other_programs(references, name):
    volume, poses, images = references
    ours, theirs = march_reference(volume, poses[name].view(), 1.0), images[name]
    assert ncc(ours, theirs) > LEAST_NCC
    assert ncc(ours[:, ::-1], theirs) < 0.8, "the volume must tell a mirror image"
    assert shift_px(ours, theirs) == (0, 0)
    assert ours.sum() == pytest.approx(theirs.sum(), rel=1e-3)


def test_references_hold_every_image(references):
    assert sorted(references[2]) == sorted(IMAGES)


# -- the installed programs --------------------------------------------------------------------

PYTHON = ROOT / "benchmarks" / ".venv-peers" / "bin" / "python"
INSTALLED = [pytest.mark.peers, pytest.mark.slow, pytest.mark.timeout(900)]
SHOWN = ["nanodrr PA", "nanodrr AP", "diffdrr PA", "diffdrr AP", "rtk", "rtk in IEC"]
SIZE_PX = (46, 40)


def peers_python():
    """Interpreter of the programs' environment; without it the test is skipped by its name."""
    python = Path(os.environ.get("FLUORO_PEERS_PYTHON", PYTHON))
    if python.is_file():
        return python
    reason = f"needs nanodrr, DiffDRR and RTK in {python} (make peers)"
    if os.environ.get("FLUORO_REQUIRE_PEERS") == "1":
        pytest.fail(reason, pytrace=False)
    return pytest.skip(reason)


def rendered_live(path, *arguments):
    """Images by name that the installed programs have rendered now."""
    command = [
        peers_python(),
        ROOT / "tools" / "data" / "make_peer_references.py",
        path,
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(path) as file:
        return {name: file[name] for name in file.files if name not in ("record", "levels")}


@pytest.fixture(scope="module")
def kept_again(tmp_path_factory):
    return rendered_live(tmp_path_factory.mktemp("kept") / "images.npz")


@pytest.fixture(scope="module")
def carm_views(references):
    """Views of a C-arm at four poses, with its detector in the middle and beside it."""
    center = references[0].grid.center_xyz_mm
    width, height = SIZE_PX
    size = {"detector_width_px": width, "detector_height_px": height, "pixel_spacing_mm": 6.0}
    arms = [CarmGeometry(**size), CarmGeometry(**size, detector_offset_mm=(13.0, -7.0))]
    return [arm.view(pose, center) for pose, arm in zip(POSES, arms * 2, strict=True)]


@pytest.fixture(scope="module")
def shown_live(references, carm_views, tmp_path_factory):
    """Images of all programs by program and number of the view."""
    poses = {}
    for program in SHOWN:
        for number, view in enumerate(carm_views):
            pose = as_program(program, view, references[0].grid.center_xyz_mm)
            poses[f"{program} {number}"] = {"class": type(pose).__name__, **asdict(pose)}
    folder = tmp_path_factory.mktemp("shown")
    (folder / "poses.json").write_text(json.dumps(poses, default=lambda value: value.tolist()))
    return rendered_live(folder / "images.npz", "--poses", folder / "poses.json")


@pytest.mark.parametrize("name", [pytest.param(name, marks=INSTALLED) for name in IMAGES])
def test_installed_program_renders_the_kept_image(references, kept_again, name):
    np.testing.assert_allclose(kept_again[name], references[2][name], atol=1e-4)


@pytest.mark.parametrize("program", [pytest.param(name, marks=INSTALLED) for name in SHOWN])
def test_installed_program_shows_what_the_renderer_does(
    references, carm_views, shown_live, program
):
    device = CpuDevice(workers=1)
    images = DrrRenderer(references[0], device, step_mm=0.5).render(carm_views)
    device.close()
    for number, (view, ours) in enumerate(zip(carm_views, images, strict=True)):
        theirs = shown_live[f"{program} {number}"]
        if not as_program(program, view).view().seen_from_detector:
            theirs = theirs[:, ::-1]
        assert ours.max() > 0.5, "the volume is in the image"
        assert ncc(ours, theirs) > LEAST_NCC, number
        assert shift_px(ours, theirs) == (0, 0), number


# -- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_view_comes_back_from_a_programs_words(program, pose):
    view = CARM.view(pose, ISOCENTER_XYZ_MM)
    said = as_program(program, view)
    again = said.view()
    wanted = view if view.seen_from_detector == again.seen_from_detector else view.mirrored()
    assert difference(again, wanted) < ROUNDING_MM


@pytest.mark.parametrize(
    "program", ["nanodrr PA", "nanodrr AP", "diffdrr PA", "rtk", "plastimatch"]
)
def test_detector_off_the_central_ray_comes_back_too(program):
    carm = CarmGeometry(
        detector_width_px=90, detector_height_px=61, detector_offset_mm=(13.0, -7.0)
    )
    view = carm.view(POSES[1], ISOCENTER_XYZ_MM)
    again = as_program(program, view).view()
    wanted = view if again.seen_from_detector else view.mirrored()
    assert difference(again, wanted) < ROUNDING_MM


@pytest.mark.parametrize(
    ("say", "side"),
    [
        (lambda v: NanodrrPose.from_view(v, orientation="AP"), "source"),
        (lambda v: NanodrrPose.from_view(v.mirrored()), "detector"),
        (lambda v: DiffdrrPose.from_view(v, orientation="AP"), "source"),
        (lambda v: RtkPose.from_view(v.mirrored()), "detector"),
        (lambda v: PlastimatchPose.from_view(v, sad_mm=500.0), "source"),
        (lambda v: DeepdrrPose.from_view(v), "source"),
    ],
)
def test_image_from_the_wrong_side_is_refused_and_the_way_out_named(say, side):
    view = CARM.view(CarmPose(), ISOCENTER_XYZ_MM)
    with pytest.raises(InputError, match=rf"as seen from the {side}.*view\.mirrored"):
        say(view)


def test_deepdrr_refuses_what_its_carm_cannot_be():
    off = CarmGeometry(detector_offset_mm=(5.0, 0.0)).view(CarmPose(), ISOCENTER_XYZ_MM)
    with pytest.raises(InputError, match="central ray in the detector's middle"):
        DeepdrrPose.from_view(off.mirrored())


def test_deepdrrs_carm_at_zero_looks_through_a_supine_patient_from_below():
    view = DeepdrrPose(alpha_deg=0, beta_deg=0).view()
    np.testing.assert_allclose(view.source_xyz_mm, (0, 530, 0), atol=1e-9)  # behind the patient
    np.testing.assert_allclose(view.row_step_xyz_mm / 0.194, (0, 0, -1), atol=1e-9)  # to the feet
    assert not view.seen_from_detector


def test_deepdrrs_alpha_turns_the_detector_about_its_x_axis():
    # +90 about x takes the beam from +z (front) to -y (the supine patient's right): RAO
    view = DeepdrrPose(alpha_deg=90, beta_deg=0).view()
    np.testing.assert_allclose(view.source_xyz_mm, (530, 0, 0), atol=1e-9)


def test_plastimatchs_frontal_example_has_the_source_in_front_and_the_right_side_first():
    # its manual: -nrm "0 -1 0" -vup "0 0 1" is the anterior-posterior view
    pose = PlastimatchPose(
        nrm=(0, -1, 0),
        sad_mm=1000.0,
        sid_mm=1500.0,
        isocenter_xyz_mm=(0, -20, -50),
        image_center_px=(383.5, 511.5),
        spacing_mm=(0.4, 0.4),
        size_px=(768, 1024),
    )
    view = pose.view()
    np.testing.assert_allclose(view.source_xyz_mm, (0, -1020, -50), atol=1e-9)
    np.testing.assert_allclose(view.project((0, -20, -50), "integer"), (383.5, 511.5), atol=1e-9)
    assert view.project((10, -20, -50))[0] > 384, "the patient's left is at the right"


def test_plastimatch_needs_an_upward_direction():
    with pytest.raises(InputError, match="nrm must not run along vup"):
        PlastimatchPose(
            nrm=(0, 0, 2),
            sad_mm=1000.0,
            sid_mm=1500.0,
            image_center_px=(0, 0),
            spacing_mm=(1, 1),
            size_px=(2, 2),
        )


def test_unknown_orientation_is_refused():
    with pytest.raises(InputError, match="orientation must be 'AP', 'PA' or None, got 'LAT'"):
        NanodrrPose.from_view(CARM.view(CarmPose(), (0, 0, 0)), orientation="LAT")


def test_rtk_in_the_iec_frame_has_the_source_above_a_supine_patient():
    pose = RtkPose(
        sid_mm=600.0,
        sdd_mm=1000.0,
        gantry_deg=0.0,
        origin_xy_mm=(-9.5, -9.5),
        spacing_xy_mm=(1.0, 1.0),
        size_px=(20, 20),
        lps_from_rtk=LPS_FROM_IEC,
    )
    np.testing.assert_allclose(pose.view().source_xyz_mm, (0, -600, 0), atol=1e-9)
