"""Labels of a segmentation as materials: implants, vessels, or tissues by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict

from fluoro.config.section import FilePath, MaterialName
from fluoro.errors import KeyInputError, of_key
from fluoro.scene.base import SceneSection

if TYPE_CHECKING:
    from fluoro.volume.material_volume import Solid

__all__ = ["LabelInclusion"]

Label = Annotated[int, Strict(False)]
"""A whole number; JSON has keys of text alone."""


class LabelInclusion(SceneSection):
    """Materials by the labels of a segmentation: implants, vessels, or tissues by hand."""

    kind: Literal["labels"]
    path: FilePath = Field(
        description="Volume of whole numbers, in any format that a CT may have, relative to the "
        "YAML file; its grid may be another than the CT's."
    )
    materials: Annotated[dict[Label, MaterialName], Field(min_length=1, max_length=255)] = Field(
        description="Material by label, such as {3: titanium}."
    )

    def solids(self) -> list[Solid]:
        """Return the labels, marched together where that is cheaper.

        Raises:
            InputError: A file that cannot be read, or one without voxels of a label.
        """
        import numpy as np

        from fluoro.scene.label_groups import grouped
        from fluoro.volume.open_ct import open_ct

        with of_key("path"):
            ct = open_ct(self.path)
            labels = np.stack([np.array(plane) for plane in ct.slices(0, ct.grid.shape_zyx[0])])
        there = np.unique(labels)
        missing = sorted(set(self.materials) - set(there.tolist()))
        if missing:
            shown = ", ".join(f"{value:g}" for value in there[:20])
            raise KeyInputError(
                "path", f"{self.path}: must have voxels of label {missing[0]}, has only {shown}"
            )
        return grouped(labels, ct.grid, self.materials)
