/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds nodes by key: an open hash table of node indices, shared by all
 * versions of a tree. It only grows; an entry may be stale, so every hit is
 * compared with the tree at hand. When it is half full, the tree that wants to
 * add makes a fresh one for itself and leaves the old to the others.
 */
#include "base/mem.h"
#include "crypto/entropy.h"
#include "mls/tree_store.h"

#include <assert.h>

#define SEED_SIZE 8U

struct key_index {
    uint32_t refs;
    uint32_t used, cap;      /* cap is a power of two */
    uint8_t seed[SEED_SIZE]; /* so that nobody can make keys that collide */
    uint32_t slot[];         /* node + 1; 0: empty */
};

void index_release(struct key_index **ix)
{
    if (*ix != NULL && --(*ix)->refs == 0)
        mem_drop(*ix);
    *ix = NULL;
}

struct key_index *index_share(struct key_index *ix)
{
    if (ix != NULL)
        ix->refs++;
    return ix;
}

static struct bytes node_key(const struct tree *t, uint32_t node,
                             enum key_kind kind)
{
    if (kind == KEY_ENCRYPTION)
        return tree_key(t, node);
    const struct leaf_node *leaf =
        node_is_leaf(node) ? tree_leaf(t, leaf_of_node(node)) : NULL;
    return leaf != NULL ? leaf->signature_key : (struct bytes){0};
}

/* Where the search for a key begins. */
static enum err home(struct crypto *c, const struct key_index *ix,
                     enum key_kind kind, struct bytes key, uint32_t *place)
{
    struct digest d;
    uint8_t k = (uint8_t)kind;
    TRY(hash(c, HASH_SHA256,
             PARTS(BYTES_ARRAY(ix->seed), ((struct bytes){&k, 1}), key), &d));
    uint32_t h = (uint32_t)d.data[0] | (uint32_t)d.data[1] << 8 |
                 (uint32_t)d.data[2] << 16 | (uint32_t)d.data[3] << 24;
    *place = h & (ix->cap - 1);
    return OK;
}

static enum err insert(struct crypto *c, struct key_index *ix,
                       enum key_kind kind, struct bytes key, uint32_t node)
{
    uint32_t i;
    if (key.len == 0)
        return OK;
    TRY(home(c, ix, kind, key, &i));
    while (ix->slot[i] != 0 && ix->slot[i] != node + 1)
        i = (i + 1) & (ix->cap - 1);
    if (ix->slot[i] == 0) {
        assert(ix->used < ix->cap - 1);
        ix->slot[i] = node + 1;
        ix->used++;
    }
    return OK;
}

static enum err insert_node(struct crypto *c, const struct tree *t,
                            struct key_index *ix, uint32_t node)
{
    TRY(insert(c, ix, KEY_ENCRYPTION, node_key(t, node, KEY_ENCRYPTION), node));
    return insert(c, ix, KEY_SIGNATURE, node_key(t, node, KEY_SIGNATURE), node);
}

/* Makes an index of all nodes, a quarter full at most: there are up to three
 * keys for each leaf and the parent beside it. */
static enum err build(struct crypto *c, struct tree *t)
{
    CLEANUP(index_release) struct key_index *ix = NULL;
    uint32_t cap = 64;
    while (cap < 12 * t->end)
        cap *= 2;
    ix = mem_alloc(sizeof *ix + cap * sizeof *ix->slot);
    if (ix == NULL)
        return ERR_NOMEM;
    ix->refs = 1;
    ix->cap = cap;
    struct random seed = entropy_system(); /* decides nothing but speed */
    random_fill(&seed, ix->seed, SEED_SIZE);
    for (uint32_t n = 0; n < node_count(t->leaves); n++)
        TRY(insert_node(c, t, ix, n));
    index_release(&t->index);
    t->index = ix;
    ix = NULL; /* handed over */
    return OK;
}

enum err index_node(struct crypto *c, struct tree *t, uint32_t node)
{
    if (t->index == NULL)
        return OK;
    if (t->index->used + 2 > t->index->cap / 2)
        return build(c, t);
    return insert_node(c, t, t->index, node);
}

enum err index_find(struct crypto *c, struct tree *t, enum key_kind kind,
                    struct bytes key, uint32_t except, uint32_t *node)
{
    if (t->index == NULL)
        TRY(build(c, t));
    const struct key_index *ix = t->index;
    uint32_t i;
    TRY(home(c, ix, kind, key, &i));
    *node = KEY_NOWHERE;
    for (; ix->slot[i] != 0; i = (i + 1) & (ix->cap - 1)) {
        uint32_t n = ix->slot[i] - 1;
        if (n != except && n < node_count(t->leaves) && key.len > 0 &&
            bytes_equal(node_key(t, n, kind), key)) {
            *node = n;
            return OK;
        }
    }
    return OK;
}

enum err tree_find_signature_key(struct crypto *c, struct tree *t,
                                 struct bytes key, bool *found, uint32_t *leaf)
{
    uint32_t node;
    TRY(index_find(c, t, KEY_SIGNATURE, key, KEY_NOWHERE, &node));
    *found = node != KEY_NOWHERE;
    if (*found)
        *leaf = leaf_of_node(node);
    return OK;
}

enum err tree_find_encryption_key(struct crypto *c, struct tree *t,
                                  struct bytes key, bool *found, uint32_t *node)
{
    uint32_t n;
    TRY(index_find(c, t, KEY_ENCRYPTION, key, KEY_NOWHERE, &n));
    *found = n != KEY_NOWHERE;
    if (*found)
        *node = n;
    return OK;
}

enum err tree_check_leaf(struct crypto *c, struct tree *t, uint32_t leaf)
{
    const struct leaf_node *l = tree_leaf(t, leaf);
    uint32_t node = node_of_leaf(leaf);
    uint32_t other;
    if (l == NULL)
        return ERR_INVALID;
    TRY(index_find(c, t, KEY_SIGNATURE, l->signature_key, node, &other));
    if (other != KEY_NOWHERE)
        return ERR_INVALID;
    TRY(index_find(c, t, KEY_ENCRYPTION, l->encryption_key, node, &other));
    return other == KEY_NOWHERE ? OK : ERR_INVALID;
}
