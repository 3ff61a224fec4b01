"""Training sets in PyTorch: every frame once an epoch, in a drawn order, split over ranks."""

import importlib.util

import numpy as np
import pytest

from tests.datasets.test_training_sets import STRUCTURES, made
from tests.session_support import use_cache

# isort: split

from fluoro.errors import InputError

NEEDS_TORCH = "needs PyTorch: pip install -r requirements/torch.txt"
pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason=NEEDS_TORCH)
KEYS = [f"{number:08d}" for number in range(12)]


@pytest.fixture(scope="module", params=["webdataset", "hdf5"])
def folder(tmp_path_factory, request):
    """Twelve frames in six files."""
    place = tmp_path_factory.mktemp("torch")
    sizes = {"frames_per_shard": 2, "frames_per_case": 12, "format": request.param}
    with pytest.MonkeyPatch.context() as patch:
        use_cache(place, patch)
        assert made(place, dataset=sizes).complete
    return place / "out"


def keys(items):
    return [item["key"] for item in items]


def test_frames_by_number_have_image_masks_boxes_and_camera(folder):
    from torch.utils.data import DataLoader

    from fluoro.datasets.training.torch_frames import TrainingFrames

    frames = TrainingFrames(folder)
    assert frames.structures == tuple(STRUCTURES)
    (batch,) = DataLoader(frames, batch_size=12)
    assert batch["image"].shape == (12, 1, 24, 32)
    assert batch["masks"].shape == (12, 2, 24, 32)
    assert batch["boxes"].shape == (12, 2, 4)
    assert batch["camera_from_world"].shape[0] == 12
    assert batch["key"] == KEYS
    assert float(batch["image"].min()) >= 0
    assert float(batch["image"].max()) <= 1
    assert keys(TrainingFrames(folder, ["aorta"])[n] for n in (0, 11)) == [KEYS[0], KEYS[11]]


def test_stream_has_every_frame_once_in_another_order_each_epoch(folder):
    from fluoro.datasets.training.torch_frames import TrainingStream

    stream = TrainingStream(folder, buffer=4)
    first, again = keys(stream), keys(stream)
    stream.set_epoch(1)
    second = keys(stream)
    assert first == again
    assert sorted(first) == sorted(second) == KEYS
    assert KEYS not in (first, second)
    assert first != second


def test_ranks_and_workers_share_the_frames_without_overlap(folder):
    from torch.utils.data import DataLoader

    from fluoro.datasets.training.torch_frames import TrainingStream

    ranks = [TrainingStream(folder, ["aorta"], rank=rank, ranks=2) for rank in (0, 1)]
    halves = [keys(rank) for rank in ranks]
    assert [len(half) for half in halves] == [6, 6]
    assert sorted(halves[0] + halves[1]) == KEYS
    loader = DataLoader(ranks[0], batch_size=None, num_workers=2)
    assert sorted(keys(loader)) == sorted(halves[0])


def test_workers_of_a_data_loader_read_the_same_frames(folder):
    from torch.utils.data import DataLoader

    from fluoro.datasets.training.torch_frames import TrainingFrames

    frames = TrainingFrames(folder)
    alone = [frames[n]["image"].numpy() for n in range(12)]
    loaded = DataLoader(frames, batch_size=None, num_workers=2)
    assert all(np.array_equal(a, b["image"]) for a, b in zip(alone, loaded, strict=True))


def test_rank_that_is_none_is_refused(folder):
    from fluoro.datasets.training.torch_frames import TrainingStream

    with pytest.raises(InputError, match="rank must be 0 to 1, got 2"):
        TrainingStream(folder, rank=2, ranks=2)
    with pytest.raises(InputError, match="buffer must be at least 1, got 0"):
        TrainingStream(folder, buffer=0)


def test_structure_that_the_first_frame_does_not_have_is_logged(folder, caplog):
    from fluoro.datasets.training.torch_frames import TrainingFrames

    TrainingFrames(folder, ["nowhere", STRUCTURES[0]])
    assert "its first frame has no structure nowhere (" in caplog.text
    with pytest.raises(InputError, match="structures must be a list of names, got 'heart'"):
        TrainingFrames(folder, "heart")
