/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of files and of folders with files in them, at most one folder deep:
 * what is new is closed to others, and on the disk when the call returns. A
 * folder is made under another name and then put in its place, so that it is
 * there whole or not at all.
 */
#pragma once

#include "sys/files.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* For CLEANUP: closes a folder that is open. */
void dir_close(DIR **d);

/* Copies the first `len` bytes (UINT64_MAX: all) to a new file. ERR_NOTFOUND:
 * there is no such file. */
MUST_USE enum err file_copy(const char *from, const char *to, uint64_t len,
                            struct problem *p);

/* The same for a whole file, which both names share where the system can. */
MUST_USE enum err file_link(const char *from, const char *to,
                            struct problem *p);

/* Copies the files of a folder that `wanted` accepts, and of the folders in it,
 * to a folder that is there. `copied` is called after each. */
struct folder_copy {
    bool (*wanted)(const char *name);
    void (*copied)(void *ctx, uint64_t files);
    void *ctx;
};
MUST_USE enum err folder_copy(const char *from, const char *to,
                              const struct folder_copy *how, struct problem *p);

/* Makes everything below and the folder itself this user's. */
MUST_USE enum err folder_give(const char *path, uid_t user, gid_t group,
                              struct problem *p);

/* Removes a folder with all files, as far as that goes; not through a link. */
void folder_remove(const char *path);

/* The same for what is in it, but for a file that is kept, if one is named. */
void folder_empty(int fd, const char *kept);

/* True also when there is no such folder. */
bool folder_is_empty(const char *path);

/* Writes the folder that `path` lies in; returns its name there. */
const char *folder_of(const char *path, char out[FILE_PATH_MAX]);

/* Makes the names in a folder durable; in the one that `path` lies in. */
MUST_USE enum err folder_sync(const char *path, struct problem *p);
MUST_USE enum err folder_sync_parent(const char *path, struct problem *p);

/* Gives a folder its name; ERR_EXISTS when that is taken, by more than an empty
 * folder. */
MUST_USE enum err folder_place(const char *from, const char *to,
                               struct problem *p);

/* Lets two folders change names, in one step where the system can; otherwise
 * `aside` is `to` for a moment. */
MUST_USE enum err folder_exchange(const char *from, const char *to,
                                  const char *aside, struct problem *p);
