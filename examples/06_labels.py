"""The truth of a view in ten lines: masks, boxes and landmarks of the thorax phantom.

In the root of a checkout: python -m examples.06_labels
"""

import json

from fluoro.annotations.truth import make_truth
from fluoro.config import Config
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.from_config import make_geometry
from fluoro.paths import output_dir
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.volume.load import load_volume

config = Config(
    volume={"phantom": "thorax", "spacing_mm": 3.0, "labels": {"structures": ["heart", "rib_*"]}},
    pose_source={"kind": "static"},
    annotations={"masks": {}, "boxes": {}, "landmarks": {}},
)
volume = load_volume(config.volume)
view = make_geometry(config.carm).view(CarmPose(lao_deg=30), volume.grid.center_xyz_mm.tolist())
truth = make_truth(config, volume, CpuDevice()).begin(view)

for number, each in enumerate(truth.structures, start=1):
    area, box = truth.masks.areas_px[number - 1], truth.boxes.boxes_px[number - 1]
    print(f"{each.name:<15} {area:>6} px  box {box and [round(edge, 1) for edge in box]}")
heart = truth.masks.mask(1)  # shape (height, width), bool
path = output_dir() / "examples" / "labels.json"
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(json.dumps({"annotations": truth.annotations(), **truth.camera()}))
print(f"heart in {heart.mean():.0%} of the image; COCO's words in {path}")
