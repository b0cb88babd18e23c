// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/message.h>
#include <ringleader/core/protocol/message_fields.h>

#include <type_traits>
#include <utility>

namespace ringleader::protocol {
namespace {

// Encode and Decode walk the same lists of members (message_fields.h), so that the two cannot drift
// apart.

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
        static_cast<Code>(reader.bounded(static_cast<std::uint64_t>(Code::no_memory) + 1));
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
    std::visit([this](const auto& x) { this->part(x); }, value);
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
         !farewell && alarm == Alarm::none && !report;
}

namespace {

/// Encodes as Encode does for a variant, without copying the message into one.
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
