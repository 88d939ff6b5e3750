// eventfd, timerfd, signalfd, inotify, pipes, Unix sockets and clocks, each close-on-exec; processors and memory.
#define _GNU_SOURCE
#include "CSupport.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static int or_errno(int result) { return result < 0 ? -errno : result; }

int agentd_eventfd(bool nonblocking) { return or_errno(eventfd(0, EFD_CLOEXEC | (nonblocking ? EFD_NONBLOCK : 0))); }

int agentd_timerfd(void) { return or_errno(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)); }

int agentd_timerfd_set(int fd, uint64_t nanoseconds) {
  struct itimerspec when = {
      .it_value = {.tv_sec = (time_t)(nanoseconds / 1000000000u), .tv_nsec = (long)(nanoseconds % 1000000000u)},
  };
  return or_errno(timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, 0));
}

int agentd_wall_timerfd(void) { return or_errno(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK)); }

int agentd_wall_timerfd_set(int fd, int64_t nanoseconds) {
  struct itimerspec when = {
      .it_value = {.tv_sec = (time_t)(nanoseconds / 1000000000), .tv_nsec = (long)(nanoseconds % 1000000000)},
  };
  if (timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, 0) == 0) return 0;
  return errno == ECANCELED ? 1 : -errno;
}

int agentd_wall_timerfd_read(int fd) {
  uint64_t expirations;
  ssize_t count;
  do {
    count = read(fd, &expirations, sizeof expirations);
  } while (count < 0 && errno == EINTR);
  if (count >= 0) return 1;
  return errno == ECANCELED ? 0 : -errno;
}

int agentd_signalfd(const int *signals, unsigned count) {
  sigset_t set;
  sigemptyset(&set);
  for (unsigned i = 0; i < count; i++) sigaddset(&set, signals[i]);
  int result = pthread_sigmask(SIG_BLOCK, &set, 0);
  if (result) return -result;
  return or_errno(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int agentd_signalfd_read(int fd) {
  struct signalfd_siginfo info;
  ssize_t count;
  do {
    count = read(fd, &info, sizeof info);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : (int)info.ssi_signo;
}

int agentd_inotify(void) { return or_errno(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)); }

int agentd_inotify_add(int inotify, const char *path) {
  return or_errno(inotify_add_watch(inotify, path, IN_MODIFY));
}

int agentd_inotify_remove(int inotify, int watch) { return or_errno(inotify_rm_watch(inotify, watch)); }

int agentd_inotify_read(int inotify, void *buffer, unsigned size, bool *more) {
  ssize_t count;
  do {
    count = read(inotify, buffer, size);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return -errno;
  // The kernel stops at the first event for which there is no room, the longest of which has a name of a file.
  *more = (size_t)count + sizeof(struct inotify_event) + NAME_MAX + 1 > size;
  return (int)count;
}

unsigned agentd_inotify_event(const void *read, struct agentd_file_event *event) {
  const struct inotify_event *next = read;
  event->watch = next->mask & IN_Q_OVERFLOW ? -1 : next->wd;
  event->is_over = next->mask & IN_IGNORED;
  event->name = next->len > 0 ? next->name : NULL;
  return (unsigned)sizeof *next + next->len;
}

int agentd_capture_pipe(int ends[2]) {
  return or_errno(pipe2(ends, O_CLOEXEC));
}

// O_NONBLOCK belongs to the open file, and each end of a pipe is one of its own: the child's end stays blocking.
int agentd_capture_without_blocking(int end) { return or_errno(fcntl(end, F_SETFL, O_NONBLOCK)); }

ssize_t agentd_write_nowait(int fd, const void *bytes, size_t count) {
  struct iovec piece = {.iov_base = (void *)bytes, .iov_len = count};
  ssize_t written = pwritev2(fd, &piece, 1, -1, RWF_NOWAIT);
  return written < 0 ? -errno : written;
}

int agentd_pipe_reserve(int pipe, unsigned bytes) {
  int held = fcntl(pipe, F_GETPIPE_SZ);
  if (held < 0) return -errno;
  if (bytes <= (unsigned)held) return 0;
  return bytes > INT_MAX ? -EINVAL : or_errno(fcntl(pipe, F_SETPIPE_SZ, (int)bytes));
}

int agentd_pipe_unread(int pipe) {
  int unread = 0;
  return ioctl(pipe, FIONREAD, &unread) < 0 ? -errno : unread;
}

int agentd_peer_uid(int socket, uint32_t *uid) {
  struct ucred credentials;
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) return -errno;
  *uid = credentials.uid;
  return 0;
}

static int unix_address(const char *path, struct sockaddr_un *address, socklen_t *size) {
  size_t length = strlen(path);
  if (length >= sizeof address->sun_path) return -ENAMETOOLONG;
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path, path, length);
  *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
  return 0;
}

int agentd_unix_listen(const char *path, int backlog) {
  struct sockaddr_un address;
  socklen_t size;
  int result = unix_address(path, &address, &size);
  if (result < 0) return result;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  // bind() makes the file with the mode of the socket's own inode: no moment in which others may connect.
  if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&address, size) < 0) {
    result = -errno;
    close(fd);
    return result;
  }
  if (chmod(path, 0600) < 0 || listen(fd, backlog) < 0) {
    result = -errno;
    unlink(path);
    close(fd);
    return result;
  }
  return fd;
}

int agentd_unix_accept(int listener) {
  int fd;
  do {
    fd = accept4(listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
  } while (fd < 0 && errno == EINTR);
  return or_errno(fd);
}

int agentd_unix_connect(const char *path) {
  struct sockaddr_un address;
  socklen_t size;
  int result = unix_address(path, &address, &size);
  if (result < 0) return result;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  if (connect(fd, (struct sockaddr *)&address, size) < 0) {
    result = -errno;
    close(fd);
    return result;
  }
  return fd;
}

int agentd_unix_datagram_connect(const char *name) {
  if (name[0] != '/' && name[0] != '@') return -EAFNOSUPPORT;
  struct sockaddr_un address;
  socklen_t size;
  int result = unix_address(name, &address, &size);
  if (result < 0) return result;
  if (name[0] == '@') {
    // An abstract name is as long as it is said to be: the closing NUL would be a part of it.
    address.sun_path[0] = 0;
    size--;
  }
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  if (connect(fd, (struct sockaddr *)&address, size) < 0) {
    result = -errno;
    close(fd);
    return result;
  }
  return fd;
}

int agentd_datagram_send(int fd, const void *message, size_t size) {
  ssize_t count;
  do {
    count = send(fd, message, size, MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : 0;
}

static int64_t nanoseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t agentd_monotonic(void) { return (uint64_t)nanoseconds(CLOCK_MONOTONIC); }

int64_t agentd_realtime(void) { return nanoseconds(CLOCK_REALTIME); }

int agentd_processors(void) {
  // As large as the kernel may want it: sched_getaffinity(2) refuses a set that is smaller than its own.
  cpu_set_t sets[8];
  if (sched_getaffinity(0, sizeof sets, sets) < 0) {
    return -errno;
  }
  return CPU_COUNT_S(sizeof sets, sets);
}

int agentd_is_in_memory(const char *path) {
  struct statfs system;
  if (statfs(path, &system) != 0) return 0;
  return system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC;
}

void agentd_release_memory(void) { malloc_trim(0); }
