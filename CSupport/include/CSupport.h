// What the kernel offers and Swift's Glibc module does not: one flat C interface, errors as negative errno.
//
// Nothing here includes a kernel or liburing header, because some of them clash with Swift modules; the
// .c files include what they need.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

// A descriptor became ready. `ready` is a set of AGENTD_READY_ bits; `rearm` says that the registration is
// spent and has to be made again.
struct agentd_event {
  uint64_t token;
  uint32_t ready;
  bool rearm;
};

enum {
  AGENTD_READY_READ = 1,
  AGENTD_READY_WRITE = 2,
  AGENTD_READY_HANGUP = 4,
  // Of an interest: the registration may be spent with its first event, which says so by `rearm`.
  AGENTD_READY_ONCE = 8,
};

// The token of events that nobody waits for. No registration may use it, nor the one before the highest, which is
// the ring's own.
enum { AGENTD_TOKEN_NONE = 0 };

// --- ring.c: io_uring ---

typedef struct agentd_ring agentd_ring;

// Opens a ring for the calling thread, which must be the only one that uses it.
int agentd_ring_open(agentd_ring **ring);
void agentd_ring_close(agentd_ring *ring);
// Reports every edge to readiness in `interest`, until agentd_ring_remove.
int agentd_ring_add(agentd_ring *ring, int fd, uint32_t interest, uint64_t token);
// The kernel is told with the next wait, until when it may keep the file open behind a closed descriptor.
int agentd_ring_remove(agentd_ring *ring, uint64_t token);
// Tells the kernel now.
int agentd_ring_settle(agentd_ring *ring);
// Keeps the file behind a descriptor in the ring's own table, which does not count against the open-files limit. Returns
// its slot, or -EOPNOTSUPP where the kernel cannot give it back (before Linux 6.8), -ENFILE when the table is full.
int agentd_ring_stow(agentd_ring *ring, int fd);
// As agentd_ring_add, for what was stowed.
int agentd_ring_add_stowed(agentd_ring *ring, int slot, uint32_t interest, uint64_t token);
// A descriptor, close-on-exec, of what was stowed; it stays stowed.
int agentd_ring_reopen(agentd_ring *ring, int slot);
// Lets go of what was stowed, at the latest when 64 more are let go. Its registration must have been removed.
void agentd_ring_discard(agentd_ring *ring, int slot);
// Returns how many events were written. With `block`, returns only when there is at least one event or a
// signal handler ran (-EINTR).
int agentd_ring_wait(agentd_ring *ring, struct agentd_event *events, unsigned capacity, bool block);

// --- epoll.c: the same on epoll ---

int agentd_epoll_open(void);
int agentd_epoll_add(int epoll, int fd, uint32_t interest, uint64_t token);
int agentd_epoll_remove(int epoll, int fd);
int agentd_epoll_wait(int epoll, struct agentd_event *events, unsigned capacity, bool block);

// --- spawn.c: children and processes ---

// Starts `path` in its own session with an empty signal mask, default dispositions and exactly the descriptors 0, 1
// and 2, taken from `stdio`, where a negative one is /dev/null. It begins without a terminal, in a process group of its
// own; and where the kernel gives each session its share of the processors (sched_autogroup_enabled, sched(7)), what a
// child uses does not count against the daemon. On success *pid and *pidfd are set; the pidfd is close-on-exec.
int agentd_spawn(const char *path, char *const argv[], char *const envp[], const int stdio[3], pid_t *pid,
                 int *pidfd);
// Bounds the size of the files that a child, and whatever it starts from now on, may write. One that has ended is no
// error.
int agentd_limit_file_size(pid_t child, uint64_t bytes);
int agentd_pidfd_open(pid_t pid);
int agentd_pidfd_signal(int pidfd, int signal);
// Reaps the child behind the pidfd. Returns 1 and its wait status when it had ended, 0 when it still runs.
int agentd_reap(int pidfd, int *wait_status);
// Asks the kernel how a process ended that may not be our child (Linux 6.15 and later). Returns 1 and its wait
// status, 0 when it has not been reaped by its parent yet, -ENOTTY and the like where the kernel cannot say.
int agentd_pidfd_exit(int pidfd, int *wait_status);
// Asks the kernel for a process's parent now (Linux 6.13 and later); -ENOTTY and the like where it cannot say.
int agentd_pidfd_parent(int pidfd);

// Asks the scheduler for short turns soon after each wake-up, instead of long ones (Linux 6.12 and later; else nothing
// happens). For the calling thread, and for the first thread of each program that it starts by agentd_spawn; whatever that
// starts has turns as others have.
void agentd_prefer_short_turns(void);

// Has the calling thread go before all ordinary ones as soon as it is ready (SCHED_FIFO, at a priority from 2 on). A child
// does so too until its program begins. No thread that it makes does.
//
// Returns 0 or -errno: -EPERM where it may not (CAP_SYS_NICE may, and who has RLIMIT_RTPRIO), and where whoever started the
// daemon has given it another policy or a niceness above 0.
int agentd_go_first(int priority);

// Ends that: the calling thread has ordinary, short turns again. Returns 0 or -errno.
int agentd_go_in_turn(void);

// How long the calling thread, or a child that went first in its stead, has had a processor, in nanoseconds.
uint64_t agentd_thread_time(void);

// Whether what is below a path is never on a disk: 1 for a tmpfs or a ramfs, 0 for others and for what cannot be asked.
int agentd_is_in_memory(const char *path);
// Names the calling thread, at most 15 bytes, for ps and gdb.
void agentd_thread_name(const char *name);

// --- descriptors.c: the rest of the fd family ---

int agentd_eventfd(bool nonblocking);
// Monotonic, non-blocking.
int agentd_timerfd(void);
// Fires once at `nanoseconds` of the monotonic clock; 0 disarms.
int agentd_timerfd_set(int fd, uint64_t nanoseconds);
// Of the wall clock, non-blocking.
int agentd_wall_timerfd(void);
// Fires once at `nanoseconds` of the wall clock, and when that clock is set before; 0 disarms. Returns 1 when the
// clock was set since the descriptor was last read; it is armed then, too.
int agentd_wall_timerfd_set(int fd, int64_t nanoseconds);
// Returns 1 when it fired, 0 when the clock was set, -EAGAIN when neither happened.
int agentd_wall_timerfd_read(int fd);
// Blocks the signals for the calling thread (and those it starts later) and returns a non-blocking signalfd.
int agentd_signalfd(const int *signals, unsigned count);
// Returns the signal number that was waiting, -EAGAIN when none was.
int agentd_signalfd_read(int fd);
int agentd_inotify(void);
// Watches a file, or the files that are in a directory, for being written to. (That one is closed is no news: the write has
// told what it brought.)
int agentd_inotify_add(int inotify, const char *path);
int agentd_inotify_remove(int inotify, int watch);
// What was written to. Events were lost where `watch` is -1.
struct agentd_file_event {
  int watch;
  // The watch has ended, because it was removed or what it watched is gone.
  bool is_over;
  // In a directory that is watched; NULL for a file that is watched itself. A part of what was read.
  const char *name;
};
// The least that is to be read at a time.
enum { AGENTD_INOTIFY_BUFFER = 4096 };
// Reads pending events into `buffer`, which is aligned for a pointer; returns how many bytes, -EAGAIN when none wait. *more
// says whether the queue may not be empty now.
int agentd_inotify_read(int inotify, void *buffer, unsigned size, bool *more);
// Takes the event at the beginning of what was read, and returns how many bytes of it that is.
unsigned agentd_inotify_event(const void *read, struct agentd_file_event *event);
// A pipe for a child's output: ends[0], ours, and ends[1], the child's. Both block.
int agentd_capture_pipe(int ends[2]);
// From now on reading from our end does not block.
int agentd_capture_without_blocking(int end);
// Writes at the end of a file, a pipe or a socket what it takes without waiting, whatever its O_NONBLOCK says: -EAGAIN for
// nothing, -EOPNOTSUPP where that cannot be asked for.
ssize_t agentd_write_nowait(int fd, const void *bytes, size_t count);
// Makes a pipe hold at least so many bytes; never makes it smaller.
int agentd_pipe_reserve(int pipe, unsigned bytes);
// How many bytes in a pipe, of which either end is given, wait to be read.
int agentd_pipe_unread(int pipe);
// The uid of the peer of a connected Unix socket.
int agentd_peer_uid(int socket, uint32_t *uid);
// Binds a listening Unix socket at `path` with the mode 0600 from its first moment.
int agentd_unix_listen(const char *path, int backlog);
int agentd_unix_accept(int listener);
// Connects a non-blocking Unix socket. A full backlog is -EAGAIN.
int agentd_unix_connect(const char *path);
// Connects a non-blocking datagram socket to an absolute path, or to a name in the abstract namespace, which begins
// with @. Anything else is -EAFNOSUPPORT.
int agentd_unix_datagram_connect(const char *name);
// Sends one datagram. A receiver whose queue is full is -EAGAIN.
int agentd_datagram_send(int fd, const void *message, size_t size);
// The monotonic and the wall clock, in nanoseconds.
uint64_t agentd_monotonic(void);
int64_t agentd_realtime(void);
// How many processors the calling thread may run on, or -errno.
int agentd_processors(void);
// Gives memory that was freed back to the kernel (malloc_trim(3)), in about a millisecond for ten megabytes.
void agentd_release_memory(void);
#include "audit.h"
#include "json.h"
