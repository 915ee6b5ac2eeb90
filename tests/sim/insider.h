/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A member that attacks with everything its device has: its database, the keys
 * in it, its subscription, and a library that makes broken commits. No client
 * has a hook for it. An attack takes a moment:
 *
 *     database --> group --> a false body (forge.c) --> the server's core
 *
 * and then the device's own client is put to where each honest one will be, as
 * if it had met the entry like them. So it stays a member, with whom the others
 * must go on; what they may not do is differ, jam, or lose anything.
 */
#pragma once

#include "world.h"

#include "proto/message.h"
#include "sotto/mls.h"

/* Who attacks, in this world; called once. */
void insider_plan(struct world *w);
/* Tries an attack of a random kind; the moment may not allow it. */
void insider_step(struct world *w, struct device *d);

/* Was this entry forged? Then gives its kind. */
bool insider_made(const struct world *w, const uint8_t *channel, uint64_t seq,
                  enum point *out_kind);

/* Is this what an attack does to an honest client? */
bool insider_explains(struct world *w, struct device *d,
                      const struct client_event *e);

/* What honest members do with an entry. */
enum effect {
    EFFECT_SKIPPED, /* by all of them */
    EFFECT_APPLIED, /* a commit: by those who can */
    EFFECT_REFUSED, /* the server does not take it */
};

/* An attack that is being made: its material, and then its entry. */
struct forge {
    struct world *w;
    struct device *d;
    enum point kind;
    enum effect effect;

    int64_t conversation;
    uint8_t channel[ID_SIZE];
    uint8_t sub[ID_SIZE];
    uint8_t cap[CAP_SIZE];
    uint8_t log_hash[ID_SIZE];
    uint64_t cursor;
    uint64_t handshake;
    uint64_t after;  /* as the append will say: `handshake` */
    uint32_t victim; /* leaf */
    bool pending;    /* its client has a commit under way */
    struct sotto_mls *mls;
    struct sotto_group *group;

    uint8_t entry; /* enum entry_kind */
    struct buf body;
};

/* Makes the body for `kind`; false: the moment does not allow it. */
bool forge_make(struct forge *f);

/* The leaf's subscription. */
void forge_subscription(const struct forge *f, struct sotto_bytes signature_key,
                        uint8_t out[ID_SIZE]);
