// epoll(7), which Swift's Glibc module does not show.
#pragma once

#include <stdbool.h>

int epoll_open(void);
// Reports that `fd` can be read: each time anew, or with `edge` once for each arrival.
int epoll_add(int epoll, int fd, bool edge);
// Writes the descriptors that can be read and returns how many; waits for the first.
int epoll_next(int epoll, int *fds, int capacity);
