"""The pose of one object in the patient, from images of known C-arm poses or together with them.

Only what an object changes in the image is sought: the patient is the volume's. The residual is
that of display values, coarse to fine. Its derivatives are the renderer's, times those of the image
chain; where a stage mixes pixels (blur, scatter) they are central differences of the image.
`scipy.optimize.least_squares` does the search; `instrument_assessment` says whether it found it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from fluoro.config import ImageChainConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.geometry.projection import View
from fluoro.geometry.se3 import translation
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.configured_beam import Beams
from fluoro.imaging.frame_setup import StageSelection
from fluoro.imaging.gradients import expected_image
from fluoro.registration.instrument_assessment import (
    LEAST_NOISE,
    InstrumentAssessment,
    ViewImages,
    assess_instrument,
)
from fluoro.registration.rigid_motion import motion_about, moved_view
from fluoro.registration.search.pyramid import bin_view
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.parts.slopes import SolidMotion
from fluoro.volume.posed_solid import LivePose, PosedSolid

__all__ = ["InstrumentImage", "InstrumentPose", "InstrumentSearch"]

Array = NDArray[np.float64]
_Poses = Callable[[Array], tuple[Array, Array]]
"""From parameters to the pose of the object and the motion of the views."""

LEVER_MM = 50.0
"""A turn counts as the way of a point so far from its centre."""
SCALE = np.array([1 / LEVER_MM] * 3 + [1.0] * 3)
"""From parameters [mm] to turns [rad] and ways [mm]."""
STEP_MM = 0.05
"""Of the central differences of images."""
TINY_MM = 1e-3
"""Of those of poses and views, which are smooth."""
MOST_STEPS = 20
"""Of the search, at each level."""
LEVELS = (32, 16, 8, 4, 2)
LEAST_BLOCKS = 4
"""Along each side of a level that is sought at by default."""
UNKNOWN_MM = 100.0
"""Standard deviation of a parameter that no image tells, such as the roll of a wire."""
NOISE_SEED = 1
"""Of the noise that a right pose is expected to leave."""
FAR = 10.0
"""Lengths of the beam behind the source where an object is out of the view."""


@dataclass(frozen=True, kw_only=True, eq=False)
class InstrumentImage:
    """An image that shows the object.

    Attributes:
        image: Display values of the search's image chain, shape (height, width).
        view: How it was taken, world LPS.
    """

    image: NDArray[np.float32]
    view: View


@dataclass(frozen=True, kw_only=True, eq=False)
class InstrumentPose:
    """Where the object was found.

    Attributes:
        matrix: Its pose, 4x4 [mm].
        carm: Motion of all views that fits them, 4x4 [mm]; the identity where it was not sought.
        residual: Root mean square of display values, at the finest level.
        assessment: Whether the pose is to be believed, and why.
        renderings: How many there were.
    """

    matrix: Array
    carm: Array
    residual: float
    assessment: InstrumentAssessment
    renderings: int


class InstrumentSearch:
    """Finds the pose of one object.

    Args:
        renderer: Of the patient and the object.
        solid: One of `renderer.posed` that is steered by `LivePose`.
        config: The image chain; noise is off in what is compared.
        geometry: Of the C-arm.
        levels: Pixels that are averaged along each side, the coarsest first; None: those of
            32, 16, 8, 4 and 2 that the detector has four of along each side, and whose halves
            divide it.

    Attributes:
        levels: Those that it takes.
        exact: Whether derivatives are the renderer's; else they are central differences of images.

    Raises:
        InputError: The object is not the renderer's.
    """

    def __init__(
        self,
        renderer: MaterialRenderer,
        solid: PosedSolid,
        config: ImageChainConfig,
        geometry: CarmGeometry,
        levels: Sequence[int] | None = None,
    ) -> None:
        if solid not in renderer.posed:
            raise InputError(f"solid must be one of the renderer's, got {solid.name}")
        self._renderer, self._solid, self._geometry = renderer, solid, geometry
        self._config = config
        self.levels = tuple(levels or default_levels(geometry))
        self._beams = Beams(renderer.materials)
        self._chain = ImageChain(renderer.device, 0, renderer.materials)
        self._renderings = 0
        stages, _ = StageSelection().of(config)
        self.exact = not any(stage.mixes_pixels for stage in stages)

    def find(
        self, images: Sequence[InstrumentImage], start: Array, *, with_carm: bool = False
    ) -> InstrumentPose:
        """Return the pose that fits the images.

        Args:
            images: One or more.
            start: Pose near the object's, 4x4 [mm].
            with_carm: Also seek a rigid motion of all views.

        Raises:
            InputError: No image, or one whose size is not its view's.
        """
        _require_fitting(images)
        self._renderings = 0
        points = self._points(start)
        center = points.mean(axis=0)
        found = np.zeros(12 if with_carm else 6)
        for level in self.levels:
            task = _Level(self, images, start, center, level)
            fit = least_squares(
                task.difference, found, jac=task.slopes, max_nfev=MOST_STEPS, xtol=1e-4
            )
            found = fit.x
        matrix, carm = poses_of(found, start, center)
        residual = float(np.sqrt(2 * fit.cost / fit.fun.size))
        rates = _point_rates(found[:6], points, center)
        assessment = assess_instrument(
            [self._compared(each, matrix, carm) for each in images],
            _worst_sigma_mm(_covariance(fit.jac, residual)[:6, :6], rates),
        )
        return InstrumentPose(
            matrix=matrix,
            carm=carm,
            residual=residual,
            assessment=assessment,
            renderings=self._renderings,
        )

    def shown(
        self, images: Sequence[InstrumentImage], matrix: Array, carm: Array, level: int
    ) -> list[Array]:
        """Return what images would be without noise, averaged over `level` pixels along each side.

        Args:
            images: Whose views count.
            matrix: Pose of the object, 4x4 [mm].
            carm: Motion of all views, 4x4 [mm].
            level: Pixels.
        """
        self._solid.steer(LivePose(matrix=matrix))
        return [self._expected(moved_view(each.view, carm), level) for each in images]

    def slopes(
        self, images: Sequence[InstrumentImage], poses: _Poses, values: Array, level: int
    ) -> list[Array]:
        """Return the derivatives of what `shown` returns, each (parameters, height, width).

        Args:
            images: Whose views count.
            poses: Of the parameters.
            values: Turns and ways [mm].
            level: Pixels that are averaged along each side.
        """
        fine = max(level // 2, 1)
        moved, carm = self._moved(poses, values), poses(values)[1]
        found = []
        for each in images:
            at_rest = bin_view(each.view, fine)
            motions = _view_motions(at_rest, poses, values)
            by_pixel = self._by_pixel(moved_view(at_rest, carm), motions, moved, fine)
            found.append(np.stack([means_of(one, level // fine) for one in by_pixel]))
        return found

    def _points(self, matrix: Array) -> Array:
        """The object's line there, or its origin, shape (N, 3)."""
        self._solid.steer(LivePose(matrix=matrix))
        line = self._solid.center_line(0.0)
        return matrix[None, :3, 3] if line is None else line

    def _compared(self, image: InstrumentImage, matrix: Array, carm: Array) -> ViewImages:
        """An image beside what the pose shows, at the finest level; leaves the object there."""
        level = self.levels[-1]
        away = translation(FAR * (image.view.source_xyz_mm - image.view.corner_xyz_mm))
        without = self.shown([image], away @ matrix, carm, level)[0]
        shown = self.shown([image], matrix, carm, level)[0]
        return ViewImages(
            target=means_of(image.image, level),
            shown=shown,
            without=without,
            noisy=means_of(self._noisy(moved_view(image.view, carm)), level),
        )

    def _noisy(self, view: View) -> Array:
        """What the image chain shows of a view, as the first image of a run."""
        self._renderings += 1
        device, geometry = self._renderer.device, self._geometry
        chain = ImageChain(device, NOISE_SEED, self._renderer.materials)
        lengths = self._renderer.render(view)
        image = chain.apply(lengths, self._config, 0, geometry.pixel_spacing_mm, geometry)
        return np.asarray(device.to_host(image), float)

    def _expected(self, view: View, level: int) -> Array:
        self._renderings += 1
        fine = max(level // 2, 1)
        image = self._renderer.render(bin_view(view, fine))
        expected = expected_image(
            self._renderer.device.to_host(image),
            self._config,
            self._geometry.pixel_spacing_mm * fine,
            self._geometry.binned(fine),
            self._beams,
        )
        return means_of(expected, level // fine)

    def _by_pixel(
        self, view: View, motions: Array, moved: Sequence[SolidMotion], fine: int
    ) -> Array:
        """Derivatives of display values, shape (parameters, height, width)."""
        self._renderings += 1
        renderer = self._renderer
        shape = (view.height_px, view.width_px)
        geometry = self._geometry.binned(fine)
        pitch_mm = self._geometry.pixel_spacing_mm * fine
        thicknesses = renderer.render(view)
        linear = self._chain.linearise(thicknesses, self._config, 0, pitch_mm, geometry)
        weights = linear.pull_back(renderer.device.to_device(np.ones(shape, np.float32)))
        _, jacobian = renderer.render_derivatives(view, motions, weights, moved=moved)
        return np.asarray(renderer.device.to_host(jacobian), float)

    def _moved(self, poses: _Poses, values: Array) -> list[SolidMotion]:
        """How the object, and what moves with it, moves with each parameter."""
        rigid = [each for each in self._renderer.posed if hasattr(each, "track")]

        def world(there: Array) -> Array:
            self._solid.steer(LivePose(matrix=poses(there)[0]))
            return np.stack([each.track.at(0.0) for each in rigid])

        back = np.linalg.inv(world(values))
        steps = TINY_MM * np.eye(len(values))
        rates = [(world(values + s) - world(values - s)) / (2 * TINY_MM) @ back for s in steps]
        world(values)
        twists = np.array([[_twist(each) for each in rate] for rate in rates])
        return [
            SolidMotion(solid=solid, twists=twists[:, number])
            for number, solid in enumerate(rigid)
            if twists[:, number].any()
        ]


def _twist(rate: Array) -> list[float]:
    """Turn and way about the world's origin, of a pose's rate of change times its inverse."""
    return [rate[2, 1], rate[0, 2], rate[1, 0], *rate[:3, 3]]


class _Level:
    """Residual and derivatives at one resolution.

    Args:
        search: The search.
        images: What is compared with.
        start: Pose that parameters of 0 stand for.
        center: About which turns are counted, world LPS [mm].
        level: Pixels that are averaged along each side.
    """

    def __init__(
        self,
        search: InstrumentSearch,
        images: Sequence[InstrumentImage],
        start: Array,
        center: Array,
        level: int,
    ) -> None:
        self._search, self._images, self._level = search, images, level
        self._poses = partial(poses_of, start=start, center=center)
        self._targets = [means_of(each.image, level) for each in images]

    def difference(self, values: Array) -> Array:
        """Return what is shown at parameters, minus the targets."""
        matrix, carm = self._poses(values)
        shown = self._search.shown(self._images, matrix, carm, self._level)
        pairs = zip(shown, self._targets, strict=True)
        return np.concatenate([(one - other).ravel() for one, other in pairs])

    def slopes(self, values: Array) -> Array:
        """Return the residual's derivatives, shape (pixels, parameters)."""
        if self._search.exact:
            found = self._search.slopes(self._images, self._poses, values, self._level)
            return np.concatenate([each.reshape(len(values), -1) for each in found], axis=1).T
        steps = STEP_MM * np.eye(len(values))
        pairs = [(self.difference(values + s), self.difference(values - s)) for s in steps]
        return np.stack([(one - other) / (2 * STEP_MM) for one, other in pairs], axis=1)


def _view_motions(view: View, poses: _Poses, values: Array) -> Array:
    """How the moved view moves with each parameter, shape (K, 4, 3) [mm]."""

    def ends(there: Array) -> Array:
        seen = moved_view(view, poses(there)[1])
        steps = (seen.column_step_xyz_mm, seen.row_step_xyz_mm)
        return np.stack([seen.source_xyz_mm, seen.corner_xyz_mm, *steps])

    steps = TINY_MM * np.eye(len(values))
    return np.stack([(ends(values + s) - ends(values - s)) / (2 * TINY_MM) for s in steps])


def _covariance(slopes: Array, noise: float) -> Array:
    """Covariance of the parameters, from derivatives (pixels, parameters) and noise (rms)."""
    told = slopes.T @ slopes / max(noise, LEAST_NOISE) ** 2
    return np.asarray(np.linalg.inv(told + np.eye(len(told)) / UNKNOWN_MM**2))


def _point_rates(values: Array, points: Array, center: Array) -> Array:
    """How points of the object move with its parameters, shape (6, N, 3)."""

    def moved(there: Array) -> Array:
        motion = motion_about(there * SCALE, center)
        return np.asarray(points @ motion[:3, :3].T + motion[:3, 3])

    steps = TINY_MM * np.eye(6)
    return np.stack([(moved(values + s) - moved(values - s)) / (2 * TINY_MM) for s in steps])


def _worst_sigma_mm(covariance: Array, rates: Array) -> float:
    """Largest standard deviation of a point in any direction [mm]."""
    of_points = np.einsum("knx,kl,lny->nxy", rates, covariance, rates)
    return float(np.sqrt(np.linalg.eigvalsh(of_points).max()))


def default_levels(geometry: CarmGeometry) -> tuple[int, ...]:
    """Return the levels of `LEVELS` that fit a detector, the coarsest first."""
    sides = geometry.detector_width_px, geometry.detector_height_px
    fit = [level for level in LEVELS if all(_divides(level, side) for side in sides)]
    return tuple(fit) or (1,)


def _divides(level: int, side_px: int) -> bool:
    return side_px >= LEAST_BLOCKS * level and side_px % (level // 2) == 0


def means_of(image: NDArray[np.floating], factor: int) -> Array:
    """Return means of blocks of pixels; those at the far edges that fill no block are left out."""
    height, width = (size // factor for size in image.shape)
    blocks = image[: height * factor, : width * factor].astype(float)
    return np.asarray(blocks.reshape(height, factor, width, factor).mean(axis=(1, 3)))


def poses_of(values: Array, start: Array, center: Array) -> tuple[Array, Array]:
    """Return the pose of the object and the motion of the views, of turns and ways [mm]."""
    matrix = motion_about(values[:6] * SCALE, center) @ start
    carm = motion_about(values[6:] * SCALE, center) if len(values) > 6 else np.eye(4)
    return matrix, carm


def _require_fitting(images: Sequence[InstrumentImage]) -> None:
    if not images:
        raise InputError("images must be one or more, got none")
    for each in images:
        wanted = (each.view.height_px, each.view.width_px)
        if each.image.shape != wanted:
            raise InputError(f"image must be of its view's size {wanted}, got {each.image.shape}")
