"""Expected photons behind the patient, by one energy or a spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from fluoro.config import BowTieConfig, ImageChainConfig, WedgeConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.random_reference import exp_portable
from fluoro.imaging.stage import FrameContext, Image, Shape, Stage, Step, settings
from fluoro.imaging.stages.attenuate import BeamFilter, beam_filters, filter_mu
from fluoro.imaging.tape import Tape
from fluoro.physics.beam import Beam
from fluoro.rendering.deferred_integrals import DeferredIntegrals

__all__ = ["BeerLambert", "Integrals", "expected_photons", "polychromatic"]

SPARSE_MATERIALS = 8
"""From this number of materials on, a pixel leaves out those that are not in its way."""


class Integrals(Stage):
    """Line integrals are the image, where photons are off."""

    keys = ("beer_lambert",)
    example = settings(beer_lambert=False, poisson=False, log=False)
    text = "Off: the image begins as line integrals, without photons."

    def is_on(self, config: ImageChainConfig) -> bool:
        """Return whether the configuration has no photons."""
        return not config.beer_lambert

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Begin the image."""
        given = frame.integrals
        if isinstance(given, DeferredIntegrals):
            kernels.pixels(given.stage, **given.uniforms)
        else:
            kernels.pixels("copy_integrals", integrals=given)

    def reference(self, x: Image, frame: FrameContext) -> Step:  # noqa: ARG002
        """Return the line integrals."""
        return x, lambda y: y


class BeerLambert(Stage):
    """Line integrals or thicknesses become expected photons."""

    keys = ("beer_lambert", "xray")
    example = settings(beer_lambert=True)
    text = "Expected photons behind the patient: N0 exp(-p), or the sum over a spectrum."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Begin the image."""
        given, photons = frame.integrals, frame.open_field_photons
        if isinstance(given, DeferredIntegrals):
            kernels.pixels(given.stage, **given.uniforms)
            kernels.pixels("transmit", open_field_photons=photons)
        elif frame.beam is None:
            kernels.pixels("beer_lambert", integrals=given, open_field_photons=photons)
        else:
            self._run_spectrum(frame, frame.beam, kernels)

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Begin the image, and note the derivative with respect to thicknesses."""
        if frame.beam is None:
            self.run(frame, tape.kernels)
        else:
            pull = partial(_pull_spectrum, frame, frame.beam)
            tape.through(partial(self._run_spectrum, frame, frame.beam), pull)

    def _run_spectrum(self, frame: FrameContext, beam: Beam, kernels: KernelRun) -> None:
        weighs = frame.noise and frame.config.poisson and _weighs_energy(frame.config)
        gain = kernels.device.empty(frame.shape) if weighs else kernels.image
        uniforms = _beam_uniforms(frame, beam, kernels)
        given = {"filters": gain, "filter_mu": gain, **uniforms, "thicknesses": frame.integrals}
        sparse = "_sparse" if uniforms["material_count"] >= SPARSE_MATERIALS else ""
        entry = f"polychromatic{sparse}" + ("_moments" if weighs else "")
        kernels.packets("polychromatic", entry, **given, gain=gain)
        frame.quantum = gain if weighs else None

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the expected photons; where they are counted, with the kernel's rounding."""
        photons = frame.open_field_photons
        if frame.beam is None:
            counted = expected_photons(x, photons) if frame.noise else photons * np.exp(-x)
            return counted, lambda y: np.asarray(-counted * y)
        filters = beam_filters(
            frame.config.wedge, frame.config.bow_tie, frame.shape, frame.pixel_spacing_mm
        )
        light, slope = _transmitted(x, frame.beam, filters)
        counted = np.asarray(photons * light)
        if frame.noise:
            given = np.asarray(x, np.float32)
            counted, quantum = polychromatic(given, frame.beam, photons, filters)
            frame.quantum = quantum if _weighs_energy(frame.config) else None
        return counted, lambda y: np.asarray(photons * slope * y)


def _pull_spectrum(frame: FrameContext, beam: Beam, kernels: KernelRun) -> None:
    """Add the photons' part to the derivative with respect to thicknesses."""
    uniforms = _beam_uniforms(frame, beam, kernels)
    del uniforms["noise_weights"]
    adds = int(bool(frame.to_integrals))
    if not adds:
        frame.to_integrals.append(kernels.device.empty(frame.integrals.shape))
    given = {"filters": kernels.image, "filter_mu": kernels.image, **uniforms}
    planes = {"thicknesses": frame.integrals, "by_thickness": frame.to_integrals[0]}
    kernels.packets("polychromatic_back", "polychromatic_back", **given, **planes, adds=adds)


def _beam_uniforms(frame: FrameContext, beam: Beam, kernels: KernelRun) -> dict[str, Any]:
    """Return what kernels take of the beam and of filters in it: a dictionary of its own."""
    filters = frame.config.wedge, frame.config.bow_tie
    place = frame.shape, frame.pixel_spacing_mm
    return dict(kernels.tables.of(_spectrum, beam, *filters, *place, frame.open_field_photons))


def _weighs_energy(config: ImageChainConfig) -> bool:
    return config.xray is not None and config.xray.detector.kind == "energy_integrating"


def _spectrum(
    beam: Beam,
    wedge: WedgeConfig | None,
    bow_tie: BowTieConfig | None,
    shape: Shape,
    pixel_spacing_mm: float,
    open_field: float,
) -> dict[str, Any]:
    """Return what the kernel takes of the beam and of filters in it."""
    filters = beam_filters(wedge, bow_tie, shape, pixel_spacing_mm)
    uniforms: dict[str, Any] = {
        "material_count": beam.mu_per_mm.shape[1],
        "mu_per_mm": beam.mu_per_mm.astype(np.float32),
        "weights": (open_field * beam.quadrature.weights).astype(np.float32),
        "noise_weights": (open_field * beam.noise_weights).astype(np.float32),
        "energy_count": len(beam.mu_per_mm),
        "filter_count": len(filters),
    }
    if filters:
        uniforms["filters"] = np.stack([each for _, each in filters])
        uniforms["filter_mu"] = filter_mu(beam, filters).astype(np.float32)
    return uniforms


def _transmitted(
    thicknesses: Image, beam: Beam, filters: Sequence[BeamFilter]
) -> tuple[Image, Image]:
    """Return signal / open field behind materials; its derivative with respect to thickness."""
    exponent = np.tensordot(beam.mu_per_mm, thicknesses, 1)
    if filters:
        layers = np.stack([each for _, each in filters]).astype(float)
        exponent = exponent + np.tensordot(filter_mu(beam, filters), layers, 1)
    left = beam.quadrature.weights[:, None, None] * np.exp(-exponent)
    return left.sum(axis=0), -np.tensordot(beam.mu_per_mm.T, left, 1)


def expected_photons(integrals: Image, open_field: float) -> Image:
    """Return N0 exp(-p), float32, as the kernel rounds it."""
    return np.asarray(np.float32(open_field) * exp_portable(-np.asarray(integrals, np.float32)))


def polychromatic(
    thicknesses: Image, beam: Beam, open_field: float, filters: Sequence[BeamFilter] = ()
) -> tuple[Image, Image]:
    """Return the expected signal behind materials and what a quantum is worth, as the kernel.

    Args:
        thicknesses: Of each material [mm], float32, shape (materials, height, width).
        beam: Energies, weights and attenuation.
        open_field: Photon equivalents per pixel with nothing in between.
        filters: What else is in the beam.
    """
    planes = [*thicknesses, *(each for _, each in filters)]
    mu_per_mm = beam.mu_per_mm
    if filters:
        mu_per_mm = np.hstack([mu_per_mm, filter_mu(beam, filters)])
    signal, square = (np.zeros(thicknesses.shape[1:], np.float32) for _ in range(2))
    weights = (open_field * beam.quadrature.weights).astype(np.float32)
    noise = (open_field * beam.noise_weights).astype(np.float32)
    for mu, weight, worth in zip(mu_per_mm.astype(np.float32), weights, noise, strict=True):
        exponent = np.zeros_like(signal)
        for one, thickness in zip(mu, planes, strict=True):
            exponent -= one * thickness
        left = exp_portable(exponent)
        signal, square = signal + weight * left, square + worth * left
    return signal, np.asarray(square / signal)
