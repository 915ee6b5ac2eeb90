/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE    0600
#define FOLDER_MODE  0700
#define OTHERS       0077
#define OTHERS_WRITE 0022
#define GROUP_READS  0040

void fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

enum err file_path(const char *folder, const char *name,
                   char out[FILE_PATH_MAX], struct problem *p)
{
    int len = snprintf(out, FILE_PATH_MAX, "%s/%s", folder, name);
    if (len < 0 || (unsigned)len >= FILE_PATH_MAX)
        return problem_set(p, ERR_LIMIT, PROBLEM_USAGE,
                           "the path of %.100s is too long", name);
    return OK;
}

enum err file_folder(const char *path, struct problem *p)
{
    if (mkdir(path, FOLDER_MODE) == 0)
        return OK;
    if (errno != EEXIST)
        return problem_system(p, "cannot make the folder %.100s", path);
    struct stat s;
    if (stat(path, &s) != 0)
        return problem_system(p, "cannot look at %.100s", path);
    if (!S_ISDIR(s.st_mode))
        return problem_set(p, ERR_EXISTS, PROBLEM_USAGE,
                           "%.100s is not a folder", path);
    if (s.st_uid != geteuid())
        return problem_set(p, ERR_IO, PROBLEM_PERMISSION,
                           "the folder %.100s belongs to another user", path);
    if ((s.st_mode & OTHERS) != 0)
        return problem_set(p, ERR_IO, PROBLEM_PERMISSION,
                           "the folder %.100s is open to others: chmod 700 it",
                           path);
    return OK;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

static enum err read_all(int fd, const char *path, struct buf *out,
                         struct problem *p)
{
    struct stat s;
    if (fstat(fd, &s) != 0)
        return problem_system(p, "cannot look at %.100s", path);
    if (!S_ISREG(s.st_mode))
        return problem_set(p, ERR_IO, PROBLEM_USAGE, "%.100s is not a file",
                           path);
    size_t start = out->len;
    enum err err =
        s.st_size < 0 ? ERR_LIMIT : buf_extend(out, (size_t)s.st_size);
    if (err == ERR_LIMIT)
        return problem_set(p, err, PROBLEM_DAMAGED,
                           "%.100s is larger than expected", path);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM,
                           "out of memory to read %.100s", path);
    while (start < out->len) {
        ssize_t n = read(fd, out->data + start, out->len - start);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return problem_system(p, "cannot read %.100s", path);
        if (n == 0)
            break; /* it became shorter meanwhile */
        start += (size_t)n;
    }
    out->len = start;
    return OK;
}

static enum err open_to_read(const char *path, int *out_fd, struct problem *p)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        *out_fd = fd;
        return OK;
    }
    bool missing = errno == ENOENT;
    enum err err = problem_system(p, "cannot open %.100s", path);
    return missing ? ERR_NOTFOUND : err;
}

enum err file_read(const char *path, struct buf *out, struct problem *p)
{
    CLEANUP(fd_close) int fd = -1;
    TRY(open_to_read(path, &fd, p));
    assert(fd >= 0);
    size_t start = out->len;
    enum err err = read_all(fd, path, out, p);
    if (err != OK)
        out->len = start;
    return err;
}

static bool is_private(const struct stat *s)
{
    unsigned others = s->st_mode & OTHERS;
    return others == 0 ||
           (others == GROUP_READS && s->st_uid == 0 && geteuid() != 0);
}

enum err file_read_private(const char *path, struct buf *out, struct problem *p)
{
    struct stat s;
    if (stat(path, &s) == 0 && !is_private(&s))
        return problem_set(p, ERR_IO, PROBLEM_PERMISSION,
                           "%.100s can be read by others: chmod 600 it", path);
    return file_read(path, out, p);
}

enum err file_read_trusted(const char *path, struct buf *out, struct problem *p)
{
    struct stat s;
    if (stat(path, &s) == 0 && (s.st_mode & OTHERS_WRITE) != 0)
        return problem_set(p, ERR_IO, PROBLEM_PERMISSION,
                           "%.100s can be written by others: chmod go-w it",
                           path);
    if (stat(path, &s) == 0 && s.st_uid != 0 && s.st_uid != geteuid())
        return problem_set(p, ERR_IO, PROBLEM_PERMISSION,
                           "%.100s belongs to another user: make it root's or "
                           "yours",
                           path);
    return file_read(path, out, p);
}

static enum err write_all(int fd, struct bytes content, const char *path,
                          struct problem *p)
{
    size_t done = 0;
    while (done < content.len) {
        ssize_t n = write(fd, content.data + done, content.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return problem_system(p, "cannot write %.100s", path);
        done += (size_t)n;
    }
    if (fsync(fd) != 0)
        return problem_system(p, "cannot write %.100s", path);
    return OK;
}

/* Makes the names in the folder of `path` durable. */
static enum err sync_folder(const char *path, struct problem *p)
{
    char folder[FILE_PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    if (slash != NULL)
        (void)snprintf(folder, sizeof folder, "%.*s",
                       slash == path ? 1 : (int)(slash - path), path);
    CLEANUP(fd_close) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return problem_system(p, "cannot sync the folder %.100s", folder);
    return OK;
}

static enum err write_new(const char *path, struct bytes content,
                          struct problem *p)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    CLEANUP(fd_close) int fd = open(path, flags, FILE_MODE);
    if (fd < 0)
        return problem_system(p, "cannot make %.100s", path);
    TRY(write_all(fd, content, path, p));
    int result = close(fd);
    fd = -1;
    if (result != 0)
        return problem_system(p, "cannot write %.100s", path);
    return OK;
}

enum err file_write(const char *path, struct bytes content, struct problem *p)
{
    char temp[FILE_PATH_MAX];
    int len = snprintf(temp, sizeof temp, "%s.new", path);
    if (len < 0 || (unsigned)len >= sizeof temp)
        return problem_set(p, ERR_LIMIT, PROBLEM_USAGE, "a path is too long");
    enum err err = write_new(temp, content, p);
    if (err == OK && rename(temp, path) != 0)
        err = problem_system(p, "cannot replace %.100s", path);
    if (err != OK) {
        (void)unlink(temp);
        return err;
    }
    return sync_folder(path, p);
}

enum err file_lock_take(const char *path, struct file_lock *out_lock,
                        struct problem *p)
{
    CLEANUP(fd_close)
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (fd < 0)
        return problem_system(p, "cannot open the lock file %.100s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return problem_system(p, "cannot lock %.100s", path);
        return problem_set(p, ERR_EXISTS, PROBLEM_LOCKED,
                           "another process uses this folder (%.100s is "
                           "locked): stop it first",
                           path);
    }
    out_lock->fd_plus_1 = fd + 1;
    fd = -1; /* handed over */
    return OK;
}

void file_lock_release(struct file_lock *lock)
{
    if (lock->fd_plus_1 > 0)
        (void)close(lock->fd_plus_1 - 1);
    *lock = (struct file_lock){0};
}
