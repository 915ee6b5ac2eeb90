/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds nodes by key: an open hash table of node indices, shared by all
 * versions of a tree. It only grows; an entry may be stale, so every hit is
 * compared with the tree at hand. When it is half full, the tree that wants to
 * add makes a fresh one for itself and leaves the old to the others.
 */
#include "base/map.h"
#include "base/mem.h"
#include "crypto/entropy.h"
#include "mls/tree_store.h"

#include <assert.h>

/* A longer run of full places has entries of one key (the table is half empty
 * and its seed is secret): those of old versions, or a tree that is invalid. */
#define INDEX_RUN_MAX 1024U

struct key_index {
    uint32_t refs;
    uint32_t used, cap; /* cap is a power of two */
    uint64_t seed[2];   /* so that nobody can make keys that collide */
    uint32_t slot[];    /* node + 1; 0: empty */
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
static uint32_t home(const struct key_index *ix, enum key_kind kind,
                     struct bytes key)
{
    const uint64_t seed[2] = {ix->seed[0] ^ kind, ix->seed[1]};
    return (uint32_t)map_hash_with(seed, key) & (ix->cap - 1);
}

/* False when the run is too long. */
static bool insert(struct key_index *ix, enum key_kind kind, struct bytes key,
                   uint32_t node)
{
    uint32_t run = 0;
    if (key.len == 0)
        return true;
    uint32_t i = home(ix, kind, key);
    for (; ix->slot[i] != 0 && ix->slot[i] != node + 1; run++)
        i = (i + 1) & (ix->cap - 1);
    if (ix->slot[i] == 0) {
        assert(ix->used < ix->cap - 1);
        ix->slot[i] = node + 1;
        ix->used++;
    }
    return run <= INDEX_RUN_MAX;
}

static bool insert_node(const struct tree *t, struct key_index *ix,
                        uint32_t node)
{
    bool ok =
        insert(ix, KEY_ENCRYPTION, node_key(t, node, KEY_ENCRYPTION), node);
    return insert(ix, KEY_SIGNATURE, node_key(t, node, KEY_SIGNATURE), node) &&
           ok;
}

/* Makes an index of all nodes, a quarter full at most: there are up to three
 * keys for each leaf and the parent beside it. ERR_INVALID: very many have the
 * same, which would cost the square of their number. */
static enum err build(struct tree *t)
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
    random_fill(&seed, (uint8_t *)ix->seed, sizeof ix->seed);
    for (uint32_t n = 0; n < node_count(t->leaves); n++)
        if (!insert_node(t, ix, n))
            return ERR_INVALID;
    index_release(&t->index);
    t->index = ix;
    ix = NULL; /* handed over */
    return OK;
}

enum err index_node(struct tree *t, uint32_t node)
{
    if (t->index == NULL)
        return OK;
    if (t->index->used + 2 <= t->index->cap / 2 &&
        insert_node(t, t->index, node))
        return OK;
    return build(t);
}

enum err index_find(struct tree *t, enum key_kind kind, struct bytes key,
                    uint32_t except, uint32_t *node)
{
    if (t->index == NULL)
        TRY(build(t));
    const struct key_index *ix = t->index;
    uint32_t i = home(ix, kind, key);
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

enum err tree_find_signature_key(struct tree *t, struct bytes key, bool *found,
                                 uint32_t *leaf)
{
    uint32_t node;
    TRY(index_find(t, KEY_SIGNATURE, key, KEY_NOWHERE, &node));
    *found = node != KEY_NOWHERE;
    if (*found)
        *leaf = leaf_of_node(node);
    return OK;
}

enum err tree_find_encryption_key(struct tree *t, struct bytes key, bool *found,
                                  uint32_t *node)
{
    uint32_t n;
    TRY(index_find(t, KEY_ENCRYPTION, key, KEY_NOWHERE, &n));
    *found = n != KEY_NOWHERE;
    if (*found)
        *node = n;
    return OK;
}

enum err tree_check_leaf(struct tree *t, uint32_t leaf)
{
    const struct leaf_node *l = tree_leaf(t, leaf);
    uint32_t node = node_of_leaf(leaf);
    uint32_t other;
    if (l == NULL)
        return ERR_INVALID;
    TRY(index_find(t, KEY_SIGNATURE, l->signature_key, node, &other));
    if (other != KEY_NOWHERE)
        return ERR_INVALID;
    TRY(index_find(t, KEY_ENCRYPTION, l->encryption_key, node, &other));
    return other == KEY_NOWHERE ? OK : ERR_INVALID;
}
