/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ratchet tree (RFC 9420, section 7), public part.
 *
 * A tree is an array of nodes in pages. Pages and nodes are counted and shared
 * between versions: tree_fork makes a new version that copies only what is
 * changed in it, so that a commit is staged beside the tree it starts from, and
 * failure is the freeing of the fork. Hashes are cached per node and dropped
 * along the path of a change.
 */
#pragma once

#include "mls/label.h"
#include "mls/tree_math.h"

struct tree;

MUST_USE enum err tree_create(const struct suite *s, struct tree **out);
void tree_free(struct tree **t);
/* Makes a version that begins equal; each may then change or be freed. */
MUST_USE enum err tree_fork(struct tree *t, struct tree **out);

/* The width: a power of two, blank leaves included; 0 for a tree without. */
uint32_t tree_leaves(const struct tree *t);
/* How many leaves are not blank. */
uint32_t tree_members(const struct tree *t);
/* The leaf, borrowed from the tree until that leaf changes; NULL if blank. */
const struct leaf_node *tree_leaf(const struct tree *t, uint32_t leaf);
/* Steps over the members: the first non-blank leaf >= `from`; false at end. */
bool tree_next_member(const struct tree *t, uint32_t from, uint32_t *leaf);

struct tree_parent {
    struct bytes encryption_key, parent_hash;
    const uint32_t *unmerged; /* ascending leaf indices */
    size_t unmerged_count;
};
/* The parent, borrowed until it changes; false if blank. */
bool tree_parent(const struct tree *t, uint32_t node, struct tree_parent *out);
/* The encryption key of a leaf or parent; empty if blank. */
struct bytes tree_key(const struct tree *t, uint32_t node);

/*
 * Changes (section 12.1). A leaf is copied from its `raw`, so give one that was
 * read. None checks rules: see tree_check_leaf. On ERR_NOMEM and ERR_LIMIT the
 * tree may have changed in part: drop the fork.
 */
MUST_USE enum err tree_add(struct tree *t, const struct leaf_node *leaf,
                           uint32_t *out_leaf);
MUST_USE enum err tree_update(struct tree *t, uint32_t index,
                              const struct leaf_node *leaf);
/* ERR_INVALID when the leaf is blank or outside. */
MUST_USE enum err tree_remove(struct tree *t, uint32_t leaf);
/* Replaces a leaf without blanking its path (commit with path). */
MUST_USE enum err tree_set_leaf(struct tree *t, uint32_t index,
                                const struct leaf_node *leaf);
/* Sets a parent, with no unmerged leaves. */
MUST_USE enum err tree_set_parent(struct tree *t, uint32_t node,
                                  struct bytes encryption_key,
                                  struct bytes parent_hash);
MUST_USE enum err tree_blank(struct tree *t, uint32_t node);

/* Look-ups by hash; false when nobody has it. */
MUST_USE enum err tree_find_signature_key(struct tree *t, struct bytes key,
                                          bool *found, uint32_t *leaf);
MUST_USE enum err tree_find_encryption_key(struct tree *t, struct bytes key,
                                           bool *found, uint32_t *node);
/* ERR_INVALID when another leaf has the same signature key, or another node
 * the same encryption key (section 7.3). After all proposals are applied. */
MUST_USE enum err tree_check_leaf(struct tree *t, uint32_t leaf);

/* Sets of leaves, ascending: those that a commit has just added. */
struct leaf_set {
    const uint32_t *leaf;
    size_t count;
};
bool leaf_set_has(struct leaf_set set, uint32_t leaf);

/* Appends the node indices of the resolution (section 4.1.1) to `out`, without
 * the leaves in `without`. */
struct node_list {
    uint32_t *node;
    size_t count, cap;
};
void node_list_clear(struct node_list *l);
MUST_USE enum err tree_resolution(const struct tree *t, uint32_t node,
                                  struct leaf_set without,
                                  struct node_list *out);
/* The filtered direct path (section 4.1.2), upwards: nodes, and the copath
 * child below each. */
struct tree_path {
    uint32_t count;
    uint32_t node[MLS_LEVELS_MAX];
    uint32_t copath[MLS_LEVELS_MAX];
};
void tree_filtered_path(const struct tree *t, uint32_t leaf,
                        struct tree_path *out);

/* RFC 9420, section 7.8 */
MUST_USE enum err tree_hash(struct crypto *c, struct tree *t,
                            struct digest *out);
MUST_USE enum err tree_node_hash(struct crypto *c, struct tree *t,
                                 uint32_t node, struct digest *out);
/* RFC 9420, section 7.9: the hash of `parent`, as seen from the child whose
 * sibling (copath child) is `sibling`. */
MUST_USE enum err tree_parent_hash(struct crypto *c, struct tree *t,
                                   uint32_t parent, uint32_t sibling,
                                   struct digest *out);
/* Checks that each parent is parent-hash valid (section 7.9.2). */
MUST_USE enum err tree_check_parent_hashes(struct crypto *c, struct tree *t);

/*
 * Checks a tree that came from outside (section 12.4.3.1), but for signatures
 * and lifetimes: shape, unmerged leaves, unique keys, parent hashes.
 */
MUST_USE enum err tree_check(struct crypto *c, struct tree *t);
/* Verifies the signatures of the leaves in [from, to). Reads only, so that
 * ranges may go to several threads, each with a crypto of its own. */
MUST_USE enum err tree_check_signatures(struct crypto *c, const struct tree *t,
                                        struct bytes group_id, uint32_t from,
                                        uint32_t to);
/* The same for one leaf that is not in the tree yet. */
MUST_USE enum err leaf_node_verify(struct crypto *c, const struct suite *s,
                                   const struct leaf_node *leaf,
                                   struct bytes group_id, uint32_t index);

/* The data of the ratchet_tree extension: `optional<Node> ratchet_tree<V>`. */
void tree_write(struct writer *w, const struct tree *t);
/* Reads it; what parses is not yet checked (tree_check). */
MUST_USE enum err tree_read(const struct suite *s, struct bytes encoded,
                            struct tree **out);
