// Entries of a directory that other users may write to, by descriptor only. Errors are negative errno.
#define _GNU_SOURCE
#include "audit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Newer than the headers of Debian 12; the number is the same on every architecture.
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

int agentd_entry_hold(int directory, const char *name) {
  int fd = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int agentd_entry_describe(int directory, const char *name, struct agentd_entry *entry) {
  struct statx found;
  // Said only where it is meant: with it the kernel looks at the name once more.
  int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
  unsigned wanted = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_MNT_ID;
  if (statx(directory, name, flags, wanted, &found) < 0) return -errno;
  *entry = (struct agentd_entry){
      .mode = found.stx_mode,
      .owner = found.stx_uid,
      .links = found.stx_nlink,
      .device = (uint64_t)found.stx_dev_major << 32 | found.stx_dev_minor,
      .mount = found.stx_mask & STATX_MNT_ID ? found.stx_mnt_id : 0,
  };
  return 0;
}

int agentd_entry_set_mode(int held, uint32_t mode) {
  return syscall(SYS_fchmodat2, held, "", mode, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int agentd_entry_set_mode_of(int directory, const char *name, uint32_t mode) {
  return syscall(SYS_fchmodat2, directory, name, mode, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int agentd_entry_set_owner(int held, uint32_t owner) {
  return fchownat(held, "", owner, (gid_t)-1, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

uint32_t agentd_umask(void) {
  uint32_t mask = 0777;
  FILE *status = fopen("/proc/thread-self/status", "re");
  if (status == NULL) return mask;
  char line[256];
  while (fgets(line, sizeof line, status) != NULL) {
    if (sscanf(line, "Umask: %o", &mask) == 1) break;
  }
  fclose(status);
  return mask;
}

struct agentd_directory {
  int descriptor;
  uint32_t at;
  uint32_t end;
  // The size that the C library has, too.
  _Alignas(struct dirent64) char entries[1 << 15];
};

struct agentd_directory *agentd_directory_open(int descriptor) {
  struct agentd_directory *directory = malloc(sizeof *directory);
  if (directory == NULL) {
    close(descriptor);
    return NULL;
  }
  directory->descriptor = descriptor;
  directory->at = directory->end = 0;
  return directory;
}

void agentd_directory_close(struct agentd_directory *directory) {
  close(directory->descriptor);
  free(directory);
}

int agentd_directory_descriptor(const struct agentd_directory *directory) { return directory->descriptor; }

void agentd_directory_rewind(struct agentd_directory *directory) {
  lseek(directory->descriptor, 0, SEEK_SET);
  directory->at = directory->end = 0;
}

int agentd_directory_next(struct agentd_directory *directory, const char **name) {
  for (;;) {
    if (directory->at == directory->end) {
      ssize_t length = getdents64(directory->descriptor, directory->entries, sizeof directory->entries);
      if (length <= 0) return length < 0 ? -errno : 0;
      directory->at = 0;
      directory->end = (uint32_t)length;
    }
    const struct dirent64 *entry = (const void *)(directory->entries + directory->at);
    directory->at += entry->d_reclen;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    *name = entry->d_name;
    return 1;
  }
}
