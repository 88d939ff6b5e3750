// How the scheduler treats the daemon's two threads and the children that they start: short turns, or before all others.
#define _GNU_SOURCE
#include "scheduling.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "CSupport.h"

// The first published size of struct sched_attr (linux/sched/types.h), which glibc lacks.
struct sched_attr_48 {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};
_Static_assert(sizeof(struct sched_attr_48) == 48, "SCHED_ATTR_SIZE_VER0");

enum {
  SHORT_TURN_NANOSECONDS = 300000,
  RESET_ON_FORK = 1,
  // A child comes after its maker: else it would keep the processor when its program begins, and its maker from parting.
  CHILD_PRIORITY = 1,
  OWN_PRIORITY = 2,
};

// Whether this thread goes before all others. A child has its maker's until its program begins.
static _Thread_local int goes_first;

// Without the flag that a thread keeps which was started by one of us.
static int policy(void) { return sched_getscheduler(0) & ~SCHED_RESET_ON_FORK; }

static int set_ordinary(pid_t thread, uint64_t flags) {
  struct sched_attr_48 attributes = {
      .size = sizeof attributes, .policy = SCHED_OTHER, .flags = flags, .runtime = SHORT_TURN_NANOSECONDS};
  // The call sets the niceness as well.
  attributes.nice = getpriority(PRIO_PROCESS, (id_t)thread);
  return syscall(SYS_sched_setattr, thread, &attributes, 0) < 0 ? -errno : 0;
}

void agentd_prefer_short_turns(void) {
  // Whoever started us otherwise has a reason.
  if (policy() == SCHED_OTHER) set_ordinary(0, sched_getscheduler(0) & SCHED_RESET_ON_FORK ? RESET_ON_FORK : 0);
}

int agentd_go_first(void) {
  if (goes_first) return 0;
  if (policy() != SCHED_OTHER || getpriority(PRIO_PROCESS, 0) > 0) return -EPERM;
  if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = OWN_PRIORITY}) < 0) return -errno;
  goes_first = 1;
  return 0;
}

void agentd_go_in_turn(void) {
  // No right is needed for that.
  if (goes_first && set_ordinary(0, 0) == 0) goes_first = 0;
}

void agentd_follow_maker(void) {
  if (goes_first) {
    sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &(struct sched_param){.sched_priority = CHILD_PRIORITY});
  } else if (policy() == SCHED_OTHER) {
    set_ordinary(0, RESET_ON_FORK);
  }
}

void agentd_part_with_child(pid_t child) {
  if (goes_first) set_ordinary(child, RESET_ON_FORK);
}
