// Entries of a directory that other users may write to, by descriptor only. Errors are negative errno.
#define _GNU_SOURCE
#include "audit.h"

#include <errno.h>
#include <fcntl.h>
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

int agentd_directory_next(DIR *stream, const char **name) {
  for (;;) {
    errno = 0;
    const struct dirent *entry = readdir(stream);
    if (entry == NULL) return -errno;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    *name = entry->d_name;
    return 1;
  }
}
