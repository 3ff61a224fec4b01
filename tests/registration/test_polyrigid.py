"""Several bones at once, moved apart; and a registration of some structures alone."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from fluoro.config import LabelsConfig, MultiStart, VolumeConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.registration.polyrigid import register_parts
from fluoro.registration.register import Registrar
from fluoro.registration.rigid_motion import motion_about, moved_view
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.labels.load import load_labels, masked, structures_alone
from tests.registration_support import (
    QUICK,
    center,
    changed,
    device,
    displacement,
    error_mm,
    rendered,
    target,
    thorax,
    view_at,
)


@functools.cache
def views():
    """Two views, 90 degrees apart."""
    return [view_at(CarmPose(lao_deg=lao)) for lao in (-30.0, 60.0)]


def labels():
    config = VolumeConfig(phantom="thorax", spacing_mm=(3.0, 3.0, 3.0), labels=LabelsConfig())
    return config, load_labels(config, thorax().grid)


def parts_and_rest(*names):
    _, found = labels()
    chosen = [found.labels_of([name], "names") for name in names]
    parts = [masked(thorax(), found.subset(each)) for each in chosen]
    mu = np.array(thorax().mu_zyx)
    mu[found.inside([label for each in chosen for label in each])] = 0
    return parts, replace(thorax(), mu_zyx=mu)


def cast(volume, motion):
    """Line integrals of a volume that has moved, by the projector that is not registration's."""
    renderer = DrrRenderer(volume, device(), projector="march")
    return [renderer.render(moved_view(view, np.linalg.inv(motion))) for view in views()]


@pytest.mark.parametrize(
    "distance_mm",
    [pytest.param(5.0, marks=pytest.mark.slow), 12.0, pytest.param(20.0, marks=pytest.mark.slow)],
)
def test_two_vertebrae_that_moved_apart_are_found_within_half_a_millimetre(distance_mm):
    parts, rest = parts_and_rest("vertebrae_T7", "vertebrae_T9")
    centers = [part.grid.center_xyz_mm for part in parts]
    twists = [[0.03, -0.02, 0.04, 0.3, -0.2, 1.0], [-0.02, 0.05, 0.01, -0.4, 0.3, -0.9]]
    motions = []
    for twist, middle in zip(twists, centers, strict=True):
        shift = np.array(twist[3:]) / np.linalg.norm(twist[3:]) * distance_mm / 2
        motions.append(motion_about(np.array([*twist[:3], *shift]), middle))
    images = [cast(part, motion) for part, motion in zip(parts, motions, strict=True)]
    images.append(cast(rest, np.eye(4)))
    targets = [target(sum(each[k] for each in images)) for k in range(len(views()))]
    settings = changed(QUICK, measure="ncc", least_agreement=0.0)
    found = register_parts(parts, rest, device(), targets, views(), settings)
    for part, pose, motion in zip(parts, found, motions, strict=True):
        corners = np.array(np.meshgrid(*[(-20.0, 20.0)] * 3)).reshape(3, -1)
        points = np.vstack([corners + part.grid.center_xyz_mm[:, None], np.ones(8)])
        error = np.linalg.norm(((pose.motion - motion) @ points)[:3], axis=0)
        assert error.mean() < 0.5, error


def test_no_part_is_refused():
    with pytest.raises(InputError, match="parts must have one volume or more"):
        register_parts([], None, device(), [], [])


def test_structures_alone_are_cropped_to_their_box():
    config, found = labels()
    spine = structures_alone(thorax(), config, ["vertebrae_*"], "registration.labels")
    assert spine.mu_zyx.size < thorax().mu_zyx.size / 4
    inside = found.inside(found.labels_of(["vertebrae_*"], "names"))
    assert spine.mu_zyx.sum() == pytest.approx(float(thorax().mu_zyx[inside].sum()), rel=1e-4)
    assert structures_alone(thorax(), config, None, "registration.labels") is thorax()
    with pytest.raises(InputError, match=r"registration.labels: there is no structure 'femur'"):
        structures_alone(thorax(), config, ["femur"], "registration.labels")


def test_bones_alone_come_near_the_pose_of_an_image_of_the_whole_thorax():
    """8 mm away, to half a voxel: what is no bone disturbs, see docs/labels.md."""
    config, _ = labels()
    bones = structures_alone(thorax(), config, ["bone"], "registration.labels")
    settings = changed(
        QUICK,
        measure="gradient_ncc",
        least_agreement=0.0,
        widths_px=(48, 96),
        multi_start=MultiStart(starts=1),
        max_iterations=40,
    )
    registrar = Registrar(bones, device(), settings, center_xyz_mm=center())
    displaced = displacement(3, 8.0)
    result = registrar.register([target(rendered(view_at()))], [moved_view(view_at(), displaced)])
    assert error_mm(result, displaced) < 1.5
