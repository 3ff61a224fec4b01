#!/usr/bin/env python3
"""Read DeepFluoro's and Ljubljana's files with DiffDRR-Datasets, in the peers' environment.

    benchmarks/.venv-peers/bin/python tools/data/read_with_diffdrrdata.py OUT.npz

The files lie in ~/user/diffdrr_data. tests/datasets/test_published_files.py compares.
"""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import torch

DEFINED = []


def import_torchvision() -> None:
    """Import torchvision, also where its compiled operators are for another PyTorch."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    DEFINED.append(library)  # what it defines ends with it
    while True:
        try:
            import torchvision.transforms  # noqa: F401
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            library.define(f"{missing[1]}(Tensor x) -> Tensor")
            for name in [name for name in sys.modules if name.startswith("torchvision")]:
                del sys.modules[name]
        else:
            return


def main() -> None:
    """Write what the loaders return."""
    import_torchvision()
    from diffdrrdata.deepfluoro import DeepFluoroDataset, Transforms
    from diffdrrdata.ljubljana import LjubljanaDataset

    found = {}
    data = DeepFluoroDataset(1, bone_attenuation_multiplier=2.0)
    for n in range(2):
        image, pose = data[n]
        found[f"deepfluoro {n} image"] = image
        found[f"deepfluoro {n} pose"] = pose.matrix
        found[f"deepfluoro {n} resized"] = Transforms(64)(image)
    found["deepfluoro fiducials"] = data.subject.fiducials
    found["deepfluoro density"] = data.subject.density.data[0]
    for n, (image, pose, sdd, *_, x0, y0) in enumerate(LjubljanaDataset(1)):
        found[f"ljubljana {n} image"] = image
        found[f"ljubljana {n} pose"] = pose.matrix
        found[f"ljubljana {n} detector"] = np.array(json.dumps([sdd, x0, y0]))
    np.savez(sys.argv[1], **{name: np.asarray(value) for name, value in found.items()})


if __name__ == "__main__":
    main()
