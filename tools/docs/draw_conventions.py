"""Draws docs/images/conventions.svg: the C-arm in three views and what the detector shows.

Source, detector and projected points come from fluoro.geometry, so the figure cannot disagree
with the code. Run it as `python -m tools.docs.draw_conventions`.
"""

from pathlib import Path

import numpy as np

from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View, project_points

FIGURE = Path(__file__).parents[2] / "docs" / "images" / "conventions.svg"
GEOMETRY = CarmGeometry(detector_width_px=800, detector_height_px=800)
PX_PER_MM = 0.21
PANEL_PX = 370
FROM_FEET = np.array([[1.0, 0, 0], [0, 1, 0]])
"""Looking towards the head, the patient's front up: right is +x (left side), down is +y (back)."""
FROM_LEFT = np.array([[0.0, 0, 1], [0, 1, 0]])
"""Looking at the patient's left side, front up: right is +z (head), down is +y (back)."""
BEAD_XYZ_MM = (60.0, -30.0, 80.0)
STYLE = """
  text { font: 13px sans-serif; fill: #222 } .title { font-weight: bold; font-size: 14px }
  .small { font-size: 12px } .end { text-anchor: end } .mid { text-anchor: middle }
  .body { fill: #f0dcc8; stroke: #b08d6e } .spine { fill: #fff; stroke: #b08d6e }
  .beam { fill: #ffd54a; fill-opacity: .35; stroke: none }
  .ray { stroke: #b58900; stroke-dasharray: 5 4 } .arm { fill: none; stroke: #999; stroke-width: 5 }
  .detector { stroke: #1f5fa8; stroke-width: 8 } .source { fill: #c0392b }
  .axis { stroke: #222; stroke-width: 1.6; marker-end: url(#tip) }
  .turn { fill: none; stroke: #222; marker-end: url(#tip) }
  .u { stroke: #1b7f3b; stroke-width: 2.2; marker-end: url(#tip-u) }
  .v { stroke: #8e24aa; stroke-width: 2.2; marker-end: url(#tip-v) }
  .image { fill: #e9eef5; stroke: #1f5fa8; stroke-width: 2 } .grid { stroke: #9fb3cc }
"""


def marker(name: str, color: str) -> str:
    """An arrow's head."""
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="{color}"/>'
        "</marker>"
    )


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{words}</text>'


def line(start: np.ndarray, end: np.ndarray, kind: str) -> str:
    """A line, or an arrow where the class has a marker."""
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def dot(center: np.ndarray, radius: float, kind: str) -> str:
    """A filled circle."""
    return f'<circle cx="{center[0]:.1f}" cy="{center[1]:.1f}" r="{radius}" class="{kind}"/>'


def patient(eye: np.ndarray) -> list[str]:
    """The supine patient, in section from the feet or in profile from the left."""
    if eye is FROM_FEET:
        return ['<ellipse rx="36" ry="24" class="body"/>', dot(np.array([0.0, 15.0]), 5, "spine")]
    return [
        '<rect x="-75" y="-24" width="130" height="48" rx="22" class="body"/>',
        '<ellipse cx="72" rx="20" ry="17" class="body"/>',
        text(-66, 5, "feet", "small"),
        text(58, 5, "head", "small"),
    ]


def arm(source: np.ndarray, detector: np.ndarray) -> str:
    """The C that joins the two, drawn on the side away from the labels."""
    (x1, y1), (x2, y2) = source, detector
    radius = float(np.hypot(x2 - x1, y2 - y1)) / 2 + 0.1
    turn = f"A{radius:.1f} {radius:.1f} 0 0 1 {x2:.1f} {y2:.1f}"
    return f'<path d="M{x1:.1f} {y1:.1f}{turn}" class="arm"/>'


def carm(view: View, eye: np.ndarray) -> list[str]:
    """Source, beam, detector and the axes that lie in the drawing's plane."""
    center = view.corner_xyz_mm + 400 * (view.column_step_xyz_mm + view.row_step_xyz_mm)
    source, detector = (eye @ point * PX_PER_MM for point in (view.source_xyz_mm, center))
    steps = [eye @ view.column_step_xyz_mm, eye @ view.row_step_xyz_mm]
    edge = max(steps, key=np.linalg.norm) * 400 * PX_PER_MM
    names = ["u", "v"]
    name = names[int(np.argmax([np.linalg.norm(step) for step in steps]))]
    (ax, ay), (bx, by), (sx, sy) = detector - edge, detector + edge, source
    outward = (detector - source) / np.linalg.norm(detector - source) * 14
    label = detector + 0.75 * edge + 1.9 * outward
    return [
        f'<path d="M{sx:.1f} {sy:.1f}L{ax:.1f} {ay:.1f}L{bx:.1f} {by:.1f}z" class="beam"/>',
        line(source, detector, "ray"),
        line(detector - edge, detector + edge, "detector"),
        line(detector - 0.6 * edge + outward, detector + 0.6 * edge + outward, name),
        text(label[0] - 4, label[1] + 4, f"<tspan font-style='italic'>{name}</tspan>"),
        dot(source, 7, "source"),
    ]


def world_axes(eye: np.ndarray) -> list[str]:
    """The two axes of world LPS that lie in the drawing's plane, at the lower left."""
    corner = np.array([-160.0, 128.0])
    names = ("x: L", "y: P") if eye is FROM_FEET else ("z: H", "y: P")
    right, down = corner + np.array([34, 0]), corner + np.array([0, 34])
    return [
        line(corner, right, "axis"),
        line(corner, down, "axis"),
        text(right[0] + 4, right[1] + 4, names[0], "small"),
        text(down[0] + 6, down[1] + 2, names[1], "small"),
    ]


def angle_arc(detector: np.ndarray, label: str) -> list[str]:
    """The turn from the zero pose, straight up, to the detector; nothing where there is none."""
    if not label:
        return []
    radius, (x, y) = 62.0, detector / np.linalg.norm(detector)
    middle = np.array([x, y - 1]) / np.hypot(x, y - 1) * (radius + 16)
    arc = f"M0 {-radius}A{radius} {radius} 0 0 1 {x * radius:.1f} {y * radius:.1f}"
    return [
        line(np.array([0.0, 0]), np.array([0, -radius]), "grid"),
        f'<path d="{arc}" class="turn"/>',
        text(middle[0], middle[1], label, "small mid"),
    ]


def carm_panel(
    title: str, seen_from: str, pose: CarmPose, eye: np.ndarray, label: str = ""
) -> list[str]:
    """One view of the C-arm about the isocentre; `label` names its angle."""
    view = GEOMETRY.view(pose, (0, 0, 0))
    center = view.corner_xyz_mm + 400 * (view.column_step_xyz_mm + view.row_step_xyz_mm)
    source, detector = (eye @ point * PX_PER_MM for point in (view.source_xyz_mm, center))
    shift = np.array([10.0, 20.0])
    return [
        text(0, -164, title, "title mid"),
        text(0, -146, seen_from, "small mid"),
        arm(source, detector),
        *patient(eye),
        *carm(view, eye),
        dot(np.zeros(2), 2.5, ""),
        text(source[0] + shift[0], source[1] + shift[1], "source", "small"),
        *angle_arc(detector, label),
        *world_axes(eye),
    ]


def image_panel() -> list[str]:
    """What the detector shows at (0, 0), with a bead left of, before and above the isocentre."""
    view = GEOMETRY.view(CarmPose(), (0, 0, 0))
    scale = 200 / 800
    u, v = project_points(view.pixel_from_world, BEAD_XYZ_MM)
    bead = np.array([u - 400, v - 400]) * scale
    return [
        text(0, -164, "the image at (0, 0)", "title mid"),
        text(0, -146, "as a viewer facing the patient sees it", "small mid"),
        '<rect x="-100" y="-100" width="200" height="200" class="image"/>',
        line(np.array([0.0, -100]), np.array([0.0, 100]), "grid"),
        line(np.array([-100.0, 0]), np.array([100.0, 0]), "grid"),
        line(np.array([-100.0, -109]), np.array([-30.0, -109]), "u"),
        line(np.array([-109.0, -100]), np.array([-109.0, -30]), "v"),
        text(-26, -106, "<tspan font-style='italic'>u</tspan>: column", "small"),
        text(-106, -16, "<tspan font-style='italic'>v</tspan>: row", "small end"),
        text(92, 5, "L", "title end"),
        text(-92, 5, "R", "title"),
        text(0, -84, "H", "title mid"),
        text(0, 95, "F", "title mid"),
        dot(bead, 5, "source"),
        text(bead[0] - 5, bead[1] + 19, "bead", "small mid"),
        text(0, 120, "bead: isocentre + (60, -30, 80) mm, left and high", "small mid"),
        text(0, 137, "the isocentre lands at (W/2, H/2); the centre of", "small mid"),
        text(0, 154, "pixel (0, 0) lies at (0.5, 0.5)", "small mid"),
    ]


def draw() -> str:
    """The whole figure as SVG text."""
    panels = [
        carm_panel("(0, 0): frontal", "seen from the feet", CarmPose(), FROM_FEET),
        carm_panel("LAO 90", "seen from the feet", CarmPose(lao_deg=90), FROM_FEET, "90°"),
        carm_panel(
            "CRA 30", "seen from the patient's left", CarmPose(cra_deg=30), FROM_LEFT, "30°"
        ),
        image_panel(),
    ]
    width, height = 2 * PANEL_PX, 2 * PANEL_PX
    tips = marker("tip", "#222") + marker("tip-u", "#1b7f3b") + marker("tip-v", "#8e24aa")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">',
        f"<style>{STYLE}</style><defs>{tips}</defs>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for index, panel in enumerate(panels):
        x, y = (index % 2 + 0.5) * PANEL_PX, (index // 2 + 0.5) * PANEL_PX
        parts += [f'<g transform="translate({x:g} {y:g})">', *panel, "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    FIGURE.write_text(draw())
