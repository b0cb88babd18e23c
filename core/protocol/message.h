// SPDX-License-Identifier: Apache-2.0
//
// The control messages. Announcements go up the tree, log entries go down, an abort goes to all
// neighbours.
//
//   message      kind (0 announcement, 1 log, 2 abort), the members below, a checksum of all that
//     announcement  sequence, applied, ready, absences, named, joins, leaving, positions, farewell,
//                   alarm, report
//     log           first index, number of entries, entries (each a kind and its members)
//     abort         code, text
//
// Every number is encoded as wire.h says. decode() accepts any bytes and returns a Status for
// those that are not a message.
#pragma once

#include <ringleader/core/protocol/deadlock_report.h>
#include <ringleader/core/protocol/id_set.h>
#include <ringleader/core/protocol/request.h>
#include <ringleader/core/protocol/wire.h>
#include <ringleader/core/result.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace ringleader::protocol {

/// Members of a subtree that did not submit an operation because they have joined.
struct Absence {
  std::int32_t count = 0;
  std::int32_t first_rank = -1;
};

/// An operation that the sender's whole subtree has ready and that cannot go by id: it has no id
/// yet, its request differs from what its id stands for, or ranks disagree about it.
struct NamedAnnouncement {
  std::shared_ptr<const Request> request;
  std::int32_t rank = 0;  ///< the rank whose request this is
  std::string site;       ///< where and when that rank submitted it: "train.cc:42 in step 7"
  Absence absence;
  std::optional<Conflict> conflict;
};

struct IdAbsence {
  std::uint32_t id = 0;
  Absence absence;
};

struct JoinAnnouncement {
  std::uint32_t process_set = 0;
  std::int32_t last_rank = 0;  ///< the rank of this subtree that joined last
};

/// The answer to a freeze: how many batches the subtree's members have launched.
struct PositionAnnouncement {
  std::uint32_t plan = 0;
  std::uint64_t least = 0;
  std::uint64_t most = 0;
};

struct Farewell {
  std::int32_t rank = 0;
};

struct Announcement {
  std::uint64_t sequence = 0;  ///< of the sender's announcements: 0, 1, 2, ...
  std::uint64_t applied = 0;   ///< log entries that the sender had applied; tells stale from new
  IdSet ready;
  std::vector<IdAbsence> absences;
  std::vector<NamedAnnouncement> named;
  std::vector<JoinAnnouncement> joins;
  std::vector<std::uint32_t> leaving;  ///< plans that some rank of the subtree cannot follow
  std::vector<PositionAnnouncement> positions;
  std::optional<Farewell> farewell;
  Alarm alarm = Alarm::none;
  std::optional<DeadlockReport> report;  ///< the answer to the latest inquiry in the log

  bool empty() const;
};

/// From now on `id` stands for this request. With `keep`, the request's name is announced by this
/// id from now on; without it, the id serves the launch that follows and may then be redefined.
struct DefineEntry {
  std::uint32_t id = 0;
  bool keep = true;
  std::shared_ptr<const Request> request;
};

/// Tensors [first, first + count) of the operation `id`.
struct BatchItem {
  std::uint32_t id = 0;
  std::uint32_t first_tensor = 0;
  std::uint32_t tensor_count = 1;
};

/// Every member launches these tensors as one collective.
struct LaunchEntry {
  std::uint32_t channel = 0;
  std::int32_t absent = 0;  ///< members that take part with neutral elements
  std::vector<BatchItem> items;
};

/// The operation ends without moving tensors, either with an error or successfully.
struct CompleteEntry {
  Key key;
  Status status;
};

/// A process set exists from now on. `id` may have belonged to a removed set.
struct SetEntry {
  std::uint32_t id = 0;
  std::vector<std::int32_t> ranks;
  Key key;
};

struct SetRemovedEntry {
  std::uint32_t id = 0;
  Key key;
};

/// A plan exists from now on; its parameters have the ids first_id, first_id + 1, ...
struct PlanEntry {
  std::uint32_t plan = 0;
  std::uint32_t first_id = 0;
  std::shared_ptr<const Request> request;
};

struct PlanReleasedEntry {
  std::uint32_t plan = 0;
  Key key;
};

/// Every member of the set has joined.
struct JoinedEntry {
  std::uint32_t process_set = 0;
  std::int32_t last_rank = 0;
};

/// From now on the plan's batches are launched without negotiation, in this order.
struct ArmEntry {
  std::uint32_t plan = 0;
  std::vector<std::vector<std::uint32_t>> batches;  ///< indices of parameters
};

/// Members stop launching the plan and answer with their position.
struct FreezeEntry {
  std::uint32_t plan = 0;
};

/// Members launch the plan up to `end`, then negotiate. Batches from `void_from` on lack the data
/// of a rank that shut down, and fail.
struct CutEntry {
  std::uint32_t plan = 0;
  std::uint64_t end = 0;
  std::uint64_t void_from = UINT64_MAX;
};

/// Nothing is decided after this entry.
struct ShutdownEntry {
  Status reason;
};

/// The root asks all ranks what they wait for. It waits longer after each attempt that some ranks
/// did not answer.
struct InquiryEntry {
  std::uint32_t attempt = 0;
};

/// Everything pending and undecided ends with this error on every rank, and earlier announcements
/// are void.
struct ResetEntry {
  Status reason;
};

using LogEntry = std::variant<DefineEntry, LaunchEntry, CompleteEntry, SetEntry, SetRemovedEntry,
                              PlanEntry, PlanReleasedEntry, JoinedEntry, ArmEntry, FreezeEntry,
                              CutEntry, ShutdownEntry, InquiryEntry, ResetEntry>;

struct LogAppend {
  std::uint64_t first = 0;  ///< index of the first entry in the log
  std::vector<LogEntry> entries;
};

struct Abort {
  Status reason;
};

using Message = std::variant<Announcement, LogAppend, Abort>;

/// Bytes to send. Shared, because a node forwards the same log to all its children.
using Payload = std::shared_ptr<const Bytes>;

/// The encoding of a Message that holds the argument.
Bytes encode(const Announcement& announcement);
Bytes encode(const LogAppend& append);
Bytes encode(const Abort& abort);
Bytes encode(const Message& message);
template <typename T>
Payload payload_of(const T& message) {
  return std::make_shared<const Bytes>(encode(message));
}

Result<Message> decode(std::span<const std::byte> bytes);

}  // namespace ringleader::protocol
