/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blobs. The row is the truth: bytes of a file count as far as its row says,
 * and the row says so only after they are durable. So what a crash leaves in a
 * file is overwritten by the next piece, and a file without a row is litter.
 *
 *     put:    write, sync file (and folder), row, commit
 *     delete: row, commit, unlink
 *
 * A file is named by the blob's id in hexadecimal digits. Over a VFS of its
 * own (simulations), the content is in rows.
 */
#include "server/store_sqlite_impl.h"

#include "sys/files.h"
#include "sys/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SIZE  (2 * ID_SIZE + 1)
#define SWEEP_STEP 64U /* files that one collection visits */

const char *const store_blobs_schema[] = {
    "CREATE TABLE blob ("
    " id BLOB NOT NULL PRIMARY KEY,"
    " total INTEGER NOT NULL,"
    " stored INTEGER NOT NULL," /* so much of it is durable */
    " expires INTEGER NOT NULL" /* the first day without it */
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE piece (" /* content, where there is no folder */
    " blob BLOB NOT NULL,"
    " at INTEGER NOT NULL,"
    " data BLOB NOT NULL,"
    " PRIMARY KEY (blob, at)"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE usage (one INTEGER PRIMARY KEY, bytes INTEGER NOT NULL)"
    " STRICT;"
    "INSERT INTO usage VALUES (1, 0);",
    NULL,
};

struct blob {
    struct bytes id;
    uint64_t total;
    uint64_t stored;
    uint64_t expires;
    bool known;
};

static void name_of(struct bytes id, char out[NAME_SIZE])
{
    for (size_t i = 0; i < ID_SIZE; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", id.data[i]);
}

static bool name_parse(const char *name, uint8_t out[ID_SIZE])
{
    if (strspn(name, "0123456789abcdef") != NAME_SIZE - 1 ||
        name[NAME_SIZE - 1] != '\0')
        return false;
    for (size_t i = 0; i < ID_SIZE; i++) {
        const char digits[] = {name[2 * i], name[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return true;
}

enum err blobs_open(struct store_sqlite *s,
                    const struct store_sqlite_config *config)
{
    char path[4096];
    s->blobs_fd = -1;
    if (config->dir == NULL || config->vfs != NULL)
        return OK;
    int len = snprintf(path, sizeof path, "%s/blobs", config->dir);
    if (len < 0 || (size_t)len >= sizeof path)
        return problem_set(&s->problem, ERR_LIMIT, PROBLEM_USAGE,
                           "the folder's name is too long");
    if (!config->existing && mkdir(path, 0700) != 0 && errno != EEXIST)
        return problem_system(&s->problem, "cannot make %s", path);
    s->blobs_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->blobs_fd < 0)
        return problem_system(&s->problem, "cannot open %s", path);
    return OK;
}

void blobs_close(struct store_sqlite *s)
{
    if (s->sweep != NULL)
        (void)closedir(s->sweep);
    if (s->blobs_fd >= 0)
        (void)close(s->blobs_fd);
    s->sweep = NULL;
    s->blobs_fd = -1;
}

static enum err blob_find(struct sql *db, struct bytes id, struct blob *out)
{
    *out = (struct blob){.id = id};
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT total, stored, expires FROM blob WHERE id = ?");
    sql_put_bytes(&q, id);
    if (!sql_next(&q))
        return sql_finish(&q);
    out->known = true;
    out->total = sql_u64(&q, 0);
    out->stored = sql_u64(&q, 1);
    out->expires = sql_u64(&q, 2);
    return OK;
}

/* --- content --- */

static enum err close_checked(struct store_sqlite *s, int fd, bool written)
{
    int sys = errno;
    bool closed = close(fd) == 0;
    if (!written)
        errno = sys;
    return written && closed ? OK
                             : problem_system(&s->problem, "cannot write blob");
}

static bool write_all(int fd, uint64_t at, struct bytes data)
{
    while (data.len > 0) {
        ssize_t n = pwrite(fd, data.data, data.len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        at += (size_t)n;
        data = (struct bytes){data.data + n, data.len - (size_t)n};
    }
    return true;
}

static enum err content_write(struct store_sqlite *s, const struct blob *b,
                              uint64_t at, struct bytes data)
{
    char name[NAME_SIZE];
    name_of(b->id, name);
    int fd = openat(s->blobs_fd, name,
                    O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return problem_system(&s->problem, "cannot make a blob's file");
    bool written = write_all(fd, at, data) && fdatasync(fd) == 0 &&
                   (at > 0 || fsync(s->blobs_fd) == 0);
    return close_checked(s, fd, written);
}

static enum err rows_write(struct sql *db, const struct blob *b, uint64_t at,
                           struct bytes data)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "INSERT INTO piece VALUES (?, ?, ?)");
    sql_put_bytes(&q, b->id);
    sql_put_u64(&q, at);
    sql_put_bytes(&q, data);
    return sql_run(&q);
}

/* Reads into the whole of `out`, which has the length that is wanted.
 * ERR_NOTFOUND: the file is not what its row says, and never will be. */
static enum err content_read(struct store_sqlite *s, const struct blob *b,
                             uint64_t at, struct buf *out)
{
    char name[NAME_SIZE];
    size_t got = 0;
    ssize_t n = 1;
    name_of(b->id, name);
    int fd = openat(s->blobs_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return ERR_NOTFOUND;
    if (fd < 0)
        return problem_system(&s->problem, "cannot open a blob's file");
    while (got < out->len && (n > 0 || (n < 0 && errno == EINTR))) {
        n = pread(fd, out->data + got, out->len - got, (off_t)(at + got));
        got += n > 0 ? (size_t)n : 0;
    }
    enum err err =
        n < 0 ? problem_system(&s->problem, "cannot read a blob") : OK;
    (void)close(fd);
    return err == OK && got < out->len ? ERR_NOTFOUND : err;
}

static enum err rows_read(struct sql *db, const struct blob *b, uint64_t at,
                          struct buf *out)
{
    size_t got = 0;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT at, data FROM piece WHERE blob = ?"
                      " AND at + length(data) > ? ORDER BY at");
    sql_put_bytes(&q, b->id);
    sql_put_u64(&q, at);
    while (got < out->len && sql_next(&q)) {
        struct bytes data = sql_bytes(&q, 1);
        size_t skip = (size_t)(at + got - sql_u64(&q, 0));
        size_t len =
            data.len - skip < out->len - got ? data.len - skip : out->len - got;
        memcpy(out->data + got, data.data + skip, len);
        got += len;
    }
    return sql_finish(&q);
}

/* --- rules --- */

static enum err usage_add(const struct store_sqlite *s, struct sql *db,
                          uint64_t bytes, bool *out_room)
{
    {
        CLEANUP(sql_end)
        struct sql_query q = sql_query(db, "SELECT bytes FROM usage");
        TRY(sql_one(&q));
        uint64_t used = sql_u64(&q, 0);
        *out_room = used <= s->quotas.blobs_bytes &&
                    bytes <= s->quotas.blobs_bytes - used;
    }
    if (!*out_room)
        return OK;
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "UPDATE usage SET bytes = bytes + ?");
    sql_put_u64(&q, bytes);
    return sql_run(&q);
}

static enum err blob_start(const struct store_sqlite *s, struct sql *db,
                           struct store_op *op, bool *out_ok)
{
    const struct blob_put_request *r = &op->request.blob_put;
    uint32_t days = r->days < BLOB_DAYS_MAX ? r->days : BLOB_DAYS_MAX;
    TRY(usage_add(s, db, r->total, out_ok));
    if (!*out_ok)
        return store_refuse(op, STATUS_LIMIT, 0);
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "INSERT INTO blob VALUES (?, ?, 0, ?)");
    sql_put_bytes(&q, r->blob);
    sql_put_u64(&q, r->total);
    sql_put_u64(&q, (uint64_t)op->day + days + 1);
    return sql_run(&q);
}

static enum err piece_store(struct store_sqlite *s, struct sql *db,
                            const struct blob *b, struct store_op *op)
{
    const struct blob_put_request *r = &op->request.blob_put;
    TRY(s->blobs_fd >= 0 ? content_write(s, b, r->offset, r->data)
                         : rows_write(db, b, r->offset, r->data));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "UPDATE blob SET stored = ? WHERE id = ?");
    sql_put_u64(&q, r->offset + r->data.len);
    sql_put_bytes(&q, r->blob);
    TRY(sql_run(&q));
    op->answer.blob_put.stored = r->offset + r->data.len;
    return OK;
}

enum err blobs_put(struct store_sqlite *s, struct store_op *op)
{
    const struct blob_put_request *r = &op->request.blob_put;
    struct sql *db = NULL;
    struct blob b;
    bool ok = false;
    TRY(channels_access(s, op, &ok));
    if (!ok)
        return OK;
    TRY(store_use(s, op, FILE_BLOBS, &db));
    TRY(blob_find(db, r->blob, &b));
    if (r->data.len == 0) {
        op->answer.blob_put.stored = b.stored;
        return OK;
    }
    if (r->offset != b.stored)
        return store_refuse(op, STATUS_STATE, b.stored);
    if (b.known && b.total != r->total)
        return store_refuse(op, STATUS_EXISTS, 0);
    if (r->total > s->quotas.blob_bytes)
        return store_refuse(op, STATUS_LIMIT, 0);
    if (r->data.len > r->total - r->offset)
        return store_refuse(op, STATUS_INVALID, 0);
    if (!b.known) {
        TRY(blob_start(s, db, op, &ok));
        if (!ok)
            return OK;
    }
    return piece_store(s, db, &b, op);
}

enum err blobs_get(struct store_sqlite *s, struct store_op *op)
{
    const struct blob_get_request *r = &op->request.blob_get;
    struct sql *db = NULL;
    struct blob b;
    TRY(store_use(s, op, FILE_BLOBS, &db));
    TRY(blob_find(db, r->blob, &b));
    if (!b.known || b.stored < b.total || b.expires <= op->day)
        return store_refuse(op, STATUS_NOTFOUND, 0);
    if (r->offset > b.total)
        return store_refuse(op, STATUS_INVALID, 0);
    uint64_t len = b.total - r->offset;
    len = len < r->max ? len : r->max;
    len = len < BLOB_PIECE_MAX ? len : BLOB_PIECE_MAX;
    op->data = buf_new(BLOB_PIECE_MAX);
    TRY(buf_extend(&op->data, (size_t)len));
    enum err err = OK;
    if (len > 0)
        err = s->blobs_fd >= 0 ? content_read(s, &b, r->offset, &op->data)
                               : rows_read(db, &b, r->offset, &op->data);
    if (err == ERR_NOTFOUND) /* `check` tells the operator */
        return store_refuse(op, STATUS_NOTFOUND, 0);
    TRY(err);
    op->answer.blob_get.total = b.total;
    op->answer.blob_get.data = buf_bytes(&op->data);
    return OK;
}

/* --- what goes --- */

static enum err row_delete(struct sql *db, struct bytes id)
{
    static const char *const texts[] = {
        "DELETE FROM piece WHERE blob = ?",
        ("UPDATE usage SET bytes = bytes -"
         " (SELECT total FROM blob WHERE id = ?)"),
        "DELETE FROM blob WHERE id = ?",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        CLEANUP(sql_end) struct sql_query q = sql_query(db, texts[i]);
        sql_put_bytes(&q, id);
        TRY(sql_run(&q));
    }
    return OK;
}

static enum err blob_expire(struct store_sqlite *s, struct sql *db,
                            struct bytes id, uint32_t day)
{
    struct blob b;
    TRY(blob_find(db, id, &b));
    if (b.expires > day)
        return OK;
    TRY(row_delete(db, id));
    if (s->gone_count < COLLECT_STEP)
        memcpy(s->gone[s->gone_count++], id.data, ID_SIZE);
    return OK;
}

void blobs_committed(struct store_sqlite *s)
{
    char name[NAME_SIZE];
    for (size_t i = 0; i < s->gone_count && s->blobs_fd >= 0; i++) {
        name_of((struct bytes){s->gone[i], ID_SIZE}, name);
        (void)unlinkat(s->blobs_fd, name, 0); /* or else it is swept later */
    }
    s->gone_count = 0;
}

/* Removes a few files that have no row: a crash, or a commit that failed, came
 * between. */
static enum err sweep(struct store_sqlite *s, struct sql *db)
{
    if (s->blobs_fd < 0)
        return OK;
    if (s->sweep == NULL) {
        int fd = openat(s->blobs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        s->sweep = fd >= 0 ? fdopendir(fd) : NULL;
        if (s->sweep == NULL)
            return problem_system(&s->problem, "cannot read blobs");
    }
    for (unsigned i = 0; i < SWEEP_STEP; i++) {
        uint8_t id[ID_SIZE];
        struct blob b;
        const struct dirent *entry = readdir(s->sweep);
        if (entry == NULL) {
            (void)closedir(s->sweep);
            s->sweep = NULL;
            return OK;
        }
        if (!name_parse(entry->d_name, id))
            continue;
        TRY(blob_find(db, (struct bytes){id, ID_SIZE}, &b));
        if (!b.known)
            (void)unlinkat(s->blobs_fd, entry->d_name, 0);
    }
    return OK;
}

enum err blobs_collect(struct store_sqlite *s, struct store_op *op)
{
    uint8_t ids[COLLECT_STEP][ID_SIZE];
    size_t count = 0;
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_BLOBS, &db));
    TRY(store_walk(s, FILE_BLOBS,
                   "SELECT id FROM blob WHERE id > ? ORDER BY id LIMIT ?", ids,
                   &count));
    for (size_t i = 0; i < count; i++)
        TRY(blob_expire(s, db, (struct bytes){ids[i], ID_SIZE}, op->day));
    return sweep(s, db);
}

/* --- backup --- */

static enum err content_backup(const char *from_dir, const char *to_dir,
                               const struct blob *b, struct problem *p)
{
    char name[NAME_SIZE];
    char from[FILE_PATH_MAX];
    char to[FILE_PATH_MAX];
    name_of(b->id, name);
    TRY(file_path(from_dir, name, from, p));
    TRY(file_path(to_dir, name, to, p));
    if (b->stored == 0) /* its file comes with its first piece */
        return OK;
    if (access(from, F_OK) != 0 && errno == ENOENT)
        return ERR_NOTFOUND;
    /* What is whole never changes, so both can have it; not so the rest. */
    return b->stored == b->total ? file_link(from, to, p)
                                 : file_copy(from, to, b->stored, p);
}

/* The next row of the copy after `position`, which becomes its id. */
static enum err row_next(struct sql *copy, uint8_t position[ID_SIZE],
                         struct blob *out)
{
    *out = (struct blob){0};
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(copy, "SELECT id, total, stored FROM blob WHERE id > ?"
                        " ORDER BY id LIMIT 1");
    sql_put_bytes(&q, (struct bytes){position, ID_SIZE});
    if (!sql_next(&q))
        return sql_finish(&q);
    if (sql_bytes(&q, 0).len != ID_SIZE)
        return ERR_MALFORMED;
    memcpy(position, sql_bytes(&q, 0).data, ID_SIZE);
    out->id = (struct bytes){position, ID_SIZE};
    out->total = sql_u64(&q, 1);
    out->stored = sql_u64(&q, 2);
    out->known = true;
    return OK;
}

static enum err rows_backup(struct sql *copy, const char *from, const char *to,
                            const struct store_progress *progress,
                            struct problem *p)
{
    uint8_t position[ID_SIZE] = {0};
    struct blob b = {0};
    uint64_t done = 0;
    CLEANUP(sql_rollback) struct sql_tx tx = {0};
    TRY(sql_begin(copy, "backup", &tx));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(copy, "SELECT count(*) FROM blob");
    TRY(sql_one(&q));
    uint64_t total = sql_u64(&q, 0);
    TRY(row_next(copy, position, &b));
    for (; b.known; done++) {
        if (progress != NULL)
            progress->say(progress->ctx, "blobs", done, total);
        enum err err = content_backup(from, to, &b, p);
        if (err == ERR_NOTFOUND)
            err = row_delete(copy, b.id);
        TRY(err);
        TRY(row_next(copy, position, &b));
    }
    return sql_commit(&tx);
}

enum err blobs_backup(struct store_sqlite *s, struct sql *copy, const char *dir,
                      const struct store_progress *progress, struct problem *p)
{
    char from[64]; /* the folder as this process has it open */
    char to[FILE_PATH_MAX];
    (void)snprintf(from, sizeof from, "/proc/self/fd/%d", s->blobs_fd);
    TRY(file_path(dir, "blobs", to, p));
    TRY(file_folder(to, p));
    enum err err = rows_backup(copy, from, to, progress, p);
    if (err != OK && p != NULL && p->kind == PROBLEM_NONE)
        *p = *sql_problem(copy);
    TRY(err);
    TRY(folder_sync(to, p));
    bool more = true;
    while (more)
        TRY(sql_compact(copy, &more));
    return OK;
}

enum err blobs_verify(struct store_sqlite *s, struct problem *p)
{
    struct sql *db = s->db[FILE_BLOBS];
    CLEANUP(sql_end)
    struct sql_query sum =
        sql_query(db, "SELECT (SELECT coalesce(sum(total), 0) FROM blob) ="
                      " (SELECT bytes FROM usage)");
    TRY(sql_one(&sum));
    if (sql_u64(&sum, 0) != 1)
        return problem_set(p, ERR_IO, PROBLEM_DAMAGED,
                           "blobs.db: the bytes in use are miscounted");
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT id, stored, total FROM blob WHERE stored > 0");
    while (sql_next(&q)) {
        char name[NAME_SIZE];
        struct stat st = {0};
        name_of(sql_bytes(&q, 0), name);
        bool there =
            s->blobs_fd < 0 ||
            (fstatat(s->blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
             (uint64_t)st.st_size >= sql_u64(&q, 1));
        if (!there || sql_u64(&q, 1) > sql_u64(&q, 2))
            return problem_set(p, ERR_IO, PROBLEM_DAMAGED,
                               "blob %s: its file is missing or too short",
                               name);
    }
    return sql_finish(&q);
}
