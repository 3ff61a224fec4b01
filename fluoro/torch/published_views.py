"""DeepFluoro's and Ljubljana's views for a DataLoader, with the words of DiffDRR-Datasets.

    data = DeepFluoroDataset("ipcai_2020_full_res_data.h5", id_number=1, batchless=True)
    drr = data.make_drr(0)
    for image, pose in torch.utils.data.DataLoader(data, batch_size=4): ...
    drr(pose, parameterization="matrix")

A pose leads from the camera to RAS about `volume`'s centre [mm]: the world of `PoseDrr(volume)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fluoro.datasets.published.open_set import open_published
from fluoro.datasets.published.poses import DiffdrrCamera, diffdrr_camera
from fluoro.datasets.published.preprocess import (
    CROP_PX,
    cropped_view,
    deepfluoro_attenuation,
    ljubljana_attenuation,
)
from fluoro.datasets.published.subject import Subject, VoxelOrigin, XrayView
from fluoro.datasets.published.volumes import diffdrr_density, published_attenuation
from fluoro.errors import InputError
from fluoro.names import ViewName
from fluoro.torch.pose_drr import PoseDrr
from fluoro.torch.tensors import Tensor, torch
from fluoro.volume.volumes import MuVolume

__all__ = ["DeepFluoroDataset", "LjubljanaDataset", "LjubljanaItem", "Transforms"]


class LjubljanaItem(NamedTuple):
    """A view of Ljubljana, in DiffDRR-Datasets' order.

    Attributes:
        image: Shape (1, 1, height, width), or (1, height, width).
        pose: Shape (1, 4, 4), or (4, 4).
        sdd_mm: Source to detector [mm].
        height_px: Rows.
        width_px: Columns.
        delx_mm: Distance of columns [mm].
        dely_mm: Distance of rows [mm].
        x0_mm: For `PoseDrr` [mm].
        y0_mm: For `PoseDrr` [mm].
    """

    image: Tensor
    pose: Tensor
    sdd_mm: float
    height_px: int
    width_px: int
    delx_mm: float
    dely_mm: float
    x0_mm: float
    y0_mm: float


class _Views(torch.utils.data.Dataset):  # type: ignore[misc, unused-ignore]
    """The views of a subject; opened again in each worker of a DataLoader.

    Attributes:
        subject: Volume, labels and landmarks.
        volume: What `PoseDrr` renders: DiffDRR's density, or attenuation.
        views: Names of the views, in the order of the items.
        reverse_x_axis: For `PoseDrr`.
    """

    subject: Subject
    volume: MuVolume
    views: tuple[str, ...]
    reverse_x_axis: bool

    def __init__(self, path: Path | str, id_number: int, voxel_origin: VoxelOrigin | None) -> None:
        self._path, self._origin = Path(path), voxel_origin
        self._subject_name = f"subject{id_number:02d}"

    def __len__(self) -> int:
        return len(self.views)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError

    @property
    def fiducials(self) -> Tensor:
        """Landmarks in RAS about `volume`'s centre [mm], shape (1, N, 3)."""
        points = self.subject.targets_xyz_mm - self.volume.grid.center_xyz_mm
        return torch.from_numpy(points * [-1.0, -1.0, 1.0])[None].to(torch.float32)

    def _camera(self, view: XrayView, orientation: ViewName) -> DiffdrrCamera:
        return diffdrr_camera(
            view.view,
            self.volume.grid.center_xyz_mm,
            orientation,
            reverse_x_axis=self.reverse_x_axis,
        )

    def _make_drr(self, camera: DiffdrrCamera, **options: Any) -> PoseDrr:
        return PoseDrr(
            self.volume,
            sdd_mm=camera.sdd_mm,
            height_px=camera.height_px,
            width_px=camera.width_px,
            delx_mm=camera.delx_mm,
            dely_mm=camera.dely_mm,
            x0_mm=camera.x0_mm,
            y0_mm=camera.y0_mm,
            orientation=camera.orientation,
            reverse_x_axis=camera.reverse_x_axis,
            **options,
        )

    def _number(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"view must lie in [0, {len(self)}), got {index}")
        return index % len(self)


class DeepFluoroDataset(_Views):
    """DeepFluoro's views of a specimen: (image, pose).

    Args:
        path: `ipcai_2020_full_res_data.h5`, or xvr's folder.
        id_number: 1 to 6.
        preprocess: Crop 50 pixels a side, smooth, take the logarithm; else intensities.
        bone_attenuation_multiplier: Factor of CT numbers above 350 HU in `volume`.
        labels: Structures that `volume` keeps, by their number; None: all of it.
        batchless: Items without a batch axis, as a DataLoader takes them.
        orientation: "PA" as in DiffDRR-Datasets, "AP" as in xvr.
        voxel_origin: As for `open_published`.

    Raises:
        InputError: The data set cannot be read, or has no such subject.
    """

    def __init__(
        self,
        path: Path | str,
        id_number: int,
        preprocess: bool = True,
        bone_attenuation_multiplier: float = 1.0,
        labels: int | Sequence[int] | None = None,
        batchless: bool = False,
        *,
        orientation: ViewName = "PA",
        voxel_origin: VoxelOrigin | None = None,
    ) -> None:
        super().__init__(path, id_number, voxel_origin)
        self.preprocess, self.batchless, self.orientation = preprocess, batchless, orientation
        self.reverse_x_axis = orientation == "PA"
        with open_published(self._path, "deepfluoro", voxel_origin=voxel_origin) as data:
            self.subject = data.subject(self._subject_name)
            self.views = data.views(self._subject_name)
        density = diffdrr_density(self.subject.values_zyx, bone_attenuation_multiplier)
        volume = MuVolume(
            mu_zyx=np.ascontiguousarray(density),
            grid=self.subject.grid,
            source=self.subject.source,
        )
        wanted = [labels] if isinstance(labels, int) else labels
        self.volume = volume if wanted is None else _within(volume, self.subject, wanted)

    def view(self, index: int) -> XrayView:
        """Return a view, cropped where `preprocess` is set, with its stored intensities.

        Raises:
            InputError: It is missing or damaged.
        """
        with open_published(self._path, "deepfluoro", voxel_origin=self._origin) as data:
            found = data.view(self._subject_name, self.views[self._number(index)])
        if not self.preprocess:
            return found
        points = {name: uv - CROP_PX for name, uv in found.fiducials_uv.items()}
        return replace(found, view=cropped_view(found.view, CROP_PX), fiducials_uv=points)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        found = self.view(index)
        image = deepfluoro_attenuation(found.image) if self.preprocess else found.image
        return _batched(image, self._camera(found, self.orientation), batchless=self.batchless)

    def make_drr(self, index: int, **options: Any) -> PoseDrr:
        """Return the renderer of a view's detector.

        Args:
            index: Of the view; all views have one detector.
            options: projector, device and labels of `PoseDrr`.
        """
        return self._make_drr(self._camera(self.view(index), self.orientation), **options)


class LjubljanaDataset(_Views):
    """Ljubljana's two views of a patient, frontal and lateral.

    Args:
        path: `ljubljana.h5`, or xvr's folder.
        id_number: 1 to 10.
        preprocess: Background off, logarithm; else intensities.
        batchless: Images and poses without a batch axis.
        voxel_origin: As for `open_published`.

    Raises:
        InputError: The data set cannot be read, or has no such subject.
    """

    reverse_x_axis = False

    def __init__(
        self,
        path: Path | str,
        id_number: int,
        preprocess: bool = True,
        batchless: bool = False,
        *,
        voxel_origin: VoxelOrigin | None = None,
    ) -> None:
        super().__init__(path, id_number, voxel_origin)
        self.preprocess, self.batchless = preprocess, batchless
        with open_published(self._path, "ljubljana", voxel_origin=voxel_origin) as data:
            self.subject = data.subject(self._subject_name)
            self.views = data.views(self._subject_name)
        self.volume = published_attenuation(self.subject, "ljubljana")

    def view(self, index: int) -> XrayView:
        """Return a view with its stored intensities.

        Raises:
            InputError: It is missing or damaged.
        """
        with open_published(self._path, "ljubljana", voxel_origin=self._origin) as data:
            return data.view(self._subject_name, self.views[self._number(index)])

    def __getitem__(self, index: int) -> LjubljanaItem:
        found = self.view(index)
        image = ljubljana_attenuation(found.image) if self.preprocess else found.image
        camera = self._camera(found, "AP")
        return LjubljanaItem(
            *_batched(image, camera, batchless=self.batchless),
            sdd_mm=camera.sdd_mm,
            height_px=camera.height_px,
            width_px=camera.width_px,
            delx_mm=camera.delx_mm,
            dely_mm=camera.dely_mm,
            x0_mm=camera.x0_mm,
            y0_mm=camera.y0_mm,
        )

    def make_drr(self, index: int, **options: Any) -> PoseDrr:
        """Return the renderer of a view's own detector.

        Args:
            index: Of the view.
            options: projector, device and labels of `PoseDrr`.
        """
        return self._make_drr(self._camera(self.view(index), "AP"), **options)


class Transforms:
    """Scale to [0, 1], resize, standardise: what networks are given.

    Args:
        height: Rows.
        width: Columns; None: as many.
        mean: That becomes 0; DeepFluoro's in DiffDRR-Datasets (Ljubljana: 0.0306).
        std: That becomes 1; DeepFluoro's in DiffDRR-Datasets (Ljubljana: 0.0564).
        eps: Added to the range.

    Raises:
        InputError: A size below 1 or a standard deviation that is not positive.
    """

    def __init__(
        self,
        height: int,
        width: int | None = None,
        *,
        mean: float = 0.3080,
        std: float = 0.1494,
        eps: float = 1e-6,
    ) -> None:
        self._size, self._mean, self._std, self._eps = (height, width or height), mean, std, eps
        if min(self._size) < 1 or not std > 0:
            raise InputError(f"height, width and std must be positive, got {self._size} and {std}")

    def __call__(self, images: Tensor) -> Tensor:
        """Return images of the size, shape (B, C, height, width); scaled by all of them together.

        Args:
            images: Shape (B, C, any, any).
        """
        low, high = images.min(), images.max()
        scaled = (images - low) / (high - low + self._eps)
        resized = torch.nn.functional.interpolate(
            scaled, self._size, mode="bilinear", antialias=True, align_corners=False
        )
        return (resized - self._mean) / self._std


def _within(volume: MuVolume, subject: Subject, labels: Sequence[int]) -> MuVolume:
    """What lies within labels, on the whole grid: the world's centre stays."""
    if subject.labels is None:
        raise InputError(f"{subject.source}: has no labels, so labels must not be given")
    inside = subject.labels.inside(subject.labels.labels_of(list(labels), "labels"))
    return replace(volume, mu_zyx=np.where(inside, volume.mu_zyx, np.float32(0)))


def _batched(image: Any, camera: DiffdrrCamera, *, batchless: bool) -> tuple[Tensor, Tensor]:
    pixels = torch.from_numpy(np.ascontiguousarray(image))[None]
    pose = torch.from_numpy(camera.matrix).to(torch.float32)
    return (pixels, pose) if batchless else (pixels[None], pose[None])
