"""Wire types: the same bytes as ROS 2's own, and the IDL files say the same."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cyclonedds.idl import IdlStruct
from cyclonedds.idl._support import Endianness
from rosbags.typesys import Stores, get_types_from_idl, get_typestore

from fluoro.interop.dds import (
    holohub,
    i4h,
    ros_diagnostic,
    ros_geometry,
    ros_sensor,
    ros_std,
    ros_vision,
)
from fluoro.interop.dds.cdr_codec import use_cdr_codec
from fluoro.interop.dds.image_messages import image_message

IDL = Path(ros_std.__file__).parent / "idl"
PIXELS = np.arange(12, dtype=np.uint8) * 20
STAMP = ros_std.Time(sec=1_700_000_000, nanosec=123_456_789)
HEADER = ros_std.Header(stamp=STAMP, frame_id="patient")

SAMPLES = [
    ros_std.Clock(clock=STAMP),
    ros_geometry.PoseStamped(
        header=HEADER,
        pose=ros_geometry.Pose(
            position=ros_geometry.Point(x=0.1, y=-0.2, z=1e-9),
            orientation=ros_geometry.Quaternion(x=0.5, y=-0.5, z=0.5, w=0.5),
        ),
    ),
    ros_sensor.Image(
        header=HEADER,
        height=3,
        width=4,
        encoding="mono8",
        is_bigendian=0,
        step=4,
        data=memoryview(PIXELS),
    ),
    image_message(PIXELS.reshape(3, 4) / np.float32(255), "mono16", 5),
    image_message(PIXELS.reshape(3, 4) / np.float32(255), "32FC1", 6),
    image_message(PIXELS.reshape(3, 4) / np.float32(255), "8UC1", 7),
    image_message(PIXELS.reshape(3, 4) / np.float32(255), "16UC1", 8),
    ros_sensor.CompressedImage(header=HEADER, format="jpeg", data=b"\xff\xd8\xff"),
    ros_sensor.CameraInfo(
        header=HEADER,
        height=3,
        width=4,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[float(n) for n in range(9)],
        r=[float(-n) for n in range(9)],
        p=[n / 7 for n in range(12)],
        binning_x=2,
        binning_y=1,
        roi=ros_sensor.RegionOfInterest(x_offset=1, y_offset=2, height=3, width=4, do_rectify=True),
    ),
    ros_sensor.JointState(
        header=HEADER, name=["lao", "cränial"], position=[0.1, -2.0], velocity=[], effort=[3.0]
    ),
    ros_geometry.TFMessage(
        transforms=[
            ros_geometry.TransformStamped(
                header=HEADER,
                child_frame_id=child,
                transform=ros_geometry.Transform(
                    translation=ros_geometry.Vector3(x=0.1, y=-0.2, z=1e-9),
                    rotation=ros_geometry.Quaternion(x=0.5, y=-0.5, z=0.5, w=0.5),
                ),
            )
            for child in ("carm", "table")
        ]
    ),
    ros_diagnostic.KeyValue(key="dose_ngy", value="40"),
    ros_diagnostic.DiagnosticArray(
        header=HEADER,
        status=[
            ros_diagnostic.DiagnosticStatus(
                level=ros_diagnostic.Level.WARN,
                name="fluoro: poses",
                message="no pose",
                hardware_id="",
                values=[ros_diagnostic.KeyValue(key="refused", value="3")],
            )
        ],
    ),
]

VISION = ros_vision.Detection2DArray(
    header=HEADER,
    detections=[
        ros_vision.Detection2D(
            header=HEADER,
            results=[
                ros_vision.ObjectHypothesisWithPose(
                    hypothesis=ros_vision.ObjectHypothesis(class_id="heart", score=1.0),
                    pose=ros_vision.PoseWithCovariance(
                        pose=ros_geometry.Pose(
                            position=ros_geometry.Point(x=1.0, y=2.0, z=3.0),
                            orientation=ros_geometry.Quaternion(x=0.0, y=0.0, z=0.0, w=1.0),
                        ),
                        covariance=[0.5] * 36,
                    ),
                )
            ],
            bbox=ros_vision.BoundingBox2D(
                center=ros_vision.Pose2D(position=ros_vision.Point2D(x=4.0, y=5.0), theta=0.0),
                size_x=6.0,
                size_y=7.0,
            ),
            id=name,
        )
        for name in ("51", "52", "")
    ],
)


def test_detections_are_byte_identical_to_what_rosbags_makes_of_vision_msgs():
    from fluoro.interop.bag.mcap_bag import typestore

    theirs = typestore().serialize_cdr(as_ros(typestore(), VISION), ros_name(VISION))
    assert VISION.serialize() == bytes(theirs)
    assert ros_vision.Detection2DArray.deserialize(bytes(theirs)) == VISION
    idl = get_types_from_idl(rosbags_idl("ros2.idl"))
    for kind in ("BoundingBox2D", "Detection2D", "Detection2DArray", "ObjectHypothesisWithPose"):
        ours = [field for field, _ in idl[f"vision_msgs/msg/dds_/{kind}_"][1]]
        assert ours == [field for field, _ in typestore().fielddefs[f"vision_msgs/msg/{kind}"][1]]


def ros_name(sample):
    return sample.__idl_typename__.replace("::dds_::", "/").replace("::", "/").rstrip("_")


def as_ros(store, value):
    """The same value as an object of rosbags' own types."""
    if isinstance(value, list):
        kinds = {type(item) for item in value}
        return np.array(value, float) if kinds <= {float} else [as_ros(store, v) for v in value]
    if isinstance(value, bytes | memoryview):
        return np.frombuffer(value, np.uint8)
    if not hasattr(value, "__idl_typename__"):
        return value
    fields = {name: as_ros(store, getattr(value, name)) for name in value.__dataclass_fields__}
    return store.types[ros_name(value)](**fields)


@pytest.mark.parametrize("distribution", [Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: ros_name(sample))
def test_sample_is_byte_identical_to_ros_2(sample, distribution):
    store = get_typestore(distribution)
    theirs = store.serialize_cdr(as_ros(store, sample), ros_name(sample))
    assert sample.serialize() == bytes(theirs)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: ros_name(sample))
def test_sample_of_ros_2_is_read_back_as_it_was(sample):
    store = get_typestore(Stores.ROS2_JAZZY)
    theirs = store.serialize_cdr(as_ros(store, sample), ros_name(sample))
    assert type(sample).deserialize(bytes(theirs)) == sample


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: ros_name(sample))
def test_idl_file_has_the_members_of_ros_2(sample):
    idl = get_types_from_idl(rosbags_idl("ros2.idl"))
    name = ros_name(sample)
    ours = idl[f"{name.rsplit('/', 1)[0]}/dds_/{name.rsplit('/', 1)[1]}_"][1]
    theirs = get_typestore(Stores.ROS2_JAZZY).fielddefs[name][1]
    assert [field for field, _ in ours] == [field for field, _ in theirs]


def rosbags_idl(name):
    """An IDL file without the annotations that rosbags' parser does not know."""
    return re.sub(r"@(final|key)\s+", "", (IDL / name).read_text())


OWN = [
    (
        "holohub.idl",
        holohub.VideoFrame(stream_id=7, frame_num=8, width=1, height=2, data=b"12345678"),
    ),
    (
        "i4h.idl",
        i4h.CameraInfo(focal_len=2040.0, stream_id=1, frame_num=9, width=2, height=1, data=b"ab"),
    ),
    ("i4h.idl", i4h.ProbeInfo(position=[1.0, 2.0, 3.0], orientation=[0.0, 0.0, 0.5])),
]


@pytest.mark.parametrize(("idl", "sample"), OWN, ids=lambda case: type(case).__name__)
def test_idl_file_gives_the_bytes_of_the_type(idl, sample):
    name = sample.__idl_typename__
    text = f"module own {{ module msg {{ {rosbags_idl(idl)} }}; }};"
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_idl(text))
    fields = {field: as_ros(store, getattr(sample, field)) for field in sample.__dataclass_fields__}
    theirs = store.serialize_cdr(store.types[f"own/msg/{name}"](**fields), f"own/msg/{name}")
    assert sample.serialize(use_version_2=False) == bytes(theirs)


def test_image_of_two_mebibytes_comes_back_as_bytes_not_as_a_list():
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 2048), np.uint8)
    image = ros_sensor.Image(
        header=HEADER,
        height=1024,
        width=2048,
        encoding="mono8",
        is_bigendian=0,
        step=2048,
        data=memoryview(pixels).cast("B"),
    )
    back = ros_sensor.Image.deserialize(image.serialize())
    assert isinstance(back.data, bytes)
    assert np.array_equal(np.frombuffer(back.data, np.uint8).reshape(1024, 2048), pixels)


def test_types_on_the_wire_are_named_as_rmw_names_them():
    assert ros_sensor.Image.__idl_typename__ == "sensor_msgs::msg::dds_::Image_"
    assert ros_geometry.PoseStamped.__idl_typename__ == "geometry_msgs::msg::dds_::PoseStamped_"
    assert ros_sensor.Image.__idl__.keyless
    assert not holohub.VideoFrame.__idl__.keyless


FLAT = [sample for sample in SAMPLES if type(sample).serialize is not IdlStruct.serialize]


@pytest.mark.parametrize("sample", FLAT, ids=lambda sample: type(sample).__name__)
@pytest.mark.parametrize("frame_id", ["", "p", "patient", "ünïcode"])
def test_short_way_gives_the_bytes_of_cyclones_own_and_reads_them(sample, frame_id):
    sample = replace(sample, header=replace(HEADER, frame_id=frame_id))
    slow = IdlStruct.serialize(sample)
    assert sample.serialize() == slow
    assert type(sample).deserialize(slow) == sample


@pytest.mark.parametrize("sample", FLAT, ids=lambda sample: type(sample).__name__)
def test_other_encodings_and_byte_orders_go_cyclones_own_way(sample):
    assert sample.serialize(use_version_2=True) == IdlStruct.serialize(sample, use_version_2=True)
    for options in ({"use_version_2": True}, {"endianness": Endianness.Big}):
        assert type(sample).deserialize(sample.serialize(**options)) == sample


@pytest.mark.parametrize("sample", FLAT, ids=lambda sample: type(sample).__name__)
def test_bytes_that_end_too_early_are_taken_as_cyclone_takes_them(sample):
    whole = sample.serialize()
    for length in range(4, len(whole)):
        outcomes = []
        for read in (type(sample).deserialize, type(sample).__idl__.deserialize):
            try:
                outcomes.append(read(whole[:length]))
            except Exception as error:  # noqa: BLE001  (whatever it is, it must be the same)
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]


def test_types_that_are_not_flat_are_refused():
    with pytest.raises(TypeError, match="name must be a number, a string or a sequence"):
        use_cdr_codec(ros_sensor.JointState)
