// SPDX-License-Identifier: Apache-2.0
//
// What the NCCL backend plans on the host: no GPU, no CUDA.
#include <ringleader/collectives/nccl/transfer.h>

#include "../support/catch.h"

#include <memory>
#include <random>
#include <vector>

using namespace ringleader;
using namespace ringleader::nccl;

namespace {

constexpr std::int64_t kBase = 1 << 20;  ///< addresses are never followed

void* at(std::int64_t bytes) { return reinterpret_cast<void*>(kBase + bytes); }

Batch batch_of(Op op, DType dtype, int ranks = 4, int rank = 1) {
  Batch batch;
  auto group = std::make_shared<Group>();
  for (int r = 0; r < ranks; ++r) group->ranks.push_back(r);
  group->rank = rank;
  batch.group = group;
  batch.op = op;
  batch.dtype = dtype;
  batch.divisor = ranks;
  return batch;
}

/// In place, each `gap` bytes behind the other.
Batch allreduce_of(const std::vector<std::int64_t>& counts, DType dtype, std::int64_t gap = 0) {
  Batch batch = batch_of(Op::allreduce, dtype);
  std::int64_t begin = 0;
  for (const std::int64_t count : counts) {
    batch.tensors.push_back({at(begin), at(begin), count});
    begin += count * static_cast<std::int64_t>(size_of(dtype)) + gap;
  }
  return batch;
}

/// As a thread block finds it: the last piece that begins at or before the tile.
const Piece& piece_of(const FusionTable& table, std::int64_t tile) {
  const Piece* found = &table.pieces[0];
  for (const Piece& piece : table.pieces) {
    if (piece.first_tile <= tile) found = &piece;
  }
  return *found;
}

}  // namespace

TEST_CASE("gradients one behind the other are reduced in place, without packing") {
  const Batch batch = allreduce_of({10, 0, 7, 1000}, DType::f32);
  const Transfer transfer = transfer_of(batch);
  CHECK_FALSE(transfer.packs);
  CHECK(transfer.count == 1017);
  CHECK(transfer.input == at(0));
  CHECK(transfer.output == at(0));
  CHECK(transfer.factor == 1.0);
}

TEST_CASE("NCCL itself averages and scales sums of 32 and 64 bits") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Batch batch = allreduce_of({10, 7}, dtype);
    batch.reduce_op = ReduceOp::average;
    batch.prescale = 0.5;
    batch.postscale = 3.0;
    const Transfer transfer = transfer_of(batch);
    CHECK_FALSE(transfer.packs);
    CHECK(transfer.factor == 0.5 * 3.0 / 4);
  }
}

TEST_CASE("ranks whose tensors lie differently send the same elements in the same order") {
  for (const ReduceOp op : {ReduceOp::sum, ReduceOp::average, ReduceOp::max}) {
    for (const DType dtype : {DType::i8, DType::bf16, DType::f32}) {
      Batch adjacent = allreduce_of({10, 0, 7, 1001}, dtype);
      Batch scattered = allreduce_of({10, 0, 7, 1001}, dtype, 5);
      adjacent.reduce_op = scattered.reduce_op = op;
      const Transfer a = transfer_of(adjacent);
      const Transfer b = transfer_of(scattered);
      CHECK(b.packs);
      CHECK(a.count == b.count);
      CHECK(a.wire == b.wire);
      CHECK(a.factor == b.factor);
      CHECK(a.before == b.before);
      CHECK(a.divisor == b.divisor);
      // As they lie in memory without gaps.
      std::int64_t begin = 0;
      const std::vector<FusionTable> tables = inputs_of(scattered, b);
      for (const Piece& piece : tables.at(0).pieces) {
        CHECK(piece.wire_begin == begin);
        begin += piece.count;
      }
      CHECK(begin == b.count);
    }
  }
}

TEST_CASE("what NCCL cannot do exactly is packed") {
  SECTION("tensors with something between them") {
    CHECK(transfer_of(allreduce_of({10, 7}, DType::f32, 4)).packs);
  }
  SECTION("averages of 16-bit floats, whose factor would be rounded") {
    Batch batch = allreduce_of({10}, DType::bf16);
    CHECK_FALSE(transfer_of(batch).packs);
    batch.reduce_op = ReduceOp::average;
    const Transfer transfer = transfer_of(batch);
    CHECK(transfer.packs);
    CHECK(transfer.wire == DType::bf16);
    CHECK(transfer.divisor == 4);
    batch.dtype = DType::f16;  // whose sum could be too large
    CHECK(transfer_of(batch).before == 0.25);
    CHECK(transfer_of(batch).divisor == 1);
  }
  SECTION("averages of integers, which travel in 64 bits") {
    Batch batch = allreduce_of({10}, DType::i8);
    batch.reduce_op = ReduceOp::average;
    CHECK(transfer_of(batch).wire == DType::i64);
    batch.reduce_op = ReduceOp::max;
    CHECK_FALSE(transfer_of(batch).packs);
  }
  SECTION("16-bit integers, which it does not have") {
    const Transfer transfer = transfer_of(allreduce_of({10}, DType::i16));
    CHECK(transfer.packs);
    CHECK(transfer.wire == DType::i64);
  }
  SECTION("a minimum that is scaled") {
    Batch batch = allreduce_of({10}, DType::f32);
    batch.reduce_op = ReduceOp::min;
    batch.postscale = 2.0;
    CHECK(transfer_of(batch).packs);
  }
}

TEST_CASE("every element has one place in the buffer, and one tile moves it") {
  std::mt19937 random(7);
  for (const DType dtype : {DType::u8, DType::i16, DType::bf16, DType::f32, DType::f64}) {
    std::vector<std::int64_t> counts;
    for (int i = 0; i < 60; ++i) counts.push_back(static_cast<std::int64_t>(random() % 70000));
    counts.push_back(0);
    const Batch batch = allreduce_of(counts, dtype, 1);
    const Transfer transfer = transfer_of(batch);
    const FusionTable table = inputs_of(batch, transfer).at(0);

    std::vector<int> places(static_cast<std::size_t>(transfer.count));
    std::vector<std::int64_t> moved(table.pieces.size());
    for (std::int64_t tile = 0; tile < table.tiles; ++tile) {
      const Piece& piece = piece_of(table, tile);
      const std::int64_t begin = (tile - piece.first_tile) * table.tile_elements;
      const std::int64_t count = std::min(piece.count - begin, table.tile_elements);
      REQUIRE(count > 0);
      REQUIRE(count * static_cast<std::int64_t>(size_of(transfer.wire)) <= kTileBytes);
      moved[static_cast<std::size_t>(&piece - table.pieces.data())] += count;
      for (std::int64_t i = 0; i < count; ++i) {
        ++places[static_cast<std::size_t>(piece.wire_begin + begin + i)];
      }
    }
    CHECK(*std::max_element(places.begin(), places.end()) == 1);
    for (std::size_t i = 0; i < moved.size(); ++i) CHECK(moved[i] == table.pieces[i].count);
  }
}

TEST_CASE("a tensor of 411 MB and 31 small ones fill the chip alike") {
  std::vector<std::int64_t> counts(31, 512);
  counts.push_back(std::int64_t{25088} * 4096);  // VGG-16's first dense layer
  const Batch batch = allreduce_of(counts, DType::f32, 4);
  const FusionTable table = inputs_of(batch, transfer_of(batch)).at(0);
  CHECK(table.tiles == 31 + counts.back() * 4 / kTileBytes);
}

TEST_CASE("blocks of a reduce_scatter are padded to the longest where they differ") {
  Batch batch = batch_of(Op::reduce_scatter, DType::f32);
  batch.tensors = {{at(0), at(1 << 16), 10}};
  batch.block_counts = {3, 3, 2, 2};
  const Transfer transfer = transfer_of(batch);
  CHECK(transfer.packs);
  CHECK(block_of(batch, transfer) == 4);  // 16 bytes
  CHECK(transfer.count == 16);
  const FusionTable inputs = inputs_of(batch, transfer).at(0);
  REQUIRE(inputs.pieces.size() == 4);
  CHECK(inputs.pieces[2].memory == static_cast<std::byte*>(at(6 * 4)));
  CHECK(inputs.pieces[2].wire_begin == 8);
  const FusionTable outputs = outputs_of(batch, transfer).at(0);
  REQUIRE(outputs.pieces.size() == 1);
  CHECK(outputs.pieces[0].memory == static_cast<std::byte*>(at(1 << 16)));
  CHECK(outputs.pieces[0].wire_begin == 4);
  CHECK(outputs.pieces[0].count == 3);

  batch.block_counts = {3, 3, 3, 3};
  batch.tensors[0].count = 12;
  CHECK_FALSE(transfer_of(batch).packs);
}
