/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the PostgreSQL store share. */
#pragma once

#include "base/problem.h"
#include "base/random.h"
#include "server/store_pg.h"

#include <libpq-fe.h>

#define SCHEMA         "sotto" /* of PostgreSQL: a name for our tables */
#define SCHEMA_VERSION 1
#define SHARDS         256U
#define CHANNEL_LANES  2U
#define FLIGHT_OPS     256U       /* of one group */
#define FLIGHT_BYTES   (8U << 20) /* and of their messages, about */
#define STEPS_MAX      (3 * FLIGHT_OPS + 8U)
#define OWNER_SIZE     32U /* of a connection: half of it is its server's */
#define PARAMS_MAX     16U
#define LISTS_MAX      7U
#define STORE_PG_PATH  512U
#define BACKOFF_MIN_MS 50U
#define BACKOFF_MAX_MS 5000U
#define CONNECT_MS     10000U

/* Parts of STORE_COLLECT: each lane does its own. */
enum {
    PG_COLLECT_CHANNELS = 0x9000,
    PG_COLLECT_PACKAGES,
    PG_COLLECT_INBOXES,
    PG_COLLECT_BLOBS,
    PG_DROP_WEEKS,
    PG_MEASURE,
};

enum lane_number {
    LANE_ACCOUNTS = CHANNEL_LANES,
    LANE_BLOBS,
    LANE_COUNT,
    LANE_OF_CHANNEL, /* one of the first */
};

enum lane_state {
    LANE_DOWN, /* until `retry_ms` */
    LANE_CONNECTING,
    LANE_SETTING_UP,
    LANE_READY,
};

/* What the next result is of. */
enum step {
    STEP_SETUP,
    STEP_FENCE,
    STEP_BATCH,
    STEP_OP,
    STEP_SYNC,
};

/* Where a collection goes on. */
struct walk {
    uint64_t shard;
    uint8_t id[ID_SIZE];
    size_t len;
};

#define COLLECTS_MAX 3U

struct pg_lane {
    struct store_pg *store;
    unsigned number;
    PGconn *conn;
    enum lane_state state;
    uint64_t retry_ms, backoff_ms; /* when down */
    uint64_t deadline_ms;          /* when connecting or setting up */
    int watched_fd;
    uint32_t watched;
    uint8_t owner[OWNER_SIZE];
    bool taken; /* over: it was ours before */

    struct store_op *queue, **queue_end;
    struct store_op *flight, **flight_end; /* sent, in order */
    bool alone;                            /* each in its own transaction */
    bool again;                            /* it may have been done already */
    bool failed;                           /* the transaction that is read */
    enum step steps[STEPS_MAX];
    size_t step, step_count;
    struct store_op *reading; /* whose result is next */
    size_t batched;           /* operations of the flight in one call */
    uint64_t week;            /* it and the next are known to be there */

    struct store_op collects[COLLECTS_MAX];
    struct walk walks[COLLECTS_MAX];
};

struct store_pg {
    struct store_quotas quotas;
    struct problem problem;
    bool beside;
    bool fenced; /* another server writes: this one never does again */
    int epoll;
    struct pg_lane lanes[LANE_COUNT];
    struct store_op *done, **done_end;
    struct store_op *collect; /* the core's, while its parts are under way */
    unsigned collect_parts;
    uint64_t collections;
    uint64_t bytes; /* stored, about */
    struct store_pg_needs needs;
    char root_file[STORE_PG_PATH]; /* with authorities, in the home folder */
    /* How to connect: found out once, since later no file can be read. */
    PQconninfoOption *options;
    char *password;
    char *addresses;
    const char *keys[64], *values[64];
};

/* --- rules: what is sent, and what comes back --- */

struct params {
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX];
    int formats[PARAMS_MAX];
    uint8_t numbers[PARAMS_MAX][8];
    struct buf lists[LISTS_MAX];
    size_t count, list_count;
    enum err err;
};
void params_clear(struct params *p);
void put_number(struct params *p, uint64_t v);
void put_flag(struct params *p, bool v);
void put_bytes(struct params *p, struct bytes b);

struct pg_rule {
    uint16_t rule;
    const char *name; /* of the function */
    size_t params;
    unsigned lane;
    void (*put)(struct params *p, const struct pg_lane *lane,
                const struct store_op *op);
    enum err (*take)(struct pg_lane *lane, struct store_op *op, PGresult *r);
};
#define BATCH_CALL   "append_many"
#define BATCH_PARAMS 11U
/* Puts the appends of a flight that were marked into one call; and takes their
 * answers. */
void put_batch(struct params *p, const struct pg_lane *lane);
MUST_USE enum err take_batch(struct pg_lane *lane, const PGresult *r);

extern const struct pg_rule pg_rules[];
extern const size_t pg_rule_count;
const struct pg_rule *pg_rule_of(const struct store_op *op);
struct bytes pg_channel_of(const struct store_op *op);
unsigned pg_lane_of(const struct store_op *op);

/* --- connections that wait: opening, checking --- */

void pg_quiet(PGconn *conn);
void pg_conn_close(PGconn **conn);
void pg_result_clear(PGresult **r);
MUST_USE enum err pg_connect(const char *conninfo, PGconn **out,
                             struct problem *p);
/* Takes from a connection how to make others. */
MUST_USE enum err pg_remember(struct store_pg *s, PGconn *conn,
                              struct problem *p);
MUST_USE enum err pg_connect_again(const struct store_pg *s, PGconn **out,
                                   struct problem *p);
void pg_forget(struct store_pg *s);
MUST_USE enum err pg_migrate(PGconn *conn, bool existing, struct problem *p);
MUST_USE enum err pg_verify(PGconn *conn, struct problem *p);

/* Ours for an error of the database; without its parameters. */
enum err pg_problem(struct problem *p, const char *what, const PGconn *conn);

/* One row of text: what a server must be like, and whether it is so. */
extern const char pg_server_query[];
MUST_USE enum err pg_server_check(const PGresult *r, struct problem *p);

extern const char store_pg_schema[]; /* store_pg.sql */
