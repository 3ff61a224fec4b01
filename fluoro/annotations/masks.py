"""Masks of structures: where a ray passes through each, and where it is visible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fluoro.annotations.base import AnnotationSection, AnnotationSetup
from fluoro.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluoro.annotations.moving_labels import MovingLabels
    from fluoro.geometry.projection import View
    from fluoro.rendering.devices.base import ComputeDevice
    from fluoro.rendering.label_renderer import LabelImages, LabelRenderer
    from fluoro.volume.labels.structures import Structure

__all__ = ["FrameMasks", "MaskAnnotator", "MaskConfig"]


class MaskConfig(AnnotationSection):
    """A mask of each structure, whatever lies before it: where a ray passes through (amodal)."""

    visible_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Also a mask of where the structure has at least this share of the "
        "pixel's line integral; null: none.",
    )
    thickness: bool = Field(
        False, description="Also the path length in each structure [mm], in the files of `files`."
    )
    files: Literal["png", "npz"] | None = Field(
        None,
        description="Write masks beside annotations.json: png has one grey image a frame and "
        "structure, npz one file a frame with masks and thickness; null: run lengths alone.",
    )

    def make(self, setup: AnnotationSetup) -> MaskAnnotator:
        """Return what renders masks.

        Raises:
            InputError: Visible masks of structures of which fragments move.
        """
        from fluoro.annotations.moving_labels import split_labels
        from fluoro.rendering.label_renderer import LabelRenderer

        assert setup.labels is not None
        labels, moving = split_labels(setup.labels, setup.posed)
        if moving and self.visible_share is not None:
            raise InputError(
                "annotations.masks.visible_share must be null with fragments of the structures, "
                f"got {self.visible_share:g}"
            )
        renderer = LabelRenderer(labels, setup.device, setup.volume)
        moved = [(each, LabelRenderer(each.labels, setup.device)) for each in moving]
        return MaskAnnotator(self, renderer, moved)


class MaskAnnotator:
    """Renders masks, on the renderer's own device.

    Args:
        config: Which.
        renderer: Samples the labels.
        moving: Labels that move with fragments, and what samples them.
    """

    def __init__(
        self,
        config: MaskConfig,
        renderer: LabelRenderer,
        moving: Sequence[tuple[MovingLabels, LabelRenderer]] = (),
    ) -> None:
        self._config, self._renderer, self._moving = config, renderer, moving

    def begin(self, view: View) -> FrameMasks:
        """Return the masks of a view; their rendering is queued and not done yet."""
        return self.begin_at(view, 0.0)

    def begin_at(self, view: View, time_s: float) -> FrameMasks:
        """Return the masks of a view at a moment of the run [s]; their rendering is queued."""
        renderer, share = self._renderer, self._config.visible_share
        images = [renderer.lengths(view) if self._config.thickness else renderer.masks(view)]
        for moved, sampler in self._moving:
            sampler.add_moved(view, moved.motion(time_s), images[0])
        if share is not None:
            images.append(renderer.integrals(view, share))
        return FrameMasks(renderer.labels.structures, images, renderer.device)

    def categories(self) -> list[dict[str, Any]]:
        """Return a category for each structure."""
        from fluoro.annotations.coco import structure_categories

        return structure_categories(self._renderer.labels.structures)


class FrameMasks:
    """Masks of one frame; read them when its rendering is done.

    Attributes:
        structures: Of the labels 1, 2, ... in turn.
    """

    def __init__(
        self, structures: tuple[Structure, ...], images: list[LabelImages], device: ComputeDevice
    ) -> None:
        self.structures = structures
        self._images, self._device = images, device

    @cached_property
    def bits(self) -> NDArray[np.uint32]:
        """Masks as bits on the host, shape (ceil(K / 32), height, width)."""
        return self._device.to_host(self._images[0].masks, settled=True)

    @cached_property
    def visible_bits(self) -> NDArray[np.uint32] | None:
        """Masks of what is visible, as `bits`; None: not requested."""
        found = self._images[-1].visible
        return None if found is None else self._device.to_host(found, settled=True)

    @cached_property
    def lengths_mm(self) -> NDArray[np.float32] | None:
        """Path length in each structure [mm], shape (K, height, width); None: not requested."""
        found = self._images[0].lengths_mm
        return None if found is None else self._device.to_host(found, settled=True)

    def mask(self, label: int) -> NDArray[np.bool_]:
        """Return where a ray passes through a structure, shape (height, width).

        Args:
            label: From 1, in the order of `structures`.
        """
        from fluoro.rendering.label_renderer import bits_of

        return bits_of(self.bits, label)

    def visible(self, label: int) -> NDArray[np.bool_] | None:
        """Return where a structure is visible, shape (height, width); None: not requested."""
        from fluoro.rendering.label_renderer import bits_of

        return None if self.visible_bits is None else bits_of(self.visible_bits, label)

    @cached_property
    def areas_px(self) -> list[int]:
        """Pixels of each mask."""
        return [int(self.mask(label).sum()) for label in range(1, len(self.structures) + 1)]

    def label_image(self) -> NDArray[np.uint8]:
        """Return the label of the smallest structure in each pixel, shape (height, width)."""
        import numpy as np

        image = np.zeros(self.bits.shape[1:], np.uint8)
        order = sorted(range(len(self.areas_px)), key=lambda n: -self.areas_px[n])
        for n in order:
            if self.areas_px[n]:
                image[self.mask(n + 1)] = n + 1
        return image

    def tensors(self) -> Mapping[str, Any]:
        """Return masks as bits, visible masks and lengths [mm], arrays of the device."""
        first, last = self._images[0], self._images[-1]
        found = {
            "masks": first.masks,
            "visible_masks": last.visible,
            "lengths_mm": first.lengths_mm,
        }
        return {name: array for name, array in found.items() if array is not None}

    def coco(self) -> Mapping[int, Mapping[str, Any]]:
        """Return segmentation and area of the structures in the image."""
        from fluoro.annotations.coco import mask_rle

        found: dict[int, dict[str, Any]] = {}
        for label, each in enumerate(self.structures, start=1):
            if not self.areas_px[label - 1]:
                continue
            fields = {"segmentation": mask_rle(self.mask(label)), "area": self.areas_px[label - 1]}
            visible = self.visible(label)
            if visible is not None:
                fields |= {"visible": mask_rle(visible), "visible_area": int(visible.sum())}
            found[each.number] = fields
        return found
