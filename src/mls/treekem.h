/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TreeKEM (RFC 9420, sections 7.4 to 7.6): what a member knows of the tree in
 * secret, and how a path of new keys is made, sealed, opened and merged.
 *
 * Committer, on a fork with the proposals applied:
 *     treekem_create   new path in the fork, new own leaf, commit_secret
 *     (tree hash, provisional GroupContext)
 *     treekem_seal     the UpdatePath, sealed under that context
 * Receiver, on a fork with the proposals applied:
 *     treekem_merge    checks the path and puts its public keys in the fork
 *     (tree hash, provisional GroupContext)
 *     treekem_open     commit_secret, and the new private keys
 */
#pragma once

#include "mls/tree.h"

/* The private keys of one member, by level: its leaf is level 0. Empty: not
 * known. Copied by treekem_private_copy, wiped by treekem_private_clear. */
struct tree_private {
    uint32_t leaf;
    struct secret key[MLS_LEVELS_MAX + 1];
};
void treekem_private_clear(struct tree_private *p);
void treekem_private_copy(const struct tree_private *from,
                          struct tree_private *to);
/* Forgets keys of nodes that are blank or gone. Call it on the copy for the
 * fork, when proposals are applied. */
void treekem_private_prune(struct tree_private *p, const struct tree *t);
/* Stored form. */
void treekem_private_write(struct writer *w, const struct tree_private *p);
void treekem_private_read(struct reader *r, struct tree_private *p);
/* ERR_INVALID unless each key fits the public key of its node. */
MUST_USE enum err treekem_private_check(struct crypto *c, const struct suite *s,
                                        const struct tree_private *p,
                                        const struct tree *t);

/* A path that was made and is not yet sealed. */
struct new_path {
    struct tree_path path;
    struct secret path_secret[MLS_LEVELS_MAX]; /* of path.node[i] */
    struct secret commit_secret;
    struct buf leaf; /* the new LeafNode, encoded */
};
void new_path_clear(struct new_path *np);

/* What the committer's new leaf shall be. */
struct new_leaf {
    const struct leaf_node *leaf; /* encryption_key, source, parent_hash and
                                   * signature are not taken from it */
    const struct secret *signature_key;
    struct bytes group_id;
};
/* Makes a path from `p->leaf` in the fork. Changes `p` to the new keys. */
MUST_USE enum err treekem_create(struct crypto *c, const struct random *rnd,
                                 struct tree *t, struct tree_private *p,
                                 const struct new_leaf *leaf,
                                 struct new_path *out);

/* What a path belongs to. */
struct path_scope {
    uint32_t sender;            /* leaf index of the committer */
    struct bytes group_id;      /* for merge */
    struct bytes group_context; /* provisional, encoded; for seal and open */
    struct leaf_set added;      /* leaves that get their secret by Welcome */
};
/* Writes the UpdatePath. */
MUST_USE enum err treekem_seal(struct crypto *c, const struct random *rnd,
                               const struct tree *t, const struct new_path *np,
                               const struct path_scope *scope,
                               struct writer *w);
/* The path secret for the Welcome of an added leaf: that of the lowest path
 * node above both. NULL: none. */
const struct secret *treekem_secret_for(const struct new_path *np,
                                        uint32_t added);

/* Checks an UpdatePath against the fork and merges it: shape, new keys in no
 * node, source and signature of the leaf, parent hashes. */
MUST_USE enum err treekem_merge(struct crypto *c, struct tree *t,
                                const struct update_path *up,
                                const struct path_scope *scope);
/* Opens the one ciphertext that is for us, after treekem_merge. `p` then has
 * the new keys; it is unchanged on failure. */
MUST_USE enum err treekem_open(struct crypto *c, const struct tree *t,
                               struct tree_private *p,
                               const struct update_path *up,
                               const struct path_scope *scope,
                               struct secret *commit_secret);
/* A joiner with the path secret from its Welcome: sets the keys from the
 * lowest common ancestor with the committer up. */
MUST_USE enum err treekem_join(struct crypto *c, const struct tree *t,
                               struct tree_private *p, uint32_t committer,
                               const struct secret *path_secret);
