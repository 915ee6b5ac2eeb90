/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on PostgreSQL. Rules are functions in the database
 * (store_pg.sql); this side sends them in groups and never waits.
 *
 * A lane is a connection that alone writes to some of the data, so that no
 * two lanes wait for each other's locks, and the order of operations on one
 * object is that of its lane:
 *
 *     channels, half of the shards each    two lanes
 *     accounts and inboxes                 one
 *     blobs                                one
 *
 * A group is what was submitted while the lane's last group was on its way: one
 * pipeline, one transaction, one commit. When an operation of a group fails,
 * all are tried again, each in a transaction of its own.
 *
 * A group whose connection is lost may have been committed or not. It is sent
 * again after the lane has been taken over (`fence` in store_pg.sql sees to it
 * that the old transaction cannot end later), as "again", and each rule then
 * finds out whether it was done: by idempotency key, version or content. What
 * cannot be found out is told where it happens: kp_take gives other packages
 * than the ones that nobody got; reopen of one's own subscription is refused,
 * as a client's own second try is. Meanwhile what is new is BUSY.
 */
#pragma once

#include "server/store.h"
#include "server/store_admin.h"

struct store_pg;

struct store_pg_config {
    const char *conninfo; /* URI, or keywords and values: libpq's */
    bool existing;        /* the tables are there; else they must not be */
    bool beside; /* a tool beside a running server: takes nothing over */
    struct store_quotas quotas;
};

/* Says whether the text names a database of this kind. */
bool store_pg_named(const char *text);

/* Connects (waiting), checks that the server keeps what it commits, makes the
 * tables or brings them up to date. */
MUST_USE enum err store_pg_open(const struct store_pg_config *config,
                                struct problem *problem, struct store_pg **out);
void store_pg_close(struct store_pg **s);

/* The store as the core sees it; `s` must outlive it. */
struct store store_pg_store(struct store_pg *s);

/* The store as its operator sees it. */
struct store_admin store_pg_admin(struct store_pg *s);

/* What it needs from a sandbox to connect again; borrowed from the store. */
#define STORE_PG_PORTS 8U
#define STORE_PG_FILES 4U
struct store_pg_needs {
    uint16_t ports[STORE_PG_PORTS];    /* TCP; 0: no more */
    const char *files[STORE_PG_FILES]; /* for TLS; NULL: no more */
};
const struct store_pg_needs *store_pg_needs(const struct store_pg *s);

/* Looks for what does not fit together; ERR_IO with PROBLEM_DAMAGED. Waits. */
MUST_USE enum err store_pg_check(struct store_pg *s, struct problem *problem);

/* Deletes all tables. For tests. */
MUST_USE enum err store_pg_erase(const char *conninfo, struct problem *problem);
