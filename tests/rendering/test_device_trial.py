"""The scene that `auto` tries a device with, on sound devices and on some wrong in one part."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from fluoro.config import Config
from fluoro.diagnostics.device_trial import Trial
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.devices.trial import trial_sections

PARTS = ("motion", "contrast", "rod", "labels")
POSED = {
    "wire": {"kind": "wire", "preset": "needle", "path_mm": [[0, 0, 0], [9, 0, 0]]},
    "mesh": {"kind": "mesh", "path": "plate.stl", "material": "titanium"},
    "part of a CT": {"kind": "volume", "path": "implant.nrrd", "above_hu": 100},
}
"""Of the files of objects the trial reads none."""


class PartlyIdle(CpuDevice):
    """A CPU on which kernels with certain words in their names do nothing."""

    def __init__(self, *words):
        super().__init__(1)
        self._words, self.left_out = words, []

    def run(self, launch):
        name = f"{launch.module}.{launch.entry}"
        if any(word in name for word in self._words):
            self.left_out.append(name)
        else:
            super().run(launch)

    def queue(self):
        return self

    def empty(self, shape, dtype=np.float32):
        return np.zeros(shape, dtype)


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """A file with three labels."""
    path = tmp_path_factory.mktemp("labels") / "labels.nrrd"
    voxels = np.zeros((6, 6, 6), np.uint8)
    voxels[1:5, 1:5, 1:5] = np.uint8([1, 2, 3, 3])[:, None, None]
    sitk.WriteImage(sitk.GetImageFromArray(voxels), path)
    return path


def sections(labels, *parts, xray=False, **renderer):
    """What a configuration with some parts of a patient is tried with."""
    volume = {"phantom": "thorax", "motion": {} if "motion" in parts else None}
    volume["contrast"] = {"vessels": "coronary"} if "contrast" in parts else None
    inclusions = []
    if "rod" in parts:
        ends = {"from_mm": [0.0, 0.0, 0.0], "to_mm": [5.0, 20.0, 9.0], "diameter_mm": 2.0}
        inclusions.append({"kind": "rod", "material": "titanium", **ends})
    if "labels" in parts:
        materials = {1: "titanium", 2: "iodine", 3: "cortical_bone"}
        inclusions.append({"kind": "labels", "path": str(labels), "materials": materials})
    inclusions += [POSED[part] for part in parts if part in POSED]
    if inclusions:
        volume["materials"] = {"inclusions": inclusions}
    document = {
        "volume": {key: value for key, value in volume.items() if value is not None},
        "pose_source": {"kind": "static"},
        "renderer": renderer,
        "image_chain": {"xray": {}} if xray else {},
    }
    return trial_sections(Config.model_validate(document))


SCENES = {
    "projector alone": {},
    "joseph": {"projector": "joseph"},
    "slab": {"projector": "slab"},
    "siddon": {"projector": "siddon"},
    "a patient at one energy": {"parts": ("motion", "contrast")},
    "a patient at many energies": {"parts": PARTS, "xray": True},
    "objects with poses": {"parts": tuple(POSED), "xray": True, "projector": "joseph"},
    "inclusions by joseph": {"parts": ("rod", "labels"), "xray": True, "projector": "joseph"},
}


@pytest.mark.parametrize(
    "scene", [pytest.param(n, marks=[pytest.mark.slow] * ("inclusions" in n)) for n in SCENES]
)
def test_kernels_agree_with_the_reference_of_the_whole_patient(labels, scene):
    given = dict(SCENES[scene])
    trial = Trial(sections(labels, *given.pop("parts", ()), **given))
    expected, found = trial.expected_integrals(), trial.integrals(CpuDevice())
    planes = expected.reshape(-1, *expected.shape[-2:]), found.reshape(-1, *expected.shape[-2:])
    scale = np.abs(planes[0]).max()
    for theirs, ours in zip(*planes, strict=True):
        assert np.ptp(theirs) > 0
        assert np.abs(ours - theirs).max() < 2e-4 * scale


@pytest.mark.slow
def test_objects_displace_what_has_moved(labels):
    """The reference looks up the field at every sample, the kernel at the ends of its steps."""
    trial = Trial(sections(labels, "motion", "rod", *POSED, xray=True))
    expected = trial.expected_integrals()
    for device, sound in ((CpuDevice(), True), (PartlyIdle("Displace<Moving"), False)):
        off = np.abs(trial.integrals(device) - expected)
        wrong = (off > 1e-3 * expected.max()).any(axis=0).mean()
        assert wrong < 0.005 if sound else wrong > 0.03


def test_a_sound_device_passes_with_all_parts_of_a_patient(labels):
    assert Trial(sections(labels, *PARTS, xray=True)).fault(CpuDevice()) is None


@pytest.mark.slow
def test_other_devices_pass_with_all_parts_of_a_patient(labels, other):
    assert Trial(sections(labels, *PARTS, xray=True)).fault(other) is None


WRONG = {
    "motion": ("MovingMarch", ("motion",), False),
    "contrast": ("contrast_fill", ("contrast",), False),
    "adding contrast": ("add_integrals", ("contrast",), False),
    "contrast as a material": ("contrast_fill", ("contrast",), True),
    "a rod": ("RampSums<1>", ("rod",), True),
    "labels": ("LabelSums", ("labels",), True),
    "a wire": ("add_tubes", ("wire", "mesh"), True),
    "a mesh": ("add_mesh", ("wire", "mesh"), True),
    "a part of a CT": ("mesh_spans", ("part of a CT",), True),
    "what objects displace": ("Displace", ("mesh",), True),
}


@pytest.mark.parametrize("part", WRONG)
def test_a_device_that_is_wrong_in_one_part_alone_is_found_out(labels, part):
    word, parts, xray = WRONG[part]
    device = PartlyIdle(word)
    fault = Trial(sections(labels, *parts, xray=xray)).fault(device)
    assert device.left_out
    assert "of its line integrals are wrong" in str(fault)
    assert Trial(sections(labels, xray=xray)).fault(PartlyIdle(word)) is None


@pytest.mark.parametrize(
    "projector", ["march", *(pytest.param(p, marks=pytest.mark.slow) for p in ("joseph", "slab"))]
)
def test_a_device_whose_derivatives_alone_are_wrong_is_rejected(projector):
    asked = {"derivatives": projector}
    assert Trial(asked).fault(CpuDevice()) is None
    device = PartlyIdle("Jacobian")
    assert Trial({}).fault(device) is None
    assert "of its derivatives are wrong" in str(Trial(asked).fault(device))
    assert device.left_out


def test_a_result_depends_on_the_patient(labels):
    from fluoro.rendering.devices import trial

    choice = {"kind": "cuda", "adapter": "", "index": 0}
    keys = {trial._key(choice, sections(labels, part)) for part in ("", "motion", "contrast")}
    assert len(keys) == 3
