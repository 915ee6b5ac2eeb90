/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests, fuzzing and benchmarks: a core over a real store, and clients that
 * speak its protocol in as few lines as possible. The store is SQLite, or the
 * PostgreSQL that $SOTTO_TEST_STORE names, whose tables are then deleted.
 */
#pragma once

#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/entropy.h"
#include "server/core.h"
#include "server/store_pg.h"
#include "server/store_sqlite.h"

#define FIXTURE_NOW    1700000000000U /* milliseconds */
#define FIXTURE_DAY_MS UINT64_C(86400000)
#define FIXTURE_EVENTS 64U

struct fixture_message {
    uint32_t conn;
    bool close;
    uint8_t kind;
    uint32_t id;
    struct buf bytes;
};

struct fixture {
    struct crypto *crypto;
    struct entropy_seeded entropy;
    struct random random;
    struct secret key;
    struct store_sqlite_config store_config;
    struct core_config core_config;
    struct store_sqlite *sqlite; /* one of the two */
    struct store_pg *pg;
    bool erased; /* the tables of earlier tests */
    struct store store;
    struct store_admin admin;
    struct core *core;
    uint64_t now;
    uint32_t ids;
    struct fixture_message answer; /* the last, of fixture_ask */
    struct fixture_message events[FIXTURE_EVENTS]; /* since the last clear */
    size_t event_count;
};

/* Opens the store and the core as the configurations say, which the caller may
 * set before; open again after fixture_stop for a restart. */
void fixture_init(struct fixture *f);
MUST_USE enum err fixture_start(struct fixture *f);
void fixture_stop(struct fixture *f);
/* Checks that what the store holds fits together. */
MUST_USE enum err fixture_check(struct fixture *f);
void fixture_clear(struct fixture *f);

/* Opens a connection and says hello. */
MUST_USE enum err fixture_connect(struct fixture *f, uint32_t conn,
                                  enum lane lane);

/* Sends a request without waiting; asks and waits for the answer, which lives
 * until the next one. ERR_STATE: no answer came. */
MUST_USE enum err fixture_send(struct fixture *f, uint32_t conn,
                               const struct request *q, uint32_t *out_id);
MUST_USE enum err fixture_ask(struct fixture *f, uint32_t conn,
                              const struct request *q, struct answer *out);
/* The status of asking; STATUS_COUNT_ when there is no answer. */
enum status fixture_status(struct fixture *f, uint32_t conn,
                           const struct request *q);
/* Flushes, and keeps the events; answers are dropped, but for `id`. */
void fixture_flush(struct fixture *f, uint32_t id);

/* Events of a method that came to a connection; reads the nth of them. */
size_t fixture_events(const struct fixture *f, uint32_t conn, uint16_t method);
MUST_USE enum err fixture_event(const struct fixture *f, uint32_t conn,
                                uint16_t method, size_t nth,
                                struct request *out);
void fixture_events_clear(struct fixture *f);
bool fixture_closed(const struct fixture *f, uint32_t conn);

/* Ids and capabilities that a test names by a number. */
struct bytes fixture_id(uint8_t number);
struct access fixture_access(uint8_t channel, uint8_t sub);
MUST_USE enum err fixture_cap_hash(struct fixture *f, uint8_t sub,
                                   uint8_t out[CAP_SIZE]);

/* What a commit does to the subscriptions; 0: to none. */
struct fixture_change {
    uint8_t adds, ends;
};
struct fixture_change fixture_adds(uint8_t sub);
struct fixture_change fixture_ends(uint8_t sub);
struct fixture_change fixture_same(void);

/* A PrivateMessage, as far as the server looks into one. */
MUST_USE enum err fixture_private(struct buf *out, uint8_t kind,
                                  struct bytes aad, struct bytes ciphertext);

/* The body of a commit as clients make it, or of an application entry (NULL).
 */
MUST_USE enum err fixture_body(struct fixture *f,
                               const struct fixture_change *commit,
                               struct buf *out);

/* Who writes where. */
struct fixture_from {
    uint32_t conn;
    struct access access;
};
struct fixture_from fixture_from(uint32_t conn, uint8_t channel, uint8_t sub);

enum status fixture_create(struct fixture *f, uint32_t conn, uint8_t channel,
                           uint8_t sub);
/* Appends an application entry; *out_answer has the number, or the detail. */
enum status fixture_append(struct fixture *f, struct fixture_from from,
                           uint64_t after, uint8_t key, uint64_t *out_answer);
/* The same for a commit. */
enum status fixture_commit(struct fixture *f, struct fixture_from from,
                           uint64_t after, uint8_t key,
                           struct fixture_change change, uint64_t *out_answer);

struct fixture_account {
    struct secret device_key;
    struct secret recovery_key;
    struct buf device_public;
    struct buf recovery_public;
    struct buf state; /* the newest */
    uint8_t id[ID_SIZE];
    uint8_t device[ID_SIZE];
    uint8_t contact_cap[CAP_SIZE];
};
void fixture_account_clear(struct fixture_account *a);

/* Makes an account with one device; registers or logs in on a connection that
 * has said hello on the identified lane. An empty invite: none. */
MUST_USE enum err fixture_account_make(struct fixture *f,
                                       struct fixture_account *a);
MUST_USE enum err fixture_register(struct fixture *f, uint32_t conn,
                                   const char *name, struct bytes invite,
                                   struct fixture_account *a, enum status *out);
MUST_USE enum err fixture_login(struct fixture *f, uint32_t conn,
                                const struct fixture_account *a,
                                enum status *out);

/* Work for a purpose, today. */
MUST_USE enum err fixture_work(struct fixture *f, unsigned purpose,
                               struct bytes subject, struct pow *out);
