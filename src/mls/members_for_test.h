/* SPDX-License-Identifier: Apache-2.0 */
/* Members with real keys, for tests of the tree and TreeKEM. */
#pragma once

#include "crypto/entropy.h"
#include "mls/treekem.h"

#define TEST_GROUP BYTES_LIT("test group")

struct member {
    struct secret signature_key;
    struct buf signature_public;
    struct buf leaf; /* encoded, as in a KeyPackage */
    struct tree_private private;
};

struct world {
    struct crypto *c;
    const struct suite *suite;
    struct entropy_seeded entropy;
    struct random rnd;
};
MUST_USE enum err world_start(struct world *w, enum suite_id suite);
void world_clear(struct world *w);

MUST_USE enum err member_make(struct world *w, struct member *m);
void member_clear(struct member *m);
/* Parses a member's leaf; borrows from it. */
MUST_USE enum err member_leaf(const struct member *m, struct leaf_node *out);
/* Adds a member to a tree, and tells it where it is. */
MUST_USE enum err member_add(struct tree *t, struct member *m);

/* A commit with a path in a fork of `*t`, opened by all `count` others that
 * are in the tree, of which `added` join by the path secret; then `*t` is the
 * new tree. ERR_STATE when somebody got another secret. */
MUST_USE enum err world_commit(struct world *w, struct tree **t,
                               struct member *members, size_t count,
                               size_t committer, struct leaf_set added);

/* The encoding of a tree. */
MUST_USE enum err tree_encode(const struct tree *t, struct buf *out);
