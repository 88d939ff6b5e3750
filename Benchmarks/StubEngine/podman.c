// A stand-in for podman that fits ten thousand times on a small machine: real processes, pid files, FIFO, report and log,
// and no container. Benchmarks/run.sh compiles it, statically, and puts it on the daemon's PATH as `podman`.
//
// A session is two processes of this very binary, as with podman: a conmon, with the container's id and name among its
// words, and the container's init, its child, which waits for its envelope, reports how far it came, and then does what
// the profile's command says, whose first word is `stub`:
//
//     live=MS       goes on for so long             until=FILE   goes on until it gets a shared lock on FILE
//     print=TEXT    writes a line to the log        mark=FILE    appends a byte to FILE once the command runs
//     exit=CODE     ends with CODE                  signal=N     ends by signal N
//
// The environment says what else is to happen: STUB_STATE (a directory, for what ps, inspect and rm tell), and
// STUB_RUN_DELAY_MS, STUB_RM_DELAY_MS, STUB_CONMON_DELAY_MS, STUB_RUN_EXIT, STUB_RM_EXIT.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RECORD_SIZE = 192, WORD_LIMIT = 64, REMOVAL_PATIENCE_MS = 20000 };

// What ps, inspect and rm know of a container: one file, written in one call, always of the same size.
struct container {
  char id[65], status[12], finished[40];
  int conmon, init, code;
};

static char state[PATH_MAX];

static void die(int code, const char *format, ...) {
  char text[512];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  dprintf(2, "Error: %s\n", text);
  _exit(code);
}

static long number(const char *variable) {
  const char *text = getenv(variable);
  return text ? atol(text) : 0;
}

static void rest(long milliseconds) {
  struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
  while (milliseconds > 0 && nanosleep(&time, &time) < 0 && errno == EINTR) {
  }
}

static void timestamp(char out[40]) {
  struct timespec now;
  struct tm parts;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &parts);
  size_t length = strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(out + length, 40 - length, ".%09ldZ", now.tv_nsec);
}

static void write_number(const char *path, int value) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) die(125, "cannot write %s", path);
  dprintf(file, "%d", value);
  close(file);
}

static void keep(const char *path, const struct container *container) {
  char text[RECORD_SIZE + 1];
  snprintf(text, sizeof text, "%s %d %d %s %d %s", container->id, container->conmon, container->init,
           container->status, container->code, container->finished);
  size_t length = strlen(text);
  memset(text + length, ' ', RECORD_SIZE - length);
  int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0 || pwrite(file, text, RECORD_SIZE, 0) != RECORD_SIZE) die(125, "cannot write %s", path);
  close(file);
}

static int known(const char *name, struct container *container) {
  char path[PATH_MAX + 128], text[RECORD_SIZE + 1];
  snprintf(path, sizeof path, "%s/%s", state, name);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t count = read(file, text, RECORD_SIZE);
  close(file);
  text[count > 0 ? count : 0] = 0;
  return sscanf(text, "%64s %d %d %11s %d %39s", container->id, &container->conmon, &container->init,
                container->status, &container->code, container->finished) == 6;
}

// MARK: The container's init

static void report(const char *path, const char *line) {
  int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (file < 0 || write(file, line, strlen(line)) < 0) _exit(6);
  close(file);
}

// Reads the envelope line by line, as the setup does: three for the setup, then a count and so many credentials.
static void read_envelope(const char *fifo, const char *report_path) {
  char bytes[4096], line[64];
  size_t length = 0;
  long lines = 0, wanted = 4;
  int file = open(fifo, O_RDONLY | O_CLOEXEC);
  if (file < 0) _exit(6);
  while (lines < wanted) {
    ssize_t count = read(file, bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      if (lines < 3) report(report_path, "unreleased\n");
      _exit(6);
    }
    for (ssize_t i = 0; i < count; i++) {
      if (bytes[i] != '\n') {
        if (length + 1 < sizeof line) line[length++] = bytes[i];
        continue;
      }
      line[length] = 0;
      length = 0;
      lines++;
      if (lines == 3) {
        report(report_path, "clone\n");
        report(report_path, "commit 0123456789abcdef0123456789abcdef01234567\n");
        report(report_path, "command\n");
      }
      if (lines == 4) wanted += atol(line);
    }
  }
  close(file);
}

static void print_line(const char *log, const char *text) {
  char now[40];
  timestamp(now);
  int file = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (file >= 0) dprintf(file, "%s stdout F %s\n", now, text);
  if (file >= 0) close(file);
}

static void command(char **words, const char *log) {
  int code = 0;
  for (; *words; words++) {
    const char *value = strchr(*words, '=');
    if (!value++) continue;
    if (!strncmp(*words, "live=", 5)) rest(atol(value));
    if (!strncmp(*words, "print=", 6)) print_line(log, value);
    if (!strncmp(*words, "exit=", 5)) code = atoi(value);
    if (!strncmp(*words, "signal=", 7)) kill(getpid(), atoi(value));
    if (!strncmp(*words, "mark=", 5)) {
      int file = open(value, O_WRONLY | O_APPEND | O_CLOEXEC);
      if (file < 0 || write(file, "x", 1) != 1) _exit(6);
      close(file);
    }
    if (!strncmp(*words, "until=", 6)) {
      int file = open(value, O_RDONLY | O_CLOEXEC);
      if (file < 0) _exit(6);
      while (flock(file, LOCK_SH) < 0 && errno == EINTR) {
      }
    }
  }
  _exit(code);
}

// MARK: conmon

// Its words, with the index of each: 0 conmon, 1 -c, 2 ID, 3 -n, 4 NAME, 5 state file, 6 conmon's pid file, 7 the
// container's, 8 log, 9 FIFO, 10 report, 11 descriptor of who waits for it, 12 the command.
static int conmon(int count, char **words) {
  struct container self = {.status = "running", .finished = "-", .conmon = getpid()};
  int waiting = atoi(words[11]), status = 0;
  snprintf(self.id, sizeof self.id, "%s", words[2]);
  self.init = fork();
  if (self.init < 0) return 1;
  if (self.init == 0) {
    close(waiting);
    // What it was started with is conmon's, by which conmon is known. The words of the command are needed still.
    memset(words[0], 0, (size_t)(words[6] - words[0]));
    memcpy(words[0], "init", 4);
    read_envelope(words[9], words[10]);
    command(words + 12, words[8]);
  }
  keep(words[5], &self);
  write_number(words[7], self.init);
  write_number(words[6], self.conmon);
  if (write(waiting, "k", 1) != 1) return 1;
  close(waiting);
  while (waitpid(self.init, &status, 0) < 0 && errno == EINTR) {
  }
  strcpy(self.status, "exited");
  self.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  timestamp(self.finished);
  rest(number("STUB_CONMON_DELAY_MS"));
  keep(words[5], &self);
  (void)count;
  return 0;
}

// MARK: The verbs

// The source of a bind mount onto `target`, if the value of --mount is one.
static char *bound(char *mount, const char *target) {
  char *source = strstr(mount, "src="), *destination = strstr(mount, "dst=");
  size_t length = strlen(target);
  if (!source || !destination || strncmp(destination + 4, target, length)) return 0;
  if (destination[4 + length] && destination[4 + length] != ',') return 0;
  source += 4;
  return strndup(source, strcspn(source, ","));
}

static int run(int count, char **words) {
  static const char *const valued[] = {"--name",       "--user",    "--workdir", "--conmon-pidfile", "--pidfile",
                                       "--log-driver", "--log-opt", "--label",   "--mount",          "--entrypoint"};
  char *name = 0, *conmon_pid = 0, *pid = 0, *log = 0, *fifo = 0, *report_path = 0;
  int at = 2, first = 0;
  for (; at < count && words[at][0] == '-'; at++) {
    int has_value = 0;
    for (size_t i = 0; i < sizeof valued / sizeof *valued; i++) has_value |= !strcmp(words[at], valued[i]);
    if (!has_value) continue;
    char *option = words[at++], *found;
    if (at == count) die(125, "%s needs a value", option);
    if (!strcmp(option, "--name")) name = words[at];
    if (!strcmp(option, "--conmon-pidfile")) conmon_pid = words[at];
    if (!strcmp(option, "--pidfile")) pid = words[at];
    if (!strcmp(option, "--log-opt") && !strncmp(words[at], "path=", 5)) log = words[at] + 5;
    if (!strcmp(option, "--mount") && (found = bound(words[at], "/agentd/envelope"))) fifo = found;
    if (!strcmp(option, "--mount") && (found = bound(words[at], "/agentd/report"))) report_path = found;
  }
  for (int i = at; i < count; i++)
    if (!strcmp(words[i], "stub")) first = i;
  if (!name || !conmon_pid || !pid || !log || !fifo || !report_path || !first)
    die(125, "the stand-in for podman does not understand how it was called");
  rest(number("STUB_RUN_DELAY_MS"));
  if (number("STUB_RUN_EXIT")) die((int)number("STUB_RUN_EXIT"), "the stand-in was told to fail");

  // The name ends with the session's id, 16 hex digits.
  char id[65], path[PATH_MAX + 128], descriptor[12];
  size_t length = strlen(name);
  if (length < 16) die(125, "the name %s is none of ours", name);
  for (int i = 0; i < 4; i++) memcpy(id + 16 * i, name + length - 16, 16);
  id[64] = 0;
  snprintf(path, sizeof path, "%s/%s", state, name);
  if (access(path, F_OK) == 0) die(125, "the container name \"%s\" is already in use", name);

  int ends[2];
  if (pipe(ends) < 0) die(125, "no pipe: %s", strerror(errno));
  pid_t child = fork();
  if (child < 0) die(125, "no process: %s", strerror(errno));
  if (child == 0) {
    char *options[WORD_LIMIT] = {"conmon", "-c", id, "-n", name, path, conmon_pid, pid, log, fifo, report_path};
    int null = open("/dev/null", O_RDWR);
    close(ends[0]);
    setsid();
    for (int i = 0; i < 3; i++) dup2(null, i);
    if (null > 2) close(null);
    snprintf(descriptor, sizeof descriptor, "%d", ends[1]);
    options[11] = descriptor;
    for (int i = 0; i < WORD_LIMIT - 13 && first + 1 + i < count; i++) options[12 + i] = words[first + 1 + i];
    execv("/proc/self/exe", options);
    _exit(1);
  }
  close(ends[1]);
  char byte;
  // podman says so, too, when conmon ends before the container runs.
  if (read(ends[0], &byte, 1) != 1) die(125, "conmon ended before the container was started");
  printf("%s\n", id);
  return 0;
}

static int rm(int count, char **words) {
  int failures = 0;
  char counter[PATH_MAX + 16];
  // A byte a call, which tells the benchmark how many removals shared one.
  snprintf(counter, sizeof counter, "%s/.removals", state);
  int calls = open(counter, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (calls < 0 || write(calls, "x", 1) != 1) die(125, "cannot write %s", counter);
  close(calls);
  rest(number("STUB_RM_DELAY_MS"));
  if (number("STUB_RM_EXIT")) die((int)number("STUB_RM_EXIT"), "the stand-in was told to fail");
  for (int at = 2; at < count; at++) {
    struct container container;
    char path[PATH_MAX + 128];
    if (!strcmp(words[at], "--time")) at++;
    if (words[at][0] == '-' || !strcmp(words[at - 1], "--time")) continue;
    if (!known(words[at], &container)) continue;
    if (!strcmp(container.status, "running")) {
      struct pollfd conmon_end = {.fd = pidfd_open(container.conmon, 0), .events = POLLIN};
      kill(container.init, SIGKILL);
      if (conmon_end.fd >= 0 && poll(&conmon_end, 1, REMOVAL_PATIENCE_MS) != 1) failures++;
      if (conmon_end.fd >= 0) close(conmon_end.fd);
    }
    snprintf(path, sizeof path, "%s/%s", state, words[at]);
    unlink(path);
    printf("%s\n", words[at]);
  }
  return failures ? 1 : 0;
}

static int ps(int count, char **words) {
  const char *prefix = "";
  for (int at = 2; at + 1 < count; at++)
    if (!strcmp(words[at], "--filter") && !strncmp(words[at + 1], "name=^", 6)) prefix = words[at + 1] + 6;
  DIR *directory = opendir(state);
  struct dirent *entry;
  while (directory && (entry = readdir(directory))) {
    struct container container;
    if (entry->d_name[0] == '.' || strncmp(entry->d_name, prefix, strlen(prefix))) continue;
    if (known(entry->d_name, &container)) printf("%s\t%s\n", entry->d_name, container.status);
  }
  return 0;
}

static int inspect(int count, char **words) {
  const char *format = "";
  int failed = 0;
  for (int at = 2; at < count; at++) {
    struct container container;
    char finished[48] = "\"0001-01-01T00:00:00Z\"";
    if (!strcmp(words[at], "--type")) {
      at++;
      continue;
    }
    if (!strcmp(words[at], "--format")) {
      format = at + 1 < count ? words[++at] : "";
      continue;
    }
    if (!known(words[at], &container)) {
      dprintf(2, "Error: no such container %s\n", words[at]);
      failed = 125;
      continue;
    }
    if (container.finished[0] != '-') snprintf(finished, sizeof finished, "\"%s\"", container.finished);
    if (!strncmp(format, "{{.Name}}", 9)) {
      int runs = !strcmp(container.status, "running");
      printf("%s %s %d %d ", words[at], container.id, runs ? container.init : 0, runs ? container.conmon : 0);
    }
    printf("%s %d false %s\n", container.status, container.code, finished);
  }
  return failed;
}

static int info(void) {
  char path[PATH_MAX + 64];
  // A real podman replaces this file with each change of an image; the daemon looks at it before each session.
  snprintf(path, sizeof path, "%s/.store", state);
  mkdir(path, 0755);
  snprintf(path, sizeof path, "%s/.store/stub-images", state);
  mkdir(path, 0755);
  snprintf(path, sizeof path, "%s/.store/stub-images/images.json", state);
  close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  printf("stub\n%s/.store\n", state);
  return 0;
}

int main(int count, char **words) {
  if (!strcmp(words[0], "conmon")) return conmon(count, words);
  const char *directory = getenv("STUB_STATE"), *verb = count > 1 ? words[1] : "";
  if (!directory) die(125, "STUB_STATE names no directory");
  snprintf(state, sizeof state, "%s", directory);
  // What starting this program costs, whatever it does then.
  if (!strcmp(verb, "nothing")) return 0;
  if (!strcmp(verb, "run")) return run(count, words);
  if (!strcmp(verb, "rm")) return rm(count, words);
  if (!strcmp(verb, "ps")) return ps(count, words);
  if (!strcmp(verb, "inspect")) return inspect(count, words);
  if (!strcmp(verb, "info")) return info();
  if (!strcmp(verb, "image") || !strcmp(verb, "pull")) {
    printf("%064d sha256:%064d\n", 1, 1);
    return 0;
  }
  if (!strcmp(verb, "unshare") && count > 3) {
    execvp(words[3], words + 3);
    die(127, "%s cannot be run", words[3]);
  }
  die(125, "the stand-in for podman knows no %s", verb);
}
