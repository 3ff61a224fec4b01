// A ROS 2 node as rmw_fastrtps (Humble, Jazzy) makes one, from Fast DDS alone: its participant for each
// setting of discovery, its quality of service, its names. It hears images and sends poses, and prints
//     reader SECONDS | writer SECONDS     since its start, when the other side's endpoint was matched
//     image WIDTH HEIGHT ENCODING FRAME_ID SEC.NANOSEC ADLER32_OF_DATA
//     mismatched reader|writer            the other side's quality of service does not fit
//     tf|tf_static PARENT CHILD           of the first message of /tf and of /tf_static
//     received COUNT                      at the end
//
// usage: node DOMAIN DISCOVERY SECONDS [reliable|best_effort] [image=TOPIC] [pose=TOPIC] [hz=RATE]
//             [lao=DEGREES] [buffer=BYTES]
// DISCOVERY: default, subnet, localhost (Jazzy), localhost_only (Humble), peer:ADDRESS (ROS_STATIC_PEERS)

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <thread>

#include <fastdds/dds/domain/DomainParticipant.hpp>
#include <fastdds/dds/domain/DomainParticipantFactory.hpp>
#include <fastdds/dds/publisher/DataWriter.hpp>
#include <fastdds/dds/publisher/DataWriterListener.hpp>
#include <fastdds/dds/publisher/Publisher.hpp>
#include <fastdds/dds/subscriber/DataReader.hpp>
#include <fastdds/dds/subscriber/DataReaderListener.hpp>
#include <fastdds/dds/subscriber/SampleInfo.hpp>
#include <fastdds/dds/subscriber/Subscriber.hpp>
#include <fastdds/rtps/transport/UDPv4TransportDescriptor.h>
#include <fastdds/rtps/transport/shared_mem/SharedMemTransportDescriptor.h>
#include <fastrtps/utils/IPLocator.h>

#include "ros2PubSubTypes.h"

using namespace eprosima::fastdds::dds;
using eprosima::fastdds::rtps::SharedMemTransportDescriptor;
using eprosima::fastdds::rtps::UDPv4TransportDescriptor;
using eprosima::fastrtps::rtps::IPLocator;
using eprosima::fastrtps::rtps::Locator_t;
using std::chrono::steady_clock;

static const auto started = steady_clock::now();

static double seconds() { return std::chrono::duration<double>(steady_clock::now() - started).count(); }

static void add_peer(DomainParticipantQos& qos, const std::string& address) {
    Locator_t peer;
    IPLocator::setIPv4(peer, address);
    qos.wire_protocol().builtin.initialPeersList.push_back(peer);
}

// rmw_fastrtps_shared_cpp/src/participant.cpp, branches humble (localhost_only) and jazzy (the others).
static DomainParticipantQos participant_qos(const std::string& discovery) {
    auto qos = DomainParticipantFactory::get_instance()->get_default_participant_qos();
    const auto realloc = eprosima::fastrtps::rtps::PREALLOCATED_WITH_REALLOC_MEMORY_MODE;
    qos.wire_protocol().builtin.readerHistoryMemoryPolicy = realloc;
    qos.wire_protocol().builtin.writerHistoryMemoryPolicy = realloc;
    qos.name("/");
    if (discovery.rfind("peer:", 0) == 0) {
        add_peer(qos, discovery.substr(5));
        add_peer(qos, "239.255.0.1");
    }
    if (discovery.rfind("localhost", 0) != 0) return qos;
    auto udp = std::make_shared<UDPv4TransportDescriptor>();
    qos.transport().use_builtin_transports = false;
    qos.transport().user_transports.push_back(std::make_shared<SharedMemTransportDescriptor>());
    qos.transport().user_transports.push_back(udp);
    if (discovery == "localhost_only") {
        udp->interfaceWhiteList.emplace_back("127.0.0.1");
        return qos;
    }
    qos.wire_protocol().builtin.metatrafficMulticastLocatorList.clear();
    qos.wire_protocol().builtin.metatrafficUnicastLocatorList.push_back(Locator_t());
    udp->maxInitialPeersRange = 32;
    add_peer(qos, "127.0.0.1");
    return qos;
}

struct ImageReader : DataReaderListener {
    std::atomic<unsigned> received{0};

    void on_subscription_matched(DataReader*, const SubscriptionMatchedStatus& status) override {
        if (status.current_count_change > 0) std::printf("reader %.3f\n", seconds());
    }

    void on_requested_incompatible_qos(DataReader*, const RequestedIncompatibleQosStatus&) override {
        std::printf("mismatched reader\n");
    }

    void on_data_available(DataReader* reader) override {
        sensor_msgs::msg::Image image;
        SampleInfo info;
        while (reader->take_next_sample(&image, &info) == ReturnCode_t::RETCODE_OK) {
            if (!info.valid_data) continue;
            ++received;
            unsigned long a = 1, b = 0;
            for (auto byte : image.data()) a = (a + byte) % 65521, b = (b + a) % 65521;
            const auto& stamp = image.header().stamp();
            std::printf("image %u %u %s %s %d.%09u %08lx\n", image.width(), image.height(),
                        image.encoding().c_str(), image.header().frame_id().c_str(), stamp.sec(),
                        stamp.nanosec(), b << 16 | a);
        }
    }
};

struct TransformReader : DataReaderListener {
    const char* name;
    bool told = false;

    explicit TransformReader(const char* name) : name(name) {}

    void on_data_available(DataReader* reader) override {
        tf2_msgs::msg::TFMessage message;
        SampleInfo info;
        while (reader->take_next_sample(&message, &info) == ReturnCode_t::RETCODE_OK) {
            if (told || !info.valid_data) continue;
            told = true;
            for (const auto& each : message.transforms())
                std::printf("%s %s %s\n", name, each.header().frame_id().c_str(), each.child_frame_id().c_str());
        }
    }
};

struct PoseWriter : DataWriterListener {
    void on_publication_matched(DataWriter*, const PublicationMatchedStatus& status) override {
        if (status.current_count_change > 0) std::printf("writer %.3f\n", seconds());
    }

    void on_offered_incompatible_qos(DataWriter*, const OfferedIncompatibleQosStatus&) override {
        std::printf("mismatched writer\n");
    }
};

static geometry_msgs::msg::PoseStamped pose_at(double lao_deg) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const long long ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    geometry_msgs::msg::PoseStamped pose;
    pose.header().stamp().sec(ns / 1000000000);
    pose.header().stamp().nanosec(ns % 1000000000);
    pose.header().frame_id("patient");
    pose.pose().orientation().z(std::sin(lao_deg * M_PI / 360));
    pose.pose().orientation().w(std::cos(lao_deg * M_PI / 360));
    return pose;
}

template <class Qos>
static void as_rmw(Qos& qos, ReliabilityQosPolicyKind reliability) {
    qos.reliability().kind = reliability;
    qos.history().kind = KEEP_LAST_HISTORY_QOS;
    qos.history().depth = 10;
    qos.endpoint().history_memory_policy = eprosima::fastrtps::rtps::PREALLOCATED_WITH_REALLOC_MEMORY_MODE;
    qos.data_sharing().off();
}

int main(int count, char** words) {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    if (count < 4) return 2;
    const std::string discovery = words[2];
    const double lasts_s = std::stod(words[3]);
    auto reliability = RELIABLE_RELIABILITY_QOS;
    std::string image = "rt/fluoro/image_raw", pose = "rt/carm/pose";
    double hz = 50, lao = 10;
    unsigned buffer = 0;
    for (int n = 4; n < count; ++n) {
        const std::string word = words[n], value = word.substr(word.find('=') + 1);
        if (word == "best_effort") reliability = BEST_EFFORT_RELIABILITY_QOS;
        if (word.rfind("image=", 0) == 0) image = value;
        if (word.rfind("pose=", 0) == 0) pose = value;
        if (word.rfind("hz=", 0) == 0) hz = std::stod(value);
        if (word.rfind("lao=", 0) == 0) lao = std::stod(value);
        if (word.rfind("buffer=", 0) == 0) buffer = std::stoul(value);
    }

    auto own_qos = participant_qos(discovery);
    if (buffer) own_qos.transport().listen_socket_buffer_size = buffer;
    auto participant = DomainParticipantFactory::get_instance()->create_participant(
        std::stoul(words[1]), own_qos, nullptr, StatusMask::none());
    if (!participant) return 1;
    TypeSupport image_type(new sensor_msgs::msg::ImagePubSubType());
    TypeSupport pose_type(new geometry_msgs::msg::PoseStampedPubSubType());
    TypeSupport tf_type(new tf2_msgs::msg::TFMessagePubSubType());
    for (TypeSupport type : {image_type, pose_type, tf_type}) {
        type->auto_fill_type_object(false);
        type->auto_fill_type_information(false);
        type.register_type(participant);
    }
    auto publisher = participant->create_publisher(PUBLISHER_QOS_DEFAULT);
    auto subscriber = participant->create_subscriber(SUBSCRIBER_QOS_DEFAULT);

    ImageReader images;
    PoseWriter poses;
    DataReaderQos reader_qos = subscriber->get_default_datareader_qos();
    as_rmw(reader_qos, reliability);
    reader_qos.type_consistency().representation.m_value = {XCDR_DATA_REPRESENTATION};
    DataWriterQos writer_qos = publisher->get_default_datawriter_qos();
    as_rmw(writer_qos, reliability);
    writer_qos.publish_mode().kind = SYNCHRONOUS_PUBLISH_MODE;
    writer_qos.representation().m_value = {XCDR_DATA_REPRESENTATION};
    auto image_topic = participant->create_topic(image, image_type.get_type_name(), TOPIC_QOS_DEFAULT);
    auto pose_topic = participant->create_topic(pose, pose_type.get_type_name(), TOPIC_QOS_DEFAULT);
    subscriber->create_datareader(image_topic, reader_qos, &images);
    TransformReader moving("tf"), fixed("tf_static");
    DataReaderQos tf_qos = subscriber->get_default_datareader_qos();
    as_rmw(tf_qos, RELIABLE_RELIABILITY_QOS);
    tf_qos.type_consistency().representation.m_value = {XCDR_DATA_REPRESENTATION};
    auto tf_topic = participant->create_topic("rt/tf", tf_type.get_type_name(), TOPIC_QOS_DEFAULT);
    subscriber->create_datareader(tf_topic, tf_qos, &moving);
    tf_qos.durability().kind = TRANSIENT_LOCAL_DURABILITY_QOS;
    auto static_topic = participant->create_topic("rt/tf_static", tf_type.get_type_name(), TOPIC_QOS_DEFAULT);
    subscriber->create_datareader(static_topic, tf_qos, &fixed);
    auto writer = publisher->create_datawriter(pose_topic, writer_qos, &poses);

    while (seconds() < lasts_s) {
        auto message = pose_at(lao);
        writer->write(&message);
        if (hz > 0) std::this_thread::sleep_for(std::chrono::duration<double>(1 / hz));
    }
    std::printf("received %u\n", images.received.load());
    std::fflush(stdout);
    std::_Exit(0);  // a kill for the other side: it ends without a message
}
