// Starting a child, holding any process by a pidfd, and learning how it ended.
#define _GNU_SOURCE
#include "CSupport.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The uapi of Linux 6.15 (linux/pidfd.h), which Debian 12's headers predate.
struct pidfd_info_64 {
  uint64_t mask;
  uint64_t cgroupid;
  uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  int32_t exit_code;
};
_Static_assert(sizeof(struct pidfd_info_64) == 64, "the first published size of struct pidfd_info");
#define PIDFD_GET_INFO_64 _IOWR(0xFF, 11, struct pidfd_info_64)
#define PIDFD_INFO_PID_BIT (UINT64_C(1) << 0)
#define PIDFD_INFO_EXIT_BIT (UINT64_C(1) << 3)

static int spawn(const char *path, char *const argv[], char *const envp[], const int stdio[3], pid_t *pid,
                 posix_spawnattr_t *attributes, posix_spawn_file_actions_t *actions) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int result = posix_spawnattr_setflags(
      attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  if (!result) result = posix_spawnattr_setsigmask(attributes, &none);
  if (!result) result = posix_spawnattr_setsigdefault(attributes, &all);
  for (int i = 0; i < 3 && !result; i++) {
    result = stdio[i] < 0 ? posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0)
                          : posix_spawn_file_actions_adddup2(actions, stdio[i], i);
  }
  if (!result) result = posix_spawn_file_actions_addclosefrom_np(actions, 3);
  if (!result) result = posix_spawn(pid, path, actions, attributes, argv, envp);
  return result;
}

int agentd_spawn(const char *path, char *const argv[], char *const envp[], const int stdio[3], pid_t *pid,
                 int *pidfd) {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  int result = posix_spawnattr_init(&attributes);
  if (result) return -result;
  result = posix_spawn_file_actions_init(&actions);
  if (!result) {
    result = spawn(path, argv, envp, stdio, pid, &attributes, &actions);
    posix_spawn_file_actions_destroy(&actions);
  }
  posix_spawnattr_destroy(&attributes);
  if (result) return -result;

  // The number cannot be another process yet: the child stays a zombie until we reap it.
  *pidfd = pidfd_open(*pid, 0);
  if (*pidfd >= 0) return 0;
  result = -errno;
  // Without a pidfd nobody could ever reap it. It dies of SIGKILL, so this wait is short and certain to end.
  kill(-*pid, SIGKILL);
  while (waitpid(*pid, 0, 0) < 0 && errno == EINTR) {
  }
  return result;
}

int agentd_limit_file_size(pid_t child, uint64_t bytes) {
  struct rlimit limit;
  int result = prlimit(child, RLIMIT_FSIZE, 0, &limit);
  // The daemon's own may be lower already, and nobody but root may go beyond it.
  if (result == 0 && bytes < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max = bytes;
    result = prlimit(child, RLIMIT_FSIZE, &limit, 0);
  }
  return result < 0 && errno != ESRCH ? -errno : 0;
}

int agentd_pidfd_open(pid_t pid) {
  int fd = pidfd_open(pid, 0);
  return fd < 0 ? -errno : fd;
}

int agentd_pidfd_signal(int pidfd, int signal) {
  return pidfd_send_signal(pidfd, signal, 0, 0) < 0 ? -errno : 0;
}

int agentd_reap(int pidfd, int *wait_status) {
  siginfo_t info;
  memset(&info, 0, sizeof info);
  int result;
  do {
    result = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return -errno;
  if (info.si_pid == 0) return 0;
  *wait_status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status & 0x7f;
  return 1;
}

int agentd_pidfd_exit(int pidfd, int *wait_status) {
  // In the moment in which a zombie is reaped the kernel finds the task and then no parent of it: ESRCH. Asked again
  // it answers from what it kept of the exit.
  struct pidfd_info_64 info;
  int result, attempts = 0;
  do {
    info = (struct pidfd_info_64){.mask = PIDFD_INFO_EXIT_BIT};
    result = ioctl(pidfd, PIDFD_GET_INFO_64, &info);
  } while (result < 0 && errno == ESRCH && ++attempts < 3);
  if (result < 0) return -errno;
  if (!(info.mask & PIDFD_INFO_EXIT_BIT)) return 0;
  *wait_status = info.exit_code;
  return 1;
}

int agentd_pidfd_parent(int pidfd) {
  struct pidfd_info_64 info = {0};
  if (ioctl(pidfd, PIDFD_GET_INFO_64, &info) < 0) return -errno;
  return info.mask & PIDFD_INFO_PID_BIT ? (int)info.ppid : -ESRCH;
}

// The first published size of struct sched_attr (linux/sched/types.h), which glibc lacks.
struct sched_attr_48 {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};
_Static_assert(sizeof(struct sched_attr_48) == 48, "SCHED_ATTR_SIZE_VER0");

void agentd_prefer_short_turns(void) {
  enum { RESET_ON_FORK = 1, TURN_NANOSECONDS = 100000 };
  struct sched_attr_48 attributes = {.size = sizeof attributes};
  // With the niceness as it is: the call sets both.
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) < 0) return;
  if (attributes.policy != SCHED_OTHER) return;
  attributes.flags |= RESET_ON_FORK;
  attributes.runtime = TURN_NANOSECONDS;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void agentd_thread_name(const char *name) { prctl(PR_SET_NAME, name); }
