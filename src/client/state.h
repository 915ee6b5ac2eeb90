/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this folder share. The durable part of everything here is
 * a copy of rows; when a transaction fails, the copy is thrown away and read
 * again (store_reload). What has no row is marked "runtime": it is lost in a
 * crash and made again.
 *
 * The life of an input: a handler makes its transactions, and then pump() looks
 * at the rows and sends the requests that are due and not on their way.
 */
#pragma once

#include "client/client.h"

#include "base/wire.h"
#include "crypto/crypto.h"
#include "crypto/hash.h"
#include "crypto/kem.h"
#include "crypto/sign.h"
#include "proto/log_hash.h"
#include "proto/message.h"
#include "sotto/mls.h"
#include "sql/sql.h"

#define SECOND_MS        1000ULL
#define MINUTE_MS        (60 * SECOND_MS)
#define DAY_MS           (1440 * MINUTE_MS)
#define SERVERS_MAX      64U
#define CONVERSATION_MAX 65536U
#define QUEUE_MAX        65536U
#define HASH256_SIZE     32U

/* --- the copy of the store --- */

enum profile_state {
    PROFILE_NONE = CLIENT_NEW,
    PROFILE_REGISTERING = CLIENT_REGISTERING,
    PROFILE_READY = CLIENT_READY,
    PROFILE_REFUSED = CLIENT_REFUSED,
};

struct profile {
    enum profile_state state;
    int64_t server;
    char handle[CLIENT_HANDLE_MAX + 1];
    uint8_t invite[INVITE_SIZE];
    size_t invite_len;
    uint8_t account[ID_SIZE]; /* known once the first state is made */
    bool has_account;
    uint8_t device[ID_SIZE];
    struct secret sign_private;
    struct secret seal_private;
    struct buf sign_public;
    struct buf seal_public;
    uint8_t recovery_public[KEY_SIZE];
    uint8_t contact_cap[CAP_SIZE];
    uint64_t inbox_cursor;
    uint64_t packages_at; /* when to look at the KeyPackages again */
};

struct server {
    struct server *next;
    int64_t id;
    char address[CLIENT_ADDRESS_MAX + 1];
    enum client_trust trust;
    uint8_t key[KEY_SIZE];
    bool has_key;
    uint8_t key_hash[16]; /* of an invite; looked at when has_key is false */
    bool has_key_hash;
    uint8_t fingerprint[32];
    struct lane_state *identified; /* runtime; NULL: not our home */
    struct lane_state *anonymous;  /* runtime */
};

struct conv {
    struct conv *next;
    int64_t id;
    struct server *server;
    uint8_t channel[ID_SIZE];
    bool direct;
    uint8_t peer[ID_SIZE]; /* of a direct one; zeros: not known yet */
    bool has_peer;
    enum client_conversation_state state;
    bool accepted;
    uint8_t sub[ID_SIZE];
    uint8_t cap[CAP_SIZE];
    uint64_t cursor;          /* the last entry applied */
    uint64_t acked;           /* the last one that the server knows we have */
    uint64_t handshake;       /* the newest commit or proposal applied */
    struct log_hash log_hash; /* running hash at cursor */
    uint64_t first;           /* cursor at joining */
    uint64_t path_at;         /* when a fresh path is due; 0: not */
    uint64_t scheduled;       /* entry time of the last commit of only a path */
    uint64_t rejoin_at;       /* when to ask again */
    uint64_t rejoin_asked;    /* how often, since the last time it was in */
    uint64_t retry_at;        /* the server was busy until then */
    bool profile_sent;
    bool leaving;

    /* runtime */
    bool attached;
    uint64_t checked; /* up to here the server's log is ours: see sync.c */
    bool unsure;      /* whether the subscription is ended: see sync.c */
    uint64_t head;    /* the server's, as far as we know */
    struct sotto_group *group; /* NULL: not loaded */
};

/* --- connections --- */

enum lane_phase {
    LANE_DOWN,
    LANE_SAID_HELLO,
    LANE_LOGGING_IN,
    LANE_READY
};

/* What a request was made for; see the table in calls.c. */
enum task {
    TASK_HELLO,
    TASK_REGISTER,
    TASK_LOGIN,
    TASK_PACKAGE_COUNT,
    TASK_PACKAGE_PUBLISH,
    TASK_INBOX_READ,
    TASK_INBOX_ACK,
    TASK_LOOKUP,   /* row: intent */
    TASK_CHAIN,    /* row: intent */
    TASK_TAKE,     /* row: intent */
    TASK_VERIFY,   /* row: account */
    TASK_MAIL,     /* row: mail */
    TASK_BLOB_GET, /* row: joining */
    TASK_CREATE,   /* row: conversation, as of all below */
    TASK_ATTACH,
    TASK_READ,
    TASK_ACK,
    TASK_REOPEN,
    TASK_BLOB_PUT,
    TASK_COMMIT,
    TASK_MESSAGE, /* value: outbox row */
    TASKS
};

/* A request on its way. */
struct call {
    struct call *next;
    uint32_t id;
    enum task task;
    int64_t row;
    uint64_t value;
    uint64_t after; /* of an append: the handshake that it knew; of a read: the
                       cursor */
};

struct lane_state {
    struct lane_state *next;
    struct server *server;
    enum client_lane_kind kind;
    size_t number;
    enum lane_phase phase;
    uint8_t exporter[EXPORTER_SIZE];
    size_t exporter_len;
    uint8_t client_nonce[NONCE_SIZE];
    uint8_t server_nonce[NONCE_SIZE];
    uint8_t pow_bits;
    uint64_t server_time; /* seconds, at hello */
    uint64_t hello_at;    /* our clock then */
    uint32_t reconnect_ms;
    uint32_t last_id;
    struct call *calls;
};

/* Proof of work under way (work.c). */
struct work {
    struct lane_state *lane; /* NULL: none */
    enum task task;          /* what it is for */
    int64_t row;
    bool wanted; /* by somebody in this pump */
    uint8_t subject[HASH256_SIZE];
    struct pow pow;
};

struct output_node {
    struct output_node *next;
    struct client_output output;
};

struct event_node {
    struct event_node *next;
    struct client_event event;
};

struct client {
    struct crypto *crypto;
    const struct random *random;
    struct sql *db;
    struct sotto_mls *mls;
    unsigned key_packages;
    uint64_t now;
    uint64_t deadline;
    bool stale;         /* the copy must be read again */
    uint64_t verify_at; /* runtime: when to look claimed handles up again */
    bool inbox_unread;  /* runtime: the server may hold items for us */
    struct work work;   /* runtime */

    struct profile profile;
    struct server *servers;
    struct conv *convs;
    struct lane_state *lanes;
    size_t lane_count;

    struct output_node *outputs, **outputs_end;
    struct event_node *events, **events_end;
    struct client_counters counters;
};

/* --- steps (store.c) --- */

/* A transaction. Outputs and events made inside leave with its commit, or
 * never; if it is not committed, the copy of the store becomes stale. */
struct step {
    struct client *client; /* NULL: over */
    struct sql_tx tx;
    struct output_node **outputs_end;
    struct event_node **events_end;
};

MUST_USE enum err step_begin(struct client *c, const char *name,
                             struct step *out);
MUST_USE enum err step_commit(struct step *s);
void step_rollback(struct step *s);

MUST_USE enum err store_load(struct client *c);   /* once, at creation */
MUST_USE enum err store_reload(struct client *c); /* after a lost step */
void store_unload(struct client *c);
void profile_clear(struct profile *p);
/* Finds a conversation of two by handle, without a step (commands.c). */
MUST_USE enum err direct_lookup(struct client *c, const char *text,
                                int64_t *out);

MUST_USE enum err profile_save(struct client *c);
MUST_USE enum err conv_save(struct client *c, const struct conv *cv);
/* Inserts a row and adds its copy. */
MUST_USE enum err conv_insert(struct client *c, const struct conv *values,
                              struct bytes name, struct conv **out);
struct conv *conv_find(struct client *c, int64_t id);
struct conv *conv_by_channel(struct client *c, struct bytes channel);
MUST_USE enum err server_save(struct client *c, const struct server *s);
/* Finds or adds the server of an address. */
MUST_USE enum err server_get(struct client *c, const char *address,
                             struct server **out);
MUST_USE enum err store_row_id(struct client *c,
                               int64_t *out); /* just inserted */
struct server *server_find(struct client *c, int64_t id);
struct server *server_home(struct client *c);

/* --- queues (client.c) --- */

MUST_USE enum err client_emit(struct client *c, const struct client_event *e);
MUST_USE enum err client_note(struct client *c, enum client_event_kind kind,
                              const char *detail);
/* The same about a lane's server. */
MUST_USE enum err lane_note(struct client *c, const struct lane_state *l,
                            enum client_event_kind kind, const char *what);
MUST_USE enum err client_output_add(struct client *c, struct lane_state *l,
                                    uint32_t id, struct buf *message);
/* Ends a connection: as if it went down, and the owner is told to close. */
void lane_close(struct client *c, struct lane_state *l);
/* True when `at` has come; else the deadline is lowered to it. */
bool client_due(struct client *c, uint64_t at);
/* A random delay up to `span`. */
uint64_t client_jitter(struct client *c, uint64_t span);

/* --- small things --- */

struct bytes bytes_of(const uint8_t *data, size_t len);
#define ID_BYTES(a) ((struct bytes){(a), sizeof(a)})
/* Copies a field of a known size out of a row: ERR_INVALID if it has another.
 */
MUST_USE enum err row_copy(const struct sql_query *q, int column, uint8_t *out,
                           size_t size);
struct sotto_bytes to_sotto(struct bytes b);
struct bytes from_sotto(struct sotto_bytes b);
struct bytes from_sotto_buf(const struct sotto_buf *b);
enum err err_of_sotto(enum sotto_err err);
MUST_USE enum err sha256(struct client *c, struct parts parts,
                         uint8_t out[HASH256_SIZE]);
