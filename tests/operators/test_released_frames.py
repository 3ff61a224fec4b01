"""What belongs to a frame is released with its last reader, not when Python looks for cycles."""

import gc
from pathlib import Path

import pytest

from tests.session_support import run_small, use_cache
from tests.support import cycles

# isort: split

from fluoro.config import load_config

CONFIGS = Path(__file__).parents[2] / "configs"
FIRST, FRAMES = 8, 20
"""Frames before what is made once is there, and those that are looked at."""
SMALL = {
    "carm.detector_width_px": 64,
    "carm.detector_height_px": 64,
    "carm.pixel_spacing_mm": 6,
    "recorder.formats": ["npz", "png"],
    "console.port": 0,
    "run.frames": FIRST + 4 * FRAMES,
    "run.name": "run",
}


MORE = {
    "polychromatic": {
        "volume.spacing_mm": 4,
        "image_chain.brightness": {"target_ngy": 20},
        "image_chain.window.level": 0,
    },
    "orbit": {
        "volume": {"phantom": "thorax", "spacing_mm": 4, "labels": {"structures": ["heart"]}},
        "annotations": {"masks": {}, "boxes": {}},
    },
    "catheter": {"volume.spacing_mm": 4},
    "track_sweep": {"volume.spacing_mm": 4},
}


@pytest.mark.parametrize("name", MORE)
def test_frames_of_a_stream_leave_no_cycles(name, tmp_path, monkeypatch):
    """Physics with automatic brightness, annotations, an instrument, registration."""
    use_cache(tmp_path, monkeypatch)
    settings = {**SMALL, "run.output_dir": str(tmp_path), **MORE[name]}
    options = [f"{key}={value}" for key, value in settings.items()]
    config, found, begun = load_config(CONFIGS / f"{name}.yaml", options), [], []

    def look(frames):
        if frames >= FIRST and not begun:
            begun.append(frames)
            gc.disable()
            gc.collect()
        if begun and frames >= begun[0] + FRAMES and not found:
            found.append((frames - begun[0], cycles()))
            return True
        return None

    try:
        run_small(config, look)
    finally:
        gc.enable()
    frames, left = found[0]
    assert sum(left.values()) < frames, left
