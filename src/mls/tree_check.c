/* SPDX-License-Identifier: Apache-2.0 */
/* What a tree from outside must be: RFC 9420, section 12.4.3.1. */
#include "mls/tree_store.h"

static bool has_unmerged(const struct parent_slot *p, uint32_t leaf)
{
    return leaf_set_has((struct leaf_set){p->unmerged, p->unmerged_count},
                        leaf);
}

/* The first non-blank node strictly between a parent and a leaf below it. */
static const struct parent_slot *between(const struct tree *t, uint32_t top,
                                         uint32_t leaf)
{
    for (uint32_t level = node_level(top); --level > 0;) {
        const struct parent_slot *p = parent_at(t, node_ancestor(leaf, level));
        if (p != NULL)
            return p;
    }
    return NULL;
}

/*
 * "Verify that the entry represents a non-blank leaf node that is a descendant
 * of the parent node. Verify that every non-blank intermediate node between the
 * leaf node and the parent node contains an entry for the leaf node in its own
 * unmerged_leaves." The first one between is enough: it is checked in turn.
 */
static enum err check_unmerged(const struct tree *t, uint32_t node)
{
    const struct parent_slot *p = parent_at(t, node);
    for (uint32_t i = 0; p != NULL && i < p->unmerged_count; i++) {
        uint32_t leaf = p->unmerged[i];
        if (tree_leaf(t, leaf) == NULL ||
            !node_in_subtree(node_of_leaf(leaf), node))
            return ERR_INVALID;
        const struct parent_slot *inner = between(t, node, leaf);
        if (inner != NULL && !has_unmerged(inner, leaf))
            return ERR_INVALID;
    }
    return OK;
}

static enum err check_parent_key(struct tree *t, uint32_t node)
{
    const struct parent_slot *p = parent_at(t, node);
    uint32_t other;
    if (p == NULL)
        return OK;
    TRY(index_find(t, KEY_ENCRYPTION, parent_key(p), node, &other));
    return other == KEY_NOWHERE ? OK : ERR_INVALID;
}

enum err tree_check(struct crypto *c, struct tree *t)
{
    uint32_t leaf;
    if (t->members == 0 || (t->leaves > 1 && t->end <= t->leaves / 2))
        return ERR_INVALID;
    for (uint32_t n = 1; n < node_count(t->leaves); n += 2) {
        TRY(check_unmerged(t, n));
        TRY(check_parent_key(t, n));
    }
    for (uint32_t i = 0; tree_next_member(t, i, &leaf); i = leaf + 1)
        TRY(tree_check_leaf(t, leaf));
    return tree_check_parent_hashes(c, t);
}

enum err leaf_node_verify(struct crypto *c, const struct suite *s,
                          const struct leaf_node *leaf, struct bytes group_id,
                          uint32_t index)
{
    CLEANUP(buf_clear) struct buf tbs = buf_new(MLS_MESSAGE_MAX);
    struct writer w = writer_to(&tbs);
    leaf_node_write_tbs(&w, leaf, group_id, index);
    TRY(writer_finish(&w));
    return verify_with_label(c, s, leaf->signature_key, "LeafNodeTBS",
                             buf_bytes(&tbs), leaf->signature);
}

enum err tree_check_signatures(struct crypto *c, const struct tree *t,
                               struct bytes group_id, uint32_t from,
                               uint32_t to)
{
    uint32_t leaf;
    for (uint32_t i = from; tree_next_member(t, i, &leaf) && leaf < to;
         i = leaf + 1)
        TRY(leaf_node_verify(c, t->suite, tree_leaf(t, leaf), group_id, leaf));
    return OK;
}
