/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flushes. Everything that was submitted runs in order, inside one transaction
 * for each file, and then the files are committed. When an operation or a
 * commit fails, nothing of what touched that file is there, and those
 * operations are BUSY. After a failed operation, each is tried again alone, so
 * that a full disk stops only those who write.
 */
#include "server/store_sqlite_impl.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define APP_ID        0x536f7400U /* "Sot", and the file */
#define WAIT_MS       2000U       /* for an operator's tool beside the server */
#define CACHE_KIB     (8U << 10)  /* of channels.db; the others need little */
#define LOG_KIB       (64U << 10)
#define PATH_SIZE     4096U
#define COMPACT_EVERY 300U /* collections: five minutes of the core's */

static const struct {
    const char *name, *file;
    const char *const *schema; /* ends with NULL */
} files[FILE_COUNT] = {
    [FILE_ACCOUNTS] = {"accounts", "accounts.db", store_accounts_schema},
    [FILE_INBOXES] = {"inboxes", "inboxes.db", store_inboxes_schema},
    [FILE_CHANNELS] = {"channels", "channels.db", store_channels_schema},
    [FILE_BLOBS] = {"blobs", "blobs.db", store_blobs_schema},
};

static enum err collect(struct store_sqlite *s, struct store_op *op)
{
    s->collections++;
    TRY(accounts_collect(s, op));
    TRY(inboxes_collect(s, op));
    TRY(channels_collect(s, op));
    return blobs_collect(s, op);
}

static const struct rule {
    uint16_t rule;
    enum err (*run)(struct store_sqlite *s, struct store_op *op);
} rules[] = {
    {METHOD_REGISTER, accounts_register},
    {METHOD_LOGIN, accounts_touch},
    {METHOD_STATE_APPEND, accounts_state_append},
    {METHOD_CONTACT_SET, accounts_contact_set},
    {METHOD_KP_PUBLISH, accounts_kp_publish},
    {METHOD_KP_COUNT, accounts_kp_count},
    {METHOD_INBOX_READ, inboxes_read},
    {METHOD_INBOX_ACK, inboxes_ack},
    {METHOD_LOOKUP, accounts_lookup},
    {METHOD_CHAIN, accounts_chain},
    {METHOD_KP_TAKE, accounts_kp_take},
    {METHOD_INBOX_APPEND, inboxes_append},
    {METHOD_CHANNEL_CREATE, channels_create},
    {METHOD_ATTACH, channels_attach},
    {METHOD_READ, channels_read},
    {METHOD_APPEND, channels_append},
    {METHOD_ACK, channels_ack},
    {METHOD_REOPEN, channels_reopen},
    {METHOD_BLOB_PUT, blobs_put},
    {METHOD_BLOB_GET, blobs_get},
    {STORE_NEWEST_STATE, accounts_newest},
    {STORE_INVITE_ADD, accounts_invite_add},
    {STORE_NOTICES, accounts_notices},
    {STORE_COLLECT, collect},
};

/* --- transactions --- */

enum err store_use(struct store_sqlite *s, struct store_op *op,
                   enum store_file file, struct sql **out)
{
    op->touched |= 1U << file;
    if (s->tx[file].db == NULL)
        TRY(sql_begin(s->db[file], files[file].name, &s->tx[file]));
    *out = s->db[file];
    return OK;
}

enum err store_walk(struct store_sqlite *s, enum store_file file,
                    const char *query, uint8_t out[COLLECT_STEP][ID_SIZE],
                    size_t *out_count)
{
    size_t count = 0;
    CLEANUP(sql_end) struct sql_query q = sql_query(s->db[file], query);
    sql_put_bytes(&q, BYTES_ARRAY(s->position[file]));
    sql_put_u64(&q, COLLECT_STEP);
    while (count < COLLECT_STEP && sql_next(&q)) {
        struct bytes id = sql_bytes(&q, 0);
        if (id.len != ID_SIZE)
            return problem_set(&s->problem, ERR_IO, PROBLEM_DAMAGED,
                               "%s.db: an id has %zu bytes", files[file].name,
                               id.len);
        memcpy(out[count++], id.data, ID_SIZE);
    }
    TRY(sql_finish(&q));
    if (count == COLLECT_STEP) /* go on after it; else begin again */
        memcpy(s->position[file], out[count - 1], ID_SIZE);
    else
        memset(s->position[file], 0, ID_SIZE);
    *out_count = count;
    return OK;
}

enum err store_older(struct sql *db, const char *text,
                     const struct store_op *op, uint32_t days)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(db, text);
    sql_put_u64(&q, store_day_before(op, days));
    return sql_run(&q);
}

enum err store_told(const struct store_sqlite *s, enum store_file file,
                    enum err err, struct problem *p)
{
    if (err == ERR_NOMEM)
        return problem_set(p, err, PROBLEM_SYSTEM, "out of memory");
    if (err != OK && err != ERR_NOTFOUND && p != NULL)
        *p = *sql_problem(s->db[file]);
    return err;
}

enum err store_verify(struct store_sqlite *s, enum store_file file,
                      const struct store_fault *faults, size_t count,
                      struct problem *p)
{
    for (size_t i = 0; i < count; i++) {
        CLEANUP(sql_end)
        struct sql_query q = sql_query(s->db[file], faults[i].query);
        TRY(store_told(s, file, sql_one(&q), p));
        if (sql_u64(&q, 0) > 0)
            return problem_set(
                p, ERR_IO, PROBLEM_DAMAGED, "%s.db: %s (%" PRIu64 " times)",
                files[file].name, faults[i].what, sql_u64(&q, 0));
    }
    return OK;
}

/* Every file stops when one has crashed, as a process does. */
static bool call_hook(void *ctx, const char *name, enum sql_point point)
{
    struct store_sqlite *s = ctx;
    if (!s->crashed && s->hook.call != NULL)
        s->crashed = !s->hook.call(s->hook.ctx, name, point);
    return !s->crashed;
}

static void roll_back(struct store_sqlite *s)
{
    for (size_t i = 0; i < FILE_COUNT; i++)
        sql_rollback(&s->tx[i]);
    s->dirty_count = 0;
    s->gone_count = 0;
}

/* Commits the open transactions; returns the files (bits) that failed. */
static unsigned commit(struct store_sqlite *s)
{
    unsigned failed = 0;
    for (unsigned i = 0; i < FILE_COUNT; i++) {
        if (s->tx[i].db == NULL)
            continue;
        enum err err = i == FILE_CHANNELS ? channels_trim(s) : OK;
        if (err == OK)
            err = sql_commit(&s->tx[i]);
        if (err == OK)
            continue;
        s->problem = *sql_problem(s->db[i]);
        failed |= 1U << i;
    }
    if ((failed & 1U << FILE_BLOBS) == 0)
        blobs_committed(s);
    roll_back(s);
    return failed;
}

/* --- operations --- */

static enum err run(struct store_sqlite *s, struct store_op *op)
{
    op->touched = 0;
    op->seq = 0;
    op->fresh = false;
    op->answer = (struct answer){.method = op->request.method};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].rule == op->rule)
            return rules[i].run(s, op);
    }
    assert(false); /* the core submits only rules of the table */
    return ERR_INVALID;
}

static void set_busy(struct store_op *op)
{
    buf_clear(&op->data);
    op->answer = (struct answer){.method = op->request.method,
                                 .status = STATUS_BUSY,
                                 .detail = STORE_BUSY_MS};
}

/* Says why an operation failed: the blobs know; otherwise a database does. */
static void note_problem(struct store_sqlite *s, const struct store_op *op)
{
    for (unsigned i = 0; i < FILE_COUNT; i++) {
        if (s->problem.kind == PROBLEM_NONE && (op->touched & 1U << i) != 0)
            s->problem = *sql_problem(s->db[i]);
    }
}

static void run_alone(struct store_sqlite *s, struct store_op *op)
{
    const struct problem before = s->problem;
    buf_clear(&op->data);
    s->problem.kind = PROBLEM_NONE;
    enum err err = run(s, op);
    if (err == OK)
        s->problem = before;
    if (err != OK) {
        note_problem(s, op);
        roll_back(s);
        set_busy(op);
    } else if ((op->touched & commit(s)) != 0) {
        set_busy(op);
    }
}

/* Adds what the answer of an operation takes; when that is enough for one
 * flush, cuts the list behind it and returns what is left. */
static struct store_op *cut(struct store_op *op, size_t *bytes)
{
    struct store_op *rest = op->next;
    *bytes += op->data.len;
    if (*bytes < FLUSH_DATA_MAX)
        return NULL;
    op->next = NULL;
    return rest;
}

/* Runs what fits in one flush; false, and nothing is done, when one failed. */
static bool run_together(struct store_sqlite *s, struct store_op *list,
                         struct store_op **rest)
{
    size_t bytes = 0;
    for (struct store_op *op = list; op != NULL; op = op->next) {
        if (run(s, op) != OK) {
            roll_back(s);
            return false;
        }
        *rest = cut(op, &bytes);
    }
    unsigned failed = commit(s);
    for (struct store_op *op = list; op != NULL; op = op->next) {
        if ((op->touched & failed) != 0)
            set_busy(op);
    }
    return true;
}

static void run_each_alone(struct store_sqlite *s, struct store_op *list,
                           struct store_op **rest)
{
    size_t bytes = 0;
    for (struct store_op *op = list; op != NULL; op = op->next) {
        run_alone(s, op);
        *rest = cut(op, &bytes);
    }
}

/* Deleted rows stay in the write-ahead log until it is emptied. What is left to
 * give back is done after the next collection, in a second. */
static void compact(struct store_sqlite *s)
{
    s->collections = 0;
    for (size_t i = 0; i < FILE_COUNT && !s->crashed; i++) {
        bool more = false;
        if (sql_compact(s->db[i], &more) != OK)
            s->problem = *sql_problem(s->db[i]);
        if (more)
            s->collections = COMPACT_EVERY - 1;
    }
}

static void flush(void *ctx)
{
    struct store_sqlite *s = ctx;
    struct store_op *list = s->submitted;
    s->submitted = NULL;
    if (!run_together(s, list, &s->submitted))
        run_each_alone(s, list, &s->submitted);
    if (s->submitted == NULL)
        s->submitted_end = &s->submitted;
    if (s->collections >= COMPACT_EVERY)
        compact(s);
    *s->done_end = list;
    while (*s->done_end != NULL)
        s->done_end = &(*s->done_end)->next;
}

static void submit(void *ctx, struct store_op *op)
{
    struct store_sqlite *s = ctx;
    op->next = NULL;
    *s->submitted_end = op;
    s->submitted_end = &op->next;
}

static struct store_op *poll(void *ctx)
{
    struct store_sqlite *s = ctx;
    struct store_op *op = s->done;
    if (op == NULL)
        return NULL;
    s->done = op->next;
    if (s->done == NULL)
        s->done_end = &s->done;
    op->next = NULL;
    return op;
}

static const struct problem *problem(void *ctx)
{
    const struct store_sqlite *s = ctx;
    return &s->problem;
}

static uint64_t number_of(struct sql *db, const char *text)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(db, text);
    return sql_one(&q) == OK ? sql_u64(&q, 0) : 0;
}

/* The files without their logs, and the blobs as they will be. */
static uint64_t size(void *ctx)
{
    struct store_sqlite *s = ctx;
    uint64_t bytes = number_of(s->db[FILE_BLOBS], "SELECT bytes FROM usage");
    for (size_t i = 0; i < FILE_COUNT; i++)
        bytes += number_of(s->db[i], "PRAGMA page_count") *
                 number_of(s->db[i], "PRAGMA page_size");
    return bytes;
}

struct store store_sqlite_store(struct store_sqlite *s)
{
    return (struct store){.ctx = s,
                          .submit = submit,
                          .flush = flush,
                          .poll = poll,
                          .problem = problem,
                          .size = size,
                          .fd = -1};
}

/* --- opening --- */

static size_t schema_steps(const char *const *schema)
{
    size_t count = 0;
    while (schema[count] != NULL)
        count++;
    return count;
}

static enum err file_open(struct store_sqlite *s, enum store_file file,
                          const struct store_sqlite_config *config)
{
    char path[PATH_SIZE];
    struct sql_config sql = {
        .vfs = config->vfs,
        .exclusive = config->exclusive,
        .existing = config->existing,
        .wait_ms = WAIT_MS,
        .cache_kib = file == FILE_CHANNELS ? CACHE_KIB : 0,
        .log_kib = file == FILE_CHANNELS ? LOG_KIB : 0,
        .max_bytes = config->max_bytes,
    };
    if (config->dir != NULL) {
        int len =
            snprintf(path, sizeof path, "%s/%s", config->dir, files[file].file);
        if (len < 0 || (size_t)len >= sizeof path)
            return problem_set(&s->problem, ERR_LIMIT, PROBLEM_USAGE,
                               "the folder's name is too long");
        sql.path = path;
    }
    TRY(sql_open(&sql, &s->problem, &s->db[file]));
    sql_set_hook(s->db[file], (struct sql_hook){call_hook, s});
    enum err err =
        sql_migrate(s->db[file], APP_ID + file + 1, files[file].schema,
                    schema_steps(files[file].schema));
    if (err != OK)
        s->problem = *sql_problem(s->db[file]);
    return err;
}

static enum err open_all(struct store_sqlite *s,
                         const struct store_sqlite_config *config)
{
    s->submitted_end = &s->submitted;
    s->done_end = &s->done;
    s->blobs_fd = -1;
    s->quotas = store_quotas_of(&config->quotas);
    s->hook = config->hook;
    for (unsigned i = 0; i < FILE_COUNT; i++)
        TRY(file_open(s, (enum store_file)i, config));
    return blobs_open(s, config);
}

enum err store_sqlite_open(const struct store_sqlite_config *config,
                           struct problem *problem, struct store_sqlite **out)
{
    CLEANUP(store_sqlite_close) struct store_sqlite *s = mem_alloc(sizeof *s);
    if (s == NULL)
        return problem_set(problem, ERR_NOMEM, PROBLEM_SYSTEM, "no memory");
    enum err err = open_all(s, config);
    if (err != OK) {
        if (problem != NULL)
            *problem = s->problem;
        return err;
    }
    *out = s;
    s = NULL; /* handed over */
    return OK;
}

/* Operations that are still here belong to the core, which frees them. */
void store_sqlite_close(struct store_sqlite **s)
{
    if (*s == NULL)
        return;
    roll_back(*s);
    for (size_t i = 0; i < FILE_COUNT; i++)
        sql_close(&(*s)->db[i]);
    blobs_close(*s);
    mem_free(*s, sizeof **s);
    *s = NULL;
}

const char *store_file_name(enum store_file file) { return files[file].file; }

/* --- what takes long --- */

static void tell(void *ctx)
{
    const struct store_telling *t = ctx;
    struct stat st;
    uint64_t done = 0;
    if (t->copy != NULL && stat(t->copy, &st) == 0 && st.st_size > 0)
        done = (uint64_t)st.st_size;
    t->progress->say(t->progress->ctx, t->part, done,
                     t->copy != NULL ? t->total : 0);
}

/* About what a copy of the file will have. */
static uint64_t used_bytes(struct sql *db)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT (page_count - freelist_count) * page_size"
                      " FROM pragma_page_count, pragma_freelist_count,"
                      " pragma_page_size");
    return sql_one(&q) == OK ? sql_u64(&q, 0) : 0;
}

void store_tell_begin(struct store_sqlite *s, enum store_file file,
                      const struct store_progress *progress,
                      struct store_telling *t)
{
    if (progress == NULL)
        return;
    t->db = s->db[file];
    t->progress = progress;
    t->part = store_file_name(file);
    t->total = used_bytes(t->db);
    tell(t);
    sql_set_progress(t->db, (struct sql_progress){tell, t});
}

void store_tell_end(struct store_telling *t)
{
    if (t->db != NULL)
        sql_set_progress(t->db, (struct sql_progress){0});
    t->db = NULL;
}

static enum err check_pages(struct store_sqlite *s, enum store_file file,
                            const struct store_progress *progress,
                            struct problem *p)
{
    CLEANUP(store_tell_end) struct store_telling telling = {0};
    store_tell_begin(s, file, progress, &telling);
    return store_told(s, file, sql_check(s->db[file]), p);
}

enum err store_check(struct store_sqlite *s,
                     const struct store_progress *progress, struct problem *p)
{
    static const struct {
        enum store_file file;
        enum err (*verify)(struct store_sqlite *s, struct problem *p);
    } parts[] = {
        {FILE_ACCOUNTS, accounts_verify},
        {FILE_CHANNELS, channels_verify},
        {FILE_BLOBS, blobs_verify},
    };
    for (unsigned i = 0; i < FILE_COUNT; i++)
        TRY(check_pages(s, (enum store_file)i, progress, p));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        CLEANUP(store_tell_end) struct store_telling telling = {0};
        store_tell_begin(s, parts[i].file, progress, &telling);
        TRY(parts[i].verify(s, p));
    }
    return OK;
}

enum err store_sqlite_check(struct store_sqlite *s, struct problem *problem)
{
    return store_check(s, NULL, problem);
}
