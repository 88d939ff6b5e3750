// Readiness through epoll, edge-triggered, for kernels that do not grant io_uring.
#include "CSupport.h"

#include <errno.h>
#include <sys/epoll.h>

enum { BATCH = 256 };

int agentd_epoll_open(void) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int agentd_epoll_add(int epoll, int fd, uint32_t interest, uint64_t token) {
  struct epoll_event event = {.events = EPOLLET | EPOLLRDHUP, .data.u64 = token};
  if (interest & AGENTD_READY_READ) event.events |= EPOLLIN;
  if (interest & AGENTD_READY_WRITE) event.events |= EPOLLOUT;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int agentd_epoll_remove(int epoll, int fd) {
  return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, 0) < 0 ? -errno : 0;
}

int agentd_epoll_wait(int epoll, struct agentd_event *events, unsigned capacity, bool block) {
  struct epoll_event batch[BATCH];
  int count = epoll_wait(epoll, batch, (int)(capacity < BATCH ? capacity : BATCH), block ? -1 : 0);
  if (count < 0) return -errno;
  for (int i = 0; i < count; i++) {
    uint32_t mask = batch[i].events, ready = 0;
    if (mask & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) ready |= AGENTD_READY_READ;
    if (mask & (EPOLLOUT | EPOLLHUP | EPOLLERR)) ready |= AGENTD_READY_WRITE;
    if (mask & (EPOLLHUP | EPOLLERR)) ready |= AGENTD_READY_HANGUP;
    events[i] = (struct agentd_event){.token = batch[i].data.u64, .ready = ready};
  }
  return count;
}
