// What sealing a record needs and Swift's Glibc module does not show: O_PATH, statx, fchmodat2 and getdents64.
#pragma once

#include <stdint.h>

// What an inode is, and on which mount it was found. `mount` is 0 before Linux 5.8.
struct agentd_entry {
  uint32_t mode;
  uint32_t owner;
  uint32_t links;
  uint64_t device;
  uint64_t mount;
};

// Holds on to an inode without opening it for real: no FIFO waits, no device wakes, no symlink is followed.
int agentd_entry_hold(int directory, const char *name);
// Describes an entry of a directory, a symlink as itself; with an empty name, what the descriptor holds.
int agentd_entry_describe(int directory, const char *name, struct agentd_entry *entry);
// Sets the mode of what the descriptor holds. Needs Linux 6.6: -ENOSYS elsewhere, or what a seccomp filter says.
int agentd_entry_set_mode(int held, uint32_t mode);
// Sets the mode of a name in a directory, never through a symlink. Needs Linux 6.6, as above.
int agentd_entry_set_mode_of(int directory, const char *name, uint32_t mode);
// Gives what the descriptor holds to a user.
int agentd_entry_set_owner(int held, uint32_t owner);

// The umask of the calling thread, without changing it for a moment, in which other threads would have another one. 0777
// where the kernel does not tell.
uint32_t agentd_umask(void);

// A directory that is being read, and the entries of it that were read last. As opendir(3) has it, without what that asks
// the kernel besides.
struct agentd_directory;

// Takes a descriptor over, whatever comes of it; NULL where there is no memory.
struct agentd_directory *agentd_directory_open(int descriptor);
// Closes its descriptor, too.
void agentd_directory_close(struct agentd_directory *directory);
int agentd_directory_descriptor(const struct agentd_directory *directory);
// Begins again, with the names that are there now.
void agentd_directory_rewind(struct agentd_directory *directory);
// Returns 1 and a name that is good until the next call, 0 at the end. "." and ".." are left out.
int agentd_directory_next(struct agentd_directory *directory, const char **name);
