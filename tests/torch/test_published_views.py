"""Views of published data sets in PyTorch: items, batches, and the renderer that shows them."""

import numpy as np
import pytest

import tests.published_files as files
from fluoro.errors import InputError

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")

from fluoro.torch.published_views import (  # noqa: E402
    DeepFluoroDataset,
    LjubljanaDataset,
    Transforms,
)

SIZE_PX = 164


@pytest.fixture(scope="module")
def deepfluoro(tmp_path_factory):
    return files.write_deepfluoro(tmp_path_factory.mktemp("torch") / "file.h5", size_px=SIZE_PX)


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


def test_loader_makes_batches_of_images_and_poses(deepfluoro):
    data = DeepFluoroDataset(deepfluoro, 1, batchless=True)
    ((images, poses),) = torch.utils.data.DataLoader(data, batch_size=2)
    assert images.shape == (2, 1, SIZE_PX - 100, SIZE_PX - 100)
    assert poses.shape == (2, 4, 4)
    assert images.dtype == poses.dtype == torch.float32
    assert [image.shape for image, _ in DeepFluoroDataset(deepfluoro, 1)] == [(1, 1, 64, 64)] * 2
    assert DeepFluoroDataset(deepfluoro, 1, preprocess=False)[0][0].shape[-1] == SIZE_PX


@pytest.mark.parametrize("orientation", ["PA", "AP"])
def test_renderer_at_an_items_pose_shows_the_items_image(deepfluoro, orientation):
    data = DeepFluoroDataset(deepfluoro, 1, orientation=orientation)
    for index, (image, pose) in enumerate(data):
        drr = data.make_drr(index, device="cpu")
        rendered = drr(pose, parameterization="matrix")
        assert rendered.shape == image.shape
        assert correlation(rendered, image) > 0.97
        mirrored = torch.flip(rendered, [-1])
        assert correlation(mirrored, image) < 0.9


def test_landmarks_reproject_through_the_renderer(deepfluoro):
    data = DeepFluoroDataset(deepfluoro, 1)
    for index in range(len(data)):
        drr = data.make_drr(index, device="cpu")
        pixels = drr.perspective_projection(data[index][1], data.fiducials)[0].numpy()
        marked = np.array(list(data.view(index).fiducials_uv.values()))
        np.testing.assert_allclose(pixels, marked, atol=0.01)


def test_labels_and_bone_change_the_volume_and_not_its_grid(deepfluoro):
    plain = DeepFluoroDataset(deepfluoro, 1)
    part = DeepFluoroDataset(deepfluoro, 1, labels=[1, 2])
    heavy = DeepFluoroDataset(deepfluoro, 1, bone_attenuation_multiplier=2.0)
    assert part.volume.grid == plain.volume.grid
    inside = np.isin(files.scene().labels, [1, 2])
    assert not part.volume.mu_zyx[~inside].any()
    np.testing.assert_array_equal(part.volume.mu_zyx[inside], plain.volume.mu_zyx[inside])
    soft = np.abs(files.scene().hu.hu_zyx) < 100
    ratio = heavy.volume.mu_zyx[soft].mean() / plain.volume.mu_zyx[soft].mean()
    assert ratio < 0.75  # the densest bone stays at 1
    with pytest.raises(InputError, match="labels"):
        DeepFluoroDataset(deepfluoro, 1, labels=[12])


def test_ljubljana_renders_each_view_with_its_own_detector(tmp_path):
    path = files.write_ljubljana(tmp_path / "file.h5", size_px=96, offset_px=(7.5, -4.25))
    data = LjubljanaDataset(path, 1)
    assert data.views == ("frontal", "lateral")
    for index, item in enumerate(data):
        rendered = data.make_drr(index, device="cpu")(item.pose, parameterization="matrix")
        assert correlation(rendered, item.image) > 0.97
    assert LjubljanaDataset(path, 1, batchless=True)[0].image.shape == (1, 96, 96)


def test_subject_that_is_not_there_is_named(deepfluoro):
    with pytest.raises(InputError, match="subject must be one of subject01, got subject02"):
        DeepFluoroDataset(deepfluoro, 2)
    with pytest.raises(IndexError, match="view must lie in"):
        DeepFluoroDataset(deepfluoro, 1)[2]


def test_transforms_scale_resize_and_standardise():
    images = torch.linspace(-3, 5, 64).reshape(1, 1, 8, 8)
    shown = Transforms(4, 6)(images)
    assert shown.shape == (1, 1, 4, 6)
    same = Transforms(8, mean=0.5, std=0.25)(images)
    torch.testing.assert_close(same.min(), torch.tensor(-2.0))
    torch.testing.assert_close(same.max(), torch.tensor(2.0))
    with pytest.raises(InputError, match="must be positive"):
        Transforms(0)
