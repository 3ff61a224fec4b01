"""Images and charts that are drawn, not rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.plot.animation import animate
    from fluoro.plot.contact_sheet import write_contact_sheet
    from fluoro.plot.figures import as_images, plot_drr, plot_mask, plot_overlay
    from fluoro.plot.frusta import write_frusta
    from fluoro.plot.line_charts import Curve, Panel, write_curves
    from fluoro.plot.overlays import chessboard_rgb, overlay_rgb
    from fluoro.plot.scene_image import SceneRenderer
    from fluoro.plot.scene_movie import write_scene_movie
    from fluoro.plot.slice_image import draw_slices
    from fluoro.plot.xray_image import draw_xray_frame

__all__ = [
    "Curve",
    "Panel",
    "SceneRenderer",
    "animate",
    "as_images",
    "chessboard_rgb",
    "draw_slices",
    "draw_xray_frame",
    "overlay_rgb",
    "plot_drr",
    "plot_mask",
    "plot_overlay",
    "write_contact_sheet",
    "write_curves",
    "write_frusta",
    "write_scene_movie",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
