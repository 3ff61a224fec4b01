"""The words that an option may be: each list stands here once, for the YAML and for the code.

This module imports nothing but `typing`: the configuration loads it without NumPy.
"""

from __future__ import annotations

from typing import Literal, get_args

__all__ = [
    "DEGREES_OF_FREEDOM",
    "MEASURES",
    "ArmPosition",
    "AxesName",
    "BodyRegion",
    "ByteOrder",
    "DetectorKind",
    "DeviceName",
    "Encoding",
    "FrameProtocol",
    "Freedom",
    "Habitus",
    "Hypotheses",
    "JointKind",
    "LamellaAxis",
    "LossName",
    "MissingSlices",
    "NanVoxels",
    "NiftiTransform",
    "NumberType",
    "ObjectOrigin",
    "OnLimit",
    "OnSilence",
    "OptimiserName",
    "Orientation",
    "Pacing",
    "PatientPosition",
    "PhantomName",
    "Polarity",
    "PoseMessage",
    "PositionUnit",
    "RecordingFormat",
    "RosClock",
    "ScatterQuality",
    "Sex",
    "Side",
    "SpectrumName",
    "TargetKind",
    "TissueMapName",
    "ToolName",
    "TrainingFormat",
    "TrainingPixels",
    "Trigger",
    "Vessels",
    "ViewName",
    "WireName",
    "XrayObject",
]

# The volume

ObjectOrigin = Literal["file", "middle"]
"""What the poses of an object place: the origin of its file, or its middle."""
AxesName = Literal["LPS", "RAS"]
"""Where the patient's axes point: left or right, back or front, head."""
ByteOrder = Literal["little", "big"]
"""Of the numbers in a raw file."""
MissingSlices = Literal["refuse", "interpolate"]
"""What becomes of a DICOM series whose slices have a gap."""
NanVoxels = Literal["refuse", "air"]
"""What becomes of voxels that are not a number."""
NiftiTransform = Literal["sform", "qform"]
"""The transform of a NIfTI file that places the volume."""
NumberType = Literal["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
"""Type of a voxel in a plain array, as NumPy names it."""
PatientPosition = Literal["HFS", "HFP", "FFS", "FFP", "HFDL", "HFDR"]
"""Head or feet first; supine, prone, or lying on the left or right side (DICOM (0018,5100))."""
WireName = Literal["guide_wire", "coronary_wire", "catheter", "needle", "k_wire"]
"""A wire along a path."""
ToolName = Literal["k_wire", "needle", "screw", "stent", "bead_phantom"]
"""A rigid instrument."""
PhantomName = Literal["body", "thorax"]
"""Phantoms that are made in code."""
BodyRegion = Literal["thorax", "lumbar", "pelvis", "shoulder", "head", "whole"]
"""What of the body phantom is made."""
Sex = Literal["male", "female"]
"""Whose proportions the body phantom has."""
Habitus = Literal["slim", "average", "obese"]
"""How much fat the body phantom has."""
ArmPosition = Literal["down", "raised"]
"""Arms beside the trunk or beside the head."""
TissueMapName = Literal["tissues", "soft_and_bone", "schneider"]
"""How CT numbers become materials."""
Vessels = Literal["aorta", "pulmonary", "coronary"]
"""Where the phantom's contrast agent is injected."""

# The renderer

DeviceName = Literal["auto", "cuda", "vulkan", "metal", "cpu", "llvmpipe"]
"""What computes; `cuda:1` is the second NVIDIA GPU."""

# The image chain

DetectorKind = Literal["energy_integrating", "photon_counting"]
"""An absorbed photon adds its energy, or counts as one."""
Polarity = Literal["bone_dark", "bone_bright"]
"""Of the image that is shown."""
ScatterQuality = Literal["fast", "accurate"]
"""How finely scatter is sampled."""
LamellaAxis = Literal["rows", "columns"]
"""Of the image, along which a grid's lamellae run."""
Side = Literal["left", "right", "top", "bottom"]
"""Of the image."""
SpectrumName = Literal["60KV_AL35", "90KV_AL40", "120KV_AL43"]
"""DeepDRR's spectra."""

# The C-arm and its poses

JointKind = Literal["revolute", "prismatic"]
"""Turns, or slides."""
OnLimit = Literal["error", "clamp"]
"""What becomes of a pose beyond the C-arm's limits."""
OnSilence = Literal["hold", "blank", "stop"]
"""What happens when no pose comes any more."""
Orientation = Literal["xyzw", "wxyz", "rpy_rad", "rpy_deg"]
"""Quaternion, or turns about the fixed axes x, y, z one after the other."""
PoseMessage = Literal["pose_stamped", "joint_state", "i4h"]
"""What carries a pose over DDS."""
PositionUnit = Literal["m", "mm"]
"""Of a message's positions."""
Trigger = Literal["pose", "clock", "lockstep"]
"""What makes a frame: each pose, the frame rate, or each pose in turn."""
ViewName = Literal["AP", "PA"]
"""The peers' frontal views."""

# The run and what it gives

Encoding = Literal["mono8", "mono16", "8UC1", "16UC1", "32FC1"]
"""Of the pixels of ROS 2's Image."""
FrameProtocol = Literal["ros2", "holohub", "i4h"]
"""The messages that carry frames over DDS."""
Pacing = Literal["paced", "free_running"]
"""Frames at a rate, or as fast as they are rendered."""
RecordingFormat = Literal["mp4", "png", "npy", "npz", "dicom", "geometry"]
"""Files that a recording leaves."""
XrayObject = Literal["XA", "XRF", "enhanced_xa"]
"""What a recording in DICOM is."""
RosClock = Literal["system", "ros"]
"""The clock of the stamps."""

# Training sets

TrainingFormat = Literal["webdataset", "hdf5"]
"""Of a training set's files."""
TrainingPixels = Literal["float16", "float32", "uint16", "png8", "png16"]
"""Of a training set's images."""

# Registration

Freedom = Literal[
    "turn_columns", "turn_rows", "turn_beam", "shift_columns", "shift_rows", "shift_beam"
]
"""A turn about, or a shift along, the first view's columns, rows or beam, as it starts."""
DEGREES_OF_FREEDOM: tuple[Freedom, ...] = get_args(Freedom)
"""All six, in the order of a twist's components."""
Hypotheses = Literal["doubt", "always", "never"]
"""When an image is also tried mirrored, inverted and turned."""
LossName = Literal["squares", "huber", "tukey"]
"""How much large residuals count."""
MEASURES = {
    "mse": "fluoro.registration.measures.similarity:MeanSquares",
    "ncc": "fluoro.registration.measures.similarity:Ncc",
    "local_ncc": "fluoro.registration.measures.similarity:LocalNcc",
    "local_fit": "fluoro.registration.measures.local_fit:LocalFit",
    "multiscale_ncc": "fluoro.registration.measures.similarity:MultiScaleNcc",
    "gradient_ncc": "fluoro.registration.measures.similarity:GradientNcc",
    "mutual_information": "fluoro.registration.measures.mutual_information:MutualInformation",
}
"""What compares a rendered image with a target: the class of each, imported when it is needed."""
OptimiserName = Literal["levenberg_marquardt", "adam", "lbfgs"]
"""What lessens a measure."""
TargetKind = Literal["raw", "log", "display"]
"""Detector intensity, line integrals, or what a screen shows."""
