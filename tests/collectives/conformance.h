// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite: what every backend must do, for every operation, element type, reduction,
// count and placement. A backend is compared with a dumb reference that each rank computes alone.
//
//   Conformance suite(backend, group, watchdog);
//   suite.run();                          // on every rank of the group, in step
//   for (const std::string& failure : suite.failures()) ...
#pragma once

#include "../support/watchdog.h"

#include <ringleader/core/batch.h>
#include <ringleader/core/runtime/backend.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ringleader::test {

struct Case {
  Op op = Op::allreduce;
  DType dtype = DType::f32;
  ReduceOp reduce_op = ReduceOp::sum;
  std::int64_t count = 0;
  bool in_place = false;
  double prescale = 1.0;
  double postscale = 1.0;
  int root = 0;     ///< exchange: how far each tensor goes
  int tensors = 1;  ///< fused: `count` elements each
};

class Conformance {
 public:
  Conformance(Backend& backend, std::shared_ptr<const Group> group, Watchdog& watchdog)
      : backend_(backend), group_(std::move(group)), watchdog_(watchdog) {}

  /// Everything but the large tensor.
  void run();

  /// One tensor of more than 2 GiB.
  void run_large();

  const std::vector<std::string>& failures() const { return failures_; }
  /// Those that have run: the backend supports what it must (see must_support()).
  int cases() const { return cases_; }

 private:
  void run_counts(Case c);
  void check(const Case& c);
  void check_reduction(const Case& c);
  void check_broadcast(const Case& c);
  void check_allgather(const Case& c);
  void check_reduce_scatter(const Case& c);
  void check_alltoall(const Case& c);
  void check_exchange(const Case& c);
  void check_fused_at_once();

  Batch batch_of(const Case& c);
  bool execute(Batch& batch);
  void expect(const Case& c, const std::vector<std::byte>& actual,
              const std::vector<double>& expected);
  void fail(const Case& c, const std::string& what);

  Backend& backend_;
  std::shared_ptr<const Group> group_;
  Watchdog& watchdog_;
  std::uint64_t sequence_ = 0;
  std::vector<std::string> failures_;
  int cases_ = 0;
};

}  // namespace ringleader::test
