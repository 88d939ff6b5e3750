// JSON as it is written: RapidJSON's two writers, of which a document has one.
#include "json.h"

#ifndef DEBUG
// RapidJSON would look for room at each byte, which it has made sure of before.
#define NDEBUG
#endif
// Lengths are 64 bits wide, as Swift's.
#define RAPIDJSON_NO_SIZETYPEDEFINE
#include <cstddef>
namespace rapidjson {
typedef std::size_t SizeType;
}

#include <cstdlib>
#include <cstring>
#include <new>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

namespace {

// RapidJSON does not look at what it is given. There is one of these, because each writer would make two.
class Allocator {
public:
  static const bool kNeedFree = true;

  void *Malloc(size_t size) { return Realloc(nullptr, 0, size); }

  void *Realloc(void *block, size_t, size_t size) {
    if (size == 0) {
      std::free(block);
      return nullptr;
    }
    void *moved = std::realloc(block, size);
    if (!moved) std::abort();
    return moved;
  }

  static void Free(void *block) { std::free(block); }
};

Allocator allocator;

using UTF8 = rapidjson::UTF8<>;
using Buffer = rapidjson::GenericStringBuffer<UTF8, Allocator>;
using Compact = rapidjson::Writer<Buffer, UTF8, UTF8, Allocator>;
using Pretty = rapidjson::PrettyWriter<Buffer, UTF8, UTF8, Allocator>;

// What stands for itself in a string.
bool is_plain(char byte) { return static_cast<unsigned char>(byte) >= 0x20 && byte != '"' && byte != '\\'; }

const char *characters(const uint8_t *text) { return reinterpret_cast<const char *>(text); }

// Room for most documents: a record's last one and a session's facts are a kilobyte.
constexpr size_t capacity = 2048;
// More levels than any document has.
constexpr size_t depth = 8;

} // namespace

// RapidJSON takes one byte of a string at a time, unless its own buffer and a processor that it knows are used. Here all bytes
// up to the next that has to be escaped are copied together. It has made sure of the room.
template <>
inline bool Compact::ScanWriteUnescapedString(rapidjson::GenericStringStream<rapidjson::UTF8<>> &text, size_t length) {
  const char *from = text.src_, *to = from, *end = text.head_ + length;
  while (to < end && is_plain(*to)) to++;
  std::memcpy(os_->PushUnsafe(static_cast<size_t>(to - from)), from, static_cast<size_t>(to - from));
  text.src_ = to;
  return to < end;
}

// The writer that is not used has allocated nothing.
struct agentd_json {
  Buffer buffer;
  Compact compact;
  Pretty pretty;
  const bool is_pretty;

  explicit agentd_json(bool is_pretty)
      : buffer(&allocator, capacity), compact(buffer, &allocator, depth), pretty(buffer, &allocator, depth),
        is_pretty(is_pretty) {
    pretty.SetIndent(' ', 2);
  }

  template <typename Call> void write(Call call) {
    if (is_pretty) {
      call(pretty);
    } else {
      call(compact);
    }
  }
};

agentd_json *agentd_json_open(bool is_pretty) {
  agentd_json *json = new (std::nothrow) agentd_json(is_pretty);
  if (!json) std::abort();
  return json;
}

void agentd_json_close(agentd_json *json) { delete json; }

void agentd_json_begin_object(agentd_json *json) {
  json->write([](auto &writer) { writer.StartObject(); });
}

void agentd_json_end_object(agentd_json *json) {
  json->write([](auto &writer) { writer.EndObject(); });
}

void agentd_json_begin_array(agentd_json *json) {
  json->write([](auto &writer) { writer.StartArray(); });
}

void agentd_json_end_array(agentd_json *json) {
  json->write([](auto &writer) { writer.EndArray(); });
}

void agentd_json_key(agentd_json *json, const uint8_t *name, size_t length) {
  json->write([=](auto &writer) { writer.Key(characters(name), length); });
}

void agentd_json_string(agentd_json *json, const uint8_t *text, size_t length) {
  json->write([=](auto &writer) { writer.String(characters(text), length); });
}

void agentd_json_int(agentd_json *json, int64_t number) {
  json->write([=](auto &writer) { writer.Int64(number); });
}

void agentd_json_uint(agentd_json *json, uint64_t number) {
  json->write([=](auto &writer) { writer.Uint64(number); });
}

void agentd_json_bool(agentd_json *json, bool value) {
  json->write([=](auto &writer) { writer.Bool(value); });
}

void agentd_json_null(agentd_json *json) {
  json->write([](auto &writer) { writer.Null(); });
}

void agentd_json_end_line(agentd_json *json) {
  json->buffer.Put('\n');
  json->write([=](auto &writer) { writer.Reset(json->buffer); });
}

const uint8_t *agentd_json_bytes(const agentd_json *json, size_t *length) {
  *length = json->buffer.GetSize();
  return reinterpret_cast<const uint8_t *>(json->buffer.GetString());
}
