/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/folder.h"

#include "base/buf.h"
#include "sys/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE  0600
#define COPY_PIECE ((size_t)1 << 20)
#define COPY_ONCE  ((size_t)1 << 30) /* asked of the system at a time */

void dir_close(DIR **d)
{
    if (*d != NULL)
        (void)closedir(*d);
    *d = NULL;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* --- files --- */

/* What a system without copy_file_range between the two needs. */
static enum err copy_by_hand(int from, int to, uint64_t len, uint64_t *done,
                             struct buf *piece)
{
    while (*done < len) {
        size_t want =
            len - *done < COPY_PIECE ? (size_t)(len - *done) : COPY_PIECE;
        ssize_t n = read(from, piece->data, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        if (n == 0)
            break;
        for (ssize_t put = 0; put < n;) {
            ssize_t w = write(to, piece->data + put, (size_t)(n - put));
            if (w < 0 && errno != EINTR)
                return ERR_IO;
            put += w > 0 ? w : 0;
        }
        *done += (uint64_t)n;
    }
    return OK;
}

static enum err copy_content(int from, int to, uint64_t len)
{
    uint64_t done = 0;
    ssize_t n = 1;
    while (done < len && n > 0) {
        size_t want = len - done < COPY_ONCE ? (size_t)(len - done) : COPY_ONCE;
        n = copy_file_range(from, NULL, to, NULL, want, 0);
        done += n > 0 ? (uint64_t)n : 0;
    }
    if (n >= 0)
        return OK;
    if (errno == ENOSPC || errno == EDQUOT || errno == EIO)
        return ERR_IO;
    CLEANUP(buf_clear) struct buf piece = buf_new(COPY_PIECE);
    TRY(buf_extend(&piece, COPY_PIECE));
    return copy_by_hand(from, to, len, &done, &piece);
}

enum err file_copy(const char *from, const char *to, uint64_t len,
                   struct problem *p)
{
    CLEANUP(fd_close) int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0) {
        bool missing = errno == ENOENT;
        enum err err = problem_system(p, "cannot open %.100s", from);
        return missing ? ERR_NOTFOUND : err;
    }
    CLEANUP(fd_close)
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                   FILE_MODE);
    if (out < 0)
        return problem_system(p, "cannot make %.100s", to);
    if (copy_content(in, out, len) != OK || fsync(out) != 0)
        return problem_system(p, "cannot copy to %.100s", to);
    int result = close(out);
    out = -1;
    if (result != 0)
        return problem_system(p, "cannot copy to %.100s", to);
    return OK;
}

enum err file_link(const char *from, const char *to, struct problem *p)
{
    if (link(from, to) == 0)
        return OK;
    return file_copy(from, to, UINT64_MAX, p);
}

/* --- folders --- */

/* What is done with each file, and with each folder after its files. */
struct visit {
    enum err (*file)(void *ctx, const char *path, const char *name,
                     struct problem *p);
    enum err (*enter)(void *ctx, const char *name, struct problem *p);
    enum err (*leave)(void *ctx, const char *path, struct problem *p);
    void *ctx;
};

static const char *next_name(DIR *dir)
{
    const struct dirent *e = NULL;
    while ((e = readdir(dir)) != NULL && is_dots(e->d_name))
        ;
    return e != NULL ? e->d_name : NULL;
}

static enum err open_folder(const char *path, DIR **out, struct problem *p)
{
    *out = opendir(path);
    if (*out == NULL)
        return problem_system(p, "cannot read the folder %.100s", path);
    return OK;
}

/* Says whether it is a folder; visits it if it is none. */
static enum err visit_entry(const struct visit *v, const char *path,
                            const char *name, bool *out_folder,
                            struct problem *p)
{
    struct stat s;
    if (lstat(path, &s) != 0)
        return problem_system(p, "cannot look at %.100s", path);
    *out_folder = S_ISDIR(s.st_mode);
    return *out_folder ? OK : v->file(v->ctx, path, name, p);
}

static enum err visit_inner(const struct visit *v, const char *folder,
                            struct problem *p)
{
    CLEANUP(dir_close) DIR *dir = NULL;
    char path[FILE_PATH_MAX];
    const char *name = NULL;
    bool deeper = false;
    TRY(open_folder(folder, &dir, p));
    while ((name = next_name(dir)) != NULL) {
        TRY(file_path(folder, name, path, p));
        TRY(visit_entry(v, path, name, &deeper, p));
        if (deeper)
            return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                               "%.150s does not belong here", path);
    }
    return v->leave != NULL ? v->leave(v->ctx, folder, p) : OK;
}

static enum err visit_all(const struct visit *v, const char *folder,
                          struct problem *p)
{
    CLEANUP(dir_close) DIR *dir = NULL;
    char path[FILE_PATH_MAX];
    const char *name = NULL;
    bool inner = false;
    TRY(open_folder(folder, &dir, p));
    while ((name = next_name(dir)) != NULL) {
        TRY(file_path(folder, name, path, p));
        TRY(visit_entry(v, path, name, &inner, p));
        if (inner && v->enter != NULL)
            TRY(v->enter(v->ctx, name, p));
        if (inner)
            TRY(visit_inner(v, path, p));
    }
    return v->leave != NULL ? v->leave(v->ctx, folder, p) : OK;
}

struct copying {
    const struct folder_copy *how;
    const char *to;            /* the folder */
    char inner[FILE_PATH_MAX]; /* the folder in it, when it is in one */
    uint64_t files;
};

static enum err copy_file(void *ctx, const char *path, const char *name,
                          struct problem *p)
{
    struct copying *c = ctx;
    char to[FILE_PATH_MAX];
    if (!c->how->wanted(name))
        return OK;
    TRY(file_path(c->inner[0] != '\0' ? c->inner : c->to, name, to, p));
    TRY(file_copy(path, to, UINT64_MAX, p));
    c->how->copied(c->how->ctx, ++c->files);
    return OK;
}

static enum err copy_enter(void *ctx, const char *name, struct problem *p)
{
    struct copying *c = ctx;
    TRY(file_path(c->to, name, c->inner, p));
    return file_folder(c->inner, p);
}

static enum err copy_leave(void *ctx, const char *path, struct problem *p)
{
    struct copying *c = ctx;
    (void)path;
    enum err err = folder_sync(c->inner[0] != '\0' ? c->inner : c->to, p);
    c->inner[0] = '\0';
    return err;
}

enum err folder_copy(const char *from, const char *to,
                     const struct folder_copy *how, struct problem *p)
{
    struct copying c = {.how = how, .to = to};
    const struct visit v = {copy_file, copy_enter, copy_leave, &c};
    return visit_all(&v, from, p);
}

struct owner {
    uid_t user;
    gid_t group;
};

static enum err give(void *ctx, const char *path, struct problem *p)
{
    const struct owner *o = ctx;
    if (lchown(path, o->user, o->group) != 0)
        return problem_system(p, "cannot give %.100s to its user", path);
    return OK;
}

static enum err give_file(void *ctx, const char *path, const char *name,
                          struct problem *p)
{
    (void)name;
    return give(ctx, path, p);
}

enum err folder_give(const char *path, uid_t user, gid_t group,
                     struct problem *p)
{
    struct owner o = {user, group};
    const struct visit v = {give_file, NULL, give, &o};
    return visit_all(&v, path, p);
}

/* Removes what is in a folder, by its descriptor: a name that is made to mean
 * another folder meanwhile does not lead there. */
static void remove_files(int fd, const char *kept,
                         void (*inner)(int fd, const char *name))
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    CLEANUP(dir_close) DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    const char *name = NULL;
    if (dir == NULL && copy >= 0)
        (void)close(copy);
    while (dir != NULL && (name = next_name(dir)) != NULL)
        if ((kept == NULL || strcmp(name, kept) != 0) &&
            unlinkat(fd, name, 0) != 0 && inner != NULL)
            inner(fd, name);
}

static void remove_inner(int parent, const char *name)
{
    CLEANUP(fd_close)
    int fd =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    remove_files(fd, NULL, NULL);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

void folder_empty(int fd, const char *kept)
{
    remove_files(fd, kept, remove_inner);
}

void folder_remove(const char *path)
{
    CLEANUP(fd_close)
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    folder_empty(fd, NULL);
    (void)rmdir(path);
}

bool folder_is_empty(const char *path)
{
    CLEANUP(dir_close) DIR *dir = opendir(path);
    if (dir == NULL)
        return errno == ENOENT;
    return next_name(dir) == NULL;
}

enum err folder_sync(const char *path, struct problem *p)
{
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return problem_system(p, "cannot sync the folder %.100s", path);
    return OK;
}

const char *folder_of(const char *path, char out[FILE_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        (void)snprintf(out, FILE_PATH_MAX, ".");
    else
        (void)snprintf(out, FILE_PATH_MAX, "%.*s",
                       slash == path ? 1 : (int)(slash - path), path);
    return slash == NULL ? path : slash + 1;
}

enum err folder_sync_parent(const char *path, struct problem *p)
{
    char parent[FILE_PATH_MAX];
    (void)folder_of(path, parent);
    return folder_sync(parent, p);
}

/* rename() itself replaces an empty folder, and no other. */
enum err folder_place(const char *from, const char *to, struct problem *p)
{
    if (rename(from, to) == 0)
        return folder_sync_parent(to, p);
    bool taken = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR;
    enum err err =
        problem_system(p, "cannot put the folder in its place %.100s", to);
    return taken ? ERR_EXISTS : err;
}

enum err folder_exchange(const char *from, const char *to, const char *aside,
                         struct problem *p)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0)
        return folder_sync_parent(to, p);
    if (errno != EINVAL && errno != ENOSYS)
        return problem_system(p, "cannot put the folder in its place %.100s",
                              to);
    if (rename(to, aside) != 0)
        return problem_system(p, "cannot move %.100s aside", to);
    if (rename(from, to) != 0) {
        enum err err = problem_system(p, "cannot replace %.100s", to);
        (void)rename(aside, to);
        return err;
    }
    if (rename(aside, from) != 0)
        return problem_system(p, "cannot rename %.100s", aside);
    return folder_sync_parent(to, p);
}
