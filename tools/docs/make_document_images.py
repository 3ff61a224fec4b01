"""Makes images of the documents in docs/images from files of configs/.

    python -m tools.docs.make_document_images                  all of them; some minutes
    python -m tools.docs.make_document_images phantom          one of them

| Name | Image |
|---|---|
| carm_sweep | carm_sweep.webp: the movie of `make run`, reduced |
| chest_ct | chest_ct.png: four views of configs/chest_ct.yaml |
| phantom | phantom.png: the body phantom's thorax and the chest CT in four views, bone bright |
| body | body.webp: eight radiographs of the body |
| registration | registration.webp: the course of configs/register_chest.yaml |
| polychromatic | polychromatic.png: polychromatic.yaml at one energy and as it is, implants.yaml |
| instruments | instruments.png, instruments.webp: configs/catheter.yaml, kwire_insertion.yaml |
| fracture | fracture.png: configs/fracture.yaml at 0, 4 and 8 seconds |

The chest CT comes with `app.py fetch chest-ct`. presets.png is made by make_preset_images.py,
curves by plot_physics.py and plot_validation.py, console.png and labels.png by
take_console_images.py.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import app
from fluoro.config import Config, load_config
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.from_config import make_geometry
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.frame import to_uint8
from fluoro.names import ArmPosition, BodyRegion
from fluoro.paths import output_dir
from fluoro.plot.scene_movie import write_animation
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.patient_renderer import make_patient
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.load import load_volume
from tools.docs.make_preset_images import frame_of

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 750_000
"""Of an animation in the repository."""
SWEEP_VIEWS = (
    CarmPose(),
    CarmPose(lao_deg=40),
    CarmPose(lao_deg=-40),
    CarmPose(cra_deg=25),
)
BODY_VIEWS = (CarmPose(), CarmPose(lao_deg=30), CarmPose(lao_deg=90), CarmPose(cra_deg=25))
BONE_BRIGHT = ("image_chain.polarity=bone_bright",)


def row_of(config: Config, poses: Sequence[CarmPose], gap_px: int) -> NDArray[np.uint8]:
    """Return the frames of poses side by side, with white gaps, as grey levels."""
    device, volume = open_device("cpu"), load_volume(config.volume)
    renderer = DrrRenderer(volume, device, projector="joseph")
    chain, geometry = ImageChain(device, 0), make_geometry(config.carm)
    parts: list[NDArray[np.uint8]] = []
    for number, pose in enumerate(poses):
        integrals = renderer.render(geometry.view(pose, volume.grid.center_xyz_mm))
        pitch_mm = geometry.pixel_spacing_mm
        image = chain.apply(integrals, config.image_chain, number, pitch_mm, geometry)
        grey = to_uint8(device.to_host(image))
        parts += [grey, np.zeros((len(grey), gap_px), np.uint8)]
    return np.hstack(parts[:-1])


def chest_ct() -> None:
    """Make chest_ct.png."""
    row = row_of(load_config(ROOT / "configs" / "chest_ct.yaml"), SWEEP_VIEWS, 6)
    Image.fromarray(row).save(IMAGES / "chest_ct.png", optimize=True)


def phantom() -> None:
    """Make phantom.png."""
    body = ("volume.path=null", "volume.phantom=body", "volume.spacing_mm=1.4")
    path = ROOT / "configs" / "chest_ct.yaml"
    configs = [load_config(path, (*BONE_BRIGHT, *changes)) for changes in (body, ())]
    rows = [row_of(config, BODY_VIEWS, 1) for config in configs]
    Image.fromarray(np.vstack(rows)).save(IMAGES / "phantom.png", optimize=True)


@dataclass(frozen=True, kw_only=True)
class Radiograph:
    """One image of the body.

    Attributes:
        region: What of the body is made.
        field_mm: Width and height of the field at the isocentre.
        isocenter_mm: Its middle.
        lao_deg: Projection; a left shoulder at -30 is seen along its joint (Grashey).
        tube_voltage_kv: Of the beam.
        window: Level and width of the display window.
        arms: Their position.
    """

    region: BodyRegion
    field_mm: tuple[float, float]
    isocenter_mm: tuple[float, float, float]
    lao_deg: float = 0.0
    tube_voltage_kv: int = 80
    window: tuple[float, float]
    arms: ArmPosition = "raised"


RADIOGRAPHS = {
    "chest, frontal": Radiograph(
        region="thorax", field_mm=(320, 330), isocenter_mm=(-5, 0, 5), window=(3.4, 3.8)),
    "thoracic spine": Radiograph(
        region="thorax", field_mm=(150, 320), isocenter_mm=(-2, 20, 10), window=(4.0, 3.6)),
    "chest, lateral": Radiograph(
        region="thorax", field_mm=(300, 300), isocenter_mm=(-5, 0, 0), lao_deg=90,
        window=(3.9, 5.0)),
    "left shoulder": Radiograph(
        region="shoulder", field_mm=(150, 150), isocenter_mm=(128, 25, 108), lao_deg=-30,
        tube_voltage_kv=70, window=(3.6, 5.6), arms="down"),
    "pelvis": Radiograph(
        region="pelvis", field_mm=(330, 275), isocenter_mm=(10, 0, -338), window=(3.5, 3.4)),
    "head, lateral": Radiograph(
        region="head", field_mm=(235, 250), isocenter_mm=(-14, -25, 300), lao_deg=90,
        tube_voltage_kv=75, window=(3.5, 6.2), arms="down"),
    "lumbar spine": Radiograph(
        region="lumbar", field_mm=(215, 215), isocenter_mm=(10, 10, -185), window=(4.3, 2.7)),
    "lumbar spine, lateral": Radiograph(
        region="lumbar", field_mm=(215, 215), isocenter_mm=(10, 10, -185), lao_deg=90,
        tube_voltage_kv=90, window=(4.7, 3.5)),
}  # fmt: skip
RADIOGRAPH_PX = 640
"""Of the longer edge."""


def radiograph(given: Radiograph) -> NDArray[np.uint8]:
    """Return an image taken behind a grid at a radiograph's dose, bone bright.

    Unsharp masking with a wide blur compresses its range as radiography systems do.
    """
    region = given.region
    edges_mm = [edge * 4 / 3 for edge in given.field_mm]
    pitch_mm = max(edges_mm) / RADIOGRAPH_PX
    width, height = (round(edge / pitch_mm / 2) * 2 for edge in edges_mm)
    level, extent = given.window
    changes = (
        f"volume.body={{region: {region}, arms: {given.arms}}}",
        "volume.spacing_mm=1.0",
        f"carm.detector_width_px={width}",
        f"carm.detector_height_px={height}",
        f"carm.pixel_spacing_mm={pitch_mm}",
        f"image_chain.xray.tube_voltage_kv={given.tube_voltage_kv}",
        "image_chain.dose_ngy=2000",
        "image_chain.brightness=null",
        "image_chain.edge_enhancement={amount: 2.0, sigma_mm: 12}",
        f"image_chain.window={{level: {level}, width: {extent}}}",
        "image_chain.collimator=null",
        "image_chain.shutter=null",
    )
    config = load_config(ROOT / "configs" / "sweep.yaml", (*BONE_BRIGHT, *changes))
    device, volume = open_device("cpu"), load_volume(config.volume)
    patient, geometry = make_patient(config, volume, device), make_geometry(config.carm)
    chain = ImageChain(device, 0, patient.materials)
    view = geometry.view(CarmPose(lao_deg=given.lao_deg), given.isocenter_mm)
    image = chain.apply(patient.render(view), config.image_chain, 0, pitch_mm, geometry)
    return to_uint8(device.to_host(image))


def row(names: Sequence[str]) -> NDArray[np.uint8]:
    """Return radiographs side by side, those that are less high in the middle."""
    images = [radiograph(RADIOGRAPHS[name]) for name in names]
    high = max(map(len, images))
    spaces = [high - len(image) for image in images]
    return np.hstack(
        [
            np.pad(image, ((space // 2, space - space // 2), (3, 3)))
            for image, space in zip(images, spaces, strict=True)
        ]
    )


def body() -> None:
    """Make body.webp."""
    names = list(RADIOGRAPHS)
    rows = [row(names[:4]), row(names[4:])]
    wide = max(each.shape[1] for each in rows)
    whole = np.vstack([np.pad(each, ((3, 3), (0, wide - each.shape[1]))) for each in rows])
    Image.fromarray(whole).save(IMAGES / "body.webp", quality=82)


SETTLING_FRAMES = 24
ONE_ENERGY = ("volume.materials=null", "image_chain.xray=null", "image_chain.scatter=null")


def polychromatic() -> None:
    """Make polychromatic.png: one energy, a spectrum with scatter, and implants."""
    frames = [
        frame_of("polychromatic", 0, ONE_ENERGY),
        frame_of("polychromatic", 0),
        frame_of("implants", SETTLING_FRAMES, ("pose_source={kind: static}",)),
    ]
    Image.fromarray(np.hstack(frames)).save(IMAGES / "polychromatic.png", optimize=True)


def run_of(*arguments: str) -> Path:
    """Return the folder that a run of app.py has made."""
    earlier = set(output_dir().glob("*"))
    if app.main(list(arguments)) != 0:
        raise RuntimeError(f"app.py {' '.join(arguments)} has failed")
    return max(set(output_dir().glob("*")) - earlier, key=lambda path: path.stat().st_mtime)


def carm_sweep() -> None:
    """Make carm_sweep.webp."""
    folder = run_of("run", str(ROOT / "configs" / "sweep.yaml"))
    movie = folder / "carm_sweep.mp4"
    write_animation(IMAGES / "carm_sweep.webp", movie, max_bytes=MOST_BYTES)


def registration() -> None:
    """Make registration.webp."""
    start = ("registration.start.seed=7", "registration.start.mtre_mm=40")
    folder = run_of("register", str(ROOT / "configs" / "register_chest.yaml"), "--set", *start)
    shutil.copy(folder / "convergence.webp", IMAGES / "registration.webp")


INSTRUMENT_VIEWS = (
    ("catheter", 2.0, None),
    ("catheter", 6.0, None),
    ("kwire_insertion", 4.0, CarmPose()),
    ("kwire_insertion", 4.0, CarmPose(lao_deg=-60)),
)
"""File of configs/, moment [s], and pose; None: that of the file."""


def moving_frames(name: str, times_s: Sequence[float], pose: CarmPose | None) -> list[Image.Image]:
    """Return frames of a file of configs/ at moments [s]."""
    config = load_config(ROOT / "configs" / f"{name}.yaml")
    device, volume = open_device("cpu"), load_volume(config.volume)
    patient, geometry = make_patient(config, volume, device), make_geometry(config.carm)
    chain = ImageChain(device, 0, patient.materials)
    shown = pose or config.pose_source.shown_pose().carm_pose()
    view = geometry.view(shown, config.carm.isocenter_mm or volume.grid.center_xyz_mm)
    found = []
    for number, time_s in enumerate(times_s):
        image = chain.apply(
            patient.render(view, time_s),
            config.image_chain,
            number,
            geometry.pixel_spacing_mm,
            geometry,
        )
        found.append(Image.fromarray(to_uint8(device.to_host(image))))
    return found


def instruments() -> None:
    """Make instruments.png and instruments.webp."""
    size = (448, 448)
    frames = [moving_frames(name, [time_s], pose)[0] for name, time_s, pose in INSTRUMENT_VIEWS]
    row = np.hstack([np.asarray(each.resize(size, Image.Resampling.LANCZOS)) for each in frames])
    Image.fromarray(row).save(IMAGES / "instruments.png", optimize=True)
    film = moving_frames("catheter", np.arange(0.0, 7.0, 0.25).tolist(), None)
    small = [each.resize((320, 320), Image.Resampling.LANCZOS) for each in film]
    small[0].save(
        IMAGES / "instruments.webp", save_all=True, append_images=small[1:], duration=120, loop=0,
        quality=55,
    )  # fmt: skip


def fracture() -> None:
    """Make fracture.png."""
    frames = moving_frames("fracture", [0.0, 4.0, 8.0], None)
    row = np.hstack([np.asarray(each) for each in frames])
    Image.fromarray(row).save(IMAGES / "fracture.png", optimize=True)


MAKERS = {
    make.__name__: make
    for make in (
        carm_sweep,
        chest_ct,
        phantom,
        body,
        polychromatic,
        registration,
        instruments,
        fracture,
    )
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the images that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MAKERS))
    names = parser.parse_args(arguments).names or list(MAKERS)
    for name in names:
        if name not in MAKERS:
            parser.error(f"NAME must be one of {', '.join(MAKERS)}, got {name}")
        MAKERS[name]()
        print(f"made: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
