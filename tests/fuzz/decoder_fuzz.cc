// SPDX-License-Identifier: Apache-2.0
//
// Any bytes, with the seal that a broken peer would give them: decoding must end with a message or
// a Status, what was decoded must survive another round, and a node that is fed with it must live.
#include "../protocol/sealed.h"

#include <ringleader/core/protocol/node.h>

#include <cstdint>
#include <cstdlib>
#include <memory>

using namespace ringleader::protocol;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  Bytes body(bytes, bytes + size);
  body.resize(size + 8);
  const auto sealed = std::make_shared<const Bytes>(resealed(std::move(body)));
  const auto message = decode(*sealed);
  if (message.ok() && !decode(encode(*message)).ok()) std::abort();
  for (const int rank : {0, 1}) {
    NodeOptions options;
    options.rank = rank;
    options.size = 7;
    options.radix = 2;
    Node node(options);
    ringleader::protocol::Request request;
    request.name = "x";
    request.tensors = {{"", {4}, ringleader::DType::f32}};
    (void)node.submit(1, request).ok();
    (void)node.receive(rank == 0 ? 1 : 0, sealed).ok();
    (void)node.take_actions();
    (void)node.take_messages();
    node.tick(1'000'000, {1});
    node.tick(9'000'000'000, {1});
    (void)node.take_messages();
  }
  return 0;
}
