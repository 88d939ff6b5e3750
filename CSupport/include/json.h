// JSON as it is written, by RapidJSON, whose C++ stays behind this interface.
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
// Puts a newline after a document that is complete. Another may follow.
void agentd_json_end_line(agentd_json *json);

// What was written: good until the next call.
const uint8_t *agentd_json_bytes(const agentd_json *json, size_t *length);

#ifdef __cplusplus
}
#endif
