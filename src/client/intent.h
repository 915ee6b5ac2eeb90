/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What somebody wants a commit to do. An intent gathers what it needs (who is
 * behind a handle, their chain, their KeyPackages) and is then ready; commit.c
 * takes the ready ones into one commit. It is done when the log says so,
 * whoever's commit did it.
 *
 *   lookup -> chain -> take -> ready -> row gone
 */
#pragma once

#include "client/state.h"

enum intent_kind {
    INTENT_ADD = 1,    /* all devices of an account */
    INTENT_REMOVE = 2, /* all leaves of an account */
    INTENT_REJOIN = 3, /* one device, which asked for it */
};

enum intent_state {
    INTENT_LOOKUP = 0,
    INTENT_CHAIN = 1,
    INTENT_TAKE = 2,
    INTENT_IS_READY = 3,
};

struct intent {
    int64_t id;
    int64_t conversation;
    enum intent_kind kind;
    enum intent_state state;
    int64_t server; /* the account's home, for the look-up */
    char handle[NAME_MAX_LEN + 1];
    uint8_t account[ID_SIZE];
    uint8_t device[ID_SIZE]; /* rejoin */
    uint8_t contact_cap[CAP_SIZE];
    bool has_cap;
    uint64_t time; /* rejoin: of the request, in seconds */
    uint64_t not_before;
};

#define INTENTS_MAX 4096U /* of a conversation at a time */

MUST_USE enum err intent_insert(struct client *c, const struct intent *i);
MUST_USE enum err intent_get(struct client *c, int64_t id, struct intent *out);
MUST_USE enum err intent_delete(struct client *c, int64_t id);
/* Forgets all of a conversation that this device is not in any more. */
MUST_USE enum err intent_abandon(struct client *c, const struct conv *cv);
/* Is it the log's will already, or never to be? Then it is deleted. */
MUST_USE enum err intent_settled(struct client *c, struct conv *cv,
                                 const struct intent *i, bool *out_settled);

/* Visits those of a conversation in their order. */
struct intent_walk {
    struct sql_query query;
};
MUST_USE enum err intent_walk_begin(struct client *c, int64_t conversation,
                                    struct intent_walk *out);
bool intent_walk_next(struct intent_walk *w, struct intent *out,
                      enum err *out_err);
void intent_walk_end(struct intent_walk *w);
/* Within a step: a conversation of two whose other cannot be had is none, for
 * nothing that is queued in it could ever be sent. */
MUST_USE enum err intent_end_if_alone(struct client *c, struct conv *cv);
/* Is one on its way to add somebody? */
MUST_USE enum err intent_adding(struct client *c, int64_t conversation,
                                bool *out);
