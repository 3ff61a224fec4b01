"""Writes tests/data/nifti/: one small volume in every form of NIfTI, written by nibabel.

pip install nibabel; python tools/data/make_nifti_files.py
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

FOLDER = Path(__file__).parents[2] / "tests" / "data" / "nifti"
AFFINE = [[0, -2, 0, 11], [0.8, 0, 1.8, -22], [-0.6, 0, 2.4, 33.5], [0, 0, 0, 1]]
"""Voxel index to RAS [mm]: oblique, edges of 1, 2 and 3 mm."""


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    voxels = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    for kind, name in (
        (nibabel.Nifti1Pair, "one.hdr"),
        (nibabel.Nifti1Pair, "one_gz.hdr.gz"),
        (nibabel.Nifti2Image, "two.nii"),
        (nibabel.Nifti2Image, "two.nii.gz"),
        (nibabel.Nifti2Pair, "two.hdr"),
    ):
        image = kind(voxels, np.array(AFFINE, float))
        image.header.set_xyzt_units("mm")
        image.header.set_slope_inter(2.0, -1024.0)
        nibabel.save(image, FOLDER / name)


if __name__ == "__main__":
    main()
