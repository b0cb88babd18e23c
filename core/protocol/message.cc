// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/message.h>

#include <type_traits>
#include <utility>

namespace ringleader::protocol {
namespace {

// One function per member lists the parts of every structure once; Encode and Decode walk the same
// list, so that the two cannot drift apart.

struct Encode {
  Writer& writer;

  void operator()(std::uint64_t value) { writer.u64(value); }
  void operator()(std::uint32_t value) { writer.u64(value); }
  void operator()(std::int32_t value) { writer.i64(value); }
  void operator()(std::int64_t value) { writer.i64(value); }
  void operator()(double value) { writer.f64(value); }
  void operator()(bool value) { writer.boolean(value); }
  void operator()(const std::string& value) { writer.string(value); }
  void operator()(const IdSet& value) { value.encode(writer); }
  void operator()(const std::shared_ptr<const Request>& value) { part(*value); }
  void operator()(const Status& value) {
    writer.u64(static_cast<std::uint64_t>(value.code()));
    writer.string(value.message());
  }
  template <typename Enum>
  void choice(const Enum& value, int) {
    writer.u64(static_cast<std::uint64_t>(value));
  }
  template <typename T>
  void operator()(const std::vector<T>& values) {
    writer.u64(values.size());
    for (const T& value : values) part(value);
  }
  template <typename T>
  void operator()(const std::optional<T>& value) {
    writer.boolean(value.has_value());
    if (value) part(*value);
  }
  template <typename T>
  void part(const T& value);
};

struct Decode {
  Reader& reader;

  void operator()(std::uint64_t& value) { value = reader.u64(); }
  void operator()(std::uint32_t& value) { value = reader.u32(); }
  void operator()(std::int32_t& value) { value = static_cast<std::int32_t>(reader.i64()); }
  void operator()(std::int64_t& value) { value = reader.i64(); }
  void operator()(double& value) { value = reader.f64(); }
  void operator()(bool& value) { value = reader.boolean(); }
  void operator()(std::string& value) { value = reader.string(); }
  void operator()(IdSet& value) { value = IdSet::decode(reader); }
  void operator()(std::shared_ptr<const Request>& value) {
    auto request = std::make_shared<Request>();
    part(*request);
    value = std::move(request);
  }
  void operator()(Status& value) {
    const auto code =
        static_cast<Code>(reader.bounded(static_cast<std::uint64_t>(Code::unsupported) + 1));
    value = Status(code, reader.string());
  }
  template <typename Enum>
  void choice(Enum& value, int limit) {
    value = static_cast<Enum>(reader.bounded(static_cast<std::uint64_t>(limit)));
  }
  template <typename T>
  void operator()(std::vector<T>& values) {
    const std::size_t size = reader.length();
    for (std::size_t i = 0; i < size && reader.ok(); ++i) part(values.emplace_back());
  }
  template <typename T>
  void operator()(std::optional<T>& value) {
    if (reader.boolean()) part(value.emplace());
  }
  template <typename T>
  void part(T& value);
};

template <typename Code>
void visit(Code& code, auto& x, const TensorSpec*) {
  code(x.name), code(x.shape), code.choice(x.dtype, kDTypeCount);
}
template <typename Code>
void visit(Code& code, auto& x, const Request*) {
  code.choice(x.op, kOpCount), code(x.process_set), code(x.name);
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
void visit(Code& code, auto& x, const PlanStanding*) {
  code(x.plan), code(x.step), code(x.batches), code(x.launched), code(x.unfinished);
}
template <typename Code>
void visit(Code& code, auto& x, const Standing*) {
  code(x.ranks), code(x.blocked), code(x.moving), code(x.waits), code(x.more_waits), code(x.plans);
  code(x.waited_us);
}
template <typename Code>
void visit(Code& code, auto& x, const Survey*) {
  code(x.applied), code(x.standings), code(x.others), code(x.silent), code(x.behind), code(x.least);
  code(x.blocked), code(x.moving);
}
template <typename Code>
void visit(Code& code, auto& x, const Announcement*) {
  code(x.sequence), code(x.applied), code(x.ready), code(x.absences), code(x.named);
  code(x.joins), code(x.leaving), code(x.positions), code(x.farewell);
  code.choice(x.alarm, kAlarmCount), code(x.survey);
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

template <std::size_t I = 0, typename Variant>
void decode_alternative(Decode& code, std::size_t kind, Variant& out) {
  if constexpr (I < std::variant_size_v<Variant>) {
    if (kind == I) {
      code.part(out.template emplace<I>());
    } else {
      decode_alternative<I + 1>(code, kind, out);
    }
  }
}

template <typename T>
constexpr bool is_variant = false;
template <typename... T>
constexpr bool is_variant<std::variant<T...>> = true;
template <typename T>
constexpr bool is_plain = requires(Encode code, const T& value) {
  code(value);
};

template <typename T>
void Encode::part(const T& value) {
  if constexpr (is_variant<T>) {
    writer.u64(value.index());
    std::visit([this](const auto& x) { part(x); }, value);
  } else if constexpr (is_plain<T>) {
    (*this)(value);
  } else {
    visit(*this, value, static_cast<const T*>(nullptr));
  }
}

template <typename T>
void Decode::part(T& value) {
  if constexpr (is_variant<T>) {
    decode_alternative(*this, reader.bounded(std::variant_size_v<T>), value);
  } else if constexpr (is_plain<T>) {
    (*this)(value);
  } else {
    visit(*this, value, static_cast<const T*>(nullptr));
  }
}

}  // namespace

bool Announcement::empty() const {
  return ready.empty() && named.empty() && joins.empty() && leaving.empty() && positions.empty() &&
         !farewell && alarm == Alarm::none && !survey;
}

namespace {

/// As Encode does for a variant, without copying the message into one.
template <std::size_t kind, typename T>
Bytes encode_kind(const T& value) {
  static_assert(std::is_same_v<std::variant_alternative_t<kind, Message>, T>);
  Writer writer;
  writer.u64(kind);
  Encode{writer}.part(value);
  writer.seal();
  return writer.take();
}

}  // namespace

Bytes encode(const Announcement& announcement) { return encode_kind<0>(announcement); }
Bytes encode(const LogAppend& append) { return encode_kind<1>(append); }
Bytes encode(const Abort& abort) { return encode_kind<2>(abort); }

Bytes encode(const Message& message) {
  return std::visit([](const auto& value) { return encode(value); }, message);
}

Result<Message> decode(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  Message message;
  const bool intact = reader.unseal();
  if (intact) Decode{reader}.part(message);
  if (!intact || !reader.ok() || !reader.at_end()) {
    return Status(Code::bad_message, "a control message of " + std::to_string(bytes.size()) +
                                         " bytes cannot be decoded");
  }
  return message;
}

}  // namespace ringleader::protocol
