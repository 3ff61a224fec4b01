#!/usr/bin/env python3
"""Reconstructs a recording with RTK's FDK; runs in an environment of itk-rtk alone.

    python benchmarks/peers/rtk_fdk.py RUN --voxels 64 64 64 --spacing 2 --output volume.npy

RUN is the folder of a run with `recorder.formats: [npz, geometry]`. The volume is attenuation
[1/mm] about the isocentre, shape (z, y, x) of patient LPS: x to the left, y to the back, z to the
head.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import itk
import numpy as np
from itk import RTK

IMAGE = itk.Image[itk.F, 3]


def line_integrals(run: Path) -> np.ndarray:
    """What the images show, shape (views, height, width): their window undone."""
    chain = json.loads((run / "run.json").read_text())["config"]["image_chain"]
    window, images = chain["window"], np.load(run / "frames.npz")["images"]
    rising = images if chain["polarity"] == "bone_bright" else 1 - images
    low = window["level"] - window["width"] / 2
    return np.ascontiguousarray(low + window["width"] * rising, np.float32)


def reconstruct(run: Path, voxels: tuple[int, int, int], spacing: float) -> np.ndarray:
    """Attenuation [1/mm], shape (z, y, x) of patient LPS.

    Args:
        run: Folder of the run.
        voxels: Along x, y and z of patient LPS.
        spacing: Edge of a voxel [mm].
    """
    about = json.loads((run / "geometry/about.json").read_text())["rtk_projections"]
    reader = RTK.ThreeDCircularProjectionGeometryXMLFileReader.New()
    reader.SetFilename(str(run / "geometry/rtk.xml"))
    reader.GenerateOutputInformation()
    projections = itk.image_from_array(line_integrals(run))
    projections.SetSpacing([*about["spacing"], 1.0])
    projections.SetOrigin([*about["origin"], 0.0])
    x, y, z = voxels
    size = (x, z, y)  # RTK's axes: left, head, front
    empty = RTK.ConstantImageSource[IMAGE].New()
    empty.SetSize(list(size))
    empty.SetSpacing([spacing] * 3)
    empty.SetOrigin([-(count - 1) / 2 * spacing for count in size])
    fdk = RTK.FDKConeBeamReconstructionFilter[IMAGE].New()
    fdk.SetInput(0, empty.GetOutput())
    fdk.SetInput(1, projections)
    fdk.SetGeometry(reader.GetOutputObject())
    fdk.Update()
    front_head_left = itk.array_from_image(fdk.GetOutput())
    return np.ascontiguousarray(front_head_left.transpose(1, 0, 2)[:, ::-1])


def main() -> None:
    """Reconstruct and save."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("run", type=Path)
    command.add_argument("--voxels", type=int, nargs=3, required=True)
    command.add_argument("--spacing", type=float, required=True)
    command.add_argument("--output", type=Path, required=True)
    given = command.parse_args()
    np.save(given.output, reconstruct(given.run, tuple(given.voxels), given.spacing))


if __name__ == "__main__":
    main()
