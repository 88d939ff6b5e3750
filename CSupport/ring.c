// Readiness through io_uring: one multishot poll per descriptor, completions collected in batches.
#define _GNU_SOURCE
#include "CSupport.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>

struct agentd_ring {
  struct io_uring uring;
};

enum { SUBMISSION_ENTRIES = 256 };

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
  // The ring must not be inherited by children. liburing opens it close-on-exec already; this only states it.
  *out = ring;
  return 0;
}

void agentd_ring_close(agentd_ring *ring) {
  io_uring_queue_exit(&ring->uring);
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

int agentd_ring_wait(agentd_ring *ring, struct agentd_event *events, unsigned capacity, bool block) {
  int result = block ? io_uring_submit_and_wait(&ring->uring, 1) : io_uring_submit_and_get_events(&ring->uring);
  // EBUSY and EAGAIN say that completions have to be taken before more can be submitted: they are taken below.
  if (result < 0 && result != -EBUSY && result != -EAGAIN) return result;
  unsigned head, seen = 0, written = 0;
  struct io_uring_cqe *completion;
  io_uring_for_each_cqe(&ring->uring, head, completion) {
    if (written == capacity) break;
    seen++;
    if (completion->user_data == AGENTD_TOKEN_NONE || completion->res == -ECANCELED) continue;
    // A poll that failed is reported as ready: whoever then reads or writes gets the true error.
    uint32_t mask = completion->res < 0 ? POLLERR : (uint32_t)completion->res;
    events[written++] = (struct agentd_event){
        .token = completion->user_data,
        .ready = ready_bits(mask),
        .rearm = !(completion->flags & IORING_CQE_F_MORE) && completion->res >= 0,
    };
  }
  io_uring_cq_advance(&ring->uring, seen);
  return (int)written;
}
