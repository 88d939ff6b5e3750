// Readiness through io_uring: one multishot poll per descriptor, completions collected in batches.
#define _GNU_SOURCE
#include "CSupport.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct agentd_ring {
  struct io_uring uring;
  // The table of stowed files: made when the first is stowed. Slots from `next` on were never used; `vacated` holds the
  // others that are free, `vacancies` of them.
  int *vacated;
  int vacancies, next, slots;
  bool cannot_stow;
};

enum { SUBMISSION_ENTRIES = 256, STOWED_LIMIT = 1 << 15 };

// IORING_OP_FIXED_FD_INSTALL of Linux 6.8 (linux/io_uring.h), which Debian 12's liburing predates.
enum { FIXED_FD_INSTALL = 54 };
// Of its completion, which is looked for at once.
static const uint64_t REOPEN_TOKEN = UINT64_MAX - 1;

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
      .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
  };
  int result = io_uring_queue_init_params(SUBMISSION_ENTRIES, &ring->uring, &parameters);
  if (result == -EINVAL) {
    // Linux before 6.1 knows neither flag; both only save work.
    parameters = (struct io_uring_params){0};
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
  io_uring_queue_exit(&ring->uring);
  free(ring->vacated);
  free(ring);
}

// A full submission queue is flushed to the kernel, which takes all of it.
static int next_entry(agentd_ring *ring, struct io_uring_sqe **entry) {
  *entry = io_uring_get_sqe(&ring->uring);
  if (*entry) return 0;
  int result = io_uring_submit(&ring->uring);
  if (result < 0) return result;
  *entry = io_uring_get_sqe(&ring->uring);
  return *entry ? 0 : -EBUSY;
}

int agentd_ring_add(agentd_ring *ring, int fd, uint32_t interest, uint64_t token) {
  struct io_uring_sqe *entry;
  int result = next_entry(ring, &entry);
  if (result < 0) return result;
  io_uring_prep_poll_multishot(entry, fd, poll_mask(interest));
  io_uring_sqe_set_data64(entry, token);
  return 0;
}

int agentd_ring_remove(agentd_ring *ring, uint64_t token) {
  struct io_uring_sqe *entry;
  int result = next_entry(ring, &entry);
  if (result < 0) return result;
  // Not IORING_OP_POLL_REMOVE: that one gives up with EALREADY while an edge is on its way, and the poll would stay.
  io_uring_prep_cancel64(entry, token, 0);
  io_uring_sqe_set_data64(entry, AGENTD_TOKEN_NONE);
  // The caller closes the descriptor next. The kernel must have carried the removal out by then: a poll that is only
  // queued would find another file behind the number, and one that is armed or still being torn down keeps the file
  // alive, a closed listener accepting. Tearing down is deferred work, which asking for events runs.
  result = io_uring_submit_and_get_events(&ring->uring);
  // Interrupted, or short of room for completions: the removal stays queued behind whatever it removes, and the next
  // wait carries it out.
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
  } else {
    ring->next++;
  }
  return slot;
}

int agentd_ring_add_stowed(agentd_ring *ring, int slot, uint32_t interest, uint64_t token) {
  struct io_uring_sqe *entry;
  int result = next_entry(ring, &entry);
  if (result < 0) return result;
  io_uring_prep_poll_multishot(entry, slot, poll_mask(interest));
  entry->flags |= IOSQE_FIXED_FILE;
  io_uring_sqe_set_data64(entry, token);
  return 0;
}

int agentd_ring_reopen(agentd_ring *ring, int slot) {
  struct io_uring_sqe *entry;
  int result = next_entry(ring, &entry);
  if (result < 0) return result;
  io_uring_prep_rw(FIXED_FD_INSTALL, entry, slot, 0, 0, 0);
  entry->flags |= IOSQE_FIXED_FILE;
  io_uring_sqe_set_data64(entry, REOPEN_TOKEN);
  result = io_uring_submit(&ring->uring);
  if (result < 0) return result;
  // It is carried out while it is submitted, so its completion is there, among others that wait to be taken.
  unsigned head;
  struct io_uring_cqe *completion;
  io_uring_for_each_cqe(&ring->uring, head, completion) {
    if (completion->user_data != REOPEN_TOKEN) continue;
    completion->user_data = AGENTD_TOKEN_NONE;
    return completion->res;
  }
  return -EAGAIN;
}

void agentd_ring_discard(agentd_ring *ring, int slot) {
  int none = -1;
  // A slot that the kernel does not empty is not used again.
  if (io_uring_register_files_update(&ring->uring, (unsigned)slot, &none, 1) < 0) return;
  ring->vacated[ring->vacancies++] = slot;
}

int agentd_ring_wait(agentd_ring *ring, struct agentd_event *events, unsigned capacity, bool block) {
  int result = block ? io_uring_submit_and_wait(&ring->uring, 1) : io_uring_submit_and_get_events(&ring->uring);
  // EBUSY and EAGAIN say that completions have to be taken before more can be submitted: they are taken below.
  if (result < 0 && result != -EBUSY && result != -EAGAIN) return result;
  unsigned head, seen = 0, written = 0;
  int failure = 0;
  struct io_uring_cqe *completion;
  io_uring_for_each_cqe(&ring->uring, head, completion) {
    if (written == capacity) break;
    seen++;
    if (completion->user_data == REOPEN_TOKEN) {
      // There was no room for it when it was looked for, and nobody waits for it any more.
      if (completion->res >= 0) close(completion->res);
      continue;
    }
    if (completion->user_data == AGENTD_TOKEN_NONE || completion->res == -ECANCELED) continue;
    if (completion->res < 0) {
      failure = completion->res;
      continue;
    }
    events[written++] = (struct agentd_event){
        .token = completion->user_data,
        .ready = ready_bits((uint32_t)completion->res),
        .rearm = !(completion->flags & IORING_CQE_F_MORE),
    };
  }
  io_uring_cq_advance(&ring->uring, seen);
  // A poll that the kernel cannot keep (it is out of memory) would be an event that never comes: a child never reaped,
  // a container never seen to end. No part of the program can go on without knowing.
  return failure < 0 ? failure : (int)written;
}
