"""An X-ray file in a stream: its poses, its frames beside the rendered ones, and as a target."""

import gc
import subprocess

import av
import numpy as np
import pytest
from pydicom.uid import RLELossless

from fluoro.config import Config, ImageChainConfig, load_config
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.plot.xray_image import ShownFrames
from fluoro.registration.targets.frame_target import target_from_frame
from fluoro.registration.xray_images import XrayImages
from fluoro.volume.formats.dicom import pixels
from fluoro.volume.formats.dicom.pixels import FrameReader
from fluoro.xray_files import xray_file
from fluoro.xray_files.xray_file import XrayFile
from tests.dicom_files import compressed
from tests.session_support import (
    ROOT,
    QuietReporter,
    record_of,
    run_session,
    small_ct,
    small_document,
    use_cache,
)
from tests.xray_dicom import item, ramp, rotating, saved, xray


def stream(folder, source, **sections):
    """A small run whose poses are those of a file, its section carm left to the file."""
    document = small_document(small_ct(folder), folder / "out", **sections)
    document["carm"] = sections.get("carm", {})
    document["pose_source"] = {"kind": "xray_file", "path": str(folder / "xa.dcm"), **source}
    document["run"] |= {"fps": 15, "pacing": "free_running", "frames": 3}
    return Config.model_validate(document)


class Counted(FrameReader):
    """A reader that counts how many there are."""

    made = 0

    def __init__(self):
        super().__init__()
        Counted.made += 1


@pytest.fixture
def cached(tmp_path, monkeypatch):
    use_cache(tmp_path, monkeypatch)
    return tmp_path


def test_a_run_has_the_files_geometry_and_poses(cached):
    ds = rotating()
    ds.FrameTime = 1000 / 15
    saved(cached, ds)
    outcome = run_session(stream(cached, {"beside": True}), "xa", QuietReporter())
    record = record_of(outcome.folder)
    assert record["config"]["carm"]["source_to_detector_mm"] == 1200
    assert record["config"]["carm"]["detector_width_px"] == 32
    for row, lao_deg in zip(record["per_frame"], (30, 31.5, 33), strict=True):
        assert row["pose"]["lao_deg"] == pytest.approx(lao_deg, abs=1e-3)
        assert row["source_to_detector_mm"] == 1200
    with av.open(outcome.folder / "beside.mp4") as film:
        images = [image.to_ndarray(format="gray") for image in film.decode(video=0)]
    assert len(images) == 3
    assert (outcome.folder / "beside.png").exists()
    half = images[0].shape[1] // 2
    seen, rendered = images[0][:480, :half], images[0][:480, half:]
    assert np.std(seen.astype(float)) > 10
    assert abs(seen.astype(float).mean() - rendered.mean()) > 1


def test_frames_shown_by_time_are_those_of_the_file_and_take_one_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(xray_file, "FrameReader", Counted)
    monkeypatch.setattr(Counted, "made", 0)
    ds = rotating()
    ds.FrameTime = 100
    path = saved(tmp_path, ds)
    shown = ShownFrames(XrayFile(path), repeat=True)
    single = Counted.made
    forwards = [shown.at(time_s) for time_s in (0.0, 0.01, 0.2)]
    assert [number for _, number in forwards] == [1, 1, 3]
    assert Counted.made == single + 1
    again, number = shown.at(0.31)  # beyond the last frame: from the beginning
    assert number == 2
    shown.close()
    directly = ShownFrames(XrayFile(path), repeat=False)
    for grey, time_s in ((forwards[0][0], 0.0), (forwards[2][0], 0.2), (again, 0.1)):
        np.testing.assert_array_equal(grey, directly.at(time_s)[0])
    directly.close()


@pytest.mark.parametrize(
    "module", [{"MaskOperation": "AVG_SUB", "MaskFrameNumbers": [1, 2]}, {"MaskOperation": "TID"}]
)
def test_frames_less_their_masks_take_two_decoders_however_many_there_are(
    tmp_path, monkeypatch, module
):
    started = []

    class Started(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    ds = xray(stored=ramp(8), MaskSubtractionSequence=item(**module), FrameTime=100)
    ds.RecommendedViewingMode = "SUB"
    plain, path = XrayFile(saved(tmp_path, ds, "plain.dcm")), saved(tmp_path, ds)
    compressed(path, RLELossless)
    monkeypatch.setattr(pixels.subprocess, "Popen", Started)
    shown, expected = (ShownFrames(file, repeat=False) for file in (XrayFile(path), plain))
    for time_s in (0.0, 0.2, 0.3, 0.5, 0.7):
        np.testing.assert_array_equal(shown.at(time_s)[0], expected.at(time_s)[0])
    assert len(started) == 2
    shown.close()
    assert all(process.returncode is not None for process in started)


def test_a_decoder_ends_with_the_file_that_no_one_closed(tmp_path, monkeypatch):
    path = saved(tmp_path, xray(stored=ramp(2)))
    compressed(path, RLELossless)
    file = XrayFile(path)
    file.frame(2)
    process = file._single_frames._process
    assert process.poll() is None
    del file
    gc.collect()
    assert process.returncode is not None


def test_the_yaml_counts_more_than_the_file(cached):
    saved(cached, rotating())
    given = {"detector_width_px": 16, "detector_height_px": 12, "pixel_spacing_mm": 20.0}
    config = stream(cached, {"pose": {"lao_deg": 5}}, carm=given)
    completed = config.pose_source.completed(config)
    assert completed.carm.image_size_px == (16, 12)
    assert completed.carm.source_to_isocenter_mm == 780
    assert config.pose_source.trajectory()(0.1).lao_deg == pytest.approx(5)


def test_a_file_that_lacks_what_is_needed_names_the_key(cached):
    saved(cached, xray(DistanceSourceToDetector=None))
    config = stream(cached, {})
    with pytest.raises(InputError, match=r"give carm\.source_to_detector_mm$"):
        config.pose_source.completed(config)
    saved(cached, xray(PositionerSecondaryAngle=None))
    with pytest.raises(InputError, match=r"does not say its angles: give pose_source\.pose$"):
        stream(cached, {}).pose_source.trajectory()


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ({"images": True, "repeat": True}, "repeat: .*has no effect with images"),
        ({"images": True, "beside": True}, "beside: .*has no effect with images"),
        ({"i0": 5}, "i0: .*has no effect without images"),
    ],
)
def test_keys_without_effect_are_refused(tmp_path, source, match):
    with pytest.raises(ValueError, match=match.split(": .*")[1]):
        stream(tmp_path, source)


def images(folder, ds, i0=None, **chain):
    """The images of a file in the window of an image chain."""
    file = XrayFile(saved(folder, ds))
    poses = [CarmPose()] * file.count
    config = ImageChainConfig(**chain)
    size = (ds.Rows, ds.Columns)
    found = XrayImages(file, poses, config, size, i0)
    return [image.image for image in iter(found.next, None)], config


def test_intensity_becomes_the_line_integrals_that_a_target_takes_from_it(tmp_path):
    integrals = np.linspace(0.6, 5.0, 24 * 32).reshape(24, 32)
    stored = np.round(4000 * np.exp(-integrals)).astype(np.uint16)
    ds = xray(stored=stored, CollimatorShape="RECTANGULAR", CollimatorLeftVerticalEdge=3,
              CollimatorRightVerticalEdge=33, CollimatorUpperHorizontalEdge=0,
              CollimatorLowerHorizontalEdge=25)  # fmt: skip
    (image,), chain = images(tmp_path, ds, i0=4000, window={"level": 3.0, "width": 6.0})
    target = target_from_frame(image, chain, 0.308)
    assert not target.mask[:, :3].any()
    assert target.mask[:, 3:].all()
    assert np.abs(target.image - integrals)[target.mask].max() < 0.02  # 27 is the least count


@pytest.mark.parametrize("polarity", ["bone_dark", "bone_bright"])
def test_display_values_have_the_chains_polarity(tmp_path, polarity):
    ds = xray(stored=ramp(1, 24, 32), PixelIntensityRelationship="DISP")  # bone dark
    (image,), chain = images(tmp_path, ds, polarity=polarity)
    rising = image.ravel()[200] > image.ravel()[100]
    assert rising == (polarity == "bone_dark")
    attenuation = target_from_frame(image, chain, 0.308)
    assert attenuation.image.ravel()[200] < attenuation.image.ravel()[100]


def test_every_frame_is_an_image_at_its_time(tmp_path):
    ds = xray(stored=ramp(3, 24, 32), PixelIntensityRelationship="DISP")
    file = XrayFile(saved(tmp_path, ds))
    poses = [CarmPose(lao_deg=k) for k in range(3)]
    found = XrayImages(file, poses, ImageChainConfig(), (24, 32), None)
    all_of_them = list(iter(found.next, None))
    assert [round(each.time_ns * 1e-6, 1) for each in all_of_them] == [0, 66.7, 133.4]
    assert [each.pose.lao_deg for each in all_of_them] == [0, 1, 2]
    assert not np.array_equal(all_of_them[0].image, all_of_them[1].image)
    with pytest.raises(InputError, match=r"must have carm's detector size, 32 x 25, got 32 x 24"):
        XrayImages(file, poses, ImageChainConfig(), (25, 32), None)


@pytest.mark.slow  # a phantom and the registration's kernels: 10 s
def test_a_file_of_several_frames_is_tracked(cached):
    config = load_config(
        ROOT / "configs/beside.yaml",
        [
            *("pose_source.beside=false", "pose_source.images=true", "volume.spacing_mm=3"),
            *("registration.enabled=true", "registration.widths_px=[32,64]", "run.fps=1"),
            *("registration.start.mtre_mm=10", "run.frames=4", "console.enabled=false"),
            *("recorder.scene_movie=false", f"run.output_dir={cached / 'out'}"),
        ],
    )
    outcome = run_session(config, "beside", QuietReporter())
    tracking = outcome.summary["tracking"]
    assert tracking["estimates"] == 4
    assert tracking["not_converged"] == 0
    assert tracking["p95_mtre_mm"] < 2
