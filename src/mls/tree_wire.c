/* SPDX-License-Identifier: Apache-2.0 */
/* The ratchet_tree extension: RFC 9420, section 12.4.3.3. */
#include "mls/tree_store.h"

enum {
    NODE_LEAF = 1,
    NODE_PARENT = 2
};

static void parent_write(struct writer *w, const struct parent_slot *p)
{
    writer_vec(w, parent_key(p));
    writer_vec(w, parent_hash_of(p));
    size_t start = writer_enter(w);
    for (uint32_t i = 0; i < p->unmerged_count; i++)
        writer_u32(w, p->unmerged[i]);
    writer_leave(w, start);
}

static void node_write(struct writer *w, const struct tree *t, uint32_t node)
{
    const struct leaf_node *leaf =
        node_is_leaf(node) ? tree_leaf(t, leaf_of_node(node)) : NULL;
    const struct parent_slot *p =
        node_is_leaf(node) ? NULL : parent_at(t, node);
    writer_u8(w, leaf != NULL || p != NULL);
    if (leaf != NULL) {
        writer_u8(w, NODE_LEAF);
        writer_raw(w, leaf->raw);
    } else if (p != NULL) {
        writer_u8(w, NODE_PARENT);
        parent_write(w, p);
    }
}

/* "removing trailing blank nodes" */
void tree_write(struct writer *w, const struct tree *t)
{
    uint32_t count = node_count(t->leaves);
    while (count > 0 && node_is_blank(t, count - 1))
        count--;
    size_t start = writer_enter(w);
    for (uint32_t n = 0; n < count; n++)
        node_write(w, t, n);
    writer_leave(w, start);
}

static enum err parent_place(struct reader *r, struct tree *t, uint32_t node)
{
    struct parent_node p;
    parent_node_read(r, &p);
    if (r->err != OK)
        return r->err;
    TRY(put_parent(t, node, p.encryption_key, p.parent_hash));
    struct reader unmerged = reader_of(p.unmerged_leaves);
    while (reader_more(&unmerged))
        TRY(put_unmerged(t, node, reader_u32(&unmerged)));
    return OK;
}

/* Reads one `optional<Node>` into its place, making the tree wider for it. */
static enum err node_place(struct reader *r, struct tree *t, uint32_t node,
                           bool *blank)
{
    if (node >= node_count(t->leaves))
        TRY(tree_resize(t, t->leaves == 0 ? 1 : 2 * t->leaves));
    *blank = !bool_read(r);
    if (*blank)
        return r->err;
    uint8_t type = reader_u8(r);
    if (r->err == OK && type != (node_is_leaf(node) ? NODE_LEAF : NODE_PARENT))
        return ERR_MALFORMED;
    if (!node_is_leaf(node))
        return parent_place(r, t, node);
    struct leaf_node leaf;
    leaf_node_read(r, &leaf);
    if (r->err != OK)
        return r->err;
    return put_leaf(t, leaf_of_node(node), leaf.raw);
}

/* "If the last node in the vector is blank, the receiver MUST reject" it. */
enum err tree_read(const struct suite *s, struct bytes encoded,
                   struct tree **out)
{
    CLEANUP(tree_free) struct tree *t = NULL;
    struct reader r = reader_of(encoded);
    struct bytes after = reader_enter(&r);
    bool blank = true;
    TRY(tree_create(s, &t));
    for (uint32_t n = 0; reader_more(&r); n++)
        TRY(node_place(&r, t, n, &blank));
    reader_leave(&r, after);
    if (blank)
        reader_fail(&r, ERR_MALFORMED);
    TRY(reader_finish(&r));
    *out = t;
    t = NULL; /* handed over */
    return OK;
}
