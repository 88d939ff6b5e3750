// What the benchmarks need and a shell lacks, one static program that is called by several names.
//
//     podman WORD...          runs the podman named by BENCH_PODMAN and writes down, into BENCH_LOG, when
//     pidwait FILE            returns when the process has ended whose id is in FILE
//     spawncost N PROGRAM FILE   what it costs to start PROGRAM N times and to reap it, with the NUL-terminated words of FILE
//     programtimes PROGRAM FILE  writes into FILE when processes begin to be PROGRAM, and when they end, as the kernel knows it
//
// BENCH_LOG gets one line an event, its times in nanoseconds of CLOCK_MONOTONIC:
//
//     call VERB PID BEGAN ENDED CODE NAME...   one podman process; the containers that it was called with
//     envelope NAME AT                     a container could go on: there was something in its FIFO
//     exit NAME AT                         the container's init ended
//     conmon NAME AT                       its conmon ended: all output is written, podman's own cleanup is over
//
// The last three come from an observer, which each launch leaves behind until the container's end. It only looks.
//
// A podman that was started begins here when it first has a processor, and that may be milliseconds after its program has
// begun: the kernel has others to serve. What is started so is podman's affair, not its starter's. So programtimes asks the
// kernel, which marks the moments itself and wakes nobody for that:
//
//     ready                  from here on nothing is missed
//     began PID AT           a process has become PROGRAM: its execve(2) is over
//     ended PID AT           the first thread of a process with PROGRAM's name ends
//
// What reads a clock goes before all others, where that is allowed: else it would read it late wherever the processors are
// busy, and what is measured would be how long it waited itself.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void go_first(int flags) {
  struct sched_param first = {.sched_priority = 1};
  sched_setscheduler(0, SCHED_FIFO | flags, &first);
}

static void die(const char *what, const char *name) {
  dprintf(2, "Error: %s: %s: %s\n", what, name, strerror(errno));
  _exit(125);
}

static int held_process(const char *path) {
  char text[16] = "";
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  ssize_t count = read(file, text, sizeof text - 1);
  close(file);
  return count > 0 ? pidfd_open(atoi(text), 0) : -1;
}

static const char *value_after(int count, char **words, const char *option) {
  for (int i = 2; i + 1 < count; i++)
    if (!strcmp(words[i], option)) return words[i + 1];
  return 0;
}

static const char *envelope_path(int count, char **words) {
  for (int i = 2; i + 1 < count; i++) {
    char *source = strstr(words[i + 1], "src="), *destination = strstr(words[i + 1], "dst=/agentd/envelope");
    if (!strcmp(words[i], "--mount") && source && destination)
      return strndup(source + 4, strcspn(source + 4, ","));
  }
  return 0;
}

// Started before the launch is over, so before anybody can have written into the FIFO.
static void observe(int count, char **words, int log) {
  static const char *const events[] = {"envelope", "exit", "conmon"};
  const char *name = value_after(count, words, "--name"), *pid = value_after(count, words, "--pidfile");
  const char *conmon = value_after(count, words, "--conmon-pidfile"), *fifo = envelope_path(count, words);
  if (!name || !pid || !conmon || !fifo) return;
  struct pollfd watched[3] = {
      {.fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC), .events = POLLIN},
      {.fd = held_process(pid), .events = POLLIN},
      {.fd = held_process(conmon), .events = POLLIN},
  };
  // At once, also to let go of its output: whoever reads that waits for its end.
  go_first(0);
  if (fork() != 0) return;
  setsid();
  int null = open("/dev/null", O_RDWR);
  for (int i = 0; i < 3; i++) dup2(null, i);
  close(null);
  int left = 0;
  for (int i = 0; i < 3; i++) left += watched[i].fd >= 0;
  while (left > 0) {
    if (poll(watched, 3, -1) < 0) continue;
    long long at = now();
    for (int i = 0; i < 3; i++) {
      if (watched[i].fd < 0 || !watched[i].revents) continue;
      dprintf(log, "%s %s %lld\n", events[i], name, at);
      close(watched[i].fd);
      watched[i].fd = -1;
      left--;
      // A session that was never released: what is left of its FIFO says nothing more.
      if (i == 2 && watched[0].fd >= 0) left = 0;
    }
  }
  _exit(0);
}

static int timed_podman(int count, char **words) {
  const char *podman = getenv("BENCH_PODMAN"), *path = getenv("BENCH_LOG");
  if (!podman || !path) die("BENCH_PODMAN and BENCH_LOG", "must be set");
  int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (log < 0) die("open", path);
  // But not podman.
  go_first(SCHED_RESET_ON_FORK);
  // As the daemon does with each podman: the kernel may share the processors out by session (autogroup in sched(7)).
  setsid();
  long long began = now();
  pid_t child;
  words[0] = "podman";
  int status = posix_spawn(&child, podman, 0, 0, words, environ);
  if (status) {
    errno = status;
    die("start", podman);
  }
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const char *verb = count > 1 ? words[1] : "";
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  int launches = !strcmp(verb, "run");
  if (launches && code == 0) observe(count, words, log);
  char line[1 << 14];
  size_t length = (size_t)snprintf(line, sizeof line, "call %s %d %lld %lld %d", verb, getpid(), began, now(), code);
  for (int i = 2; i < count; i++) {
    if (strncmp(words[i], "agentd-", 7) || length + strlen(words[i]) + 2 >= sizeof line) continue;
    length += (size_t)snprintf(line + length, sizeof line - length, " %s", words[i]);
    if (launches) break;
  }
  line[length++] = '\n';
  if (write(log, line, length) != (ssize_t)length) die("write", path);
  return code;
}

static int pidwait(const char *path) {
  struct pollfd process = {.fd = held_process(path), .events = POLLIN};
  // It has ended already.
  if (process.fd < 0) return errno == ESRCH ? 0 : 1;
  while (poll(&process, 1, -1) < 0 && errno == EINTR) {
  }
  return 0;
}

static int spawn_cost(long repeats, const char *program, const char *path) {
  static char bytes[1 << 20], *words[4096];
  int file = open(path, O_RDONLY | O_CLOEXEC), count = 0;
  ssize_t length = file < 0 ? -1 : read(file, bytes, sizeof bytes);
  if (length <= 0) die("read", path);
  for (char *word = bytes; word < bytes + length && count < 4095; word += strlen(word) + 1) words[count++] = word;
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  for (long i = 0; i < repeats; i++) {
    pid_t child;
    int status = posix_spawn(&child, program, 0, 0, words, environ);
    if (status) {
      errno = status;
      die("start", program);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
  }
  getrusage(RUSAGE_SELF, &after);
  long long micros = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) *
                         1000000LL +
                     after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
  printf("%lld\n", micros * 1000 / (repeats > 0 ? repeats : 1));
  return 0;
}

// One kind of event on one processor, as the kernel writes it for us: perf_event_open(2).
struct recording {
  struct perf_event_mmap_page *page;
  const char *word;
};

enum { RECORDING_PAGES = 64, RECORDING_LIMIT = 2 * 256, DRAIN_MILLISECONDS = 20 };

#define TRACEFS "/sys/kernel/tracing"

// Where the kernel tells what its events are called. Many machines have it mounted only once somebody has asked for it; here
// it is for this process alone, and goes with it.
static void see_events(void) {
  if (access(TRACEFS "/events/sched", R_OK) == 0) return;
  if (unshare(CLONE_NEWNS) < 0 || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) < 0 ||
      mount("tracefs", TRACEFS, "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0) < 0)
    die("mount", TRACEFS);
}

static struct recording open_recording(const char *event, const char *filter, int processor, const char *word) {
  char path[128], text[16] = "";
  snprintf(path, sizeof path, TRACEFS "/events/sched/%s/id", event);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0 || read(file, text, sizeof text - 1) <= 0) die("read", path);
  close(file);
  struct perf_event_attr attributes = {.type = PERF_TYPE_TRACEPOINT,
                                       .size = sizeof attributes,
                                       .config = strtoull(text, 0, 10),
                                       .sample_period = 1,
                                       .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
                                       .disabled = 1,
                                       // Nobody is woken: what is measured must not be disturbed.
                                       .watermark = 1,
                                       .wakeup_watermark = ~0U,
                                       .use_clockid = 1,
                                       .clockid = CLOCK_MONOTONIC};
  int counter = (int)syscall(SYS_perf_event_open, &attributes, -1, processor, -1, PERF_FLAG_FD_CLOEXEC);
  // There is no such processor for now.
  if (counter < 0 && errno == ENODEV) return (struct recording){0};
  if (counter < 0) die("perf_event_open", event);
  if (ioctl(counter, PERF_EVENT_IOC_SET_FILTER, filter) < 0) die("filter", filter);
  long page = sysconf(_SC_PAGESIZE);
  void *memory = mmap(0, (size_t)((1 + RECORDING_PAGES) * page), PROT_READ | PROT_WRITE, MAP_SHARED, counter, 0);
  if (memory == MAP_FAILED) die("mmap", event);
  if (ioctl(counter, PERF_EVENT_IOC_ENABLE, 0) < 0) die("enable", event);
  return (struct recording){memory, word};
}

static void drain(struct recording *from, FILE *into) {
  if (!from->page) return;
  struct sample {
    struct perf_event_header header;
    uint32_t pid, tid;
    uint64_t time;
  } sample;
  const char *data = (const char *)from->page + from->page->data_offset;
  uint64_t size = from->page->data_size, tail = from->page->data_tail;
  uint64_t head = __atomic_load_n(&from->page->data_head, __ATOMIC_ACQUIRE);
  while (tail < head) {
    // A record may go on at the beginning of the ring; its header does not, because all are multiples of 8 bytes.
    struct perf_event_header header;
    memcpy(&header, data + tail % size, sizeof header);
    if (header.type == PERF_RECORD_LOST) {
      errno = EOVERFLOW;
      die("events were lost", from->word);
    }
    for (size_t i = 0; i < sizeof sample && i < header.size; i++) ((char *)&sample)[i] = data[(tail + i) % size];
    if (header.type == PERF_RECORD_SAMPLE && sample.pid == sample.tid)
      fprintf(into, "%s %u %llu\n", from->word, sample.pid, (unsigned long long)sample.time);
    tail += header.size;
  }
  __atomic_store_n(&from->page->data_tail, tail, __ATOMIC_RELEASE);
}

// Until its starter ends.
static int program_times(const char *program, const char *path) {
  static struct recording recordings[RECORDING_LIMIT];
  char began[1 << 12], ended[64];
  const char *slash = strrchr(program, '/');
  snprintf(began, sizeof began, "filename == \"%s\"", program);
  snprintf(ended, sizeof ended, "comm == \"%.15s\"", slash ? slash + 1 : program);
  long processors = sysconf(_SC_NPROCESSORS_CONF);
  int count = 0;
  see_events();
  if (2 * processors > RECORDING_LIMIT) die("watch", "so many processors");
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() == 1) return 1;
  for (int i = 0; i < processors; i++) {
    recordings[count++] = open_recording("sched_process_exec", began, i, "began");
    recordings[count++] = open_recording("sched_process_exit", ended, i, "ended");
  }
  FILE *file = fopen(path, "ae");
  if (!file) die("open", path);
  // It is read while it is written.
  setvbuf(file, 0, _IOLBF, 0);
  fputs("ready\n", file);
  while (fflush(file) == 0) {
    poll(0, 0, DRAIN_MILLISECONDS);
    for (int i = 0; i < count; i++) drain(&recordings[i], file);
  }
  die("write", path);
  return 1;
}

int main(int count, char **words) {
  const char *slash = strrchr(words[0], '/'), *name = slash ? slash + 1 : words[0];
  if (!strcmp(name, "podman")) return timed_podman(count, words);
  if (!strcmp(name, "pidwait") && count == 2) return pidwait(words[1]);
  if (!strcmp(name, "spawncost") && count == 4) return spawn_cost(atol(words[1]), words[2], words[3]);
  if (!strcmp(name, "programtimes") && count == 3) return program_times(words[1], words[2]);
  dprintf(2, "tools: this is called as podman, pidwait FILE, spawncost N PROGRAM FILE or programtimes PROGRAM FILE\n");
  return 2;
}
