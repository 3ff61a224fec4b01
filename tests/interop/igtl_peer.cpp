// A program with OpenIGTLink's own library, as its examples are: ReceiveClient, TrackerClient, TrackerServer,
// Status and Capability, on one connection. It prints a line for each message that it unpacks:
//     IMAGE DEVICE WIDTH HEIGHT TYPE SPACING_X SPACING_Y ADLER32 M00 M01 ... M23
//     TRANSFORM DEVICE M00 M01 ... M23
//     STATUS DEVICE CODE TEXT  |  CAPABILITY DEVICE TYPES...  |  KIND DEVICE crc wrong
//
// usage: igtl_peer client HOST PORT DEVICE MESSAGES | igtl_peer server PORT DEVICE MESSAGES
// It sends GET_STATUS and GET_CAPABIL, then a STATUS and, with each message received, the TRANSFORM DEVICE with
// the matrix on stdin (12 numbers, row by row); it ends after MESSAGES messages, when it has had one of each kind.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include "igtlCapabilityMessage.h"
#include "igtlClientSocket.h"
#include "igtlImageMessage.h"
#include "igtlServerSocket.h"
#include "igtlStatusMessage.h"
#include "igtlTimeStamp.h"
#include "igtlTransformMessage.h"

static void print_matrix(const igtl::Matrix4x4& matrix) {
    for (int row = 0; row < 3; ++row)
        for (int column = 0; column < 4; ++column) std::printf(" %.6g", matrix[row][column]);
    std::printf("\n");
}

template <class Message>
static typename Message::Pointer unpacked(igtl::Socket* socket, igtl::MessageHeader* header) {
    auto message = Message::New();
    message->SetMessageHeader(header);
    message->AllocatePack();
    socket->Receive(message->GetPackBodyPointer(), message->GetPackBodySize());
    if (!(message->Unpack(1) & igtl::MessageHeader::UNPACK_BODY)) {
        std::printf("%s %s crc wrong\n", header->GetDeviceType(), header->GetDeviceName());
        std::exit(1);
    }
    return message;
}

static void print_message(igtl::Socket* socket, igtl::MessageHeader* header) {
    const std::string kind = header->GetDeviceType();
    const char* device = header->GetDeviceName();
    igtl::Matrix4x4 matrix;
    if (kind == "TRANSFORM") {
        auto message = unpacked<igtl::TransformMessage>(socket, header);
        message->GetMatrix(matrix);
        std::printf("TRANSFORM %s", device);
        print_matrix(matrix);
    } else if (kind == "IMAGE") {
        auto message = unpacked<igtl::ImageMessage>(socket, header);
        int size[3];
        float spacing[3];
        message->GetDimensions(size);
        message->GetSpacing(spacing);
        message->GetMatrix(matrix);
        auto pixels = static_cast<unsigned char*>(message->GetScalarPointer());
        unsigned long a = 1, b = 0;
        for (int n = 0; n < message->GetImageSize(); ++n) a = (a + pixels[n]) % 65521, b = (b + a) % 65521;
        std::printf("IMAGE %s %d %d %d %.6g %.6g %08lx", device, size[0], size[1], message->GetScalarType(),
                    spacing[0], spacing[1], b << 16 | a);
        print_matrix(matrix);
    } else if (kind == "STATUS") {
        auto message = unpacked<igtl::StatusMessage>(socket, header);
        std::printf("STATUS %s %d %s\n", device, message->GetCode(), message->GetStatusString());
    } else if (kind == "CAPABILITY") {
        auto message = unpacked<igtl::CapabilityMessage>(socket, header);
        std::printf("CAPABILITY %s", device);
        for (const auto& type : message->GetTypes()) std::printf(" %s", type.c_str());
        std::printf("\n");
    } else {
        std::printf("%s %s not expected\n", kind.c_str(), device);
        std::exit(1);
    }
}

template <class Message>
static void send(igtl::Socket* socket, Message message, const char* device) {
    message->SetDeviceName(device);
    message->Pack();
    socket->Send(message->GetPackPointer(), message->GetPackSize());
}

static int fails(const char* what) {
    std::printf("cannot %s\n", what);
    return 1;
}

int main(int count, char** words) {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    if (count < 5) return 2;
    const bool client = !std::strcmp(words[1], "client");
    const char* device = words[count - 2];
    const int messages = std::atoi(words[count - 1]);
    igtl::Matrix4x4 matrix;
    igtl::IdentityMatrix(matrix);
    for (int n = 0; n < 12; ++n)
        if (std::scanf("%f", &matrix[n / 4][n % 4]) != 1) return 2;

    igtl::Socket::Pointer socket;
    igtl::ServerSocket::Pointer server = igtl::ServerSocket::New();
    if (client) {
        auto own = igtl::ClientSocket::New();
        if (own->ConnectToServer(words[2], std::atoi(words[3]))) return fails("connect");
        socket = own.GetPointer();
    } else {
        if (server->CreateServer(std::atoi(words[2])) < 0) return fails("bind");
        socket = server->WaitForConnection(20000).GetPointer();
        if (socket.IsNull()) return fails("accept");
    }
    send(socket, igtl::GetStatusMessage::New(), device);
    send(socket, igtl::GetCapabilityMessage::New(), device);
    auto status = igtl::StatusMessage::New();
    status->SetCode(igtl::StatusMessage::STATUS_OK);
    status->SetStatusString("tracking");
    send(socket, status, device);
    auto stamp = igtl::TimeStamp::New();
    std::set<std::string> kinds;
    for (int n = 0; n < messages || kinds.size() < 4; ++n) {
        auto header = igtl::MessageHeader::New();
        header->InitPack();
        if (socket->Receive(header->GetPackPointer(), header->GetPackSize()) != header->GetPackSize())
            return fails("receive");
        header->Unpack();
        print_message(socket, header);
        kinds.insert(header->GetDeviceType());
        auto transform = igtl::TransformMessage::New();
        transform->SetMatrix(matrix);
        stamp->GetTime();
        transform->SetTimeStamp(stamp);
        send(socket, transform, device);
    }
    socket->CloseSocket();
}
