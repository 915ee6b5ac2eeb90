/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secret tree and the hash ratchets of an epoch (RFC 9420, section 9).
 *
 * The tree is cut into chunks of 16 leaves. At the start of an epoch only the
 * chunk roots are derived; a chunk opens when a message of one of its leaves
 * arrives. Each chunk, and the own sending ratchets, are stored as a record of
 * their own, so that a message rewrites a few hundred bytes whatever the size
 * of the group. Every secret is wiped when what follows from it is known.
 */
#pragma once

#include "mls/label.h"

enum ratchet_type {
    RATCHET_HANDSHAKE,
    RATCHET_APPLICATION
};

#define RATCHET_FORWARD_MAX    1024U /* generations that one message may skip */
#define RATCHET_SKIPPED_MAX    32U /* keys kept of skipped messages, a ratchet */
#define CHUNK_LEAVES           16U
#define SECRET_TREE_RECORD_MAX (128U << 10) /* bytes of a record */

struct message_key {
    uint32_t generation;
    struct secret key, nonce;
};
void message_key_clear(struct message_key *mk);

/* Derives both children of a node, whose secret is wiped. `left` may be the
 * parent itself. */
MUST_USE enum err secret_tree_children(struct crypto *c, const struct suite *s,
                                       struct secret *parent,
                                       struct secret *left,
                                       struct secret *right);

struct secret_tree;

/* Takes over encryption_secret: wiped at success. `leaves` is the width of
 * the tree, a power of two; `own` the own leaf. */
MUST_USE enum err secret_tree_create(struct crypto *c, const struct suite *s,
                                     struct secret *encryption_secret,
                                     uint32_t leaves, uint32_t own,
                                     struct secret_tree **out);
void secret_tree_free(struct secret_tree **st);

/* The next key of the own leaf. It is given once: store the send record
 * before the message leaves. */
MUST_USE enum err secret_tree_next(struct crypto *c, struct secret_tree *st,
                                   enum ratchet_type type,
                                   struct message_key *out);
/*
 * Looks at the key of a received message, without using it up: a forged
 * message must not cost the real one its key (a peek changes nothing).
 * ERR_NOTFOUND: used already or too old; ERR_LIMIT: too far ahead;
 * ERR_INVALID: no such leaf. The own leaf's keys can be looked at until they
 * are given out: what comes with one was made by a newer copy of this state.
 */
MUST_USE enum err secret_tree_peek(struct crypto *c, struct secret_tree *st,
                                   uint32_t leaf, enum ratchet_type type,
                                   uint32_t generation,
                                   struct message_key *out);
/* Uses up a key after its message was authenticated: the ratchet moves past
 * it, and keys skipped on the way are kept. Same errors; ERR_INVALID also for
 * the own leaf. */
MUST_USE enum err secret_tree_use(struct crypto *c, struct secret_tree *st,
                                  uint32_t leaf, enum ratchet_type type,
                                  uint32_t generation);

/* Stored form. The send record and each chunk are written when dirty. */
bool secret_tree_send_dirty(const struct secret_tree *st);
uint32_t secret_tree_chunks(const struct secret_tree *st);
bool secret_tree_chunk_dirty(const struct secret_tree *st, uint32_t chunk);
/* Calls it written; a new tree is all dirty. */
void secret_tree_clean(struct secret_tree *st);
void secret_tree_send_write(struct writer *w, const struct secret_tree *st);
void secret_tree_chunk_write(struct writer *w, const struct secret_tree *st,
                             uint32_t chunk);
/* Makes a tree from its send record; chunks are given one by one, before use
 * of their leaves. A chunk that was not given answers ERR_STATE, so that
 * records may be read when they are needed. */
MUST_USE enum err secret_tree_load(const struct suite *s, struct bytes send,
                                   struct secret_tree **out);
MUST_USE enum err secret_tree_load_chunk(struct secret_tree *st, uint32_t chunk,
                                         struct bytes record);
uint32_t secret_tree_chunk_of(uint32_t leaf);
bool secret_tree_chunk_loaded(const struct secret_tree *st, uint32_t chunk);
