// How the scheduler treats the daemon's two threads and the children that they start: short turns, or before all ordinary
// programs.
#define _GNU_SOURCE
#include "scheduling.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
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
  // A child comes after its maker: else it could keep the processor when its program begins, and its maker from parting.
  CHILD_PRIORITY = 1,
};

// At which priority this thread goes first; 0 while it does not. A child shares its maker's until its program begins.
static _Thread_local int own_priority;

// How long children had this thread's priority while it waited for them, in nanoseconds; and how long it had waited for
// anything when it lent that last.
static _Thread_local uint64_t lent_time, waited_before;

static uint64_t clock_time(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

// Since some moment: the thread had no processor.
static uint64_t waited(void) { return clock_time(CLOCK_MONOTONIC) - clock_time(CLOCK_THREAD_CPUTIME_ID); }

uint64_t agentd_thread_time(void) { return clock_time(CLOCK_THREAD_CPUTIME_ID) + lent_time; }

// Without the flag that its children do not inherit it.
static int policy(void) { return sched_getscheduler(0) & ~SCHED_RESET_ON_FORK; }

static int set_ordinary(pid_t thread, int resets) {
  struct sched_attr_48 attributes = {.size = sizeof attributes, .policy = SCHED_OTHER, .runtime = SHORT_TURN_NANOSECONDS};
  attributes.flags = resets ? RESET_ON_FORK : 0;
  // The call sets the niceness as well.
  attributes.nice = getpriority(PRIO_PROCESS, (id_t)thread);
  if (syscall(SYS_sched_setattr, thread, &attributes, 0) == 0) return 0;
  // A sandbox that does not know it must not be what keeps a thread first.
  int flag = resets ? SCHED_RESET_ON_FORK : 0;
  return sched_setscheduler(thread, SCHED_OTHER | flag, &(struct sched_param){0}) < 0 ? -errno : 0;
}

static int set_first(int priority, int resets) {
  int flag = resets ? SCHED_RESET_ON_FORK : 0;
  return sched_setscheduler(0, SCHED_FIFO | flag, &(struct sched_param){.sched_priority = priority}) < 0 ? -errno : 0;
}

void agentd_prefer_short_turns(void) {
  // Whoever started us otherwise has a reason.
  if (policy() == SCHED_OTHER) set_ordinary(0, sched_getscheduler(0) & SCHED_RESET_ON_FORK);
}

int agentd_go_first(int priority) {
  if (own_priority) return 0;
  if (policy() != SCHED_OTHER || getpriority(PRIO_PROCESS, 0) > 0) return -EPERM;
  // No thread that this one makes goes first because it does.
  int result = set_first(priority, 1);
  if (result == 0) own_priority = priority;
  return result;
}

int agentd_go_in_turn(void) {
  if (!own_priority) return 0;
  int result = set_ordinary(0, 0);
  // To have children inherit again takes a right that going first may have come without.
  if (result < 0) result = set_ordinary(0, 1);
  if (result == 0) own_priority = 0;
  return result;
}

int agentd_lend_priority(void) {
  // Somebody may have taken it from outside.
  if (!own_priority || policy() != SCHED_FIFO || set_first(own_priority, 0) < 0) return 0;
  waited_before = waited();
  return 1;
}

void agentd_follow_maker(int lent) {
  if (lent) {
    set_first(CHILD_PRIORITY, 1);
  } else if (policy() == SCHED_OTHER) {
    set_ordinary(0, 1);
  }
}

void agentd_part_with_child(pid_t child) {
  if (child > 0) set_ordinary(child, 1);
  set_first(own_priority, 1);
  lent_time += waited() - waited_before;
}
