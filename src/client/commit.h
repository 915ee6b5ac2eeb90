/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Own commits. One is made of the intents that are ready (or of nothing, to
 * bring a fresh path), stored as pending, and applied only when its own entry
 * comes back in order. When another handshake entry wins, it is dropped and its
 * intents are looked at again.
 *
 *   intents, path due -> [blob ->] append -> merged
 *                  ^                  |  another commit won
 *                  +------------------+
 */
#pragma once

#include "client/intent.h"
#include "client/policy.h"

enum pending_state {
    PENDING_BLOB = 0,   /* the joining blob is on its way up */
    PENDING_APPEND = 1, /* the commit may be in the log or not */
};

struct pending {
    enum pending_state state;
    uint8_t key[IDEMPOTENCY_KEY];
    uint8_t hash[HASH256_SIZE]; /* of the commit's body */
    struct buf commit;
    uint64_t epoch;
    uint8_t blob_id[ID_SIZE];
    uint8_t blob_key[32];
    struct buf blob; /* sealed; empty: nobody is added */
    uint64_t uploaded;
};

void pending_clear(struct pending *p);
/* ERR_NOTFOUND: there is none. */
MUST_USE enum err pending_get(struct client *c, const struct conv *cv,
                              struct pending *out);
MUST_USE enum err pending_insert(struct client *c, const struct conv *cv,
                                 const struct pending *p);
/* Forgets it; with `done`, the intents that it carried too. */
MUST_USE enum err pending_delete(struct client *c, const struct conv *cv,
                                 bool done);

struct intent_ids {
    const int64_t *ids;
    size_t count;
};

struct notice;

/* Gives up the pending commit, if there is one. `failed`: with what it was for,
 * and these intents, too; NULL: that is tried again. */
MUST_USE enum err commit_drop(struct client *c, struct conv *cv,
                              const struct intent_ids *failed,
                              const struct notice *why);
/* Says whether the server refused an own commit with this body. */
MUST_USE enum err commit_was_refused(struct client *c,
                                     const uint8_t hash[HASH256_SIZE],
                                     bool *out);

/* Makes or sends the next commit. `out_busy`: messages have to wait. */
MUST_USE enum err commit_pump(struct client *c, struct conv *cv,
                              bool *out_busy);
/* Makes a commit of what is ready; ERR_NOTFOUND when nothing is. */
MUST_USE enum err commit_build(struct client *c, struct conv *cv);
