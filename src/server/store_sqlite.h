/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on SQLite: a file per kind of object, so that no transaction, page
 * or row ties an account to a channel, and a folder of blobs. A flush is one
 * transaction per file; each operation writes to one file only, so a crash
 * between two files leaves none half done.
 *
 *     accounts.db   accounts, states, key packages, invites, spent work
 *     inboxes.db    sealed items
 *     channels.db   channels, subscriptions, entries, idempotency keys
 *     blobs.db      which blobs there are, up to where, until when
 *     blobs/        their content: a file is durable before its row says so
 */
#pragma once

#include "server/store.h"
#include "server/store_admin.h"
#include "sql/sql.h"

struct store_sqlite;

struct store_sqlite_config {
    const char *dir; /* an existing folder; NULL: in memory, for tests */
    const char *vfs; /* NULL: the system's; otherwise blobs are rows, too */
    bool exclusive;  /* the files cannot be opened by anybody else meanwhile */
    bool existing;   /* create nothing */
    uint64_t max_bytes; /* of each file, as if the disk were full; 0: none */
    struct store_quotas quotas;
    /* For simulations: called around each commit of a file, with its name
     * ("accounts", …) as the transaction's, and "migrate" when it is made. */
    struct sql_hook hook;
};

MUST_USE enum err store_sqlite_open(const struct store_sqlite_config *config,
                                    struct problem *problem,
                                    struct store_sqlite **out);
void store_sqlite_close(struct store_sqlite **s);

/* The store as the core sees it; `s` must outlive it. */
struct store store_sqlite_store(struct store_sqlite *s);

/* The store as its operator sees it. */
struct store_admin store_sqlite_admin(struct store_sqlite *s);

/*
 * Reads everything and checks that it fits together: pages, sequence numbers,
 * cursors, blobs and their files. ERR_IO with PROBLEM_DAMAGED, and what is
 * wrong, at the first fault.
 */
MUST_USE enum err store_sqlite_check(struct store_sqlite *s,
                                     struct problem *problem);
