"""Poses of other programs, from and to views: each module one program, its words and its units.

Every class says a whole projection in the program's own terms: `.view()` is what it projects, and
`.from_view(view)` says a view in them. A program whose images are always seen from the source
cannot say a view seen from the detector, or the other way round: `View.mirrored` turns one into
the other. Programs that reconstruct take many views at once: `TigreGeometry`, `astra_vectors`,
`leap_text`, and `rtk_text` for RTK's geometry file.
"""

from fluoro.geometry.converters.astra import astra_vectors, views_from_astra
from fluoro.geometry.converters.deepdrr import DeepdrrPose
from fluoro.geometry.converters.diffdrr import DiffdrrPose
from fluoro.geometry.converters.leap import leap_text, read_leap_file
from fluoro.geometry.converters.nanodrr import NanodrrPose
from fluoro.geometry.converters.plastimatch import PlastimatchPose
from fluoro.geometry.converters.rtk import RtkPose
from fluoro.geometry.converters.rtk_file import read_rtk_file, rtk_text
from fluoro.geometry.converters.tigre import TigreGeometry

__all__ = [
    "DeepdrrPose",
    "DiffdrrPose",
    "NanodrrPose",
    "PlastimatchPose",
    "RtkPose",
    "TigreGeometry",
    "astra_vectors",
    "leap_text",
    "read_leap_file",
    "read_rtk_file",
    "rtk_text",
    "views_from_astra",
]
