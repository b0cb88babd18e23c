# SPDX-License-Identifier: Apache-2.0
"""Puts faults into a copy of the protocol, for mutation_test: the library has none of this.

  mutations.py PROTOCOL_FOLDER OUTPUT_FOLDER

Writes OUTPUT_FOLDER/<sources>.cc, the headers under their spelling in OUTPUT_FOLDER/include, and
mutation.h there, with the names. Each edit replaces text that must occur exactly once, so a change
of the protocol that touches a mutated line is noticed here. In the copy, `M(name)` is true while the
test has that mutation active.
"""

import os
import shutil
import sys

# name, faults that the simulator injects (any, damage: of messages, stops: of ranks), what is wrong,
# then file, text and replacement, once or more.
MUTATIONS = [
    ("decide_early", "any", "an operation is complete while one reporter is missing",
     "readiness.cc",
     "  return missing == 0;\n",
     "  return M(decide_early) ? (missing & (missing - 1)) == 0 : missing == 0;\n"),
    ("skip_subtree", "any", "the last child is not waited for",
     "catalog.cc",
     "    if (set.children[i].count > 0) set.reporters |=",
     "    if (i + 1 == set.children.size() && M(skip_subtree)) continue;\n"
     "    if (set.children[i].count > 0) set.reporters |="),
    ("unordered_plan", "any", "some ranks replay a plan's batches in another order",
     "plan_replay.cc",
     "  plans_[plan].arm(std::move(batches));\n",
     "  if (launches_.odd_rank && M(unordered_plan)) {\n"
     "    std::reverse(batches.begin(), batches.end());\n"
     "  }\n"
     "  plans_[plan].arm(std::move(batches));\n"),
    ("drop_after_error", "any", "an operation that failed never completes on some ranks",
     "log_reader.cc",
     "  complete(entry.key, entry.status);\n",
     "  if (!entry.status.ok() && launches_.odd_rank && M(drop_after_error)) return Status();\n"
     "  complete(entry.key, entry.status);\n"),
    ("reuse_id_early", "any", "an announcement under an id's old meaning counts for its new one",
     "node.cc",
     "    if (announcement.applied < catalog_.changed_at(id)) return;\n",
     "    if (announcement.applied < catalog_.changed_at(id) && !M(reuse_id_early)) return;\n"),
    ("wrong_join_count", "any", "a rank that has joined counts as a contributor",
     "readiness.cc",
     "  if ((absent & bit(kSelf)) != 0) accumulate",
     "  if ((absent & bit(kSelf)) != 0 && !M(wrong_join_count)) accumulate"),
    ("forget_void", "any", "batches that lack a rank's data succeed",
     "coordinator.cc",
     "    cuts_.push_back({positions.plan, positions.most, positions.least});\n",
     "    cuts_.push_back({positions.plan, positions.most,\n"
     "                     M(forget_void) ? UINT64_MAX : positions.least});\n"),
    ("cut_at_least", "any", "a cut is the nearest position instead of the furthest",
     "coordinator.cc",
     "  append_(CutEntry{positions.plan, positions.most});\n",
     "  append_(CutEntry{positions.plan, M(cut_at_least) ? positions.least : positions.most});\n"),
    ("oversize_batches", "any", "batches are filled to twice the limit",
     "fusion.cc",
     "bytes_of(*next.tensor) <= fusion_bytes_max;",
     "bytes_of(*next.tensor) <= fusion_bytes_max * (M(oversize_batches) ? 2 : 1);",
     "fusion.cc",
     "bytes_of(tensor) > fusion_bytes_max)",
     "bytes_of(tensor) > fusion_bytes_max * (M(oversize_batches) ? 2 : 1))"),
    ("fuse_phases", "any", "a plan's batch holds what cannot be ready at the same time",
     "fusion.cc",
     "tensor_a.phase == tensor_b.phase &&",
     "(tensor_a.phase == tensor_b.phase || M(fuse_phases)) &&"),
    ("ignore_conflict", "any", "disagreements are not noticed",
     "readiness.cc",
     "  } else if (!entry.conflict) {\n",
     "  } else if (!entry.conflict && !M(ignore_conflict)) {\n"),
    ("complete_twice", "any", "an operation completes twice",
     "launches.cc",
     "  actions_.emplace_back(Completion{token, std::move(status), value});\n",
     "  if (M(complete_twice)) actions_.emplace_back(Completion{token, status, value});\n"
     "  actions_.emplace_back(Completion{token, std::move(status), value});\n"),
    ("withhold_log", "any", "the log is not passed on to the last child",
     "node.cc",
     "  tell_children(bytes);\n  for (",
     "  tell_children(bytes);\n"
     "  if (M(withhold_log) && tree_.child_count() > 0) messages_.pop_back();\n  for ("),
    ("replay_unready", "any", "a plan's batch is launched before it is ready",
     "plan_state.cc",
     "  if (draining && with_zeros) return &batch;\n",
     "  if (draining && with_zeros) return &batch;\n"
     "  if (M(replay_unready) && ready_[batch[0]] != kNoToken) return &batch;\n"),
    ("announce_armed", "any", "parameters of an armed plan are announced",
     "plan_replay.cc",
     "  if (state.negotiated()) {\n",
     "  if (!state.negotiated() && M(announce_armed)) announce(plan, index);\n"
     "  if (state.negotiated()) {\n"),
    ("ignore_freeze", "any", "a frozen plan is launched on",
     "plan_state.cc",
     "  phase_ = Phase::frozen;\n",
     "  if (!M(ignore_freeze)) phase_ = Phase::frozen;\n"),
    ("deaf_to_loss", "any", "the children are not told of a loss",
     "node.cc",
     "  tell_children(bytes);\n  failed_ = true;\n",
     "  if (!M(deaf_to_loss)) tell_children(bytes);\n  failed_ = true;\n"),
    ("rash_proof", "any", "a deadlock is believed in as soon as all ranks wait",
     "deadlock_report.cc",
     "  if (!silent.empty() || !blocked || moving ||",
     "  if (M(rash_proof)) return blocked && !positions.empty();\n"
     "  if (!silent.empty() || !blocked || moving ||"),
    ("trust_old_waits", "any", "a thread whose operation has completed counts as waiting",
     "node.cc",
     "  if (awaited.empty()) return false;\n",
     "  if (awaited.empty()) return false;\n  if (M(trust_old_waits)) return true;\n"),
    ("hold_to_plans", "any", "a rank that has released a plan must follow it until all have",
     "node.cc",
     "    if (launches_.operations().removes(RequestKind::release_plan, plan)) continue;\n",
     "    if (launches_.operations().removes(RequestKind::release_plan, plan) && !M(hold_to_plans)) {\n"
     "      continue;\n"
     "    }\n"),
    ("refuse_late_position", "any", "a position in a plan that was released is a broken peer's",
     "node.cc",
     "    if (found == plans_.end()) continue;  // released meanwhile\n",
     "    if (found == plans_.end()) {\n"
     "      if (M(refuse_late_position)) return Status(Code::bad_message, \"unknown plan\");\n"
     "      continue;\n"
     "    }\n",
     "plan_replay.cc",
     "    if (launches_.operations().removes(RequestKind::release_plan, plan)) continue;\n",
     "    if (launches_.operations().removes(RequestKind::release_plan, plan) &&\n"
     "        !M(refuse_late_position)) {\n"
     "      continue;\n"
     "    }\n"),
    ("accept_repeats", "damage", "a repeated announcement counts",
     "node.cc",
     "  if (!in_turn) {\n",
     "  if (!in_turn && !M(accept_repeats)) {\n"),
    ("accept_damage", "damage", "the seal of a message is not looked at",
     "wire.h",
     "    return seal.word() == checksum(bytes_);\n",
     "    return seal.word() == checksum(bytes_) || M(accept_damage);\n"),
    ("never_overdue", "stops", "a rank waits for ever for one that does not run",
     "watch.cc",
     "  if (raised_ < Alarm::overdue && due(",
     "  if (raised_ < Alarm::overdue && !M(never_overdue) && due("),
    ("trust_the_root", "stops", "a rank that nobody answers waits on",
     "node.cc",
     "  if (alarm == Alarm::hopeless) {\n",
     "  if (alarm == Alarm::hopeless && !M(trust_the_root)) {\n"),
]

# What makes some ranks behave differently from others.
PREPARATION = [
    ("launches.h", "  bool changed_ = false;\n", "  bool changed_ = false;\n\n public:\n"
     "  bool odd_rank = false;\n\n private:\n"),
    ("node.cc", "  if (!tree_.is_root()) return;\n  coordinator_ = std::make_unique<Coordinator>(",
     "  launches_.odd_rank = tree_.rank % 2 == 1;\n"
     "  if (!tree_.is_root()) return;\n  coordinator_ = std::make_unique<Coordinator>("),
]


def names_header():
    names = "\n".join(f"  {name},  ///< {what}" for name, _, what, *_ in MUTATIONS)
    rows = "\n".join(f'    {{"{name}", Faults::{faults}}},' for name, faults, *_ in MUTATIONS)
    return f"""// SPDX-License-Identifier: Apache-2.0
// Written by tests/sim/mutations.py.
#pragma once

namespace ringleader::protocol {{

enum class Mutation {{
  none,
{names}
}};

/// What the simulator injects besides.
enum class Faults {{ any, damage, stops }};

struct MutationInfo {{
  const char* name;
  Faults faults;
}};

/// In the order of Mutation, without `none`.
inline constexpr MutationInfo kMutations[] = {{
{rows}
}};

inline Mutation active_mutation = Mutation::none;

}}  // namespace ringleader::protocol

#define M(name) (::ringleader::protocol::active_mutation == ::ringleader::protocol::Mutation::name)
"""


def edits():
    for file, old, new in PREPARATION:
        yield "the preparation", file, old, new
    for name, _, _, *rest in MUTATIONS:
        for i in range(0, len(rest), 3):
            yield name, *rest[i:i + 3]


def main(source, output):
    headers = os.path.join(output, "include", "ringleader", "core", "protocol")
    shutil.rmtree(output, ignore_errors=True)
    os.makedirs(headers)
    texts = {}
    for name in sorted(os.listdir(source)):
        if name.endswith((".h", ".cc")):
            with open(os.path.join(source, name), encoding="utf-8") as file:
                texts[name] = file.read()
    for mutation, file, old, new in edits():
        if texts[file].count(old) != 1:
            sys.exit(f"mutations.py: {mutation}: its text occurs {texts[file].count(old)} times "
                     f"in core/protocol/{file}:\n{old}")
        texts[file] = texts[file].replace(old, new)
    for name, text in texts.items():
        if " M(" in text or "(M(" in text or "!M(" in text:
            text = text.replace("\n#include", "\n#include <ringleader/core/protocol/mutation.h>\n"
                                "#include", 1)
        path = os.path.join(headers if name.endswith(".h") else output, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    with open(os.path.join(headers, "mutation.h"), "w", encoding="utf-8") as file:
        file.write(names_header())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
