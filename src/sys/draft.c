/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/draft.h"

#include "sys/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".new-"
#define DIGITS "0123456789"
#define OTHERS 0077

/* --- what others left --- */

static bool is_name(const char *name, const char *place)
{
    size_t len = strlen(place);
    if (strncmp(name, place, len) != 0 ||
        strncmp(name + len, SUFFIX, strlen(SUFFIX)) != 0)
        return false;
    const char *number = name + len + strlen(SUFFIX);
    return *number != '\0' && number[strspn(number, DIGITS)] == '\0';
}

/* Nobody else could have put the mark there, and nobody holds it. The folder is
 * looked at and emptied by its descriptor, whatever its name is made to mean
 * meanwhile; the mark goes last, so that a kill leaves a draft again. */
static void remove_dead(int parent, const char *name)
{
    struct stat s;
    CLEANUP(fd_close)
    int fd =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s) != 0 || s.st_uid != geteuid() ||
        (s.st_mode & OTHERS) != 0)
        return;
    CLEANUP(fd_close)
    int mark = openat(fd, DRAFT_MARK, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (mark < 0 || flock(mark, LOCK_EX | LOCK_NB) != 0)
        return;
    folder_empty(fd, DRAFT_MARK);
    (void)unlinkat(fd, DRAFT_MARK, 0);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

static void remove_all_dead(const char *place)
{
    char parent[FILE_PATH_MAX];
    const char *name = folder_of(place, parent);
    CLEANUP(dir_close) DIR *dir = opendir(parent);
    const struct dirent *e = NULL;
    while (dir != NULL && (e = readdir(dir)) != NULL)
        if (is_name(e->d_name, name))
            remove_dead(dirfd(dir), e->d_name);
}

/* --- one's own --- */

enum err draft_make(const char *place, struct draft *out, struct problem *p)
{
    CLEANUP(draft_clear) struct draft d = {0};
    char path[FILE_PATH_MAX];
    char mark[FILE_PATH_MAX];
    size_t size = strlen(place);
    while (size > 1 && place[size - 1] == '/')
        size--;
    int len = snprintf(path, sizeof path, "%.*s" SUFFIX "%ld", (int)size, place,
                       (long)getpid());
    if (len < 0 || (size_t)len >= sizeof path)
        return problem_set(p, ERR_LIMIT, PROBLEM_USAGE,
                           "the folder's name is too long");
    memcpy(d.place, place, size);
    remove_all_dead(d.place);
    if (mkdir(path, 0700) != 0)
        return problem_system(p, "cannot make the folder %.100s", path);
    memcpy(d.path, path, sizeof d.path);
    TRY(file_path(d.path, DRAFT_MARK, mark, p));
    TRY(file_lock_take(mark, &d.mark, p));
    *out = d;
    d = (struct draft){0}; /* handed over */
    return OK;
}

enum err draft_whole(struct draft *d, struct problem *p)
{
    char mark[FILE_PATH_MAX];
    TRY(file_path(d->path, DRAFT_MARK, mark, p));
    if (unlink(mark) != 0)
        return problem_system(p, "cannot remove %.100s", mark);
    file_lock_release(&d->mark);
    return folder_sync(d->path, p);
}

void draft_clear(struct draft *d)
{
    if (d->path[0] != '\0') {
        CLEANUP(fd_close)
        int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            folder_empty(fd, DRAFT_MARK);
        folder_remove(d->path);
    }
    file_lock_release(&d->mark);
    *d = (struct draft){0};
}

bool draft_is(const char *folder)
{
    char mark[FILE_PATH_MAX];
    return file_path(folder, DRAFT_MARK, mark, NULL) == OK && file_exists(mark);
}
