// SPDX-License-Identifier: Apache-2.0
//
// Transport: the port through which the algorithms in this folder reach other ranks. It only
// carries messages between two ranks of a group. MPI (mpi_transport/mpi_messages.h) and threads
// (inproc/messages.h) implement it.
//
//   Result<Endpoint*> endpoint = transport.endpoint(group);       // this rank's end of the group
//   endpoint->send(peer, tag, data, bytes, message);
//   while (!done) endpoint->test(message, done);
#pragma once

#include <ringleader/core/batch.h>
#include <ringleader/core/result.h>
#include <ringleader/core/status.h>

#include <cstddef>
#include <cstdint>

namespace ringleader::p2p {

/// A message in flight. Only the transport knows what the value means.
struct Message {
  std::uintptr_t value = 0;
};

/// Messages between this rank and the others of one group. Two messages with the same sender,
/// receiver and tag arrive in the order in which they were sent. Nothing here blocks.
///
/// Threading: one thread at a time.
class Endpoint {
 public:
  virtual ~Endpoint() = default;

  /// Starts a message to, or from, the group's member `peer`. `data` holds `bytes` bytes, at most
  /// 2^30; the caller must not touch them until test() says that the message is done. Sender and
  /// receiver must name the same number of bytes. Tags are below 2^15.
  virtual Status send(int peer, int tag, const std::byte* data, std::int64_t bytes,
                      Message& message) = 0;
  virtual Status receive(int peer, int tag, std::byte* data, std::int64_t bytes,
                         Message& message) = 0;

  /// Sets `done` if the message is done: its memory may be reused, or has been filled. The message
  /// is then forgotten.
  virtual Status test(Message& message, bool& done) = 0;
};

/// Threading: any thread.
class Transport {
 public:
  virtual ~Transport() = default;

  /// This rank's end of the group's channel, valid until close(). The first call for a channel
  /// blocks until all members have made it. For host memory, calls for different channels may run
  /// at the same time; otherwise all members make them in the same order.
  virtual Result<Endpoint*> endpoint(const Group& group) = 0;

  virtual void close(std::uint32_t channel) = 0;
};

}  // namespace ringleader::p2p
