/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of net: the real network side runs in a child; the test plays the
 * store at the other end of the pipe, and the clients.
 */
#pragma once

#include "server/net.h"
#include "server/pipe.h"
#include "support/netclient.h"
#include "sys/process.h"

#define PATIENCE_MS 30000 /* only a failure waits so long */
#define SEEN_MAX    1024

struct seen {
    struct pipe_record record; /* without its bytes */
    size_t len;
    uint8_t start[64];
};

struct world {
    struct net_config config; /* what a test wants to be different */
    struct child child;
    struct loop *loop;
    struct pipe *pipe;
    struct net_name address;
    struct net_name proxy, admin; /* without TLS */
    struct seen seen[SEEN_MAX];   /* a ring */
    size_t seen_count;
    size_t looked_at;
    unsigned ended;
    int listener;
};

MUST_USE enum err world_start(struct world *w);
void world_clear(struct world *w);

/* Waits for the child's end. */
int world_exit_status(struct world *w);

/* Sends net a record; the other one waits until it has left. */
void world_put(struct world *w, const struct pipe_record *r);
void world_put_all(struct world *w, const struct pipe_record *r);

/* Waits for the next record; for the next with `op`, whatever else comes. */
const struct seen *world_next(struct world *w);
const struct seen *world_next_op(struct world *w, enum pipe_op op);
void world_pump(struct world *w, unsigned ms);

/* What the core would answer, as far as net looks at it. */
extern const uint8_t hello_ok[3];
extern const uint8_t ping_ok[3];
void world_answer(struct world *w, const struct seen *request,
                  const uint8_t bytes[3]);

/* Connects; tells the number that net gave. The other one also says hello,
 * which is answered. */
MUST_USE enum err world_join(struct world *w, struct netclient *c,
                             uint32_t *out_conn);
MUST_USE enum err world_join_greeted(struct world *w, struct netclient *c,
                                     uint32_t *out_conn);

struct bytes zeros(size_t len); /* MESSAGE_MAX at most */
