/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the core share.
 *
 *     conn --- attachment --- topic        who is to be told of a channel
 *       \
 *        task (with its store_op)          a request under way
 */
#pragma once

#include "server/core.h"

#include "base/map.h"
#include "base/secret.h"
#include "crypto/crypto.h"
#include "proto/hello.h"
#include "server/limits.h"
#include "server/store.h"

#define ATTACHED_MAX 4096U /* channels of one connection */

struct conn {
    struct map_node by_number;
    struct map_node by_device; /* in `devices` while logged in */
    uint32_t number;
    uint32_t pending; /* tasks under way */
    uint64_t remote;
    enum stage stage;
    uint8_t lane;
    bool gone;    /* closed; freed with its last task */
    bool closing; /* its closing is in the queue: it is not heard any more */
    bool slow;
    bool has_exporter;
    uint8_t exporter[CORE_EXPORTER_SIZE];
    uint8_t client_nonce[NONCE_SIZE];
    uint8_t server_nonce[NONCE_SIZE];
    uint8_t account[ID_SIZE]; /* from STAGE_LOGIN on */
    uint8_t device[ID_SIZE];
    struct attachment *attachments;
    size_t attached;
    struct output *last; /* its closing, so that this needs no memory */
};

/* A channel that somebody is attached to. */
struct topic {
    struct map_node node;
    uint8_t id[ID_SIZE];
    uint64_t head; /* the newest entry that was pushed; 0: none yet */
    struct attachment *attachments;
};

struct attachment {
    struct conn *conn;
    struct attachment *conn_next, **conn_from; /* what points to it */
    struct topic *topic;
    struct attachment *topic_next, **topic_from;
    uint8_t sub[ID_SIZE];
    uint8_t cap_hash[CAP_SIZE];
    bool pulls; /* was told to; until it attaches again */
};

/* A request, from its arrival to its answer. */
struct task {
    struct task *next, *previous; /* all of them */
    struct store_op op;
    struct conn *conn; /* NULL: the core's own */
    uint32_t id;
    const struct handler *handler;
    unsigned phase;     /* how often it has been to the store */
    struct buf message; /* the request, which op.request borrows from */
    struct buf scratch; /* lists made for the store */
    uint8_t hash[ID_SIZE];
    uint8_t account[ID_SIZE];
    uint8_t cap[CAP_SIZE];
    uint8_t *outcome; /* where to put the status, or NULL */
    uint64_t sub_meter;
    uint64_t channel_meter;
    uint64_t charged; /* for a read, in `minute` */
    uint64_t minute;
};

/* A message for some connections. */
struct core_blob {
    unsigned users;
    struct buf message;
};

struct output {
    struct output *next;
    struct core_output out;
};

struct core {
    struct crypto *crypto;
    struct random random;
    struct store *store;
    struct secret key;
    uint8_t public_key[KEY_SIZE];
    struct core_config config;
    struct core_stats stats;
    struct limits *limits;
    struct map conns;
    struct map devices;
    struct map topics;
    size_t attached; /* of all connections */
    struct task *tasks;
    size_t task_count;
    size_t task_bytes;  /* of their messages */
    struct task *spare; /* not in use: see spare_take */
    size_t spare_count;
    bool submitted; /* something, since the last flush */
    bool more;      /* may be done that was not taken back: no room */
    struct output *outputs, **outputs_end;
    size_t output_bytes;
    uint64_t now_ms;
    uint64_t collect_ms; /* when to collect next */
    uint64_t notice;     /* the last one of the operator's that was seen */
};

/*
 * How a method is served. `start` looks at the request and either refuses it or
 * sets up the store's operation; NULL: it goes as it is. It returns true to
 * submit. `done` sees what came of it, when it was OK; it returns false when it
 * has submitted the task again.
 */
struct handler {
    uint16_t method;
    bool (*start)(struct core *c, struct task *t);
    bool (*done)(struct core *c, struct task *t);
};

bool serve_hello(struct core *c, struct task *t);
bool serve_ping(struct core *c, struct task *t);
bool serve_register(struct core *c, struct task *t);
bool done_register(struct core *c, struct task *t);
bool serve_login(struct core *c, struct task *t);
bool done_login(struct core *c, struct task *t);
bool done_notices(struct core *c, struct task *t);
bool serve_state_append(struct core *c, struct task *t);
bool done_state_append(struct core *c, struct task *t);
bool serve_kp_publish(struct core *c, struct task *t);
bool serve_kp_take(struct core *c, struct task *t);
bool serve_inbox_append(struct core *c, struct task *t);
bool done_inbox_append(struct core *c, struct task *t);
bool serve_channel_create(struct core *c, struct task *t);
bool serve_attach(struct core *c, struct task *t);
bool done_attach(struct core *c, struct task *t);
bool serve_access(struct core *c, struct task *t);
bool serve_read(struct core *c, struct task *t);
/* Gives back what a read was charged and did not bring. */
void settle_read(struct core *c, const struct task *t);
bool serve_append(struct core *c, struct task *t);
bool done_append(struct core *c, struct task *t);
bool serve_blob_put(struct core *c, struct task *t);

/* Ends a task with this status; returns false, for `start`. */
bool task_refuse(struct task *t, enum status status, uint64_t detail);
/* The same for an error of a lower layer. */
bool task_fail(const struct core *c, struct task *t, enum err err);
/* A task of the core's own: without a connection, answered to nobody. */
MUST_USE enum err task_own(struct core *c, uint16_t rule, struct task **out);
void task_submit(struct core *c, struct task *t);

/* What one prefix may ask of a stranger's work. */
bool work_allowed(struct core *c, struct task *t);

struct conn *conn_find(const struct core *c, uint32_t number);
/* Closes it from our side: a last output, after which it is not heard. */
void conn_drop(struct core *c, struct conn *conn);

MUST_USE enum err blob_create(struct core_blob **out);
void blob_release(struct core_blob **b);
void output_close(struct core *c, struct conn *conn);
/* Queues a message, which it shares; the caller keeps its own share. */
MUST_USE enum err output_add(struct core *c, const struct conn *conn,
                             uint8_t kind, uint32_t id, struct core_blob *b);

/* Channels: who is attached. */
void attachments_drop(struct core *c, struct conn *conn);
/* Tells the connection to read where an entry may have been lost on its way. */
void attachments_pull(struct core *c, const struct conn *conn);
/* Tells a device's connection that its inbox has something. */
void push_inbox(struct core *c, struct bytes device, uint64_t seq);
