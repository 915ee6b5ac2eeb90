/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world in one process: devices with the real client and its real database,
 * the real server core with its real store, a network and a clock. One seed
 * decides everything, so a run can be had again.
 *
 *     devices  --messages-->  network  --messages-->  core --> store
 *     (client, sql, disk)     (delays, cuts)          (disk)
 *
 * Anybody may crash between any two transactions of its database (and at any
 * other moment): it then loses its memory and what its disk had not synced,
 * and starts again a little later. Connections keep their order, as TLS does;
 * what a cut loses, both ends lose at their own moments.
 */
#pragma once

#include "disk.h"
#include "points.h"

#include "base/buf.h"
#include "base/secret.h"
#include "client/client.h"
#include "crypto/crypto.h"
#include "crypto/entropy.h"
#include "server/core.h"
#include "server/store_pg.h"
#include "server/store_sqlite.h"
#include "sql/sql.h"

#include <stdbool.h>
#include <stdint.h>

#define DEVICES_MAX   6U
#define LANES_MAX     4U
#define SENT_MAX      512U
#define ATTACKS_MAX   64U
#define LIES_MAX      256U
#define TEXT_SIZE     24U
#define KEY_HASH_SIZE 16U
#define HEADS_MAX     64U
#define ID_LEN        32U

#define SECOND UINT64_C(1000)
#define MINUTE (60U * SECOND)
#define DAY    (1440U * MINUTE)

/* One device's connection of one lane. */
struct link {
    bool up;
    bool connecting;    /* or the device does not know yet that it is down */
    bool leaving;       /* the latter */
    uint32_t conn;      /* its number at the core */
    uint32_t unheard;   /* the request that was answered falsely; or 0 */
    uint64_t to_server; /* when the last message under way arrives */
    uint64_t to_client;
};

struct device {
    struct world *world;
    unsigned index;
    char name[16]; /* handle, and VFS */
    struct disk *disk;
    struct sql *db;
    struct client *client; /* NULL while it is down */
    uint64_t down_until;
    uint64_t offline_until; /* the network is away; the device runs */
    int64_t skew;           /* of its clock, in ms */
    uint64_t next_tick;
    bool crash_now; /* a crash point was hit during the call */
    bool registered;
    bool misled; /* registers with what the server must refuse */
    bool away;   /* for longer than anything is kept, ever */
    bool backed_up;
    bool gone;        /* it attacked, and is never seen again */
    bool restored;    /* an old copy of its store was put back, ever */
    bool cut_off;     /* by an insider's commit, ever */
    unsigned askable; /* devices that were there then, a bit each */
    bool shut_out;    /* the server kept an invitation from it, ever */
    struct link links[LANES_MAX];
    struct client_counters counters; /* of its earlier lives */
};

struct server {
    struct disk *disk;
    struct store_sqlite *sqlite; /* one of the two */
    struct store_pg *pg;         /* where $SOTTO_TEST_STORE says */
    bool made;                   /* its tables, in this world */
    struct store store;
    struct core *core; /* NULL while it is down */
    uint64_t down_until;
    bool flush_planned;
    bool crash_now;
    bool backed_up;
    bool restored; /* an old copy of its disk was put back, ever */
    uint8_t key_hash[KEY_HASH_SIZE];
};

/* A text that a device accepted from its person. */
struct sent {
    char text[TEXT_SIZE];
    bool known; /* to the person: it must not get lost */
    unsigned device;
    int64_t conversation; /* of that device */
    int64_t message;
};

/* An entry that a member has forged. */
struct attack {
    uint8_t channel[CLIENT_ID_SIZE];
    uint64_t seq;
    enum point kind;
};

/* An entry that the server said to have taken, and that is not there. */
struct lie {
    uint8_t channel[CLIENT_ID_SIZE];
    uint64_t seq;
    unsigned device;
};

/* An entry to send again. */
struct heard {
    uint8_t channel[CLIENT_ID_SIZE];
    uint8_t kind;
    struct buf body;
};

/* Where a channel ended in the old copy of the server's disk. */
struct old_head {
    uint8_t channel[ID_LEN];
    uint64_t head;
};

struct world {
    uint64_t seed;
    enum theme theme;
    uint64_t began;
    uint64_t now;
    uint64_t random;
    struct entropy_seeded entropy;
    struct random source;
    struct crypto *crypto;
    struct secret server_key;
    struct server server;
    struct device devices[DEVICES_MAX];
    unsigned device_count;
    struct sent sent[SENT_MAX];
    unsigned sent_count;
    struct device *insider; /* NULL: everybody is honest */
    bool vanishes;          /* after one attack that the others can heal */
    struct heard heard;     /* by the insider */
    struct attack attacks[ATTACKS_MAX];
    unsigned attack_count;
    struct lie lies[LIES_MAX];
    unsigned lie_count;
    struct old_head old_heads[HEADS_MAX];
    size_t old_head_count;
    uint32_t next_conn;
    uint64_t next_order;
    uint64_t happened;
    struct happening **heap; /* what is to come, the soonest first */
    size_t heap_len;
    size_t heap_cap;
    bool calm;           /* no more faults: the network has healed */
    size_t focus;        /* crash points of this transaction: once in two */
    unsigned focus_left; /* so often at most */
    unsigned crash;      /* others are taken once in so many; 0: none is */
    bool full;           /* the server's disk */
    bool trace;
    uint64_t failed; /* failed checks; each was printed */
    uint64_t *points;
};

MUST_USE enum err world_create(uint64_t seed, bool trace, uint64_t *points,
                               struct world **out);
void world_free(struct world **w);

/* Handles what comes until virtual time `until`. */
void world_run(struct world *w, uint64_t until);

/* A number below `n`; true once in `n`. */
uint64_t world_random(struct world *w, uint64_t n);
bool world_chance(struct world *w, uint64_t n);

void world_meet(struct world *w, enum point point);
void world_trace(const struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void world_fail(struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Sends what the client has to say, after a command was given to it. */
void device_pump(struct world *w, struct device *d);
uint64_t device_time(const struct world *w, const struct device *d);
void device_crash(struct world *w, struct device *d);
void device_cut(struct world *w, struct device *d);
void server_crash(struct world *w);
/* Closes and starts its client, which reads everything again. */
void device_restart(struct world *w, struct device *d);
/* Stops it for good; the others have to get along. */
void device_vanish(struct world *w, struct device *d);

/* Asks the server over a new connection of nobody's, and waits for the answer,
 * which borrows from `room`; false: it is down. */
struct request;
struct answer;
bool world_ask(struct world *w, struct request *q, struct buf *room,
               struct answer *out);

/* Makes connections that were put off. */
void device_reconnect(struct world *w, struct device *d);
/* Plans the next try to register. */
void device_enrol_at(struct world *w, struct device *d, uint64_t at);

/* The faults that only some worlds have (faults.c). */
void fault_old_device(struct world *w, struct device *d);
void fault_old_server(struct world *w, struct device *d);
void fault_void_contact(struct world *w, struct device *d);
void fault_slow(struct world *w, struct device *d);
/* Does the server lie about this request? Then gives the answer; `out_taken`
 * says whether it takes the request all the same, which it may only where that
 * was true before. */
bool fault_lie(struct world *w, struct device *d, struct bytes message,
               struct buf *answer, bool *out_taken);
bool fault_lied(const struct world *w, const uint8_t *channel, uint64_t seq,
                unsigned device);
void device_stop(struct world *w, struct device *d);
void device_start(struct world *w, struct device *d);

/* The random life of the devices (life.c): decides what the world is about,
 * plans and lives it, and does a step of it. */
void life_choose(struct world *w);
void life_live(struct world *w);
void life_step(struct world *w, struct device *d);
void life_enrol(struct world *w, struct device *d);
void life_at(struct world *w, struct device *d, uint64_t at);

/* Remembers whom a device can ask to be let in again. */
void world_cut_off(struct world *w, struct device *d, int64_t conversation);

/* Heals the network, waits until nothing is left to do, and compares what all
 * sides hold. */
void world_settle(struct world *w);
void world_check(struct world *w);
