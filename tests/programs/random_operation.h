// SPDX-License-Identifier: Apache-2.0
//
// RandomOperation: a collective that all ranks draw alike, and what must come of it.
//
//   const RandomOperation operation(random, number, set);
//   const auto check = operation.submit();       // on the members of the set
//   check();                                     // waits; throws std::runtime_error if it is wrong
//
// Values are small integers, so that sums are exact in every type and any order.
#pragma once

#include "../sim/random.h"
#include "../support/reduce_one.h"

#include <ringleader/ringleader.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace ringleader::test {

inline double to_number(const void* data, std::size_t i, DType dtype) {
  return with_type(dtype, [&](auto element) {
    using T = decltype(element);
    const T value = static_cast<const T*>(data)[i];
    if constexpr (std::is_arithmetic_v<T>) {
      return static_cast<double>(value);
    } else {
      return static_cast<double>(static_cast<float>(value));
    }
  });
}

inline void put_number(void* data, std::size_t i, DType dtype, double value) {
  with_type(dtype, [&](auto element) {
    using T = decltype(element);
    if constexpr (std::is_arithmetic_v<T>) {
      static_cast<T*>(data)[i] = static_cast<T>(value);
    } else {
      static_cast<T*>(data)[i] = T(static_cast<float>(value));
    }
  });
}

inline bool close(double a, double b, DType dtype) {
  const double error = dtype == DType::bf16 ? 0.01 : dtype == DType::f16 ? 0.002 : 1e-5;
  return std::abs(a - b) <= error * std::max(1.0, std::abs(b));
}

/// What a rank has in element i of an operation; 1 or 2 where products are taken.
inline double value_of(int world_rank, int operation, std::size_t i, bool product) {
  const int value = (world_rank * 3 + operation + static_cast<int>(i % 11)) % 5;
  return product ? 1 + value % 2 : 1 + value;
}

/// Memory of any type, in the arena or not.
struct Tensor {
  Tensor(Shape its_shape, DType its_dtype, bool shared)
      : shape(std::move(its_shape)), dtype(its_dtype) {
    const std::size_t bytes = std::max<std::size_t>(1, view_bytes());
    if (shared) {
      memory = std::shared_ptr<void>(ringleader::allocate(bytes), ringleader::free);
    } else {
      memory = std::shared_ptr<void>(std::malloc(bytes), std::free);
    }
  }
  std::size_t count() const { return static_cast<std::size_t>(count_of(shape)); }
  std::size_t view_bytes() const { return count() * size_of(dtype); }
  TensorView view() const { return {memory.get(), shape, dtype}; }

  Shape shape;
  DType dtype;
  std::shared_ptr<void> memory;
};

class RandomOperation {
 public:
  using Check = std::function<void()>;

  RandomOperation(sim::Random& random, int number, const ProcessSet& set)
      : number_(number),
        name_("operation " + std::to_string(number)),
        set_(set),
        members_(set.ranks()),
        dtype_(static_cast<DType>(random.between(0, kDTypeCount - 1))),
        op_(static_cast<ReduceOp>(random.between(0, kReduceOpCount - 1))),
        rows_(random.between(0, random.chance(10) ? 9000 : 40)),
        columns_(random.between(1, 3)),
        shared_(random.chance(50)),
        verb_(random.between(0, 5)),
        root_(members_[random.below(members_.size())]),
        index_(static_cast<std::size_t>(std::find(members_.begin(), members_.end(), rank()) -
                                        members_.begin())) {
    reduce_.process_set = set;
  }

  Check submit() const {
    switch (verb_) {
      case 0:
        return submit_allreduce();
      case 1:
        return submit_group();
      case 2:
        return submit_allgather();
      case 3:
        return submit_broadcast();
      case 4:
        return submit_reduce_scatter();
      default:
        return submit_alltoall();
    }
  }

 private:
  bool product() const { return op_ == ReduceOp::product; }

  Tensor filled(Shape shape, bool shared) const {
    Tensor tensor(std::move(shape), dtype_, shared);
    for (std::size_t i = 0; i < tensor.count(); ++i) {
      put_number(tensor.memory.get(), i, dtype_, value_of(rank(), number_, i, product()));
    }
    return tensor;
  }

  double reduced(std::size_t i) const {
    return reduce_one(static_cast<int>(members_.size()), op_, !is_floating_point(dtype_),
                      [&](int m) {
                        const int member = members_[static_cast<std::size_t>(m)];
                        return value_of(member, number_, i, product());
                      });
  }

  void expect(const void* data, std::size_t i, double wanted) const {
    const double found = to_number(data, i, dtype_);
    if (close(found, wanted, dtype_)) return;
    throw std::runtime_error(name_ + ", verb " + std::to_string(verb_) + ", element " +
                             std::to_string(i) + " of type " + name_of(dtype_) + ": " +
                             std::to_string(found) + ", not " + std::to_string(wanted));
  }

  Check submit_allreduce() const {
    const Tensor tensor = filled({rows_, columns_}, shared_);
    const Handle handle = allreduce_async(name_, tensor.view(), op_, reduce_);
    return [=, *this] {
      handle.wait();
      for (std::size_t i = 0; i < tensor.count(); ++i) expect(tensor.memory.get(), i, reduced(i));
    };
  }

  Check submit_group() const {
    const Tensor first = filled({rows_}, shared_);
    const Tensor second = filled({columns_}, !shared_);
    const Handle handle =
        grouped_allreduce_async(name_, {first.view(), second.view()}, op_, reduce_);
    return [=, *this] {
      handle.wait();
      for (const Tensor& tensor : {first, second}) {
        for (std::size_t i = 0; i < tensor.count(); ++i) {
          expect(tensor.memory.get(), i, reduced(i));
        }
      }
    };
  }

  /// Every member has some rows more than the one before.
  Check submit_allgather() const {
    const Tensor tensor = filled({rows_ % 7 + rank(), columns_}, shared_);
    const Handle handle = allgather_async(name_, tensor.view(), set_);
    return [=, *this] {
      const TensorView all = handle.output().view();
      std::size_t at = 0;
      for (const int member : members_) {
        const auto count = static_cast<std::size_t>((rows_ % 7 + member) * columns_);
        for (std::size_t i = 0; i < count; ++i, ++at) {
          expect(all.data(), at, value_of(member, number_, i, product()));
        }
      }
      if (static_cast<std::size_t>(all.count()) != at) throw std::runtime_error(name_ + ": rows");
      (void)tensor;
    };
  }

  Check submit_broadcast() const {
    const Tensor tensor = filled({rows_, columns_}, shared_);
    const Handle handle = broadcast_async(name_, tensor.view(), root_, set_);
    return [=, *this] {
      handle.wait();
      for (std::size_t i = 0; i < tensor.count(); ++i) {
        expect(tensor.memory.get(), i, value_of(root_, number_, i, product()));
      }
    };
  }

  Check submit_reduce_scatter() const {
    const Tensor tensor = filled({rows_, columns_}, shared_);
    const Handle handle = reduce_scatter_async(name_, tensor.view(), op_, reduce_);
    return [=, *this] {
      const TensorView own = handle.output().view();
      const auto parts = static_cast<std::int64_t>(members_.size());
      const auto index = static_cast<std::int64_t>(index_);
      const std::int64_t first = index * (rows_ / parts) + std::min(index, rows_ % parts);
      for (std::size_t i = 0; i < static_cast<std::size_t>(own.count()); ++i) {
        expect(own.data(), i, reduced(static_cast<std::size_t>(first * columns_) + i));
      }
      (void)tensor;
    };
  }

  /// Rows that member m sends to member n.
  static std::int64_t rows_to(std::size_t m, std::size_t n) {
    return static_cast<std::int64_t>((m + n) % 3);
  }

  Check submit_alltoall() const {
    std::vector<std::int64_t> splits;
    for (std::size_t n = 0; n < members_.size(); ++n) splits.push_back(rows_to(index_, n));
    const std::int64_t total = std::accumulate(splits.begin(), splits.end(), std::int64_t{0});
    const Tensor tensor = filled({total, columns_}, shared_);
    const Handle handle = alltoall_async(name_, tensor.view(), splits, set_);
    return [=, *this] {
      const TensorView got = handle.output().view();
      std::size_t at = 0;
      for (std::size_t m = 0; m < members_.size(); ++m) {
        std::int64_t before = 0;
        for (std::size_t n = 0; n < index_; ++n) before += rows_to(m, n);
        const auto count = static_cast<std::size_t>(rows_to(m, index_) * columns_);
        for (std::size_t i = 0; i < count; ++i, ++at) {
          const std::size_t sent = static_cast<std::size_t>(before * columns_) + i;
          expect(got.data(), at, value_of(members_[m], number_, sent, product()));
        }
      }
      (void)tensor;
    };
  }

  int number_;
  std::string name_;
  ProcessSet set_;
  std::vector<int> members_;
  DType dtype_;
  ReduceOp op_;
  std::int64_t rows_;
  std::int64_t columns_;
  bool shared_;
  int verb_;
  int root_;
  std::size_t index_;  ///< of this rank in the set
  ReduceOptions reduce_;
};

}  // namespace ringleader::test
