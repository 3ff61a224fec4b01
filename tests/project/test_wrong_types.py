"""An argument of the wrong class ends in one line that names it, at the names most programs use."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import pytest

import fluoro
from fluoro.config import volume_config
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.rendering import MaterialRenderer
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.volume.volumes import MuVolume

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Scene:
    volume: MuVolume
    device: ComputeDevice
    carm: CarmGeometry


@pytest.fixture(scope="module")
def scene():
    config = fluoro.Config.model_validate(
        {"volume": {"phantom": "thorax", "spacing_mm": 10}, "pose_source": {"kind": "static"}}
    )
    volume, device = fluoro.load_volume(config.volume), fluoro.open_device("cpu")
    return Scene(volume, device, fluoro.make_geometry(config.carm))


WRONG = {
    "load_volume": (
        lambda _: fluoro.load_volume("ct.nii.gz"),
        "config must be a VolumeConfig (fluoro.config.volume_config makes one), got str",
    ),
    "volume_config": (
        lambda _: volume_config("thorax"),
        "volume must be a mapping of its keys, got str",
    ),
    "make_geometry": (
        lambda _: fluoro.make_geometry({}),
        "carm must be a CarmConfig (Config(...).carm makes one), got dict",
    ),
    "view": (
        lambda s: s.carm.view((30, 0, 0), (0, 0, 0)),
        "pose must be a CarmPose (CarmPose(lao_deg=..., cra_deg=...) makes one), got tuple",
    ),
    "volume of the renderer": (
        lambda s: fluoro.DrrRenderer("ct.nii.gz", s.device),
        "volume must be a MuVolume (fluoro.load_volume makes one), got str",
    ),
    "device of the renderer": (
        lambda s: fluoro.DrrRenderer(s.volume, "cpu"),
        "device must be a ComputeDevice (fluoro.open_device makes one), got str",
    ),
    "volume of materials": (
        lambda s: MaterialRenderer(s.volume, s.device),
        "volume must be a MaterialVolume (fluoro.scene.assemble.material_volume makes one), "
        "got MuVolume",
    ),
    "pose instead of a view": (
        lambda s: fluoro.DrrRenderer(s.volume, s.device).render(fluoro.CarmPose()),
        "view must be a View (CarmGeometry.view makes one), got CarmPose",
    ),
    "device of the image chain": (
        lambda _: fluoro.ImageChain("cpu", 1),
        "device must be a ComputeDevice (fluoro.open_device makes one), got str",
    ),
    "number of a device": (
        lambda _: fluoro.open_device(0),
        "renderer.device must be one of auto, cuda, vulkan, metal, cpu, llvmpipe, cuda:1, got 0",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_type_is_one_line(scene, name):
    call, message = WRONG[name]
    with pytest.raises(InputError) as caught:
        call(scene)
    assert str(caught.value) == message


def test_path_of_a_configuration_may_be_text():
    path = ROOT / "configs" / "orbit.yaml"
    assert fluoro.load_config(str(path)) == fluoro.load_config(path)


READERS = {
    "annotations.read_landmarks": ".csv",
    "datasets.TrainingSet": "",
    "datasets.load_dataset_file": ".yaml",
    "geometry.read_flex": ".csv",
    "interop.read_poses": "",
    "interop.repair_bag": "",
    "physics.read_spectrum": ".csv",
    "poses.read_waypoints": ".csv",
    "recording.repair_run": "",
    "scene.load_mesh": ".stl",
    "volume.open_preprocessed": "",
    "xray_files.XrayFile": ".dcm",
    "xray_files.read_header": ".dcm",
}
"""What reads a file that users name, with the file's suffix."""


@pytest.mark.parametrize("name", READERS)
def test_path_may_be_text(name, tmp_path):
    room, reader = name.split(".")
    read = getattr(importlib.import_module(f"fluoro.{room}"), reader)
    path, answers = tmp_path / f"missing{READERS[name]}", []
    needed = [
        each for each in inspect.signature(read).parameters.values() if each.default is each.empty
    ]
    for given in (path, str(path)):
        try:
            answers.append(read(given, *["/carm/pose"] * (len(needed) - 1)))
        except InputError as error:
            answers.append(str(error))
    assert answers[0] == answers[1]
