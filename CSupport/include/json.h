// JSON as it is written and read, by RapidJSON, whose C++ stays behind this interface.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// A buffer with documents, one after another, and where in the last one the writing is. Text is UTF-8. Where there is no
// memory the process ends; nothing else fails. Debug builds end as well where a call is out of place, as a key in an array.
typedef struct agentd_json agentd_json;

// A pretty document has a line for each value, indented by two spaces.
agentd_json *agentd_json_open(bool is_pretty);
void agentd_json_close(agentd_json *json);

void agentd_json_begin_object(agentd_json *json);
void agentd_json_end_object(agentd_json *json);
void agentd_json_begin_array(agentd_json *json);
void agentd_json_end_array(agentd_json *json);
// Its value is what is written next.
void agentd_json_key(agentd_json *json, const uint8_t *name, size_t length);
void agentd_json_string(agentd_json *json, const uint8_t *text, size_t length);
void agentd_json_int(agentd_json *json, int64_t number);
void agentd_json_uint(agentd_json *json, uint64_t number);
void agentd_json_bool(agentd_json *json, bool value);
void agentd_json_null(agentd_json *json);
// Puts a record separator (RFC 7464) before a document.
void agentd_json_begin_record(agentd_json *json);
// Puts a newline after a document that is complete. Another may follow.
void agentd_json_end_line(agentd_json *json);

// What was written: good until the next call.
const uint8_t *agentd_json_bytes(const agentd_json *json, size_t *length);

// A document that was read, and a value in it, which is there as long as the document is.
typedef struct agentd_json_document agentd_json_document;
typedef struct agentd_json_value agentd_json_value;

// NULL for what is not one JSON value in UTF-8, however deep it is nested. Where there is no memory the process ends.
agentd_json_document *agentd_json_read(const uint8_t *text, size_t length);
void agentd_json_discard(agentd_json_document *document);
const agentd_json_value *agentd_json_root(const agentd_json_document *document);

// The first member of this name; NULL where there is none, or the value is no object.
const agentd_json_value *agentd_json_member(const agentd_json_value *value, const uint8_t *name, size_t length);
// How many elements an array has; -1 for what is none.
ptrdiff_t agentd_json_count(const agentd_json_value *array);
// The first element of an array that has one, and the one after another.
const agentd_json_value *agentd_json_first(const agentd_json_value *array);
const agentd_json_value *agentd_json_next(const agentd_json_value *element);
bool agentd_json_is_object(const agentd_json_value *value);
bool agentd_json_is_null(const agentd_json_value *value);
// What a value is, where it is that: false leaves the rest as it was. A number with a fraction or an exponent is no integer.
// Text is good as long as the document is.
bool agentd_json_get_string(const agentd_json_value *value, const uint8_t **text, size_t *length);
bool agentd_json_get_int(const agentd_json_value *value, int64_t *number);
bool agentd_json_get_uint(const agentd_json_value *value, uint64_t *number);
bool agentd_json_get_bool(const agentd_json_value *value, bool *flag);

#ifdef __cplusplus
}
#endif
