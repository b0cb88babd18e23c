// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/distributed_function.h>

#include <ringleader/ops/pipeline/step_agreement.h>

#include <fmt/core.h>
#include <xxhash.h>

namespace ringleader::detail {

std::uint32_t hash_of_point(const void* data, std::size_t bytes) {
  return static_cast<std::uint32_t>(XXH3_64bits(data, bytes) & 0xfffffU);
}

double reduce_objective(const std::string& name, double objective, std::uint32_t point,
                        ProcessSet process_set, SourceLocation where) {
  StepAgreement agreement({false, true}, 0, DType::f64);
  StepSaid said;
  said.contents = point;
  agreement.say(said, {});
  ReduceOptions options;
  options.process_set = process_set;
  grouped_allreduce(name + "/objective", {TensorView(&objective, {1}), agreement.view()},
                    ReduceOp::sum, options, where);
  if (!agreement.hear(1).contents_equal) throw_points_differ(name, where);
  return objective;
}

void throw_points_differ(const std::string& name, SourceLocation where) {
  throw Error(
      Status(Code::mismatch,
             fmt::format("function '{}' ({}): the ranks evaluate it at different points, so "
                         "each would find another minimum; give what draws random numbers "
                         "the same seed on all ranks",
                         name, to_string(where))));
}

}  // namespace ringleader::detail
