// SPDX-License-Identifier: Apache-2.0
//
// What NCCL's collectives compute, in rank order.
#include "communicator.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>

namespace sim_gpu {
namespace {

template <typename Visit>
void with_type(ncclDataType_t type, const Visit& visit) {
  switch (type) {
    case ncclInt8:
      return visit(std::int8_t{});
    case ncclUint8:
      return visit(std::uint8_t{});
    case ncclInt32:
      return visit(std::int32_t{});
    case ncclInt64:
      return visit(std::int64_t{});
    case ncclFloat16:
      return visit(__half{});
    case ncclBfloat16:
      return visit(__nv_bfloat16{});
    case ncclFloat32:
      return visit(float{});
    case ncclFloat64:
      return visit(double{});
    default:
      std::fprintf(stderr, "simulated NCCL: type %d\n", static_cast<int>(type));
      std::abort();
  }
}

template <typename T>
using Wide = std::conditional_t<std::is_integral_v<T>, std::int64_t,
                                std::conditional_t<std::is_same_v<T, double>, double, float>>;

template <typename T>
T combined(T a, T b, ncclRedOp_t op) {
  const auto x = static_cast<Wide<T>>(a);
  const auto y = static_cast<Wide<T>>(b);
  if (op == ncclProd) return static_cast<T>(x * y);
  if (op == ncclMin) return static_cast<T>(std::min(x, y));
  if (op == ncclMax) return static_cast<T>(std::max(x, y));
  return static_cast<T>(x + y);
}

void multiply(const void* from, void* to, std::size_t count, ncclDataType_t type, double factor) {
  with_type(type, [&](auto element) {
    using T = decltype(element);
    const auto* const source = static_cast<const T*>(from);
    auto* const target = static_cast<T*>(to);
    for (std::size_t i = 0; i < count; ++i) {
      target[i] = static_cast<T>(static_cast<Wide<T>>(source[i]) * static_cast<Wide<T>>(factor));
    }
  });
}

/// All slots into one.
void combine(const Transport& transport, void* to, std::size_t count, ncclDataType_t type,
             ncclRedOp_t op) {
  with_type(type, [&](auto element) {
    using T = decltype(element);
    auto* const target = static_cast<T*>(to);
    for (int rank = 0; rank < transport.size(); ++rank) {
      const auto* const source = reinterpret_cast<const T*>(transport.slot(rank));
      for (std::size_t i = 0; i < count; ++i) {
        target[i] = rank == 0 ? source[i] : combined(target[i], source[i], op);
      }
    }
  });
}

/// One block of elements, of which `to` gets the reduction unless it is null.
void reduce(Communicator& communicator, const Call& call, const void* from, void* to) {
  Transport& transport = *communicator.transport;
  const std::size_t element = size_of(call.type);
  transport.exchange(
      call.count * element,
      [&](std::size_t offset, std::size_t bytes) {
        const auto* const source = static_cast<const std::byte*>(from) + offset;
        std::byte* const slot = transport.slot(transport.rank());
        if (call.factor == 1) {
          std::memcpy(slot, source, bytes);
        } else {
          multiply(source, slot, bytes / element, call.type, call.factor);
        }
      },
      [&](std::size_t offset, std::size_t bytes) {
        if (to == nullptr) return;
        combine(transport, static_cast<std::byte*>(to) + offset, bytes / element, call.type,
                call.op);
      });
}

/// Bytes of one member to one other, or to all (-1); all members take part.
void send(Transport& transport, std::size_t bytes, int from, const void* input, int to,
          void* output) {
  transport.exchange(
      bytes,
      [&](std::size_t offset, std::size_t part) {
        if (transport.rank() != from) return;
        std::memcpy(transport.slot(from), static_cast<const std::byte*>(input) + offset, part);
      },
      [&](std::size_t offset, std::size_t part) {
        if (to >= 0 && transport.rank() != to) return;
        std::memcpy(static_cast<std::byte*>(output) + offset, transport.slot(from), part);
      });
}

/// Ends the program if members have called different things.
void check_same(Communicator& communicator, const Call& call) {
  struct Signature {
    int kind, type, op, peer;
    std::uint64_t count;
    double factor;
  };
  const Signature own = {static_cast<int>(call.kind),
                         call.type,
                         std::min<int>(call.op, ncclNumOps),
                         call.peer,
                         call.count,
                         call.factor};
  Transport& transport = *communicator.transport;
  std::memcpy(transport.slot(transport.rank()), &own, sizeof own);
  transport.meet();
  for (int rank = 0; rank < transport.size() && !communicator.stop; ++rank) {
    Signature other;
    std::memcpy(&other, transport.slot(rank), sizeof other);
    if (std::memcmp(&other, &own, sizeof own) == 0) continue;
    std::fprintf(stderr,
                 "simulated NCCL: rank %d calls %d of %zu elements of type %d, operator %d, peer "
                 "%d, factor %g, but rank %d calls %d of %zu, %d, %d, %d, %g\n",
                 transport.rank(), own.kind, static_cast<std::size_t>(own.count), own.type, own.op,
                 own.peer, own.factor, rank, other.kind, static_cast<std::size_t>(other.count),
                 other.type, other.op, other.peer, other.factor);
    std::abort();
  }
  transport.meet();
}

void run_collective(Communicator& communicator, const Call& call) {
  check_same(communicator, call);
  Transport& transport = *communicator.transport;
  const std::size_t bytes = call.count * size_of(call.type);
  const auto* const input = static_cast<const std::byte*>(call.input);
  auto* const output = static_cast<std::byte*>(call.output);
  switch (call.kind) {
    case Kind::all_reduce:
      return reduce(communicator, call, input, output);
    case Kind::reduce_scatter:
      for (int rank = 0; rank < transport.size(); ++rank) {
        const bool own = rank == transport.rank();
        reduce(communicator, call, input + static_cast<std::size_t>(rank) * bytes,
               own ? output : nullptr);
      }
      return;
    case Kind::all_gather:
      for (int rank = 0; rank < transport.size(); ++rank) {
        send(transport, bytes, rank, input, -1, output + static_cast<std::size_t>(rank) * bytes);
      }
      return;
    default:
      return send(transport, bytes, call.peer, input, -1, output);
  }
}

/// Sends and receives of one group: to and from each member at most once.
void run_exchange(Communicator& communicator, const std::vector<Call>& calls) {
  Transport& transport = *communicator.transport;
  const auto size = static_cast<std::size_t>(transport.size());
  std::vector<const Call*> sends(size);
  std::vector<const Call*> receives(size);
  for (const Call& call : calls) {
    (call.kind == Kind::send ? sends : receives)[static_cast<std::size_t>(call.peer)] = &call;
  }
  const auto bytes_of = [](const Call* call) {
    return call == nullptr ? 0 : call->count * size_of(call->type);
  };
  // Everybody has to know how much the others exchange, to meet as often.
  std::vector<std::vector<std::size_t>> matrix(size, std::vector<std::size_t>(size));
  std::vector<std::size_t> own(size);
  for (std::size_t i = 0; i < size; ++i) own[i] = bytes_of(sends[i]);
  for (int from = 0; from < transport.size(); ++from) {
    auto& row = matrix[static_cast<std::size_t>(from)];
    send(transport, size * sizeof(std::size_t), from, own.data(), -1, row.data());
  }
  for (std::size_t from = 0; from < size; ++from) {
    for (std::size_t to = 0; to < size && !communicator.stop; ++to) {
      const bool receives_it = static_cast<int>(to) == transport.rank();
      if (receives_it && bytes_of(receives[from]) != matrix[from][to]) {
        std::fprintf(stderr, "simulated NCCL: rank %zu sends %zu bytes to rank %zu, not %zu\n",
                     from, matrix[from][to], to, bytes_of(receives[from]));
        std::abort();
      }
      send(transport, matrix[from][to], static_cast<int>(from),
           sends[to] == nullptr ? nullptr : sends[to]->input, static_cast<int>(to),
           receives[from] == nullptr ? nullptr : receives[from]->output);
    }
  }
}

}  // namespace

std::size_t size_of(ncclDataType_t type) {
  std::size_t bytes = 0;
  with_type(type, [&](auto element) { bytes = sizeof element; });
  return bytes;
}

void run(Communicator& communicator, const std::vector<Call>& calls) {
  const bool exchanges = calls[0].kind == Kind::send || calls[0].kind == Kind::receive;
  if (exchanges) return run_exchange(communicator, calls);
  for (const Call& call : calls) {
    if (communicator.stop) return;
    run_collective(communicator, call);
  }
}

}  // namespace sim_gpu
