"""Compare a device with the float64 reference at 128 x 128 pixels, for `app.py doctor`.

`python -m fluoro.diagnostics.device_parity` reads the device as JSON and prints one line of JSON
for each finding. A device that ends or stops this process has answered as well.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.diagnostics.device_trial import Trial, rigid_differences, small_volume
from fluoro.errors import FluoroError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.chain import ImageChain
from fluoro.physics.dose import open_field_photons
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.selection import DeviceChoice, open_choice
from fluoro.rendering.renderer import DrrRenderer

__all__ = ["Finding", "findings"]

EDGE_PX, PITCH_MM = 128, 3.6
VOXEL_MM = 8.0
QUEUED_FRAMES = 10
SEED = 7
HUGE = 1e9

INTEGRALS = 2e-5
"""Of the largest integral, where 99.9 % of all lie: twice the gate of test_devices.py."""
DERIVATIVES = 2e-4
"""Of the largest derivative, where 99 % of all lie: a difference may cross a voxel's edge."""
COUNTS = 1e-3
"""Share of photon counts that may be off, and by one: CUDA contracts products and sums."""

WHOLE_CHAIN = {
    "xray": {},
    "scatter": {"grid_factor": 0.3},
    "mtf": {},
    "lag": {},
    "dose_ngy": 30,
    "electronic_noise_photons": 2,
    "recursive_filter_weight": 0.7,
    "edge_enhancement": {},
}
"""Of a flat panel behind a spectrum."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One comparison.

    Attributes:
        name: What was compared.
        good: Whether it holds.
        text: The figures, and the limit.
    """

    name: str
    good: bool
    text: str


def findings(device: ComputeDevice) -> Iterator[Finding]:
    """Compare a device with the reference, one thing after the other."""
    for check in (_integrals("march"), _integrals("joseph"), _derivatives, _counts, _chain, _queue):
        yield check(device)


def _trial(projector: str = "march", chain: Mapping[str, Any] | None = None) -> Trial:
    geometry = CarmGeometry(
        detector_width_px=EDGE_PX, detector_height_px=EDGE_PX, pixel_spacing_mm=PITCH_MM
    )
    sections = {"renderer": {"projector": projector}, "image_chain": chain or {}}
    return Trial(sections, small_volume(VOXEL_MM), geometry)


def _integrals(projector: str) -> Callable[[ComputeDevice], Finding]:
    def check(device: ComputeDevice) -> Finding:
        trial = _trial(projector)
        expected = trial.expected_integrals()
        off = _off(device.to_host(trial.integrals(device)), expected)
        usual, largest = float(np.quantile(off, 0.999)), float(off.max())
        return Finding(
            name=f"integrals, {projector}",
            good=usual < INTEGRALS,
            text=f"99.9 % within {usual:.1e} of the largest (limit {INTEGRALS:g}), "
            f"all within {largest:.1e}",
        )

    return check


def _derivatives(device: ComputeDevice) -> Finding:
    whole = _trial()
    view = replace(
        whole.view,
        width_px=EDGE_PX // 4,
        height_px=EDGE_PX // 4,
        column_step_xyz_mm=whole.view.column_step_xyz_mm * 4,
        row_step_xyz_mm=whole.view.row_step_xyz_mm * 4,
    )
    center = whole.volume.grid.center_xyz_mm
    renderer = DrrRenderer(whole.volume, device)
    found = np.asarray(device.to_host(renderer.render_jacobian(view, center)[1]), float)
    expected = rigid_differences(whole.volume, view, center, "march")
    scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
    off = np.abs(found - expected) / scale
    usual = float(np.quantile(np.nan_to_num(off, nan=HUGE, posinf=HUGE), 0.99))
    return Finding(
        name="derivatives, march",
        good=usual < DERIVATIVES,
        text=f"99 % within {usual:.1e} of the largest (limit {DERIVATIVES:g})",
    )


def _counts(device: ComputeDevice) -> Finding:
    trial = _trial(chain={"log": False, "window": {"level": 0.5, "width": 1.0}})
    integrals = np.random.default_rng(0).random((EDGE_PX, EDGE_PX)).astype(np.float32) * 6
    photons = open_field_photons(trial.chain.dose_ngy, PITCH_MM)
    images = trial.images(device, device.to_device(integrals))
    expected = trial.expected_images(integrals)
    off = np.abs(np.rint(np.stack(images) * photons) - np.rint(np.stack(expected) * photons))
    share = float(np.mean(~(off == 0)))
    return Finding(
        name="photon counts",
        good=share <= COUNTS and bool(off.max() <= 1),
        text=f"{share:.1e} of them are off (limit {COUNTS:g}), by {off.max():g} at most (limit 1)",
    )


def _chain(device: ComputeDevice) -> Finding:
    fault = _trial(chain=WHOLE_CHAIN).fault(device)
    return Finding(name="a whole image chain", good=fault is None, text=fault or "as the reference")


def _queue(device: ComputeDevice) -> Finding:
    trial = _trial(chain={"lag": {}, "mtf": {}})
    images, chained = [], [device, device.queue()]
    for each in chained:
        chain = ImageChain(each, SEED, fused=True)
        integrals = trial.integrals(each)
        images.append(
            [
                chain.start(integrals, trial.chain, n, PITCH_MM, trial.geometry)
                for n in range(QUEUED_FRAMES)
            ]
        )
    both = [
        [np.array(each.to_host(image)) for image in made]
        for each, made in zip(chained, images, strict=True)
    ]
    chained[1].close()
    same = sum(np.array_equal(a, b) for a, b in zip(*both, strict=True))
    return Finding(
        name="queue against direct",
        good=same == QUEUED_FRAMES,
        text=f"{same} of {QUEUED_FRAMES} frames are bit-identical",
    )


def _off(found: NDArray[Any], expected: NDArray[Any]) -> NDArray[Any]:
    """Differences as shares of the largest value; huge where a value is not finite."""
    off = np.abs(found - expected) / max(float(np.abs(expected).max()), 1e-30)
    return np.asarray(np.nan_to_num(off, nan=HUGE, posinf=HUGE))


def main(choice: Mapping[str, Any]) -> None:
    """Print the findings on a device."""
    begun_s = time.monotonic()
    try:
        device = open_choice(DeviceChoice(**choice, reason="doctor"))
        _say(Finding(name="opens", good=True, text=f"{device.name}, {_since(begun_s)}"))
        for finding in findings(device):
            _say(finding)
    except FluoroError as error:
        _say(Finding(name="opens", good=False, text=str(error)))


def _since(begun_s: float) -> str:
    return f"{time.monotonic() - begun_s:.1f} s"


def _say(finding: Finding) -> None:
    sys.stdout.write(json.dumps(asdict(finding)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.load(sys.stdin))
