/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients and the real server core in one process, with a fake clock. What
 * passes between them can be watched and changed on the way (`tamper`).
 */
#pragma once

#include "client/client.h"

#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/entropy.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "server/core.h"
#include "server/store_sqlite.h"
#include "sql/sql.h"
#include "test.h"

#define NODES    4U
#define LANES    8U
#define START_MS 1790000000000ULL
#define ADDRESS  "example.org:7470"

struct node {
    struct entropy_seeded entropy;
    struct random random;
    struct sql *db;
    struct client *client;
    uint32_t conn[LANES]; /* 0: down */
    bool offline;
    char path[64];     /* of its store; empty: in memory */
    unsigned crash_in; /* commits until it crashes; 0: it does not */
    bool crash_after;  /* after that commit, or before it */
    bool crashed;
    uint32_t hunger; /* decides which calls run out of memory; 0: none */
    unsigned starved;
    unsigned events[CLIENT_EVENT_KINDS];
    char skipped[160];                  /* why, of the last entry that was */
    char told[CLIENT_EVENT_KINDS][160]; /* what the last one said */
};

/* A message of the server on its way to a client. */
struct passing {
    struct node *node;
    uint8_t kind; /* enum frame_kind */
    uint32_t id;
    struct buf message; /* to be replaced at will */
    unsigned copies;    /* 1; 0 withholds it */
};

struct world {
    struct crypto *crypto;
    struct entropy_seeded entropy;
    struct random random;
    struct secret server_key;
    struct store_sqlite *sqlite;
    struct store store;
    struct core *core;
    uint64_t now;
    uint32_t last_conn;
    struct node nodes[NODES];
    size_t count;
    bool trace;
    void (*tamper)(void *ctx, struct passing *p);
    void *tamper_ctx;
};

extern const char *const names[NODES];

MUST_USE enum err world_begin(struct world *w, size_t count);
void world_end(struct world *w);
/* One exchange; `out_any`: something was under way. */
MUST_USE enum err world_round(struct world *w, bool *out_any);
/* Runs until all is quiet and `ms` have passed; ERR_STATE: never quiet. */
MUST_USE enum err world_run(struct world *w, uint64_t ms);
/* Asks the core on a connection of the test's own; the answer as encoded. */
MUST_USE enum err world_ask(struct world *w, uint32_t conn,
                            const struct request *q, struct buf *out);
/* Registers everybody. */
MUST_USE enum err join_all(struct world *w);
/* Makes a group of the first `members` nodes, by the first. */
MUST_USE enum err begin_group(struct world *w, size_t members, int64_t *out);

MUST_USE enum err node_start(struct world *w, struct node *n);
MUST_USE enum err node_restart(struct world *w, struct node *n);
void node_cut(struct world *w, struct node *n);
/* Gives a client a message, as the server's. */
MUST_USE enum err node_give(struct world *w, struct node *n, size_t lane,
                            const struct core_output *out);
/* Before and after a call into a client: some run out of memory, at some
 * allocation. Returns whether this one did; then the node is cut off. */
void starve_begin(struct node *n);
bool starve_end(struct world *w, struct node *n, enum err err);
/* An sql_hook that crashes the node as it is told to. */
bool crash_hook(void *ctx, const char *name, enum sql_point point);

MUST_USE enum err say(struct world *w, struct node *n, int64_t id,
                      const char *text);

struct seen {
    char text[4096]; /* "sender:text;" in order */
    char unsent[1024];
    size_t failed;
    size_t notices;
};
struct seen look(struct node *n, int64_t conversation);
/* Whether a conversation's log shows this, as in `seen`; else prints it. */
bool shows(struct node *n, int64_t conversation, const char *want);

struct summary {
    struct client_conversation last;
    uint8_t authenticator[64];
    size_t count;
};
struct summary summary(struct node *n, int64_t id); /* 0: all */
/* Whether the nodes first..count-1 are in the same epoch. */
bool agree(struct world *w, const int64_t ids[NODES], size_t first,
           size_t count);
