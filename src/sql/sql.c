/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/sql.h"

#include "base/mem.h"
#include "base/secret.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEPT_MAX       128U /* statements kept prepared; a power of two */
#define PRAGMA_MAX     128U
#define MAGIC          "SQLite format 3"
#define CACHE_KIB      8192U
#define LOG_KIB        4096U
#define PAGE_KIB       4U
#define PROGRESS_STEPS 100000 /* of its virtual machine */

/* SQLCipher's own, hidden in sqlite3.h unless SQLITE_HAS_CODEC is defined. */
int sqlite3_key(sqlite3 *db, const void *key, int len);

struct kept {
    const char *text; /* the caller's pointer: its identity */
    sqlite3_stmt *stmt;
};

struct sql {
    sqlite3 *lib;
    const char *opening; /* the path, while it is being opened */
    struct problem problem;
    struct sql_hook hook;
    bool crashed; /* by the hook */
    struct sql_progress progress;
    struct kept kept[KEPT_MAX];
};

/* What SQLite's primary result code means to a caller. */
static const struct {
    int code;
    enum err err;
    enum problem_kind kind;
    const char *advice;
} meanings[] = {
    {SQLITE_NOMEM, ERR_NOMEM, PROBLEM_SYSTEM, ""},
    {SQLITE_FULL, ERR_IO, PROBLEM_FULL, "; free some space"},
    {SQLITE_BUSY, ERR_STATE, PROBLEM_LOCKED, "; another process uses it"},
    {SQLITE_LOCKED, ERR_STATE, PROBLEM_LOCKED, ""},
    {SQLITE_CORRUPT, ERR_IO, PROBLEM_DAMAGED, "; restore a backup"},
    {SQLITE_NOTADB, ERR_AUTH, PROBLEM_TRUST,
     "; wrong key, or damaged: restore a backup"},
    {SQLITE_CONSTRAINT, ERR_EXISTS, PROBLEM_USAGE, ""},
    {SQLITE_TOOBIG, ERR_LIMIT, PROBLEM_USAGE, ""},
    {SQLITE_RANGE, ERR_LIMIT, PROBLEM_USAGE, ""},
    {SQLITE_PERM, ERR_IO, PROBLEM_PERMISSION, ""},
    {SQLITE_READONLY, ERR_IO, PROBLEM_PERMISSION, "; not ours to write"},
    {SQLITE_CANTOPEN, ERR_IO, PROBLEM_SYSTEM, ""},
};

static enum err fail(struct sql *db, int code)
{
    enum err err = ERR_IO;
    enum problem_kind kind = PROBLEM_SYSTEM;
    const char *advice = "";
    int sys = db->lib != NULL ? sqlite3_system_errno(db->lib) : 0;
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].code != (code & 0xff))
            continue;
        err = meanings[i].err;
        kind = meanings[i].kind;
        advice = meanings[i].advice;
    }
    const char *path = db->opening;
    if (path == NULL && db->lib != NULL)
        path = sqlite3_db_filename(db->lib, "main");
    const char *what =
        db->lib != NULL ? sqlite3_errmsg(db->lib) : sqlite3_errstr(code);
    problem_set(&db->problem, err, kind, "database %s: %s%s",
                path != NULL && path[0] != '\0' ? path : "in memory", what,
                advice);
    db->problem.sys = sys;
    return err;
}

static enum err crash(struct sql *db)
{
    return problem_set(&db->problem, ERR_IO, PROBLEM_SYSTEM,
                       "database: a simulated crash");
}

const struct problem *sql_problem(const struct sql *db) { return &db->problem; }

void sql_set_hook(struct sql *db, struct sql_hook hook) { db->hook = hook; }

static int call_progress(void *ctx)
{
    const struct sql *db = ctx;
    db->progress.call(db->progress.ctx);
    return 0; /* go on */
}

void sql_set_progress(struct sql *db, struct sql_progress progress)
{
    db->progress = progress;
    sqlite3_progress_handler(db->lib, PROGRESS_STEPS,
                             progress.call != NULL ? call_progress : NULL, db);
}

/* Opening */

enum err sql_exec(struct sql *db, const char *script)
{
    if (db->crashed)
        return crash(db);
    int code = sqlite3_exec(db->lib, script, NULL, NULL, NULL);
    return code == SQLITE_OK ? OK : fail(db, code);
}

/* The file itself, beneath the cipher; NULL: there is none. */
static sqlite3_file *file_of(const struct sql *db)
{
    sqlite3_file *file = NULL;
    if (sqlite3_file_control(db->lib, "main", SQLITE_FCNTL_FILE_POINTER,
                             (void *)&file) != SQLITE_OK ||
        file == NULL || file->pMethods == NULL)
        return NULL;
    return file;
}

static bool file_is_plain(const struct sql *db)
{
    char magic[sizeof MAGIC] = {0};
    sqlite3_file *file = file_of(db);
    if (file == NULL ||
        file->pMethods->xRead(file, magic, sizeof magic, 0) != SQLITE_OK)
        return false;
    return strncmp(magic, MAGIC, sizeof magic) == 0;
}

static enum err refuse_plain(struct sql *db)
{
    return problem_set(&db->problem, ERR_AUTH, PROBLEM_TRUST,
                       "database %s: is not encrypted, but should be",
                       sqlite3_db_filename(db->lib, "main"));
}

/* A SQLite without the cipher takes a key in silence and then writes plain
 * text: so ask for the cipher's version, and look at the file. */
static enum err set_key(struct sql *db, const struct secret *key)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "PRAGMA cipher_version");
    if (!sql_next(&q) || sql_text(&q, 0)[0] == '\0')
        return problem_set(&db->problem, ERR_IO, PROBLEM_SYSTEM,
                           "this program was linked with a SQLite that "
                           "cannot encrypt; link SQLCipher");
    if (file_is_plain(db))
        return refuse_plain(db);

    struct bytes raw = secret_expose(key);
    assert(raw.len == SQL_KEY_SIZE);
    char text[2 * SQL_KEY_SIZE + 4]; /* x'…': raw, without key derivation */
    size_t at = 0;
    text[at++] = 'x';
    text[at++] = '\'';
    for (size_t i = 0; i < raw.len; i++) {
        text[at++] = "0123456789abcdef"[raw.data[i] >> 4];
        text[at++] = "0123456789abcdef"[raw.data[i] & 15];
    }
    text[at++] = '\'';
    int code = sqlite3_key(db->lib, text, (int)at);
    explicit_bzero(text, sizeof text);
    return code == SQLITE_OK ? OK : fail(db, code);
}

/* A file without a byte is a good database to SQLite; to us it has lost its
 * content. */
static enum err refuse_empty(struct sql *db)
{
    sqlite3_int64 size = 0;
    sqlite3_file *file = file_of(db);
    if (file == NULL || file->pMethods->xFileSize(file, &size) != SQLITE_OK ||
        size > 0)
        return OK;
    return problem_set(&db->problem, ERR_IO, PROBLEM_DAMAGED,
                       "database %s: is empty; restore a backup",
                       sqlite3_db_filename(db->lib, "main"));
}

/* A database in memory has no log: it answers "memory". */
static enum err set_journal(struct sql *db)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "PRAGMA journal_mode = WAL");
    TRY(sql_one(&q));
    const char *mode = sql_text(&q, 0);
    if (strcmp(mode, "wal") == 0 || strcmp(mode, "memory") == 0)
        return OK;
    return problem_set(&db->problem, ERR_IO, PROBLEM_SYSTEM,
                       "database %s: its file system cannot hold a "
                       "write-ahead log (%s)",
                       sqlite3_db_filename(db->lib, "main"), mode);
}

static enum err set_limit(struct sql *db, uint64_t max_bytes)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(db, "PRAGMA page_size");
    TRY(sql_one(&q));
    uint64_t page = sql_u64(&q, 0);
    char pragma[PRAGMA_MAX];
    (void)snprintf(pragma, sizeof pragma, "PRAGMA max_page_count = %" PRIu64,
                   page > 0 ? max_bytes / page : 0);
    return sql_exec(db, pragma);
}

static enum err set_up(struct sql *db, const struct sql_config *config)
{
    char pragmas[8 * PRAGMA_MAX];
    unsigned log_kib = config->log_kib > 0 ? config->log_kib : LOG_KIB;
    (void)sqlite3_extended_result_codes(db->lib, 1);
    (void)sqlite3_busy_timeout(db->lib, (int)config->wait_ms);
    (void)sqlite3_db_config(db->lib, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db->lib, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    static const char quiet[] = "PRAGMA cipher_log_level = NONE";
    TRY(sql_exec(db, quiet)); /* libraries do not log */
    if (config->existing)
        TRY(refuse_empty(db)); /* before a pragma makes a first page */
    if (config->key != NULL) {
        TRY(set_key(db, config->key));
        TRY(sql_exec(db, quiet)); /* the first key of a process undoes it */
    }
    (void)snprintf(pragmas, sizeof pragmas,
                   "PRAGMA locking_mode = %s; PRAGMA auto_vacuum = INCREMENTAL;"
                   "PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;"
                   "PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;"
                   "PRAGMA cache_size = -%u; PRAGMA wal_autocheckpoint = %u;"
                   "PRAGMA journal_size_limit = %u;",
                   config->exclusive ? "EXCLUSIVE" : "NORMAL",
                   config->cache_kib > 0 ? config->cache_kib : CACHE_KIB,
                   log_kib / PAGE_KIB, log_kib << 10);
    TRY(sql_exec(db, pragmas));
    TRY(sql_exec(db, "SELECT count(*) FROM sqlite_schema")); /* right key? */
    TRY(set_journal(db));
    TRY(sql_exec(db, "PRAGMA synchronous = FULL"));
    if (config->exclusive) /* take the lock now, not at the first write */
        TRY(sql_exec(db, "BEGIN IMMEDIATE; COMMIT"));
    if (config->max_bytes > 0)
        TRY(set_limit(db, config->max_bytes));
    if (config->key != NULL && file_is_plain(db))
        return refuse_plain(db);
    return OK;
}

/* SQLite would let others read it. The log takes over the file's mode. A file
 * that is there keeps its own. */
static void make_private(const struct sql_config *config)
{
    if (config->path == NULL || config->vfs != NULL || config->existing)
        return;
    int fd = open(config->path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)close(fd);
}

static enum err open_file(struct sql *db, const struct sql_config *config)
{
    const char *path = config->path != NULL ? config->path : ":memory:";
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (!config->existing)
        flags |= SQLITE_OPEN_CREATE;
    make_private(config);
    int code = sqlite3_open_v2(path, &db->lib, flags, config->vfs);
    if (code == SQLITE_OK)
        return set_up(db, config);
    enum err err = fail(db, code);
    if (config->existing && db->problem.sys == ENOENT)
        return problem_set(&db->problem, ERR_NOTFOUND, PROBLEM_SYSTEM,
                           "database %s: does not exist; restore a backup",
                           path);
    return err;
}

enum err sql_open(const struct sql_config *config, struct problem *problem,
                  struct sql **out)
{
    CLEANUP(sql_close) struct sql *db = mem_alloc(sizeof *db);
    if (db == NULL)
        return problem_set(problem, ERR_NOMEM, PROBLEM_SYSTEM, "no memory");
    db->opening = config->path;
    enum err err = open_file(db, config);
    db->opening = NULL;
    if (err != OK) {
        if (problem != NULL)
            *problem = db->problem;
        return err;
    }
    *out = db;
    db = NULL; /* handed over */
    return OK;
}

void sql_close(struct sql **db)
{
    if (*db == NULL)
        return;
    for (size_t i = 0; i < KEPT_MAX; i++)
        (void)sqlite3_finalize((*db)->kept[i].stmt);
    (void)sqlite3_close((*db)->lib);
    mem_free(*db, sizeof **db);
    *db = NULL;
}

/* Queries */

/* The slot of `text`, or a free one for it; NULL when none is left nearby. */
static struct kept *kept_slot(struct sql *db, const char *text)
{
    size_t at = (size_t)((uintptr_t)text >> 3) * 0x9e3779b1U;
    for (size_t i = 0; i < 16; i++) {
        struct kept *k = &db->kept[(at + i) % KEPT_MAX];
        if (k->text == text || k->text == NULL)
            return k;
    }
    return NULL;
}

struct sql_query sql_query(struct sql *db, const char *text)
{
    struct sql_query q = {.db = db};
    if (db->crashed) {
        q.err = crash(db);
        return q;
    }
    struct kept *k = kept_slot(db, text);
    int code = SQLITE_OK;
    if (k != NULL && k->text == NULL) {
        code = sqlite3_prepare_v3(db->lib, text, -1, SQLITE_PREPARE_PERSISTENT,
                                  &k->stmt, NULL);
        if (code == SQLITE_OK)
            k->text = text;
    }
    if (k != NULL && code == SQLITE_OK && !sqlite3_stmt_busy(k->stmt)) {
        q.stmt = k->stmt;
        return q;
    }
    if (code == SQLITE_OK) {
        q.own = true;
        code = sqlite3_prepare_v3(db->lib, text, -1, 0, &q.stmt, NULL);
    }
    if (code != SQLITE_OK)
        q.err = fail(db, code);
    return q;
}

void sql_end(struct sql_query *q)
{
    if (q->own) {
        (void)sqlite3_finalize(q->stmt);
    } else if (q->stmt != NULL) {
        (void)sqlite3_reset(q->stmt);
        (void)sqlite3_clear_bindings(q->stmt);
    }
    q->stmt = NULL;
}

static void bound(struct sql_query *q, int code)
{
    if (code != SQLITE_OK && q->err == OK)
        q->err = fail(q->db, code);
}

void sql_put_u64(struct sql_query *q, uint64_t v)
{
    if (q->err == OK && v > INT64_MAX)
        q->err = problem_set(&q->db->problem, ERR_LIMIT, PROBLEM_USAGE,
                             "database: a number is too large");
    if (q->err == OK)
        bound(q, sqlite3_bind_int64(q->stmt, ++q->bound, (sqlite3_int64)v));
}

/* SQLite takes a NULL pointer for NULL, not for a blob without bytes. */
void sql_put_bytes(struct sql_query *q, struct bytes b)
{
    if (q->err == OK)
        bound(q, sqlite3_bind_blob64(q->stmt, ++q->bound,
                                     b.len > 0 ? (const void *)b.data : "",
                                     b.len, SQLITE_STATIC));
}

void sql_put_text(struct sql_query *q, const char *text)
{
    if (q->err == OK)
        bound(q,
              sqlite3_bind_text(q->stmt, ++q->bound, text, -1, SQLITE_STATIC));
}

void sql_put_null(struct sql_query *q)
{
    if (q->err == OK)
        bound(q, sqlite3_bind_null(q->stmt, ++q->bound));
}

bool sql_next(struct sql_query *q)
{
    if (q->err != OK)
        return false;
    int code = sqlite3_step(q->stmt);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        q->err = fail(q->db, code);
    return code == SQLITE_ROW;
}

enum err sql_finish(const struct sql_query *q) { return q->err; }

enum err sql_run(struct sql_query *q)
{
    while (sql_next(q))
        ; /* a PRAGMA or RETURNING may have rows */
    enum err err = q->err;
    if (q->stmt != NULL)
        (void)sqlite3_reset(q->stmt);
    q->bound = 0;
    q->err = OK;
    return err;
}

enum err sql_one(struct sql_query *q)
{
    if (sql_next(q))
        return OK;
    return q->err != OK ? q->err : ERR_NOTFOUND;
}

uint64_t sql_u64(const struct sql_query *q, int column)
{
    sqlite3_int64 v = sqlite3_column_int64(q->stmt, column);
    return v > 0 ? (uint64_t)v : 0;
}

struct bytes sql_bytes(const struct sql_query *q, int column)
{
    const uint8_t *data = sqlite3_column_blob(q->stmt, column);
    return (struct bytes){data, (size_t)sqlite3_column_bytes(q->stmt, column)};
}

const char *sql_text(const struct sql_query *q, int column)
{
    const void *text = sqlite3_column_text(q->stmt, column);
    return text != NULL ? text : "";
}

bool sql_is_null(const struct sql_query *q, int column)
{
    return sqlite3_column_type(q->stmt, column) == SQLITE_NULL;
}

uint64_t sql_changes(const struct sql *db)
{
    return (uint64_t)sqlite3_changes64(db->lib);
}

uint64_t sql_last_id(const struct sql *db)
{
    return (uint64_t)sqlite3_last_insert_rowid(db->lib);
}

/* Transactions */

enum err sql_begin(struct sql *db, const char *name, struct sql_tx *out)
{
    assert(out->db == NULL);
    CLEANUP(sql_end) struct sql_query q = sql_query(db, "BEGIN IMMEDIATE");
    TRY(sql_run(&q));
    *out = (struct sql_tx){.db = db, .name = name};
    return OK;
}

static enum err call_hook(struct sql *db, const char *name,
                          enum sql_point point)
{
    if (db->hook.call == NULL || db->hook.call(db->hook.ctx, name, point))
        return OK;
    db->crashed = true;
    return crash(db);
}

enum err sql_commit(struct sql_tx *tx)
{
    struct sql *db = tx->db;
    assert(db != NULL);
    TRY(call_hook(db, tx->name, SQL_BEFORE_COMMIT));
    CLEANUP(sql_end) struct sql_query q = sql_query(db, "COMMIT");
    TRY(sql_run(&q));
    tx->db = NULL;
    return call_hook(db, tx->name, SQL_AFTER_COMMIT);
}

/* SQLite rolls back by itself after some errors. The problem that led here is
 * kept. */
void sql_rollback(struct sql_tx *tx)
{
    if (tx->db == NULL)
        return;
    if (!sqlite3_get_autocommit(tx->db->lib))
        (void)sqlite3_exec(tx->db->lib, "ROLLBACK", NULL, NULL, NULL);
    tx->db = NULL;
}

/* Migrations and care */

static enum err pragma_u64(struct sql *db, const char *text, uint64_t *out)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(db, text);
    TRY(sql_one(&q));
    *out = sql_u64(&q, 0);
    return OK;
}

static enum err migrate_one(struct sql *db, uint32_t app_id, const char *step,
                            size_t version)
{
    char pragmas[PRAGMA_MAX];
    (void)snprintf(pragmas, sizeof pragmas,
                   "PRAGMA application_id = %" PRIu32
                   "; PRAGMA user_version = %zu",
                   app_id, version);
    CLEANUP(sql_rollback) struct sql_tx tx = {0};
    TRY(sql_begin(db, "migrate", &tx));
    TRY(sql_exec(db, step));
    TRY(sql_exec(db, pragmas));
    return sql_commit(&tx);
}

enum err sql_migrate(struct sql *db, uint32_t app_id, const char *const steps[],
                     size_t count)
{
    uint64_t version = 0;
    uint64_t owner = 0;
    uint64_t tables = 0;
    assert(app_id > 0 && app_id <= INT32_MAX);
    TRY(pragma_u64(db, "PRAGMA user_version", &version));
    TRY(pragma_u64(db, "PRAGMA application_id", &owner));
    TRY(pragma_u64(db, "SELECT count(*) FROM sqlite_schema", &tables));
    const char *path = sqlite3_db_filename(db->lib, "main");
    if (owner != app_id && (owner != 0 || tables > 0))
        return problem_set(&db->problem, ERR_INVALID, PROBLEM_USAGE,
                           "database %s: belongs to another program", path);
    if (version > count)
        return problem_set(&db->problem, ERR_INVALID, PROBLEM_USAGE,
                           "database %s: made by a newer version (%" PRIu64
                           "; this one knows %zu); upgrade",
                           path, version, count);
    for (size_t i = (size_t)version; i < count; i++)
        TRY(migrate_one(db, app_id, steps[i], i + 1));
    return OK;
}

enum err sql_compact(struct sql *db, bool *out_more)
{
    char pragma[PRAGMA_MAX];
    uint64_t left = 0;
    (void)snprintf(pragma, sizeof pragma, "PRAGMA incremental_vacuum(%u)",
                   SQL_COMPACT_PAGES);
    TRY(sql_exec(db, pragma));
    TRY(pragma_u64(db, "PRAGMA freelist_count", &left));
    *out_more = left > 0;
    return sql_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)");
}

enum err sql_backup(struct sql *db, const char *path)
{
    /* SQLite accepts an empty file; its own would be open to others. */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return problem_system(&db->problem, "cannot make %.100s", path);
    enum err err = OK;
    {
        CLEANUP(sql_end) struct sql_query q = sql_query(db, "VACUUM INTO ?");
        sql_put_text(&q, path);
        err = sql_run(&q);
    }
    if (err == OK && fsync(fd) != 0)
        err = problem_system(&db->problem, "cannot write %.100s", path);
    if (close(fd) != 0 && err == OK)
        err = problem_system(&db->problem, "cannot write %.100s", path);
    if (err != OK)
        (void)unlink(path);
    return err;
}

enum err sql_check(struct sql *db)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "PRAGMA integrity_check(1)");
    TRY(sql_one(&q));
    if (strcmp(sql_text(&q, 0), "ok") == 0)
        return OK;
    return problem_set(&db->problem, ERR_IO, PROBLEM_DAMAGED,
                       "database %s: %s; restore a backup",
                       sqlite3_db_filename(db->lib, "main"), sql_text(&q, 0));
}
