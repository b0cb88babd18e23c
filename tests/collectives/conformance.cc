// SPDX-License-Identifier: Apache-2.0
#include "conformance.h"

#include "elements.h"
#include "reference.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <thread>
#include <utility>

namespace ringleader::test {
namespace {

constexpr DType kDTypes[] = {DType::u8,  DType::i8,   DType::i16, DType::i32, DType::i64,
                             DType::f16, DType::bf16, DType::f32, DType::f64};
constexpr ReduceOp kReduceOps[] = {ReduceOp::sum, ReduceOp::average, ReduceOp::min, ReduceOp::max,
                                   ReduceOp::product};

/// The case's tensors, one after another in `input` and `output`.
void add_tensors(Batch& batch, int tensors, std::int64_t count, std::byte* input,
                 std::byte* output) {
  const std::size_t bytes = static_cast<std::size_t>(count) * size_of(batch.dtype);
  for (std::size_t t = 0; t < static_cast<std::size_t>(tensors); ++t) {
    batch.tensors.push_back({input + t * bytes, output + t * bytes, count});
  }
}

std::vector<double> expected_reduction(const Case& c, int size, std::int64_t begin,
                                       std::int64_t end) {
  const bool integer = !is_floating_point(c.dtype);
  std::vector<double> values = reduced(size, begin, end, c.reduce_op, c.prescale, integer);
  for (double& value : values) value = finished(value, c.postscale, integer);
  return values;
}

}  // namespace

void Conformance::run() {
  for (const DType dtype : kDTypes) {
    for (const ReduceOp op : kReduceOps) {
      run_counts({Op::allreduce, dtype, op});
      run_counts({Op::reduce_scatter, dtype, op});
    }
    run_counts({Op::allgather, dtype});
    run_counts({Op::alltoall, dtype});
    for (const int shift : {0, 1, group_->size() - 1}) {
      Case c{Op::exchange, dtype};
      c.root = shift;
      run_counts(c);
    }
    for (int root = 0; root < group_->size(); ++root) {
      Case c{Op::broadcast, dtype};
      c.root = root;
      run_counts(c);
    }
    // Scale factors: exact in every type; integers are truncated.
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::average}) {
      Case c{Op::allreduce, dtype, op, 1001, true, 0.5, 2.0};
      check(c);
      c.op = Op::reduce_scatter;
      check(c);
    }
    Case fused{Op::allreduce, dtype, ReduceOp::sum, 777};
    fused.tensors = 5;
    check(fused);
    fused.op = Op::broadcast;
    check(fused);
  }
  check_fused_at_once();
}

/// What backends are for, said again: one that forgets a type must not pass with fewer cases.
bool must_support(std::string_view backend, const Batch& batch) {
  const bool reduces = batch.op == Op::allreduce || batch.op == Op::reduce_scatter;
  const bool averages = batch.reduce_op == ReduceOp::average;
  if (backend == "mpi") return !(reduces && averages && batch.dtype == DType::i64);
  if (backend == "hierarchical") {
    const bool scales = averages || batch.prescale != 1.0 || batch.postscale != 1.0;
    const bool narrow = batch.dtype == DType::f16 || batch.dtype == DType::bf16;
    const bool whole = batch.dtype == DType::i64 || is_floating_point(batch.dtype) || !scales;
    return batch.op == Op::allreduce && !narrow && whole;
  }
  return true;
}

void Conformance::run_counts(Case c) {
  const std::int64_t size = group_->size();
  constexpr std::int64_t kPrime = 10007;
  for (const std::int64_t count :
       {std::int64_t{0}, std::int64_t{1}, size - 1, size, size + 1, kPrime, kLargestCount}) {
    // Which elements a message carries does not depend on how they are reduced.
    if (count == kLargestCount && c.reduce_op > ReduceOp::average) continue;
    c.count = count;
    for (const bool in_place : {false, true}) {
      c.in_place = in_place;
      if (in_place && (c.op == Op::alltoall || c.op == Op::exchange)) continue;
      check(c);
    }
  }
}

void Conformance::check(const Case& c) {
  watchdog_.enter(fmt::format("{} {} {} {} x {}", backend_.name(), name_of(c.op), name_of(c.dtype),
                              name_of(c.reduce_op), c.count));
  switch (c.op) {
    case Op::allreduce:
      return check_reduction(c);
    case Op::broadcast:
      return check_broadcast(c);
    case Op::allgather:
      return check_allgather(c);
    case Op::reduce_scatter:
      return check_reduce_scatter(c);
    case Op::exchange:
      return check_exchange(c);
    default:
      return check_alltoall(c);
  }
}

Batch Conformance::batch_of(const Case& c) {
  Batch batch;
  batch.group = group_;
  batch.op = c.op;
  batch.dtype = c.dtype;
  batch.reduce_op = c.reduce_op;
  batch.prescale = c.prescale;
  batch.postscale = c.postscale;
  batch.divisor = group_->size();
  batch.root = c.root;
  return batch;
}

bool Conformance::execute(Batch& batch) {
  const bool supported = backend_.supports(batch);
  if (supported != must_support(backend_.name(), batch)) {
    failures_.push_back(fmt::format("{} {} {} {} of {}, and should{}", backend_.name(),
                                    supported ? "supports" : "does not support", name_of(batch.op),
                                    name_of(batch.reduce_op), name_of(batch.dtype),
                                    supported ? " not" : ""));
  }
  if (!supported) return false;
  ++cases_;
  batch.sequence = sequence_++;
  const Result<Ticket> ticket = backend_.launch(batch);
  if (!ticket.ok()) {
    failures_.push_back(ticket.status().message());
    return false;
  }
  for (;;) {
    const std::optional<Status> outcome = backend_.poll(*ticket);
    if (!outcome) {
      std::this_thread::yield();
      continue;
    }
    if (!outcome->ok()) failures_.push_back(outcome->message());
    return outcome->ok();
  }
}

void Conformance::fail(const Case& c, const std::string& what) {
  if (failures_.size() > 20) return;
  failures_.push_back(fmt::format(
      "{}: {} {} {} x {}{}, {} tensors, root {}, scales {} {}, rank {} of {}: {}", backend_.name(),
      name_of(c.op), name_of(c.dtype), name_of(c.reduce_op), c.count, c.in_place ? " in place" : "",
      c.tensors, c.root, c.prescale, c.postscale, group_->rank, group_->size(), what));
}

void Conformance::expect(const Case& c, const std::vector<std::byte>& actual,
                         const std::vector<double>& expected) {
  if (encode(expected, c.dtype) == actual) return;  // no rounding to allow for
  const std::vector<double> values = decode(actual, c.dtype);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double tolerance = std::abs(expected[i]) * rounding_of(c.dtype);
    if (std::abs(values[i] - expected[i]) <= tolerance) continue;
    return fail(c, fmt::format("element {} is {}, not {}", i, values[i], expected[i]));
  }
}

void Conformance::check_reduction(const Case& c) {
  const std::int64_t total = c.count * c.tensors;
  std::vector<std::byte> input = encode(elements(group_->rank, 0, total, c.reduce_op), c.dtype);
  const std::vector<std::byte> original = input;
  std::vector<std::byte> output(input.size());
  Batch batch = batch_of(c);
  add_tensors(batch, c.tensors, c.count, input.data(), c.in_place ? input.data() : output.data());
  if (!execute(batch)) return;
  expect(c, c.in_place ? input : output, expected_reduction(c, group_->size(), 0, total));
  if (!c.in_place && input != original) fail(c, "the input was changed");
}

void Conformance::check_broadcast(const Case& c) {
  const std::int64_t total = c.count * c.tensors;
  std::vector<std::byte> input = encode(elements(group_->rank, 0, total, ReduceOp::sum), c.dtype);
  std::vector<std::byte> output(input.size());
  Batch batch = batch_of(c);
  add_tensors(batch, c.tensors, c.count, input.data(), c.in_place ? input.data() : output.data());
  if (!execute(batch)) return;
  expect(c, c.in_place ? input : output, elements(c.root, 0, total, ReduceOp::sum));
}

/// Rank r contributes count + r elements, so the blocks differ.
void Conformance::check_allgather(const Case& c) {
  Batch batch = batch_of(c);
  std::vector<double> expected;
  std::int64_t own_offset = 0;
  for (int rank = 0; rank < group_->size(); ++rank) {
    if (rank == group_->rank) own_offset = static_cast<std::int64_t>(expected.size());
    batch.block_counts.push_back(c.count + rank);
    const auto block = elements(rank, 0, c.count + rank, ReduceOp::sum);
    expected.insert(expected.end(), block.begin(), block.end());
  }
  const std::vector<std::byte> input =
      encode(elements(group_->rank, 0, c.count + group_->rank, ReduceOp::sum), c.dtype);
  std::vector<std::byte> output(expected.size() * size_of(c.dtype));
  std::byte* own = output.data() + static_cast<std::size_t>(own_offset) * size_of(c.dtype);
  if (c.in_place) std::copy(input.begin(), input.end(), own);
  batch.tensors = {{c.in_place ? own : input.data(), output.data(), c.count + group_->rank}};
  if (execute(batch)) expect(c, output, expected);
}

void Conformance::check_reduce_scatter(const Case& c) {
  Batch batch = batch_of(c);
  for (int rank = 0; rank < group_->size(); ++rank) {
    const auto [begin, end] = share_of(c.count, group_->size(), rank);
    batch.block_counts.push_back(end - begin);
  }
  const auto [begin, end] = share_of(c.count, group_->size(), group_->rank);
  std::vector<std::byte> input = encode(elements(group_->rank, 0, c.count, c.reduce_op), c.dtype);
  const std::size_t own_bytes = static_cast<std::size_t>(end - begin) * size_of(c.dtype);
  std::vector<std::byte> output(own_bytes);
  std::byte* own = input.data() + static_cast<std::size_t>(begin) * size_of(c.dtype);
  batch.tensors = {{input.data(), c.in_place ? own : output.data(), c.count}};
  if (!execute(batch)) return;
  if (c.in_place) output.assign(own, own + own_bytes);
  expect(c, output, expected_reduction(c, group_->size(), begin, end));
}

/// Rank r sends (count + r + 2 to) % (count + 3) elements to rank `to`.
void Conformance::check_alltoall(const Case& c) {
  const auto sent = [&](int from, int to) {
    return (c.count + from + 2 * to) % (c.count / group_->size() + 3);
  };
  const auto offset = [&](int from, int to) {
    std::int64_t begin = 0;
    for (int i = 0; i < to; ++i) begin += sent(from, i);
    return begin;
  };
  Batch batch = batch_of(c);
  std::vector<double> expected;
  for (int rank = 0; rank < group_->size(); ++rank) {
    batch.send_counts.push_back(sent(group_->rank, rank));
    batch.block_counts.push_back(sent(rank, group_->rank));
    const std::int64_t begin = offset(rank, group_->rank);
    const auto block = elements(rank, begin, begin + batch.block_counts.back(), ReduceOp::sum);
    expected.insert(expected.end(), block.begin(), block.end());
  }
  const std::int64_t total = offset(group_->rank, group_->size());
  const std::vector<std::byte> input =
      encode(elements(group_->rank, 0, total, ReduceOp::sum), c.dtype);
  std::vector<std::byte> output(expected.size() * size_of(c.dtype));
  batch.tensors = {{input.data(), output.data(), total}};
  if (execute(batch)) expect(c, output, expected);
}

/// Rank r sends count + r elements to rank r + root; every third sends nothing.
void Conformance::check_exchange(const Case& c) {
  const int size = group_->size();
  const auto sends = [](int rank) { return rank % 3 != 2; };
  const int to = (group_->rank + c.root) % size;
  const int from = (group_->rank + size - c.root) % size;
  Batch batch = batch_of(c);
  batch.send_counts.assign(static_cast<std::size_t>(size), 0);
  batch.block_counts = batch.send_counts;
  const std::int64_t sent = sends(group_->rank) ? c.count + group_->rank : 0;
  const std::int64_t received = sends(from) ? c.count + from : 0;
  batch.send_counts[static_cast<std::size_t>(to)] = sent;
  batch.block_counts[static_cast<std::size_t>(from)] = received;
  const std::vector<std::byte> input =
      encode(elements(group_->rank, 0, sent, ReduceOp::sum), c.dtype);
  std::vector<std::byte> output(static_cast<std::size_t>(received) * size_of(c.dtype));
  batch.tensors = {{input.data(), output.data(), sent}};
  if (execute(batch)) expect(c, output, elements(from, 0, received, ReduceOp::sum));
}

/// Several batches in flight at once, polled in another order than launched.
void Conformance::check_fused_at_once() {
  constexpr int kBatches = 40;  // more than a backend may keep slots for
  std::vector<Batch> batches;
  std::vector<std::vector<std::byte>> data;
  std::vector<Ticket> tickets;
  Case c{Op::allreduce, DType::f32, ReduceOp::sum};
  c.in_place = true;
  for (int i = 0; i < kBatches; ++i) {
    c.count = 1 + 1500 * i;
    data.push_back(encode(elements(group_->rank, 0, c.count, c.reduce_op), c.dtype));
    Batch& batch = batches.emplace_back(batch_of(c));
    batch.tensors = {{data.back().data(), data.back().data(), c.count}};
    batch.sequence = sequence_++;
  }
  for (const Batch& batch : batches) {
    const Result<Ticket> ticket = backend_.launch(batch);
    if (!ticket.ok()) return fail(c, ticket.status().message());
    tickets.push_back(*ticket);
  }
  for (int left = kBatches; left > 0;) {
    for (std::size_t i = tickets.size(); i-- > 0;) {
      if (tickets[i] == 0 || !backend_.poll(tickets[i])) continue;
      tickets[i] = 0;
      --left;
    }
    std::this_thread::yield();
  }
  for (int i = 0; i < kBatches; ++i) {
    c.count = 1 + 1500 * i;
    expect(c, data[static_cast<std::size_t>(i)], expected_reduction(c, group_->size(), 0, c.count));
  }
}

void Conformance::run_large() {
  constexpr std::int64_t kCount = (std::int64_t{2} << 30) + 12345;
  const auto value = [](int rank, std::int64_t i) {
    return static_cast<std::byte>((i * 31 + i / 65536 + rank * 7) % 64);
  };
  Case c{Op::allreduce, DType::u8, ReduceOp::sum, kCount, true};
  watchdog_.enter("a tensor of more than 2 GiB");
  std::vector<std::byte> data(static_cast<std::size_t>(kCount));
  for (std::int64_t i = 0; i < kCount; ++i) {
    data[static_cast<std::size_t>(i)] = value(group_->rank, i);
  }
  Batch batch = batch_of(c);
  batch.tensors = {{data.data(), data.data(), kCount}};
  if (!execute(batch)) return fail(c, "it did not run");
  for (std::int64_t i = 0; i < kCount; ++i) {
    unsigned sum = 0;
    for (int rank = 0; rank < group_->size(); ++rank) {
      sum += static_cast<unsigned>(value(rank, i));
    }
    if (data[static_cast<std::size_t>(i)] == static_cast<std::byte>(sum)) continue;
    return fail(c, fmt::format("element {} is wrong", i));
  }
}

}  // namespace ringleader::test
