/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain of an account's states, verified from the first on. It only grows,
 * with one exception: two different states with one number are proof of theft
 * or of a lying device. The chain is then frozen, and takes nothing but a
 * continuation (of either side) in which a state signed by the recovery key
 * names both.
 *
 *     1 -- 2 -- 3 -- 4            the states we hold
 *           \                     rival: 3' ; frozen until a recover state
 *            3' -- 4' -- R        that names 3 and 3'
 */
#pragma once

#include "identity/state.h"

#define CHAIN_MAX 1024U /* states */

struct chain;

enum chain_outcome {
    CHAIN_KNOWN,    /* nothing new */
    CHAIN_EXTENDED, /* newer states were taken */
    CHAIN_FORKED,   /* a rival was found: frozen from now on; nothing taken */
    CHAIN_FROZEN,   /* was frozen before, and stays so; nothing taken */
    CHAIN_RESOLVED, /* the recovery key has decided; not frozen any more */
};

/* An empty chain takes any valid first state; one made for an account id only
 * that account's. */
MUST_USE enum err chain_create(struct bytes account_id, /* or empty */
                               struct chain **out);
void chain_free(struct chain **c);

/*
 * Takes a list of consecutive states (content of a vector of opaque<V>), which
 * may begin anywhere up to the next one. What is known already is compared.
 * ERR_STATE: begins too late. ERR_INVALID, ERR_AUTH: one breaks a rule, and
 * nothing was taken; chain_fault says which rule.
 */
MUST_USE enum err chain_extend(struct crypto *crypto, struct chain *c,
                               struct bytes states,
                               enum chain_outcome *out_outcome);
enum state_fault chain_fault(const struct chain *c);

struct bytes chain_account_id(const struct chain *c); /* empty: not known yet */
uint64_t chain_version(const struct chain *c);        /* 0: no state yet */
bool chain_frozen(const struct chain *c);

/* A state, its hash and its encoding, until the chain is next changed; NULL
 * and empty when it is not there. */
const struct state *chain_state(const struct chain *c, uint64_t version);
const struct state *chain_newest(const struct chain *c);
struct bytes chain_hash(const struct chain *c, uint64_t version);
struct bytes chain_encoding(const struct chain *c, uint64_t version);

/* Appends what a recover state must name to end the freeze: the hashes of the
 * rivals and of our own states of the same numbers, as its `conflicts`. */
MUST_USE enum err chain_conflicts(const struct chain *c, struct buf *out);

/* Appends the states from a version on, as a list that chain_extend takes. */
MUST_USE enum err chain_list(const struct chain *c, uint64_t from,
                             struct buf *out);

/* Everything, with the rivals, for the owner's store: read it back with
 * chain_load, which trusts it. */
MUST_USE enum err chain_save(const struct chain *c, struct buf *out);
MUST_USE enum err chain_load(struct crypto *crypto, struct bytes saved,
                             struct chain **out);

/*
 * The leaf rule (DESIGN, section 3): the state of that number has that hash and
 * lists a device with that signature key, which is given. ERR_NOTFOUND: we do
 * not have a state of that number; ERR_INVALID: the rule is broken.
 */
MUST_USE enum err chain_leaf_check(const struct chain *c, uint64_t version,
                                   struct bytes hash,
                                   struct bytes signature_key,
                                   const struct device **out_device);
