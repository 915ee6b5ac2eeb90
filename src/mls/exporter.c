/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/exporter.h"

#include "base/mem.h"
#include "mls/secret_tree.h"
#include "mls/tree_math.h"

struct node_secret {
    uint32_t node;
    struct secret secret;
};

/* The nodes ascend, and none lies below another. */
struct exporter {
    const struct suite *suite;
    struct node_secret *nodes;
    size_t count, cap;
};

static enum err allocate(const struct suite *s, size_t cap,
                         struct exporter **out)
{
    CLEANUP(exporter_free) struct exporter *x = mem_alloc(sizeof(*x));
    if (x == NULL)
        return ERR_NOMEM;
    x->suite = s;
    x->nodes = mem_alloc(cap * sizeof(*x->nodes));
    if (x->nodes == NULL)
        return ERR_NOMEM;
    x->cap = cap;
    *out = x;
    x = NULL; /* handed over */
    return OK;
}

void exporter_free(struct exporter **x)
{
    if (*x == NULL)
        return;
    mem_free((*x)->nodes, (*x)->cap * sizeof(*(*x)->nodes));
    mem_free(*x, sizeof(**x));
    *x = NULL;
}

enum err exporter_create(const struct suite *s, const struct secret *root,
                         struct exporter **out)
{
    struct exporter *x = NULL;
    TRY(allocate(s, 1, &x));
    x->nodes[0].node = node_root(EXPORTER_LEAVES);
    secret_copy(&x->nodes[0].secret, root);
    x->count = 1;
    *out = x;
    return OK;
}

static void node_copy(struct node_secret *to, const struct node_secret *from)
{
    to->node = from->node;
    secret_copy(&to->secret, &from->secret);
}

/* Derives from a kept node down to a leaf. What is beside the way stays: to
 * its left from `low` upwards, to its right from `high` downwards. */
static enum err descend(struct crypto *c, const struct suite *s,
                        const struct node_secret *from, uint32_t leaf,
                        struct node_secret *low, struct secret *out)
{
    CLEANUP(secret_clear) struct secret at = {0};
    struct node_secret *high = low + node_level(from->node);
    secret_copy(&at, &from->secret);
    for (uint32_t level = node_level(from->node); level > 0; level--) {
        CLEANUP(secret_clear) struct secret left = {0};
        CLEANUP(secret_clear) struct secret right = {0};
        uint32_t parent = node_ancestor(leaf, level);
        bool goes_left = node_of_leaf(leaf) < parent;
        TRY(secret_tree_children(c, s, &at, &left, &right));
        struct node_secret *beside = goes_left ? --high : low++;
        beside->node = goes_left ? node_right(parent) : node_left(parent);
        secret_take(&beside->secret, goes_left ? &right : &left);
        secret_take(&at, goes_left ? &left : &right);
    }
    secret_take(out, &at);
    return OK;
}

static size_t find(const struct exporter *x, uint32_t leaf)
{
    size_t i = 0;
    while (i < x->count &&
           !node_in_subtree(node_of_leaf(leaf), x->nodes[i].node))
        i++;
    return i;
}

enum err exporter_take(struct crypto *c, struct exporter *x,
                       uint16_t component_id, struct secret *out)
{
    CLEANUP(exporter_free) struct exporter *next = NULL;
    CLEANUP(secret_clear) struct secret secret = {0};
    size_t i = find(x, component_id);
    if (i == x->count)
        return ERR_NOTFOUND;
    size_t more = node_level(x->nodes[i].node);

    TRY(allocate(x->suite, x->count + more, &next));
    TRY(descend(c, x->suite, &x->nodes[i], component_id, &next->nodes[i],
                &secret));
    for (size_t k = 0; k < i; k++)
        node_copy(&next->nodes[k], &x->nodes[k]);
    for (size_t k = i + 1; k < x->count; k++)
        node_copy(&next->nodes[k - 1 + more], &x->nodes[k]);
    next->count = x->count - 1 + more;

    const struct exporter old = *x;
    *x = *next;
    *next = old; /* is wiped */
    secret_take(out, &secret);
    return OK;
}

void exporter_write(struct writer *w, const struct exporter *x)
{
    size_t start = writer_enter(w);
    for (size_t i = 0; i < x->count; i++) {
        writer_u32(w, x->nodes[i].node);
        secret_write(w, &x->nodes[i].secret);
    }
    writer_leave(w, start);
}

enum err exporter_read(const struct suite *s, struct bytes record,
                       struct exporter **out)
{
    CLEANUP(exporter_free) struct exporter *x = NULL;
    struct reader r = reader_of(record);
    size_t least = sizeof(uint32_t) + s->nh; /* bytes of a node */
    uint64_t next = 0;

    struct bytes after = reader_enter(&r);
    if (r.rest.len / least > EXPORTER_LEAVES)
        return ERR_MALFORMED;
    TRY(allocate(s, r.rest.len / least + 1, &x));
    while (reader_more(&r) && x->count < x->cap) {
        struct node_secret *n = &x->nodes[x->count++];
        n->node = reader_u32(&r);
        secret_read(&r, &n->secret);
        if (n->node < next || n->node >= node_count(EXPORTER_LEAVES) ||
            n->secret.len != s->nh)
            reader_fail(&r, ERR_MALFORMED);
        next = (uint64_t)n->node + 1;
    }
    reader_leave(&r, after);
    TRY(reader_finish(&r));
    *out = x;
    x = NULL; /* handed over */
    return OK;
}
