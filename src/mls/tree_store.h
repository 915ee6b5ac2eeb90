/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a tree is held: for the tree_*.c files only.
 *
 *   tree --> page --> leaf, parent          each page holds 32 nodes in a row
 *   fork ----^  \---> ...                   and the cached hashes of their
 *                                           subtrees
 *
 * Pages and nodes are counted. A page that two versions share is copied before
 * one of them writes to it. A change at a leaf drops the hashes up to the root,
 * so it makes the pages above its own too; thus whatever two versions share has
 * equal subtrees below it, and a hash found by one serves the other.
 */
#pragma once

#include "mls/tree.h"

#define PAGE_NODES 32U
#define PAGE_HALF  (PAGE_NODES / 2)

struct leaf_slot {
    uint32_t refs;
    size_t size;           /* of this block */
    struct leaf_node leaf; /* borrows from `encoded` */
    uint8_t encoded[];
};

struct parent_slot {
    uint32_t refs;
    uint32_t unmerged_count, unmerged_cap;
    uint32_t *unmerged; /* ascending */
    size_t size;        /* of this block */
    size_t key_len, hash_len;
    uint8_t data[]; /* encryption key, parent hash */
};

struct page {
    uint32_t refs;
    uint32_t hashed; /* bit i: the hash of node i is known */
    struct leaf_slot *leaf[PAGE_HALF];
    struct parent_slot *parent[PAGE_HALF];
    uint8_t hash[]; /* PAGE_NODES of suite->nh bytes */
};

struct key_index;

struct tree {
    const struct suite *suite;
    uint32_t leaves;  /* width: a power of two, or 0 */
    uint32_t members; /* non-blank leaves */
    uint32_t end;     /* 1 + the last non-blank leaf */
    uint32_t full_to; /* no leaf before it is blank */
    size_t page_count, page_cap;
    struct page **page;
    struct key_index *index; /* shared; NULL until it is needed */
    struct buf scratch;      /* for what is hashed */
};

const struct leaf_slot *leaf_at(const struct tree *t, uint32_t leaf);
const struct parent_slot *parent_at(const struct tree *t, uint32_t node);
bool node_is_blank(const struct tree *t, uint32_t node);
struct bytes parent_key(const struct parent_slot *p);
struct bytes parent_hash_of(const struct parent_slot *p);

/* The place in a set of its first leaf >= `leaf`. */
size_t leaf_set_from(struct leaf_set set, uint32_t leaf);

/* The cached hash of a node, empty when not known; and its setting. */
struct bytes cached_hash(const struct tree *t, uint32_t node);
void cache_hash(struct tree *t, uint32_t node, struct bytes hash);

/* Places of nodes that a decoder has read; used on a tree of one's own. */
MUST_USE enum err tree_resize(struct tree *t, uint32_t leaves);
MUST_USE enum err put_leaf(struct tree *t, uint32_t leaf, struct bytes raw);
MUST_USE enum err put_parent(struct tree *t, uint32_t node, struct bytes key,
                             struct bytes parent_hash);
MUST_USE enum err put_unmerged(struct tree *t, uint32_t node, uint32_t leaf);

/* Look-up of keys. An index may list nodes that have their key no more, or
 * only in another version; each hit is compared with the tree at hand. */
void index_release(struct key_index **ix);
struct key_index *index_share(struct key_index *ix);
/* Lists a node's keys, if there is an index. */
MUST_USE enum err index_node(struct tree *t, uint32_t node);

enum key_kind {
    KEY_ENCRYPTION,
    KEY_SIGNATURE
};
/* Finds a node other than `except` that has the key; KEY_NOWHERE: none. */
#define KEY_NOWHERE UINT32_MAX
MUST_USE enum err index_find(struct tree *t, enum key_kind kind,
                             struct bytes key, uint32_t except, uint32_t *node);
