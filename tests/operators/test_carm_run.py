"""The C-arm's settings through whole runs: limits, presets, the detector, empty images."""

import logging

import numpy as np
import pytest

from tests.session_support import (
    images_of,
    record_of,
    run_small,
    small_ct,
    small_document,
    use_cache,
)

# isort: split

from fluoro.config import Config
from fluoro.console.controls import LiveControls
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.from_config import make_geometry
from fluoro.recording.run_record import summary_lines
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.load import load_volume

PLAIN_CHAIN = {"beer_lambert": False, "poisson": False, "log": False}


@pytest.fixture
def document(tmp_path, monkeypatch):
    """Makes settings of a small run in a folder of the test's own."""
    use_cache(tmp_path, monkeypatch)
    ct = small_ct(tmp_path)
    return lambda **sections: small_document(ct, tmp_path / "out", **sections)


def test_clamped_poses_are_counted_in_the_record_and_told(document):
    sweep = {"kind": "sweep", "period_s": 0.1, "lao_range_deg": [-40, 40]}
    limits = {"lao_deg": [-10, 10], "on_limit": "clamp"}
    outcome = run_small(document(pose_source=sweep, carm={"limits": limits}))
    record = record_of(outcome.folder)
    angles = np.array([frame["pose"]["lao_deg"] for frame in record["per_frame"]])
    assert np.abs(angles).max() == 10
    assert record["clamped"] == {"lao_deg": int((np.abs(angles) == 10).sum())}
    assert any("carm.limits: lao_deg in" in line for line in summary_lines(outcome.summary))


def test_run_within_its_limits_counts_nothing(document):
    outcome = run_small(document(carm={"limits": {"lao_deg": [-90, 90]}}))
    assert record_of(outcome.folder)["clamped"] == {}


def test_pose_beyond_a_limit_ends_the_run(document):
    settings = document(carm={"limits": {"lao_deg": [-10, 10]}})
    with pytest.raises(InputError, match=r"lao_deg must be -10 to 10 \(carm.limits\)"):
        run_small(settings)


def test_empty_image_is_explained_once(document, caplog):
    settings = document(carm={"isocenter_mm": [0, 0, 4000]})
    with caplog.at_level(logging.WARNING, "operators"):
        outcome = run_small(settings)
    (message,) = (r.getMessage() for r in caplog.records if "No ray meets" in r.getMessage())
    assert message.startswith("frame 0 at LAO 0 / CRA 0, translation (0, 0, 0) mm: No ray meets")
    assert np.ptp(images_of(outcome.folder)[0]) < 1


def test_a_prone_patient_gives_the_same_image_at_the_same_angles(document):
    pose = {"kind": "static", "lao_deg": 30.0, "cra_deg": 10.0}
    images = []
    for position in ("HFS", "HFP"):
        settings = document(
            volume={"patient_position": position},
            pose_source=pose,
            run={"frames": 1, "name": position, "seed": 1},
        )
        images.append(images_of(run_small(settings).folder)[0])
    np.testing.assert_array_equal(*images)
    assert np.ptp(images[0]) > 0.1


def test_filled_image_is_not_explained(document, caplog):
    with caplog.at_level(logging.WARNING, "operators"):
        run_small(document())
    assert not caplog.records


def test_run_shows_what_the_described_detector_sees(document, tmp_path):
    flex = tmp_path / "flex.csv"
    flex.write_text("lao_deg,detector_u_mm,source_d_mm,tilt_v_deg\n-90,0,0,0\n0,9,-20,4\n")
    carm = {
        "detector_width_px": 70,
        "detector_height_px": 60,
        "pixel_spacing_mm": 5.0,
        "columns": [10, 70],
        "rows": [0, 58],
        "binning": 2,
        "detector_offset_mm": [12, -8],
        "detector_tilt_deg": [5, -15],
        "flex": str(flex),
    }
    pose = {"kind": "static", "lao_deg": 20.0, "cra_deg": 10.0}
    chain = {**PLAIN_CHAIN, "window": {"level": 1.0, "width": 2.0}, "polarity": "bone_bright"}
    settings = document(carm=carm, pose_source=pose, image_chain=chain, run={"frames": 1})
    image = images_of(run_small(settings).folder)[0]
    config = Config.model_validate(settings)
    volume = load_volume(config.volume)
    device = CpuDevice(workers=1)
    geometry = make_geometry(config.carm)
    view = geometry.view(CarmPose(lao_deg=20, cra_deg=10), volume.grid.center_xyz_mm.tolist())
    integrals = DrrRenderer(volume, device).render(view)
    device.close()
    assert image.shape == (29, 30)
    np.testing.assert_allclose(image, np.clip(integrals / 2, 0, 1), atol=1e-6)
    assert np.ptp(image) > 0.01


def test_sliders_reach_as_far_as_the_carm(document):
    limits = {"lao_deg": [-100, 120], "y_mm": [-50, 200]}
    reach = LiveControls.from_config(
        Config.model_validate(document(carm={"limits": limits}))
    ).limits
    assert (reach["lao_deg"].low, reach["lao_deg"].high) == (-100, 120)
    # the table carries the patient against the C-arm's translation
    assert (reach["table_y_mm"].low, reach["table_y_mm"].high) == (-200, 50)
    assert (reach["cra_deg"].low, reach["cra_deg"].high) == (-90, 90)
