/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders that only their owner may read. What is written is on the
 * disk when the call returns. */
#pragma once

#include "base/buf.h"
#include "base/problem.h"

#include <stdbool.h>

#define FILE_PATH_MAX 4096U

/* For CLEANUP: closes a descriptor that is open, and sets it to -1. */
void fd_close(int *fd);

/* Writes "folder/name" to `out`. */
MUST_USE enum err file_path(const char *folder, const char *name,
                            char out[FILE_PATH_MAX], struct problem *p);

/* Makes a folder with mode 0700. One that exists is accepted when it is ours
 * and closed to others. */
MUST_USE enum err file_folder(const char *path, struct problem *p);

bool file_exists(const char *path);

/* Appends the content to `out`; ERR_LIMIT beyond its max, ERR_NOTFOUND when
 * there is no such file. */
MUST_USE enum err file_read(const char *path, struct buf *out,
                            struct problem *p);

/* The same, but refuses a file that others may read: for keys. A group may read
 * a file of root's, where we are not root: so ACME clients hand keys out. */
MUST_USE enum err file_read_private(const char *path, struct buf *out,
                                    struct problem *p);

/* The same, but refuses a file that another user could have written: for what
 * one obeys. The superuser may. */
MUST_USE enum err file_read_trusted(const char *path, struct buf *out,
                                    struct problem *p);

/* Replaces or makes the file, mode 0600: after a crash it holds either the old
 * or the new content. */
MUST_USE enum err file_write(const char *path, struct bytes content,
                             struct problem *p);

/* A lock that ends with the process, whatever ends it. */
struct file_lock {
    int fd_plus_1; /* 0: not held */
};

/* ERR_EXISTS (PROBLEM_LOCKED): another process holds it. */
MUST_USE enum err file_lock_take(const char *path, struct file_lock *out_lock,
                                 struct problem *p);
void file_lock_release(struct file_lock *lock);
