// Starting a child, holding any process by a pidfd, and learning how it ended.
#define _GNU_SOURCE
#include "CSupport.h"
#include "scheduling.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
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

// What a child is told by its maker.
struct start {
  const char *path;
  char *const *argv, *const *envp;
  const int *stdio;
  // Whether it goes before ordinary programs until its own begins.
  int goes_first;
  // By the child: why it could not run its program; 0 when it could.
  volatile int error;
};

static void close_all_from(int first) {
  if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
  // Some sandboxes refuse what they do not know.
  struct rlimit limit = {.rlim_cur = 1024};
  getrlimit(RLIMIT_NOFILE, &limit);
  for (int file = first; (rlim_t)file < limit.rlim_cur; file++) close(file);
}

// Until its program begins a child runs in its maker's memory, on a stack that is a part of its maker's, who waits. So
// nothing is copied, and the child may do what its maker could, but for returning.
__attribute__((no_sanitize("address"))) static int run_program(void *argument) {
  struct start *start = argument;
  // What is ignored would stay so in its program. What is handled must not be by a child in our memory.
  struct sigaction standard = {.sa_handler = SIG_DFL};
  for (int signal = 1; signal <= SIGRTMAX; signal++) sigaction(signal, &standard, 0);
  for (int i = 0; i < 3; i++) {
    int file = start->stdio[i] < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : start->stdio[i];
    if (file < 0 || (file == i ? fcntl(i, F_SETFD, 0) : dup2(file, i)) < 0) goto failed;
  }
  close_all_from(3);
  // The last: until here it had its maker's share of the processors.
  setsid();
  // What was typed at the maker's terminal until now was not meant for it: to ignore a signal discards what is pending.
  static const int typed[] = {SIGINT, SIGQUIT, SIGHUP, SIGTSTP};
  for (unsigned i = 0; i < sizeof typed / sizeof *typed; i++) {
    sigaction(typed[i], &(struct sigaction){.sa_handler = SIG_IGN}, 0);
    sigaction(typed[i], &standard, 0);
  }
  agentd_follow_maker(start->goes_first);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, 0);
  execve(start->path, start->argv, start->envp);
failed:
  start->error = errno;
  _exit(127);
}

// As posix_spawn(3), by the same means, and with what that has no word for: a pidfd from the first moment; and a child that
// is scheduled as we are until its program begins, because until then we wait. Where all processors are busy that took as
// long as 15 ms with the turns that a new process gets; not for want of its first turn, but of the next: the kernel moves a
// process to another processor when it begins a program.
int agentd_spawn(const char *path, char *const argv[], char *const envp[], const int stdio[3], pid_t *pid,
                 int *pidfd) {
  enum { STACK_SIZE = 1 << 16 };
  _Alignas(16) char stack[STACK_SIZE];
  struct start start = {
      .path = path, .argv = argv, .envp = envp, .stdio = stdio, .goes_first = agentd_lend_priority()};
  sigset_t all, before;
  sigfillset(&all);
  // No handler of ours may run in a child that has our memory.
  pthread_sigmask(SIG_SETMASK, &all, &before);
  *pid = clone(run_program, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &start, pidfd);
  int result = *pid < 0 ? -errno : -start.error;
  if (start.goes_first) agentd_part_with_child(*pid);
  pthread_sigmask(SIG_SETMASK, &before, 0);
  if (*pid < 0 || result == 0) return result;
  // It has ended already.
  siginfo_t info;
  while (waitid(P_PIDFD, (id_t)*pidfd, &info, WEXITED) < 0 && errno == EINTR) {
  }
  close(*pidfd);
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

void agentd_thread_name(const char *name) { prctl(PR_SET_NAME, name); }
