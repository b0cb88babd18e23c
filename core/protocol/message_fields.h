// SPDX-License-Identifier: Apache-2.0
//
// The members of every message structure, in wire order. `code` is an encoder or a decoder; the
// last argument selects the structure.
#pragma once

#include <ringleader/core/protocol/message.h>

namespace ringleader::protocol {

template <typename Code>
void visit(Code& code, auto& x, const TensorSpec*) {
  code(x.name), code(x.shape), code.choice(x.dtype, kDTypeCount);
  code.choice(x.op, kOpCount), code(x.root), code(x.to), code(x.phase);
}
template <typename Code>
void visit(Code& code, auto& x, const Request*) {
  code.choice(x.kind, kRequestKindCount), code.choice(x.op, kOpCount);
  code(x.process_set), code(x.name);
  code.choice(x.device, kDeviceCount), code.choice(x.reduce_op, kReduceOpCount);
  code(x.prescale), code(x.postscale), code(x.average_over_contributors), code(x.root);
  code(x.tensors), code(x.ranks), code(x.target);
}
template <typename Code>
void visit(Code& code, auto& x, const Key*) {
  code(x.process_set), code(x.name);
}
template <typename Code>
void visit(Code& code, auto& x, const Conflict*) {
  code(x.what.field), code(x.what.value_a), code(x.what.value_b), code(x.rank_a), code(x.rank_b);
  code(x.site_a), code(x.site_b);
}
template <typename Code>
void visit(Code& code, auto& x, const Absence*) {
  code(x.count), code(x.first_rank);
}
template <typename Code>
void visit(Code& code, auto& x, const NamedAnnouncement*) {
  code(x.request), code(x.rank), code(x.site), code.part(x.absence), code(x.conflict);
}
template <typename Code>
void visit(Code& code, auto& x, const IdAbsence*) {
  code(x.id), code.part(x.absence);
}
template <typename Code>
void visit(Code& code, auto& x, const JoinAnnouncement*) {
  code(x.process_set), code(x.last_rank);
}
template <typename Code>
void visit(Code& code, auto& x, const PositionAnnouncement*) {
  code(x.plan), code(x.least), code(x.most);
}
template <typename Code>
void visit(Code& code, auto& x, const Farewell*) {
  code(x.rank);
}
template <typename Code>
void visit(Code& code, auto& x, const RankRange*) {
  code(x.first), code(x.last);
}
template <typename Code>
void visit(Code& code, auto& x, const Wait*) {
  code(x.process_set), code(x.name), code(x.kind), code(x.site);
}
template <typename Code>
void visit(Code& code, auto& x, const PlanPosition*) {
  code(x.plan), code(x.step), code(x.batches), code(x.launched), code(x.unfinished);
}
template <typename Code>
void visit(Code& code, auto& x, const RankPosition*) {
  code(x.ranks), code(x.blocked), code(x.moving), code(x.waits), code(x.more_waits), code(x.plans);
  code(x.waited_us);
}
template <typename Code>
void visit(Code& code, auto& x, const DeadlockReport*) {
  code(x.applied), code(x.positions), code(x.others), code(x.silent), code(x.behind), code(x.least);
  code(x.blocked), code(x.moving);
}
template <typename Code>
void visit(Code& code, auto& x, const Announcement*) {
  code(x.sequence), code(x.applied), code(x.ready), code(x.absences), code(x.named);
  code(x.joins), code(x.leaving), code(x.positions), code(x.farewell);
  code.choice(x.alarm, kAlarmCount), code(x.report);
}
template <typename Code>
void visit(Code& code, auto& x, const DefineEntry*) {
  code(x.id), code(x.keep), code(x.request);
}
template <typename Code>
void visit(Code& code, auto& x, const BatchItem*) {
  code(x.id), code(x.first_tensor), code(x.tensor_count);
}
template <typename Code>
void visit(Code& code, auto& x, const LaunchEntry*) {
  code(x.channel), code(x.absent), code(x.items);
}
template <typename Code>
void visit(Code& code, auto& x, const CompleteEntry*) {
  code.part(x.key), code(x.status);
}
template <typename Code>
void visit(Code& code, auto& x, const SetEntry*) {
  code(x.id), code(x.ranks), code.part(x.key);
}
template <typename Code>
void visit(Code& code, auto& x, const SetRemovedEntry*) {
  code(x.id), code.part(x.key);
}
template <typename Code>
void visit(Code& code, auto& x, const PlanEntry*) {
  code(x.plan), code(x.first_id), code(x.request);
}
template <typename Code>
void visit(Code& code, auto& x, const PlanReleasedEntry*) {
  code(x.plan), code.part(x.key);
}
template <typename Code>
void visit(Code& code, auto& x, const JoinedEntry*) {
  code(x.process_set), code(x.last_rank);
}
template <typename Code>
void visit(Code& code, auto& x, const ArmEntry*) {
  code(x.plan), code(x.batches);
}
template <typename Code>
void visit(Code& code, auto& x, const FreezeEntry*) {
  code(x.plan);
}
template <typename Code>
void visit(Code& code, auto& x, const CutEntry*) {
  code(x.plan), code(x.end), code(x.void_from);
}
template <typename Code>
void visit(Code& code, auto& x, const ShutdownEntry*) {
  code(x.reason);
}
template <typename Code>
void visit(Code& code, auto& x, const InquiryEntry*) {
  code(x.attempt);
}
template <typename Code>
void visit(Code& code, auto& x, const ResetEntry*) {
  code(x.reason);
}
template <typename Code>
void visit(Code& code, auto& x, const LogAppend*) {
  code(x.first), code(x.entries);
}
template <typename Code>
void visit(Code& code, auto& x, const Abort*) {
  code(x.reason);
}

}  // namespace ringleader::protocol
