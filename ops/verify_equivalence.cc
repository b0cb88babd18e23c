// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/verify_equivalence.h>

#include <ringleader/core/number.h>
#include <ringleader/core/status.h>
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/collectives.h>
#include <ringleader/ops/process_set.h>
#include <ringleader/ops/session.h>

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

namespace ringleader {
namespace {

using Values = std::vector<NamedValues>;
using Train = std::function<Values(const EquivalenceRun&)>;

/// Runs in which each rank does all of the work, in a process set of its own.
class Alone {
 public:
  Alone() {
    for (int each = 0; each < size(); ++each) sets_.push_back(add_process_set({each}));
  }
  ~Alone() {
    try {
      for (const ProcessSet& set : sets_) remove_process_set(set);
    } catch (const Error&) {  // the library has ended, and the sets with it
    }
  }
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;

  EquivalenceRun run(int steps) const {
    EquivalenceRun run;
    run.steps = steps;
    run.options.name = "verify_equivalence/alone";
    run.options.root = rank();
    run.options.process_set = sets_[static_cast<std::size_t>(rank())];
    return run;
  }

 private:
  std::vector<ProcessSet> sets_;
};

EquivalenceRun together(int steps) {
  EquivalenceRun run;
  run.rank = rank();
  run.size = size();
  run.steps = steps;
  run.options.name = "verify_equivalence/together";
  return run;
}

struct Difference {
  std::string name;
  double relative = 0;
};

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::abs(value));
  return most;
}

/// The largest |a - b| over the largest |b|: infinite if their sizes differ, and not a number if
/// either holds what is none.
double relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double most = 0;
  for (std::size_t i = 0; i < a.size() && !std::isnan(most); ++i) {
    const double gap = std::abs(a[i] - b[i]);
    if (!(gap <= most)) most = gap;
  }
  return most == 0 ? 0 : most / std::max(largest(b), 1e-30);
}

/// The first tensor beyond the tolerance. `worst` gets the largest relative difference of all.
std::optional<Difference> first_difference(const Values& a, const Values& b, double tolerance,
                                           double* worst) {
  std::optional<Difference> first;
  for (std::size_t t = 0; t < std::max(a.size(), b.size()); ++t) {
    const bool both = t < std::min(a.size(), b.size());
    const double relative = both ? relative_difference(a[t].values, b[t].values)
                                 : std::numeric_limits<double>::infinity();
    if (!std::isnan(*worst) && !(relative <= *worst)) *worst = relative;
    if (!first && !(relative <= tolerance)) {
      first = Difference{t < b.size() ? b[t].name : a[t].name, relative};
    }
  }
  return first;
}

bool same_sizes(const Values& a, const Values& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const NamedValues& x, const NamedValues& y) {
                      return x.values.size() == y.values.size();
                    });
}

/// How many times longer the first step together is than the first step alone, by least squares.
double step_ratio(const Values& start, const Values& alone, const Values& together) {
  if (!same_sizes(start, alone) || !same_sizes(start, together)) return 1;
  double product = 0;
  double square = 0;
  for (std::size_t t = 0; t < start.size(); ++t) {
    for (std::size_t i = 0; i < start[t].values.size(); ++i) {
      const double own = alone[t].values[i] - start[t].values[i];
      product += own * (together[t].values[i] - start[t].values[i]);
      square += own * own;
    }
  }
  return square == 0 ? 1 : product / square;
}

bool near(double a, double b) { return std::abs(a - b) <= 0.05 * b; }

std::string reason(const Values& start, const Values& alone, const Values& together,
                   const std::string& name, double tolerance) {
  const int ranks = size();
  double worst = 0;
  const auto after_one = first_difference(together, alone, tolerance, &worst);
  const bool statistics = name.find("running") != name.npos || name.find("bn") != name.npos ||
                          name.find("norm") != name.npos;
  const double ratio = step_ratio(start, alone, together);
  if (near(ratio, ranks)) {
    return fmt::format(
        "the step of {} ranks is {:.2f} times too long: gradients that are means are "
        "added up (GradientMeaning::sum), or the learning rate was multiplied by the "
        "number of ranks",
        ranks, ratio);
  }
  if (near(ratio, 1.0 / ranks)) {
    return fmt::format(
        "the step of {} ranks is {:.2f} of the right length: gradients that are sums "
        "are averaged (GradientMeaning::mean), or the loss was divided by the global "
        "instead of the local batch",
        ranks, ratio);
  }
  if (!after_one) {
    return statistics ? "the first step is right and later ones are not, and the tensor looks like "
                        "one of a batch normalization: its statistics are those of the local batch"
                      : "the first step is right and later ones are not: the ranks' shares are "
                        "uneven (a mean of means is not the mean), samples repeat or are missing, "
                        "or a random choice (dropout, shuffling) depends on the rank";
  }
  if (statistics) {
    return "the tensor looks like one of a batch normalization, which sees only the local batch";
  }
  return "the ranks' shares together are not the batch of the one rank: uneven shares (a mean of "
         "means is not the mean), samples that repeat or are missing, or a random choice that "
         "depends on the rank";
}

/// Rank 0's text, on all ranks.
std::string share(const std::string& text) {
  const auto* const bytes = reinterpret_cast<const std::byte*>(text.data());
  const auto all = broadcast_object("verify_equivalence/text", {bytes, bytes + text.size()}, 0);
  return {reinterpret_cast<const char*>(all.data()), all.size()};
}

}  // namespace

std::vector<NamedValues> copies_of(const std::vector<Slot>& slots) {
  std::vector<NamedValues> copies;
  for (const Slot& slot : slots) {
    NamedValues copy{slot.name, {}};
    with_type(slot.parameter.dtype(), [&](auto element) {
      using T = decltype(element);
      const auto* const values = static_cast<const T*>(slot.parameter.data());
      for (std::int64_t i = 0; i < slot.parameter.count(); ++i) {
        copy.values.push_back(to_double(values[i]));
      }
    });
    copies.push_back(std::move(copy));
  }
  return copies;
}

EquivalenceReport verify_equivalence(const Train& train, const EquivalenceOptions& options) {
  const Alone alone;
  const Values start = train(alone.run(0));
  const Values alone_one = train(alone.run(1));
  const Values alone_all = train(alone.run(options.steps));
  const Values start_together = train(together(0));
  const Values together_one = train(together(1));
  EquivalenceRun whole = together(options.steps);
  whole.options.unused_parameters = std::make_shared<std::vector<std::string>>();
  const Values together_all = train(whole);

  EquivalenceReport report;
  report.unused_parameters = *whole.options.unused_parameters;
  double at_start = 0;
  const auto begins = first_difference(start_together, start, 0, &at_start);
  const auto ends =
      first_difference(together_all, alone_all, options.tolerance, &report.difference);
  if (begins) {
    report.text = fmt::format(
        "the training does not begin with the same values every time: '{}' differs before the "
        "first "
        "step; give the model a fixed seed that does not depend on the rank",
        begins->name);
  } else if (ends) {
    report.text = fmt::format(
        "after {} step(s) on {} ranks '{}' differs from one rank by {:.2g} of its largest element: "
        "{}",
        options.steps, size(), ends->name, ends->relative,
        reason(start, alone_one, together_one, ends->name, options.tolerance));
  }
  // The text is what rank 0 found; other ranks may have found no difference.
  double flags[2] = {report.text.empty() ? 1.0 : 0.0, report.difference};
  allreduce("verify_equivalence/difference", TensorView(&flags[1], {1}), ReduceOp::max);
  allreduce("verify_equivalence/equal", TensorView(&flags[0], {1}), ReduceOp::min);
  report.equal = flags[0] == 1.0;
  report.difference = flags[1];
  report.text = share(report.text);
  if (!report.equal && report.text.empty()) report.text = "it differs on some rank, not on rank 0";
  return report;
}

}  // namespace ringleader
