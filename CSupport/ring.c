// Readiness through io_uring: one multishot poll per descriptor, completions collected in batches.
#define _GNU_SOURCE
#include "CSupport.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct completion {
  uint64_t token;
  int32_t result;
  uint32_t flags;
};

struct agentd_ring {
  struct io_uring uring;
  // Completions that were taken from the kernel while another one was looked for: those from `delivered` on are to be
  // delivered yet.
  struct completion *backlog;
  size_t waiting, delivered, capacity;
  // The table of stowed files: made when the first is stowed. Slots from `next` on were never used; `vacated` holds the
  // others that are free, `vacancies` of them, of which the last `occupied` still have the file that was in them.
  int *vacated;
  int vacancies, occupied, next, slots;
  uint32_t reopened;
  bool cannot_stow;
};

// The kernel looks for a poll that is to be ended in as many lists as it has room for completions, less a factor of 32. Each
// session has two polls.
enum { SUBMISSION_ENTRIES = 256, COMPLETION_ENTRIES = 4096, STOWED_LIMIT = 1 << 15, OCCUPIED_LIMIT = 64 };

// IORING_OP_FIXED_FD_INSTALL of Linux 6.8 (linux/io_uring.h), which Debian 12's liburing predates.
enum { FIXED_FD_INSTALL = 54 };
// Of its completion, which is looked for at once: a slot that no registration has, and a number of its own in the upper
// half, so that an answer that comes late is not taken for another's. (All bits set are the loop's own token.)
static const uint32_t REOPEN_SLOT = UINT32_MAX - 1;
static bool is_reopened(uint64_t token) { return (uint32_t)token == REOPEN_SLOT; }

// Of a request whose end nobody waits for, or of a registration that was ended.
static bool is_quiet(const struct io_uring_cqe *completion) {
  return completion->user_data == AGENTD_TOKEN_NONE || completion->res == -ECANCELED;
}

static uint32_t poll_mask(uint32_t interest) {
  uint32_t mask = POLLRDHUP;
  if (interest & AGENTD_READY_READ) mask |= POLLIN;
  if (interest & AGENTD_READY_WRITE) mask |= POLLOUT;
  return mask;
}

static uint32_t ready_bits(uint32_t mask) {
  uint32_t ready = 0;
  if (mask & (POLLIN | POLLRDHUP | POLLHUP | POLLERR)) ready |= AGENTD_READY_READ;
  if (mask & (POLLOUT | POLLHUP | POLLERR)) ready |= AGENTD_READY_WRITE;
  if (mask & (POLLHUP | POLLERR)) ready |= AGENTD_READY_HANGUP;
  return ready;
}

int agentd_ring_open(agentd_ring **out) {
  agentd_ring *ring = calloc(1, sizeof *ring);
  if (!ring) return -ENOMEM;
  struct io_uring_params parameters = {
      .flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
      .cq_entries = COMPLETION_ENTRIES,
  };
  int result = io_uring_queue_init_params(SUBMISSION_ENTRIES, &ring->uring, &parameters);
  if (result == -EINVAL) {
    // Linux before 6.1 knows neither of the last two flags; both only save work.
    parameters = (struct io_uring_params){.flags = IORING_SETUP_CQSIZE, .cq_entries = COMPLETION_ENTRIES};
    result = io_uring_queue_init_params(SUBMISSION_ENTRIES, &ring->uring, &parameters);
  }
  if (result < 0) {
    free(ring);
    return result;
  }
  *out = ring;
  return 0;
}

void agentd_ring_close(agentd_ring *ring) {
  // What was removed last lets go of its files here. What the kernel ends of itself it ends later.
  agentd_ring_settle(ring);
  io_uring_queue_exit(&ring->uring);
  free(ring->vacated);
  free(ring->backlog);
  free(ring);
}

static int set_aside(agentd_ring *ring, const struct io_uring_cqe *completion) {
  if (is_quiet(completion)) return 0;
  if (ring->waiting == ring->capacity) {
    size_t capacity = ring->capacity ? 2 * ring->capacity : 64;
    struct completion *backlog = realloc(ring->backlog, capacity * sizeof *backlog);
    if (!backlog) return -ENOMEM;
    ring->backlog = backlog;
    ring->capacity = capacity;
  }
  ring->backlog[ring->waiting++] =
      (struct completion){.token = completion->user_data, .result = completion->res, .flags = completion->flags};
  return 0;
}

// Hands a full submission queue to the kernel. Where that has too many completions to take more, they are set aside.
static int make_room(agentd_ring *ring) {
  int result = io_uring_submit(&ring->uring);
  if (result >= 0) return 0;
  if (result != -EBUSY && result != -EAGAIN && result != -EINTR) return result;
  unsigned head, seen = 0;
  struct io_uring_cqe *completion;
  io_uring_for_each_cqe(&ring->uring, head, completion) {
    if ((result = set_aside(ring, completion)) < 0) break;
    seen++;
  }
  io_uring_cq_advance(&ring->uring, seen);
  if (result == -ENOMEM) return result;
  result = io_uring_submit_and_get_events(&ring->uring);
  return result < 0 ? result : 0;
}

static int next_entry(agentd_ring *ring, struct io_uring_sqe **entry) {
  for (int attempts = 0; attempts < 1000; attempts++) {
    *entry = io_uring_get_sqe(&ring->uring);
    if (*entry) return 0;
    int result = make_room(ring);
    if (result < 0 && result != -EBUSY && result != -EAGAIN && result != -EINTR) return result;
  }
  return -EBUSY;
}

// Nobody waits for how this one ends. A success is not even told, where the kernel can keep it to itself (Linux 5.17).
static void make_quiet(agentd_ring *ring, struct io_uring_sqe *entry) {
  io_uring_sqe_set_data64(entry, AGENTD_TOKEN_NONE);
  if (ring->uring.features & IORING_FEAT_CQE_SKIP) entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void prepare_poll(struct io_uring_sqe *entry, int file, uint32_t interest, uint64_t token) {
  if (interest & AGENTD_READY_ONCE) {
    io_uring_prep_poll_add(entry, file, poll_mask(interest));
  } else {
    io_uring_prep_poll_multishot(entry, file, poll_mask(interest));
  }
  io_uring_sqe_set_data64(entry, token);
}

int agentd_ring_add(agentd_ring *ring, int fd, uint32_t interest, uint64_t token) {
  struct io_uring_sqe *entry;
  int result = next_entry(ring, &entry);
  if (result < 0) return result;
  prepare_poll(entry, fd, interest, token);
  return 0;
}

// Takes back a registration that the kernel has not been given yet: when it is given, its descriptor may be closed, or
// another file's.
static bool take_back(agentd_ring *ring, uint64_t token) {
  struct io_uring_sq *queue = &ring->uring.sq;
  for (unsigned left = io_uring_sq_ready(&ring->uring); left > 0; left--) {
    struct io_uring_sqe *entry = &queue->sqes[(queue->sqe_tail - left) & queue->ring_mask];
    if (entry->user_data != token) continue;
    // All of it: not every liburing does that, and a kernel may look at a no-operation's flags.
    memset(entry, 0, sizeof *entry);
    io_uring_prep_nop(entry);
    make_quiet(ring, entry);
    return true;
  }
  return false;
}

int agentd_ring_remove(agentd_ring *ring, uint64_t token) {
  if (take_back(ring, token)) return 0;
  struct io_uring_sqe *entry;
  int result = next_entry(ring, &entry);
  if (result < 0) return result;
  // Not IORING_OP_POLL_REMOVE: that one gives up with EALREADY while an edge is on its way, and the poll would stay.
  io_uring_prep_cancel64(entry, token, 0);
  make_quiet(ring, entry);
  return 0;
}

int agentd_ring_settle(agentd_ring *ring) {
  // Tearing a poll down is deferred work, which asking for events runs.
  int result = io_uring_submit_and_get_events(&ring->uring);
  // Interrupted, or short of room for completions: the next wait carries it out.
  return result < 0 && result != -EINTR && result != -EBUSY && result != -EAGAIN ? result : 0;
}

// The kernel takes a table only as large as the open-files limit. It costs memory where it is used.
static bool make_table(agentd_ring *ring) {
  struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->uring);
  bool can_reopen = probe && io_uring_opcode_supported(probe, FIXED_FD_INSTALL);
  io_uring_free_probe(probe);
  struct rlimit limit;
  if (!can_reopen || getrlimit(RLIMIT_NOFILE, &limit) < 0) return false;
  int slots = limit.rlim_cur < STOWED_LIMIT ? (int)limit.rlim_cur : STOWED_LIMIT;
  ring->vacated = malloc((size_t)slots * sizeof *ring->vacated);
  if (!ring->vacated || io_uring_register_files_sparse(&ring->uring, (unsigned)slots) < 0) return false;
  ring->slots = slots;
  return true;
}

int agentd_ring_stow(agentd_ring *ring, int fd) {
  if (!ring->slots && !ring->cannot_stow) ring->cannot_stow = !make_table(ring);
  if (ring->cannot_stow) return -EOPNOTSUPP;
  if (!ring->vacancies && ring->next == ring->slots) return -ENFILE;
  int slot = ring->vacancies ? ring->vacated[ring->vacancies - 1] : ring->next;
  int result = io_uring_register_files_update(&ring->uring, (unsigned)slot, &fd, 1);
  if (result < 0) return result;
  if (ring->vacancies) {
    ring->vacancies--;
    if (ring->occupied) ring->occupied--;
  } else {
    ring->next++;
  }
  return slot;
}

int agentd_ring_add_stowed(agentd_ring *ring, int slot, uint32_t interest, uint64_t token) {
  struct io_uring_sqe *entry;
  int result = next_entry(ring, &entry);
  if (result < 0) return result;
  prepare_poll(entry, slot, interest, token);
  entry->flags |= IOSQE_FIXED_FILE;
  return 0;
}

int agentd_ring_reopen(agentd_ring *ring, int slot) {
  struct io_uring_sqe *entry;
  int result = next_entry(ring, &entry);
  if (result < 0) return result;
  io_uring_prep_rw(FIXED_FD_INSTALL, entry, slot, 0, 0, 0);
  entry->flags |= IOSQE_FIXED_FILE;
  uint64_t token = (uint64_t)++ring->reopened << 32 | REOPEN_SLOT;
  io_uring_sqe_set_data64(entry, token);
  result = io_uring_submit(&ring->uring);
  if (result < 0) return result;
  // It is carried out while it is submitted. Its completion is behind those that wait to be taken, and where there are
  // many of them (a thousand containers end at once) the kernel has yet to make room for it.
  for (int attempts = 0; attempts < 1000; attempts++) {
    unsigned head, seen = 0;
    int opened = -EAGAIN, failure = 0;
    struct io_uring_cqe *completion;
    io_uring_for_each_cqe(&ring->uring, head, completion) {
      if (completion->user_data == token) {
        opened = completion->res;
      } else if (is_reopened(completion->user_data)) {
        if (completion->res >= 0) close(completion->res);
      } else if ((failure = set_aside(ring, completion)) < 0) {
        break;
      }
      seen++;
    }
    io_uring_cq_advance(&ring->uring, seen);
    if (opened != -EAGAIN || failure < 0) return opened != -EAGAIN ? opened : failure;
    result = io_uring_submit_and_get_events(&ring->uring);
    if (result < 0 && result != -EBUSY && result != -EAGAIN && result != -EINTR) return result;
  }
  return -EAGAIN;
}

// Has the kernel take all that waits to be submitted.
static bool hand_over(agentd_ring *ring) {
  for (int attempts = 0; attempts < 1000 && io_uring_sq_ready(&ring->uring); attempts++) {
    int result = make_room(ring);
    if (result < 0 && result != -EBUSY && result != -EAGAIN && result != -EINTR) return false;
  }
  return !io_uring_sq_ready(&ring->uring);
}

void agentd_ring_discard(agentd_ring *ring, int slot) {
  ring->vacated[ring->vacancies++] = slot;
  // The next file that is stowed takes the place of this one by the same call. What none has come for goes together.
  if (++ring->occupied < OCCUPIED_LIMIT) return;
  for (; ring->occupied > 0; ring->occupied--) {
    struct io_uring_sqe *entry;
    // What is left stays until others take its place.
    if (next_entry(ring, &entry) < 0) break;
    io_uring_prep_close_direct(entry, (unsigned)ring->vacated[ring->vacancies - ring->occupied]);
    make_quiet(ring, entry);
  }
  // At once, because what is stowed next may get one of these slots. Where that cannot be, nothing is stowed any more.
  if (!hand_over(ring)) ring->cannot_stow = true;
}

// Turns a completion into an event; returns how many were written, or an error that the loop cannot go on with.
static int deliver(struct completion completion, struct agentd_event *event) {
  if (is_reopened(completion.token)) {
    // Nobody waits for it any more.
    if (completion.result >= 0) close(completion.result);
    return 0;
  }
  if (completion.token == AGENTD_TOKEN_NONE || completion.result == -ECANCELED) return 0;
  if (completion.result < 0) return completion.result;
  *event = (struct agentd_event){
      .token = completion.token,
      .ready = ready_bits((uint32_t)completion.result),
      .rearm = !(completion.flags & IORING_CQE_F_MORE),
  };
  return 1;
}

// Turns completions that wait to be taken into events, after `written` of them.
static int take(agentd_ring *ring, struct agentd_event *events, unsigned capacity, unsigned *written) {
  unsigned head, seen = 0;
  int failure = 0;
  struct io_uring_cqe *completion;
  io_uring_for_each_cqe(&ring->uring, head, completion) {
    if (*written == capacity) break;
    seen++;
    int result = deliver(
        (struct completion){
            .token = completion->user_data, .result = completion->res, .flags = completion->flags},
        &events[*written]);
    if (result < 0) failure = result;
    if (result > 0) ++*written;
  }
  io_uring_cq_advance(&ring->uring, seen);
  return failure;
}

int agentd_ring_wait(agentd_ring *ring, struct agentd_event *events, unsigned capacity, bool block) {
  unsigned written = 0;
  int failure = 0;
  // What was set aside came before what is still with the kernel.
  while (ring->delivered < ring->waiting && written < capacity) {
    int result = deliver(ring->backlog[ring->delivered++], &events[written]);
    if (result < 0) failure = result;
    if (result > 0) written++;
  }
  if (ring->delivered == ring->waiting) ring->delivered = ring->waiting = 0;
  int result;
  do {
    // Completions that are there already would end the wait, and may all be such as nobody waits for.
    if (!failure) failure = take(ring, events, capacity, &written);
    bool waits = block && !written && !failure;
    result = waits ? io_uring_submit_and_wait(&ring->uring, 1) : io_uring_submit_and_get_events(&ring->uring);
    // EBUSY and EAGAIN say that completions have to be taken before more can be submitted: they are taken below.
    if (result < 0 && result != -EBUSY && result != -EAGAIN && !written) return result;
    if (!failure) failure = take(ring, events, capacity, &written);
    // Registrations that have ended end no wait.
  } while (block && !written && !failure && result >= 0);
  // A poll that the kernel cannot keep (it is out of memory) would be an event that never comes: a child never reaped,
  // a container never seen to end. No part of the program can go on without knowing.
  return failure < 0 ? failure : (int)written;
}
