// epoll(7) as CEpoll.h has it. Errors are -1 and errno.
#include "CEpoll.h"

#include <sys/epoll.h>

enum { BATCH = 256 };

int epoll_open(void) { return epoll_create1(EPOLL_CLOEXEC); }

int epoll_add(int epoll, int fd, bool edge) {
  struct epoll_event event = {.events = EPOLLIN | (edge ? EPOLLET : 0), .data.fd = fd};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int epoll_next(int epoll, int *fds, int capacity) {
  struct epoll_event events[BATCH];
  int count = epoll_wait(epoll, events, capacity < BATCH ? capacity : BATCH, -1);
  for (int i = 0; i < count; i++) fds[i] = events[i].data.fd;
  return count;
}
