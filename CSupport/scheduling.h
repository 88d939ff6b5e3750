// How what starts a child and the child itself are scheduled: for spawn.c, and not for Swift.
#pragma once

#include <sys/types.h>

// In the child, before its program begins: it is scheduled as its maker is, and no thread and no process that it starts is.
void agentd_follow_maker(void);

// In its maker, as soon as the child's program has begun: it goes before nobody any more.
void agentd_part_with_child(pid_t child);
