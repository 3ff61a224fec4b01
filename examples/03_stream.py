"""A stream: poses come one by one, each answered by a frame, until enough is seen.

Here the C-arm follows the image: it moves towards the brightest column, frame by frame.

In the root of a checkout: python -m examples.03_stream
"""

from collections.abc import Iterator

import numpy as np

from fluoro import CarmGeometry, FluoroSimulator, Pose, SimulatorConfig, VolumePreprocessor

# A ball of bone, 60 mm to the left of the middle of a box of water.
z, y, x = np.indices((60, 60, 100))
ball = (z - 30) ** 2 + (y - 30) ** 2 + (x - 80) ** 2 < 64
hu = np.where(ball, 1500.0, 0.0)
volume = VolumePreprocessor.from_numpy(hu, spacing_zyx_mm=(2.0, 2.0, 2.0)).preprocess()

simulator = FluoroSimulator(
    volume, SimulatorConfig(geometry=CarmGeometry(1200, 800, 160, 120, 2.0))
)
shift_mm = 0.0


def poses() -> Iterator[Pose]:
    """Where the C-arm shall stand next; what was learnt from the last frame is in it."""
    while True:
        yield Pose(translation=(shift_mm, 0.0, 0.0))


for frame in simulator.stream(poses(), max_frames=8):
    row = frame.image[60] - np.median(frame.image[60])
    brightest_px = float(np.average(np.arange(160) + 0.5, weights=row.clip(0) ** 2))
    offset_mm = (brightest_px - 80) * 2.0 * 800 / 1200  # from the detector back to the isocentre
    print(f"frame {frame.frame_idx}: C-arm at {shift_mm:5.1f} mm, ball {offset_mm:5.1f} mm off")
    shift_mm += 0.7 * offset_mm

print(f"found the ball at {shift_mm:.0f} mm to the left; it is at {(80.5 - 50) * 2:.0f} mm")
