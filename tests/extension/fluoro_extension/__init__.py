"""One of each thing that a package can add to fluoro; each is imported when it is needed."""

from fluoro.plugins import Plugin

PLUGIN = Plugin(
    stages={"persistent_gamma": "fluoro_extension.persistent_gamma:PersistentGamma"},
    projectors={"trapezoid": "fluoro_extension.trapezoid:PROJECTOR"},
    pose_sources={"spiral": "fluoro_extension.spiral:SpiralPoses"},
    scene_objects={"block": "fluoro_extension.block:BlockInclusion"},
    sinks={"tiff": "fluoro_extension.tiff_sink:TiffSink"},
    ct_formats={"plain CT": "fluoro_extension.plain_ct:PLAIN_CT"},
    measures={"weighted_squares": "fluoro_extension.weighted_squares:WeightedSquares"},
    phantoms={"bead_box": "fluoro_extension.bead_box:make_bead_box"},
    annotations={"volume_center": "fluoro_extension.volume_center:VolumeCenterConfig"},
    shaders="shaders",
)
