/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts: the newest chain that we know of each (from its server or from a
 * conversation), and, apart from it, each account's chain inside each
 * conversation, which only that conversation's log may extend: so all members
 * judge a commit by the same states.
 */
#pragma once

#include "client/state.h"

#include "identity/chain.h"

struct person {
    uint8_t account[ID_SIZE];
    int64_t server;
    char handle[NAME_MAX_LEN + 1]; /* empty: not known */
    bool pinned;                   /* its server has confirmed the handle */
    uint8_t contact_cap[CAP_SIZE];
    bool has_cap;
};

/* Loads what we know; an account that we do not know gives an empty chain. */
MUST_USE enum err account_chain(struct client *c, struct bytes account,
                                struct chain **out);
/* Keeps a chain, and the home server that its newest state names. */
MUST_USE enum err account_chain_save(struct client *c,
                                     const struct chain *chain);
/* Takes states from wherever; a fork freezes the account and is an event. */
MUST_USE enum err account_learn(struct client *c, struct bytes account,
                                struct bytes states);

/* ERR_NOTFOUND: no such row. */
MUST_USE enum err person_get(struct client *c, struct bytes account,
                             struct person *out);
MUST_USE enum err person_by_handle(struct client *c, int64_t server,
                                   const char *handle, struct person *out);
MUST_USE enum err person_set_handle(struct client *c, struct bytes account,
                                    const char *handle, bool pinned);
/* An empty capability forgets it. */
MUST_USE enum err person_set_cap(struct client *c, struct bytes account,
                                 struct bytes cap);
/* The home server, with its key pinned to what the account's state says. */
MUST_USE enum err person_server(struct client *c, struct bytes account,
                                struct server **out);

/* --- in a conversation --- */

/* ERR_NOTFOUND: no member. */
MUST_USE enum err member_chain(struct client *c, int64_t conversation,
                               struct bytes account, struct chain **out);
MUST_USE enum err member_save(struct client *c, int64_t conversation,
                              const struct chain *chain);
MUST_USE enum err member_delete(struct client *c, int64_t conversation,
                                struct bytes account);
MUST_USE enum err member_clear(struct client *c, int64_t conversation);
MUST_USE enum err member_count(struct client *c, int64_t conversation,
                               size_t *out);
