// How what starts a child and the child itself are scheduled: for spawn.c, and not for Swift.
#pragma once

#include <sys/types.h>

// Before a child is made: where the calling thread goes first, the child is to do so as well. Returns whether it is.
int agentd_lend_priority(void);

// In the child, before its program begins: it is scheduled as its maker is, and no thread and no process that it starts is.
void agentd_follow_maker(int lent);

// After a child was made to which priority was lent, as soon as its program has begun: it goes before nobody any more. 0 for
// a child that was not made.
void agentd_part_with_child(pid_t child);
