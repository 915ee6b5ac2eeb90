/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One database file over SQLCipher: encrypted when a key is given, always WAL
 * with synchronous=FULL, so that what was committed survives a power cut.
 *
 * A query is bound in the order of its `?`s and stepped; errors are sticky as
 * in `wire`, so that binding needs no checks and the step reports them all:
 *
 *     CLEANUP(sql_end) struct sql_query q =
 *         sql_query(db, "SELECT seq, body FROM entry WHERE channel = ?");
 *     sql_put_bytes(&q, channel);
 *     while (sql_next(&q)) {
 *         uint64_t seq = sql_u64(&q, 0);
 *         struct bytes body = sql_bytes(&q, 1);   (until the next step)
 *     }
 *     TRY(sql_finish(&q));
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct secret;
struct sqlite3_stmt;

#define SQL_KEY_SIZE 32U

struct sql; /* an open database; one thread */

struct sql_config {
    const char *path;         /* NULL: a private database in memory */
    const char *vfs;          /* NULL: the system's */
    const struct secret *key; /* SQL_KEY_SIZE raw bytes; NULL: unencrypted */
    bool exclusive;     /* one process at a time; needs no shared memory */
    bool existing;      /* do not create the file */
    unsigned wait_ms;   /* the longest wait for another process's lock */
    unsigned cache_kib; /* pages kept in memory; 0: 8 MiB */
    unsigned log_kib;   /* of log until it goes into the file; 0: 4 MiB */
    uint64_t max_bytes; /* as if the disk were full then; 0: none */
};

/*
 * Opens or creates the file (mode 0600). Failures, all told in `problem`:
 * ERR_AUTH (PROBLEM_TRUST) wrong key, or a file that should be encrypted and
 * is not; ERR_STATE (PROBLEM_LOCKED) in use by another process; ERR_NOTFOUND;
 * ERR_IO with PROBLEM_FULL, PROBLEM_DAMAGED or PROBLEM_SYSTEM; ERR_NOMEM.
 */
MUST_USE enum err sql_open(const struct sql_config *config,
                           struct problem *problem, struct sql **out);
void sql_close(struct sql **db);

/* Tells why the last call that failed on `db` did so. */
const struct problem *sql_problem(const struct sql *db);

/*
 * Brings the schema up to date: step i is a script that takes the file from
 * version i to i + 1, each in its own transaction. `app_id` marks whose file it
 * is. ERR_INVALID: another program's file, or one of a newer version.
 */
MUST_USE enum err sql_migrate(struct sql *db, uint32_t app_id,
                              const char *const steps[], size_t count);

/* Runs one or more statements without parameters and results. */
MUST_USE enum err sql_exec(struct sql *db, const char *script);

/* A statement in use; it is kept prepared for the next use of the same text. */
struct sql_query {
    struct sql *db;
    struct sqlite3_stmt *stmt;
    enum err err; /* the first failure */
    int bound;    /* parameters bound so far */
    bool own;     /* not kept: finalised by sql_end */
};

/* `text` must live as long as `db`, as a literal does. */
struct sql_query sql_query(struct sql *db, const char *text);
void sql_end(struct sql_query *q);

/* Binds the next `?`; bytes and text are borrowed until sql_end. */
void sql_put_u64(struct sql_query *q, uint64_t v); /* at most 2^63 - 1 */
void sql_put_bytes(struct sql_query *q, struct bytes b);
void sql_put_text(struct sql_query *q, const char *text);
void sql_put_null(struct sql_query *q);

/* Steps to the next row; false at the end or on failure. */
bool sql_next(struct sql_query *q);
/* Returns the first failure of the query. */
MUST_USE enum err sql_finish(const struct sql_query *q);

/* Steps a statement without rows to its end: ERR_EXISTS for a broken UNIQUE or
 * PRIMARY KEY. The query can then be bound and run again. */
MUST_USE enum err sql_run(struct sql_query *q);
/* Steps to the only row: ERR_NOTFOUND when there is none. */
MUST_USE enum err sql_one(struct sql_query *q);

/* Reads a column of the row; borrowed until the next step or sql_end. A
 * negative or NULL number reads as 0. */
uint64_t sql_u64(const struct sql_query *q, int column);
struct bytes sql_bytes(const struct sql_query *q, int column);
const char *sql_text(const struct sql_query *q, int column); /* never NULL */
bool sql_is_null(const struct sql_query *q, int column);

/* The number of rows that the last finished statement changed. */
uint64_t sql_changes(const struct sql *db);
/* The row id that the last insert into a table with row ids gave. */
uint64_t sql_last_id(const struct sql *db);

/*
 * A transaction that rolls back unless it is committed:
 *
 *     CLEANUP(sql_rollback) struct sql_tx tx = {0};
 *     TRY(sql_begin(db, "apply entry", &tx));
 *     ...
 *     TRY(sql_commit(&tx));
 *
 * It takes the write lock at once. When the commit fails, nothing of it is in
 * the file, and `db` can be used again.
 */
struct sql_tx {
    struct sql *db; /* NULL: not open */
    const char *name;
};

MUST_USE enum err sql_begin(struct sql *db, const char *name,
                            struct sql_tx *out);
MUST_USE enum err sql_commit(struct sql_tx *tx);
void sql_rollback(struct sql_tx *tx);

/*
 * For simulations: called around each commit with the transaction's name.
 * Answering false is a crash at that point: the transaction is rolled back
 * (or, after the commit, is in the file), and each later call on `db` fails
 * with ERR_IO, until it is closed.
 */
enum sql_point {
    SQL_BEFORE_COMMIT,
    SQL_AFTER_COMMIT
};

struct sql_hook {
    bool (*call)(void *ctx, const char *name, enum sql_point point);
    void *ctx;
};
void sql_set_hook(struct sql *db, struct sql_hook hook);

/* Called now and then while a statement works: what takes long can say so. */
struct sql_progress {
    void (*call)(void *ctx);
    void *ctx;
};
void sql_set_progress(struct sql *db, struct sql_progress progress);

#define SQL_COMPACT_PAGES 1024U

/* Gives some freed pages back to the system (at most SQL_COMPACT_PAGES, so that
 * it never takes long; `out_more` says whether others are left), moves the
 * write-ahead log into the file and empties it: deleted rows are then in no
 * file, freed pages that are left hold zeros. */
MUST_USE enum err sql_compact(struct sql *db, bool *out_more);

/* Copies the database as it is at one moment to a new file with the same key
 * (mode 0600), which is on the disk then. Others may write meanwhile. */
MUST_USE enum err sql_backup(struct sql *db, const char *path);
/* Reads every page: ERR_IO with PROBLEM_DAMAGED when one is not as it was. */
MUST_USE enum err sql_check(struct sql *db);
