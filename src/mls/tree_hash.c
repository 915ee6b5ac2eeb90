/* SPDX-License-Identifier: Apache-2.0 */
/* Tree hashes and parent hashes: RFC 9420, sections 7.8 and 7.9. */
#include "mls/tree_store.h"

#include <assert.h>

enum {
    NODE_LEAF = 1,
    NODE_PARENT = 2
};

static enum err hash_scratch(struct crypto *c, struct tree *t,
                             const struct writer *w, struct digest *out)
{
    TRY(writer_finish(w));
    return hash(c, t->suite->hash, PARTS(buf_bytes(&t->scratch)), out);
}

static struct writer scratch_writer(struct tree *t)
{
    t->scratch.len = 0; /* public, and written over at once: not wiped */
    return writer_to(&t->scratch);
}

/* struct { NodeType 1; uint32 leaf_index; optional<LeafNode> leaf_node; } */
static enum err hash_leaf(struct crypto *c, struct tree *t, uint32_t node,
                          bool blank, struct digest *out)
{
    struct writer w = scratch_writer(t);
    const struct leaf_node *leaf = tree_leaf(t, leaf_of_node(node));
    bool present = leaf != NULL && !blank;
    writer_u8(&w, NODE_LEAF);
    writer_u32(&w, leaf_of_node(node));
    writer_u8(&w, present);
    if (present)
        writer_raw(&w, leaf->raw);
    return hash_scratch(c, t, &w, out);
}

/* ParentNode, without some unmerged leaves */
static void parent_write(struct writer *w, const struct parent_slot *p,
                         struct leaf_set without)
{
    writer_vec(w, parent_key(p));
    writer_vec(w, parent_hash_of(p));
    size_t start = writer_enter(w);
    for (uint32_t i = 0; i < p->unmerged_count; i++)
        if (!leaf_set_has(without, p->unmerged[i]))
            writer_u32(w, p->unmerged[i]);
    writer_leave(w, start);
}

/* A node of the walk, and the hashes of its children as they are found. */
struct frame {
    uint32_t node;
    bool whole; /* none of the leaves to leave out is below */
    uint32_t done;
    struct digest child[2];
};

/* struct { NodeType 2; optional<ParentNode> parent_node;
 *          opaque left_hash<V>; opaque right_hash<V>; } */
static enum err hash_parent(struct crypto *c, struct tree *t,
                            const struct frame *f, struct leaf_set without,
                            struct digest *out)
{
    struct writer w = scratch_writer(t);
    const struct parent_slot *p = parent_at(t, f->node);
    writer_u8(&w, NODE_PARENT);
    writer_u8(&w, p != NULL);
    if (p != NULL)
        parent_write(&w, p, f->whole ? (struct leaf_set){0} : without);
    writer_vec(&w, digest_bytes(&f->child[0]));
    writer_vec(&w, digest_bytes(&f->child[1]));
    return hash_scratch(c, t, &w, out);
}

static bool set_touches(struct leaf_set set, uint32_t node)
{
    uint32_t first = node_first_leaf(node);
    size_t i = leaf_set_from(set, first);
    return i < set.count && set.leaf[i] - first < node_leaf_count(node);
}

static struct frame frame_of(uint32_t node, struct leaf_set without)
{
    return (struct frame){.node = node, .whole = !set_touches(without, node)};
}

static void digest_set(struct digest *d, struct bytes hash)
{
    d->len = hash.len;
    for (size_t i = 0; i < hash.len; i++)
        d->data[i] = hash.data[i];
}

/* The hash of a frame's node, if it can be had now. */
static enum err hash_frame(struct crypto *c, struct tree *t,
                           const struct frame *f, struct leaf_set without,
                           struct digest *out, bool *ready)
{
    struct bytes known = cached_hash(t, f->node);
    *ready = true;
    if (f->whole && known.len > 0) {
        digest_set(out, known);
        return OK;
    }
    *ready = node_is_leaf(f->node) || f->done == 2;
    if (!*ready)
        return OK;
    if (node_is_leaf(f->node))
        TRY(hash_leaf(c, t, f->node, !f->whole, out));
    else
        TRY(hash_parent(c, t, f, without, out));
    if (f->whole)
        cache_hash(t, f->node, digest_bytes(out));
    return OK;
}

/* Hashes a subtree as it is without some leaves: they are blank, and unmerged
 * nowhere. A subtree without any of them is hashed once and then known. */
static enum err hash_without(struct crypto *c, struct tree *t, uint32_t top,
                             struct leaf_set without, struct digest *out)
{
    struct frame stack[MLS_LEVELS_MAX + 1];
    uint32_t depth = 0;
    stack[0] = frame_of(top, without);
    for (;;) {
        struct frame *f = &stack[depth];
        struct digest d;
        bool ready;
        TRY(hash_frame(c, t, f, without, &d, &ready));
        if (!ready) {
            assert(depth < MLS_LEVELS_MAX);
            uint32_t child =
                f->done == 0 ? node_left(f->node) : node_right(f->node);
            stack[++depth] = frame_of(child, without);
        } else if (depth == 0) {
            *out = d;
            return OK;
        } else {
            struct frame *up = &stack[--depth];
            up->child[up->done++] = d;
        }
    }
}

enum err tree_node_hash(struct crypto *c, struct tree *t, uint32_t node,
                        struct digest *out)
{
    if (node >= node_count(t->leaves))
        return ERR_INVALID;
    return hash_without(c, t, node, (struct leaf_set){0}, out);
}

enum err tree_hash(struct crypto *c, struct tree *t, struct digest *out)
{
    if (t->leaves == 0)
        return ERR_STATE;
    return tree_node_hash(c, t, node_root(t->leaves), out);
}

/* struct { HPKEPublicKey encryption_key; opaque parent_hash<V>;
 *          opaque original_sibling_tree_hash<V>; } ParentHashInput */
enum err tree_parent_hash(struct crypto *c, struct tree *t, uint32_t parent,
                          uint32_t sibling, struct digest *out)
{
    const struct parent_slot *p = parent_at(t, parent);
    if (p == NULL)
        return ERR_INVALID;
    struct digest original;
    struct leaf_set unmerged = {p->unmerged, p->unmerged_count};
    TRY(hash_without(c, t, sibling, unmerged, &original));
    struct writer w = scratch_writer(t);
    writer_vec(&w, parent_key(p));
    writer_vec(&w, parent_hash_of(p));
    writer_vec(&w, digest_bytes(&original));
    return hash_scratch(c, t, &w, out);
}

/* What a node says its parent hash is; empty if it says nothing. */
static struct bytes claimed_hash(const struct tree *t, uint32_t node)
{
    if (!node_is_leaf(node)) {
        const struct parent_slot *p = parent_at(t, node);
        return p != NULL ? parent_hash_of(p) : (struct bytes){0};
    }
    const struct leaf_node *leaf = tree_leaf(t, leaf_of_node(node));
    return leaf != NULL && leaf->source == LEAF_COMMIT ? leaf->parent_hash
                                                       : (struct bytes){0};
}

static bool resolves_to_itself(const struct tree *t, uint32_t node)
{
    if (node_is_leaf(node))
        return tree_leaf(t, leaf_of_node(node)) != NULL;
    const struct parent_slot *p = parent_at(t, node);
    return p != NULL && p->unmerged_count == 0;
}

/*
 * The node D of section 7.9.2 below the child C of a parent: D is in the
 * resolution of C, and the rest of that resolution are exactly the unmerged
 * leaves of the parent below C. KEY_NOWHERE: there is none.
 */
static enum err find_covered(const struct tree *t, const struct parent_slot *p,
                             uint32_t child, uint32_t *covered)
{
    CLEANUP(node_list_clear) struct node_list rest = {0};
    struct leaf_set unmerged = {p->unmerged, p->unmerged_count};
    uint32_t first = node_first_leaf(child);
    size_t from = leaf_set_from(unmerged, first);
    size_t to = leaf_set_from(unmerged, first + node_leaf_count(child));
    *covered = KEY_NOWHERE;
    if (resolves_to_itself(t, child)) { /* most nodes; spares the lists */
        *covered = from == to ? child : KEY_NOWHERE;
        return OK;
    }
    TRY(tree_resolution(t, child, unmerged, &rest));
    if (rest.count != 1)
        return OK;
    /* The unmerged leaves must all be in the resolution too. */
    CLEANUP(node_list_clear) struct node_list all = {0};
    TRY(tree_resolution(t, child, (struct leaf_set){0}, &all));
    if (all.count == to - from + 1)
        *covered = rest.node[0];
    return OK;
}

static enum err check_side(struct crypto *c, struct tree *t, uint32_t parent,
                           uint32_t child, bool *valid)
{
    uint32_t covered;
    struct digest d;
    TRY(find_covered(t, parent_at(t, parent), child, &covered));
    if (covered == KEY_NOWHERE || claimed_hash(t, covered).len == 0)
        return OK;
    TRY(tree_parent_hash(c, t, parent, node_sibling(child), &d));
    if (bytes_equal(digest_bytes(&d), claimed_hash(t, covered)))
        *valid = true;
    return OK;
}

enum err tree_check_parent_hashes(struct crypto *c, struct tree *t)
{
    for (uint32_t n = 1; n < node_count(t->leaves); n += 2) {
        bool valid = false;
        if (parent_at(t, n) == NULL)
            continue;
        TRY(check_side(c, t, n, node_left(n), &valid));
        if (!valid)
            TRY(check_side(c, t, n, node_right(n), &valid));
        if (!valid)
            return ERR_INVALID;
    }
    return OK;
}
