// JSON as it is written, by RapidJSON's two writers, of which a document has one, and as its reader tells it, into a list.
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
#include <utility>
#include <rapidjson/prettywriter.h>
#include <rapidjson/reader.h>
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

// Whether eight bytes all do. A byte from which something is taken that is more than it is has its highest bit set then; of
// those that had it before, none is looked for.
bool are_plain(const char *bytes) {
  constexpr uint64_t ones = 0x0101010101010101, highest = 0x80 * ones;
  uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  const uint64_t control = word - 0x20 * ones, quote = (word ^ '"' * ones) - ones, backslash = (word ^ '\\' * ones) - ones;
  return ((control | quote | backslash) & ~word & highest) == 0;
}

const char *characters(const uint8_t *text) { return reinterpret_cast<const char *>(text); }

// Room for most documents: a record's last one and a session's facts are a kilobyte.
constexpr size_t capacity = 2048;
// The largest buffer that is kept for the next document.
constexpr size_t spare_capacity = 1 << 16;
// More levels than any document has.
constexpr size_t depth = 8;

} // namespace

// RapidJSON takes one byte of a string at a time, unless its own buffer and a processor that it knows are used. Here all bytes
// up to the next that has to be escaped are copied together. It has made sure of the room.
template <>
inline bool Compact::ScanWriteUnescapedString(rapidjson::GenericStringStream<rapidjson::UTF8<>> &text, size_t length) {
  const char *from = text.src_, *to = from, *end = text.head_ + length;
  while (end - to >= 8 && are_plain(to)) to += 8;
  while (to < end && is_plain(*to)) to++;
  std::memcpy(os_->PushUnsafe(static_cast<size_t>(to - from)), from, static_cast<size_t>(to - from));
  text.src_ = to;
  return to < end;
}

// The writer that is not used has allocated nothing.
struct agentd_json {
  Buffer buffer{&allocator, capacity};
  Compact compact{buffer, &allocator, depth};
  Pretty pretty{buffer, &allocator, depth};
  bool is_pretty = false;

  agentd_json() { pretty.SetIndent(' ', 2); }

  template <typename Call> void write(Call call) {
    if (is_pretty) {
      call(pretty);
    } else {
      call(compact);
    }
  }
};

namespace {

// The last writer that this thread has closed: the next document goes into its buffer.
struct Spare {
  agentd_json *json = nullptr;
  ~Spare() { delete std::exchange(json, nullptr); }
};

thread_local Spare spare;

} // namespace

agentd_json *agentd_json_open(bool is_pretty) {
  agentd_json *json = std::exchange(spare.json, nullptr);
  if (!json) json = new (std::nothrow) agentd_json;
  if (!json) std::abort();
  json->is_pretty = is_pretty;
  return json;
}

void agentd_json_close(agentd_json *json) {
  if (spare.json || json->buffer.stack_.GetCapacity() > spare_capacity) {
    delete json;
    return;
  }
  json->buffer.Clear();
  json->write([=](auto &writer) { writer.Reset(json->buffer); });
  spare.json = json;
}

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

void agentd_json_begin_record(agentd_json *json) { json->buffer.Put('\x1e'); }

void agentd_json_end_line(agentd_json *json) {
  json->buffer.Put('\n');
  json->write([=](auto &writer) { writer.Reset(json->buffer); });
}

const uint8_t *agentd_json_bytes(const agentd_json *json, size_t *length) {
  *length = json->buffer.GetSize();
  return reinterpret_cast<const uint8_t *>(json->buffer.GetString());
}

// A value, followed in its document by all that is in it. (RapidJSON's own tree has more than a message needs, and the one of
// 1.1.0 is refused by newer compilers.)
struct agentd_json_value {
  enum Kind : uint8_t { none, boolean, integer, natural, number, string, array, object } kind;
  bool flag;
  // How many it and all that is in it are; of one that is still open, the place of what it is in.
  size_t span;
  // Of its elements or members.
  size_t count;
  const char *name;
  size_t name_length;
  union {
    struct {
      const char *text;
      size_t length;
    };
    int64_t signed_number;
    uint64_t unsigned_number;
  };
};

// Values and strings are as many as the text has room for.
struct agentd_json_document {
  using Value = agentd_json_value;

  // RapidJSON takes all bytes of a character, and puts them down again, before it looks whether they are any: of one that is
  // cut off by the end, three more.
  static constexpr size_t padding = 4;

  Value *values = nullptr;
  size_t count = 0;
  char *text;

  explicit agentd_json_document(const uint8_t *bytes, size_t length)
      : text(static_cast<char *>(allocator.Malloc(length + padding))) {
    if (length > 0) std::memcpy(text, bytes, length);
    std::memset(text + length, 0, padding);
  }

  ~agentd_json_document() {
    Allocator::Free(values);
    Allocator::Free(text);
  }

  // What RapidJSON's reader calls. Strings stay where they are in the text, where it has put them without their escapes.
  bool Null() { return add(Value::none); }
  bool Bool(bool flag) { return add(Value::boolean, [=](Value &value) { value.flag = flag; }); }
  bool Int(int number) { return Int64(number); }
  bool Uint(unsigned number) { return Uint64(number); }
  bool Int64(int64_t number) { return add(Value::integer, [=](Value &value) { value.signed_number = number; }); }
  bool Uint64(uint64_t number) { return add(Value::natural, [=](Value &value) { value.unsigned_number = number; }); }
  bool Double(double) { return add(Value::number); }
  bool RawNumber(const char *, size_t, bool) { return add(Value::number); }
  bool String(const char *text, size_t length, bool) {
    return is_text(text, length) && add(Value::string, [=](Value &value) {
      value.text = text;
      value.length = length;
    });
  }
  bool StartObject() { return open(Value::object); }
  bool EndObject(size_t members) { return close(members); }
  bool StartArray() { return open(Value::array); }
  bool EndArray(size_t elements) { return close(elements); }
  bool Key(const char *text, size_t length, bool) {
    name = text;
    name_length = length;
    return is_text(text, length);
  }

private:
  // Whether there is no half of a pair in it: RapidJSON lets the second one stand alone (\udc00), which no UTF-8 has.
  static bool is_text(const char *text, size_t length) {
    const char *end = text + length;
    while ((text = static_cast<const char *>(std::memchr(text, 0xED, static_cast<size_t>(end - text))))) {
      text++;
      if (text < end && static_cast<unsigned char>(*text) >= 0xA0) return false;
    }
    return true;
  }

  size_t capacity = 0;
  size_t innermost = 0;
  const char *name = nullptr;
  size_t name_length = 0;

  template <typename Fill> bool add(Value::Kind kind, Fill fill) {
    if (count == capacity) {
      capacity = capacity ? 2 * capacity : 32;
      values = static_cast<Value *>(allocator.Realloc(values, 0, capacity * sizeof(Value)));
    }
    Value &value = values[count];
    value = Value{};
    value.kind = kind;
    value.span = 1;
    value.name = name;
    value.name_length = name_length;
    fill(value);
    name = nullptr;
    name_length = 0;
    count++;
    return true;
  }

  bool add(Value::Kind kind) {
    return add(kind, [](Value &) {});
  }

  bool open(Value::Kind kind) {
    add(kind, [this](Value &value) { value.span = innermost; });
    innermost = count - 1;
    return true;
  }

  bool close(size_t elements) {
    Value &value = values[innermost];
    value.count = elements;
    const size_t outer = value.span;
    value.span = count - innermost;
    innermost = outer;
    return true;
  }
};

agentd_json_document *agentd_json_read(const uint8_t *text, size_t length) {
  // Without recursion, which a stranger could make as deep as a line is long.
  constexpr unsigned flags =
      rapidjson::kParseInsituFlag | rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag;
  constexpr size_t open_capacity = 512;
  agentd_json_document *document = new (std::nothrow) agentd_json_document(text, length);
  if (!document) std::abort();
  rapidjson::GenericInsituStringStream<UTF8> stream(document->text);
  rapidjson::GenericReader<UTF8, UTF8, Allocator> reader(&allocator, open_capacity);
  // To the reader a zero byte is the end, wherever it is.
  if (!reader.Parse<flags>(stream, *document).IsError() && stream.Tell() == length) return document;
  delete document;
  return nullptr;
}

void agentd_json_discard(agentd_json_document *document) { delete document; }

const agentd_json_value *agentd_json_root(const agentd_json_document *document) { return document->values; }

const agentd_json_value *agentd_json_member(const agentd_json_value *value, const uint8_t *name, size_t length) {
  if (value->kind != agentd_json_value::object) return nullptr;
  const agentd_json_value *member = value + 1;
  for (size_t index = 0; index < value->count; index++) {
    if (member->name_length == length && std::memcmp(member->name, name, length) == 0) return member;
    member += member->span;
  }
  return nullptr;
}

ptrdiff_t agentd_json_count(const agentd_json_value *array) {
  return array->kind == agentd_json_value::array ? static_cast<ptrdiff_t>(array->count) : -1;
}

const agentd_json_value *agentd_json_next(const agentd_json_value *element) { return element + element->span; }

const agentd_json_value *agentd_json_first(const agentd_json_value *array) { return array + 1; }

bool agentd_json_is_object(const agentd_json_value *value) { return value->kind == agentd_json_value::object; }

bool agentd_json_is_null(const agentd_json_value *value) { return value->kind == agentd_json_value::none; }

bool agentd_json_get_string(const agentd_json_value *value, const uint8_t **text, size_t *length) {
  if (value->kind != agentd_json_value::string) return false;
  *text = reinterpret_cast<const uint8_t *>(value->text);
  *length = value->length;
  return true;
}

bool agentd_json_get_int(const agentd_json_value *value, int64_t *number) {
  if (value->kind == agentd_json_value::natural && value->unsigned_number <= INT64_MAX) {
    *number = static_cast<int64_t>(value->unsigned_number);
    return true;
  }
  if (value->kind != agentd_json_value::integer) return false;
  *number = value->signed_number;
  return true;
}

bool agentd_json_get_uint(const agentd_json_value *value, uint64_t *number) {
  if (value->kind != agentd_json_value::natural) return false;
  *number = value->unsigned_number;
  return true;
}

bool agentd_json_get_bool(const agentd_json_value *value, bool *flag) {
  if (value->kind != agentd_json_value::boolean) return false;
  *flag = value->flag;
  return true;
}
