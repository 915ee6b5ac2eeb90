/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/tree.h"

#include "base/mem.h"
#include "mls/tree_store.h"

#include <assert.h>
#include <string.h>

/* Nodes */

static struct leaf_slot *leaf_share(struct leaf_slot *l)
{
    if (l != NULL)
        l->refs++;
    return l;
}

static void leaf_release(struct leaf_slot **l)
{
    if (*l != NULL && --(*l)->refs == 0)
        mem_drop(*l);
    *l = NULL;
}

static enum err leaf_slot_create(struct bytes raw, struct leaf_slot **out)
{
    if (raw.len > MLS_LEAF_MAX)
        return ERR_LIMIT;
    size_t size = sizeof(struct leaf_slot) + raw.len;
    struct leaf_slot *l = mem_alloc(size);
    if (l == NULL)
        return ERR_NOMEM;
    l->refs = 1;
    l->size = size;
    memcpy(l->encoded, raw.data, raw.len);
    struct reader r = reader_of((struct bytes){l->encoded, raw.len});
    leaf_node_read(&r, &l->leaf);
    enum err err = reader_finish(&r);
    if (err != OK) {
        leaf_release(&l);
        return err;
    }
    *out = l;
    return OK;
}

struct bytes parent_key(const struct parent_slot *p)
{
    return (struct bytes){p->data, p->key_len};
}

struct bytes parent_hash_of(const struct parent_slot *p)
{
    return (struct bytes){p->data + p->key_len, p->hash_len};
}

static struct parent_slot *parent_share(struct parent_slot *p)
{
    if (p != NULL)
        p->refs++;
    return p;
}

static void parent_release(struct parent_slot **p)
{
    if (*p != NULL && --(*p)->refs == 0) {
        mem_drop((*p)->unmerged);
        mem_drop(*p);
    }
    *p = NULL;
}

/* Makes room for `cap` unmerged leaves; keeps those there are. */
static enum err parent_reserve(struct parent_slot *p, uint32_t cap)
{
    uint32_t *unmerged = mem_alloc(cap * sizeof *unmerged);
    if (unmerged == NULL)
        return ERR_NOMEM;
    if (p->unmerged_count > 0)
        memcpy(unmerged, p->unmerged, p->unmerged_count * sizeof *unmerged);
    mem_drop(p->unmerged);
    p->unmerged = unmerged;
    p->unmerged_cap = cap;
    return OK;
}

static enum err parent_slot_create(struct bytes key, struct bytes parent_hash,
                                   struct parent_slot **out)
{
    if (key.len > MLS_LEAF_MAX || parent_hash.len > MLS_LEAF_MAX)
        return ERR_LIMIT;
    size_t size = sizeof(struct parent_slot) + key.len + parent_hash.len;
    struct parent_slot *p = mem_alloc(size);
    if (p == NULL)
        return ERR_NOMEM;
    p->refs = 1;
    p->size = size;
    p->key_len = key.len;
    p->hash_len = parent_hash.len;
    if (key.len > 0)
        memcpy(p->data, key.data, key.len);
    if (parent_hash.len > 0)
        memcpy(p->data + key.len, parent_hash.data, parent_hash.len);
    *out = p;
    return OK;
}

static enum err parent_slot_copy(const struct parent_slot *from,
                                 struct parent_slot **out)
{
    CLEANUP(parent_release) struct parent_slot *p = NULL;
    TRY(parent_slot_create(parent_key(from), parent_hash_of(from), &p));
    if (from->unmerged_count > 0) {
        TRY(parent_reserve(p, from->unmerged_count + 1));
        memcpy(p->unmerged, from->unmerged,
               from->unmerged_count * sizeof *p->unmerged);
        p->unmerged_count = from->unmerged_count;
    }
    *out = p;
    p = NULL; /* handed over */
    return OK;
}

/* Pages */

static size_t page_size(const struct tree *t)
{
    return sizeof(struct page) + PAGE_NODES * t->suite->nh;
}

static void page_release(struct page **page)
{
    if (*page != NULL && --(*page)->refs == 0) {
        for (uint32_t i = 0; i < PAGE_HALF; i++) {
            leaf_release(&(*page)->leaf[i]);
            parent_release(&(*page)->parent[i]);
        }
        mem_drop(*page);
    }
    *page = NULL;
}

static size_t pages_for(uint32_t leaves)
{
    return (node_count(leaves) + PAGE_NODES - 1) / PAGE_NODES;
}

/* Gives this version a page that no other shares. */
static enum err page_own(struct tree *t, uint32_t node, struct page **out)
{
    struct page **at = &t->page[node / PAGE_NODES];
    if ((*at)->refs > 1) {
        struct page *page = mem_alloc(page_size(t));
        if (page == NULL)
            return ERR_NOMEM;
        memcpy(page, *at, page_size(t));
        page->refs = 1;
        for (uint32_t i = 0; i < PAGE_HALF; i++) {
            (void)leaf_share(page->leaf[i]);
            (void)parent_share(page->parent[i]);
        }
        page_release(at);
        *at = page;
    }
    *out = *at;
    return OK;
}

static const struct page *page_at(const struct tree *t, uint32_t node)
{
    return node < node_count(t->leaves) ? t->page[node / PAGE_NODES] : NULL;
}

/* The place of a node in its page's half. */
static uint32_t place(uint32_t node) { return node % PAGE_NODES / 2; }

static uint32_t hash_bit(uint32_t node) { return 1U << (node % PAGE_NODES); }

const struct leaf_slot *leaf_at(const struct tree *t, uint32_t leaf)
{
    if (leaf >= t->leaves)
        return NULL;
    const struct page *page = page_at(t, node_of_leaf(leaf));
    return page != NULL ? page->leaf[place(node_of_leaf(leaf))] : NULL;
}

const struct parent_slot *parent_at(const struct tree *t, uint32_t node)
{
    assert(!node_is_leaf(node));
    const struct page *page = page_at(t, node);
    return page != NULL ? page->parent[place(node)] : NULL;
}

struct bytes cached_hash(const struct tree *t, uint32_t node)
{
    const struct page *page = page_at(t, node);
    if (page == NULL || (page->hashed & hash_bit(node)) == 0)
        return (struct bytes){0};
    size_t nh = t->suite->nh;
    return (struct bytes){page->hash + node % PAGE_NODES * nh, nh};
}

/* Also writes to a shared page: see the head of tree_store.h. */
void cache_hash(struct tree *t, uint32_t node, struct bytes hash)
{
    struct page *page = t->page[node / PAGE_NODES];
    memcpy(page->hash + node % PAGE_NODES * t->suite->nh, hash.data, hash.len);
    page->hashed |= hash_bit(node);
}

/* Drops the hashes from a node up to the root. */
static enum err forget_hashes(struct tree *t, uint32_t node)
{
    uint32_t root = node_root(t->leaves);
    for (uint32_t n = node;; n = node_parent(n)) {
        struct page *page;
        TRY(page_own(t, n, &page));
        page->hashed &= ~hash_bit(n);
        if (n == root)
            return OK;
    }
}

/* Trees */

enum err tree_create(const struct suite *s, struct tree **out)
{
    struct tree *t = mem_alloc(sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    t->suite = s;
    t->scratch = buf_new(MLS_MESSAGE_MAX);
    *out = t;
    return OK;
}

void tree_free(struct tree **t)
{
    if (*t == NULL)
        return;
    for (size_t i = 0; i < (*t)->page_count; i++)
        page_release(&(*t)->page[i]);
    mem_drop((*t)->page);
    index_release(&(*t)->index);
    buf_clear(&(*t)->scratch);
    mem_drop(*t);
    *t = NULL;
}

enum err tree_fork(struct tree *t, struct tree **out)
{
    CLEANUP(tree_free) struct tree *fork = NULL;
    TRY(tree_create(t->suite, &fork));
    if (t->page_count > 0) {
        fork->page = mem_alloc(t->page_count * sizeof(struct page *));
        if (fork->page == NULL)
            return ERR_NOMEM;
    }
    for (size_t i = 0; i < t->page_count; i++) {
        fork->page[i] = t->page[i];
        fork->page[i]->refs++;
    }
    fork->page_count = t->page_count;
    fork->page_cap = t->page_count;
    fork->leaves = t->leaves;
    fork->members = t->members;
    fork->end = t->end;
    fork->full_to = t->full_to;
    fork->index = index_share(t->index);
    *out = fork;
    fork = NULL; /* handed over */
    return OK;
}

static enum err reserve_pages(struct tree *t, size_t count)
{
    if (count <= t->page_cap)
        return OK;
    struct page **page = mem_alloc(count * sizeof(struct page *));
    if (page == NULL)
        return ERR_NOMEM;
    if (t->page_count > 0)
        memcpy(page, t->page, t->page_count * sizeof(struct page *));
    mem_drop(t->page);
    t->page = page;
    t->page_cap = count;
    return OK;
}

static enum err grow(struct tree *t, uint32_t leaves)
{
    size_t count = pages_for(leaves);
    TRY(reserve_pages(t, count));
    while (t->page_count < count) {
        struct page *page = mem_alloc(page_size(t));
        if (page == NULL)
            return ERR_NOMEM; /* spare pages do no harm */
        page->refs = 1;
        t->page[t->page_count++] = page;
    }
    t->leaves = leaves;
    return OK;
}

/* Blanks what lies beyond the new width; the root of the old one as well. */
static enum err shrink(struct tree *t, uint32_t leaves)
{
    size_t count = pages_for(leaves);
    uint32_t from = node_count(leaves);
    if (from % PAGE_NODES != 0) {
        struct page *page;
        TRY(page_own(t, from, &page));
        for (uint32_t n = from % PAGE_NODES; n < PAGE_NODES; n++) {
            if (node_is_leaf(n))
                leaf_release(&page->leaf[n / 2]);
            else
                parent_release(&page->parent[n / 2]);
            page->hashed &= ~(1U << n);
        }
    }
    for (size_t i = count; i < t->page_count; i++)
        page_release(&t->page[i]);
    t->page_count = count;
    t->leaves = leaves;
    return OK;
}

enum err tree_resize(struct tree *t, uint32_t leaves)
{
    if (leaves > MLS_LEAVES_MAX)
        return ERR_LIMIT;
    if (leaves > t->leaves)
        return grow(t, leaves);
    return leaves < t->leaves ? shrink(t, leaves) : OK;
}

/* "the tree is truncated by removing the right subtree until either the tree
 * has only one leaf node or the right subtree of the root has a non-blank
 * leaf" (section 7.7, in other words) */
static enum err truncate(struct tree *t)
{
    while (t->end > 0 && leaf_at(t, t->end - 1) == NULL)
        t->end--;
    uint32_t leaves = t->leaves;
    while (leaves > 1 && t->end <= leaves / 2)
        leaves /= 2;
    return tree_resize(t, leaves);
}

uint32_t tree_leaves(const struct tree *t) { return t->leaves; }
uint32_t tree_members(const struct tree *t) { return t->members; }

const struct leaf_node *tree_leaf(const struct tree *t, uint32_t leaf)
{
    const struct leaf_slot *l = leaf_at(t, leaf);
    return l != NULL ? &l->leaf : NULL;
}

bool tree_next_member(const struct tree *t, uint32_t from, uint32_t *leaf)
{
    for (uint32_t i = from; i < t->end; i++) {
        if (leaf_at(t, i) != NULL) {
            *leaf = i;
            return true;
        }
    }
    return false;
}

bool tree_parent(const struct tree *t, uint32_t node, struct tree_parent *out)
{
    const struct parent_slot *p = parent_at(t, node);
    if (p == NULL)
        return false;
    out->encryption_key = parent_key(p);
    out->parent_hash = parent_hash_of(p);
    out->unmerged = p->unmerged;
    out->unmerged_count = p->unmerged_count;
    return true;
}

struct bytes tree_key(const struct tree *t, uint32_t node)
{
    if (node_is_leaf(node)) {
        const struct leaf_slot *l = leaf_at(t, leaf_of_node(node));
        return l != NULL ? l->leaf.encryption_key : (struct bytes){0};
    }
    const struct parent_slot *p = parent_at(t, node);
    return p != NULL ? parent_key(p) : (struct bytes){0};
}

/* Changes */

enum err put_leaf(struct tree *t, uint32_t leaf, struct bytes raw)
{
    struct page *page;
    struct leaf_slot *l = NULL;
    TRY(page_own(t, node_of_leaf(leaf), &page));
    TRY(leaf_slot_create(raw, &l));
    struct leaf_slot **at = &page->leaf[place(node_of_leaf(leaf))];
    if (*at == NULL)
        t->members++;
    leaf_release(at);
    *at = l;
    if (leaf >= t->end)
        t->end = leaf + 1;
    return OK;
}

enum err put_parent(struct tree *t, uint32_t node, struct bytes key,
                    struct bytes parent_hash)
{
    struct page *page;
    struct parent_slot *p = NULL;
    TRY(page_own(t, node, &page));
    TRY(parent_slot_create(key, parent_hash, &p));
    struct parent_slot **at = &page->parent[place(node)];
    parent_release(at);
    *at = p;
    return OK;
}

/* The place of the first unmerged leaf >= `leaf`. Adds come in ascending
 * order, so look at the end first. */
static uint32_t unmerged_place(const struct parent_slot *p, uint32_t leaf)
{
    uint32_t low = 0;
    uint32_t high = p->unmerged_count;
    if (high == 0 || p->unmerged[high - 1] < leaf)
        return high;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (p->unmerged[mid] < leaf)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

enum err put_unmerged(struct tree *t, uint32_t node, uint32_t leaf)
{
    struct page *page;
    TRY(page_own(t, node, &page));
    struct parent_slot **at = &page->parent[place(node)];
    if ((*at)->refs > 1) {
        struct parent_slot *copy = NULL;
        TRY(parent_slot_copy(*at, &copy));
        parent_release(at);
        *at = copy;
    }
    struct parent_slot *p = *at;
    uint32_t i = unmerged_place(p, leaf);
    if (i < p->unmerged_count && p->unmerged[i] == leaf)
        return OK;
    if (p->unmerged_count == p->unmerged_cap)
        TRY(parent_reserve(p, 2 * p->unmerged_cap + 4));
    memmove(p->unmerged + i + 1, p->unmerged + i,
            (p->unmerged_count - i) * sizeof *p->unmerged);
    p->unmerged[i] = leaf;
    p->unmerged_count++;
    return OK;
}

enum err tree_set_leaf(struct tree *t, uint32_t index,
                       const struct leaf_node *leaf)
{
    if (index >= t->leaves)
        return ERR_INVALID;
    TRY(forget_hashes(t, node_of_leaf(index)));
    TRY(put_leaf(t, index, leaf->raw));
    return index_node(t, node_of_leaf(index));
}

enum err tree_set_parent(struct tree *t, uint32_t node,
                         struct bytes encryption_key, struct bytes parent_hash)
{
    if (node >= node_count(t->leaves) || node_is_leaf(node))
        return ERR_INVALID;
    TRY(forget_hashes(t, node));
    TRY(put_parent(t, node, encryption_key, parent_hash));
    return index_node(t, node);
}

enum err tree_blank(struct tree *t, uint32_t node)
{
    if (node >= node_count(t->leaves))
        return ERR_INVALID;
    TRY(forget_hashes(t, node));
    struct page *page;
    TRY(page_own(t, node, &page));
    if (node_is_leaf(node)) {
        if (page->leaf[place(node)] != NULL)
            t->members--;
        if (leaf_of_node(node) < t->full_to)
            t->full_to = leaf_of_node(node);
        leaf_release(&page->leaf[place(node)]);
    } else {
        parent_release(&page->parent[place(node)]);
    }
    return OK;
}

/* Blanks the direct path of a leaf: all nodes above it. */
static enum err blank_path(struct tree *t, uint32_t leaf)
{
    uint32_t root = node_root(t->leaves);
    for (uint32_t n = node_of_leaf(leaf); n != root;) {
        n = node_parent(n);
        if (parent_at(t, n) != NULL)
            TRY(tree_blank(t, n));
    }
    return OK;
}

enum err tree_add(struct tree *t, const struct leaf_node *leaf,
                  uint32_t *out_leaf)
{
    while (t->full_to < t->leaves && leaf_at(t, t->full_to) != NULL)
        t->full_to++;
    uint32_t index = t->full_to;
    if (index == t->leaves)
        TRY(tree_resize(t, t->leaves == 0 ? 1 : 2 * t->leaves));
    TRY(tree_set_leaf(t, index, leaf));
    uint32_t root = node_root(t->leaves);
    for (uint32_t n = node_of_leaf(index); n != root;) {
        n = node_parent(n);
        if (parent_at(t, n) != NULL)
            TRY(put_unmerged(t, n, index));
    }
    *out_leaf = index;
    return OK;
}

enum err tree_update(struct tree *t, uint32_t index,
                     const struct leaf_node *leaf)
{
    if (leaf_at(t, index) == NULL)
        return ERR_INVALID;
    TRY(tree_set_leaf(t, index, leaf));
    return blank_path(t, index);
}

enum err tree_remove(struct tree *t, uint32_t leaf)
{
    if (leaf_at(t, leaf) == NULL)
        return ERR_INVALID;
    TRY(tree_blank(t, node_of_leaf(leaf)));
    TRY(blank_path(t, leaf));
    return truncate(t);
}

/* Resolutions and paths: sections 4.1.1, 4.1.2 */

bool leaf_set_has(struct leaf_set set, uint32_t leaf)
{
    size_t i = leaf_set_from(set, leaf);
    return i < set.count && set.leaf[i] == leaf;
}

size_t leaf_set_from(struct leaf_set set, uint32_t leaf)
{
    size_t low = 0;
    size_t high = set.count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (set.leaf[mid] < leaf)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void node_list_clear(struct node_list *l)
{
    mem_drop(l->node);
    *l = (struct node_list){0};
}

static enum err node_list_add(struct node_list *l, uint32_t node)
{
    if (l->count == l->cap) {
        size_t cap = 2 * l->cap + 8;
        uint32_t *list = mem_alloc(cap * sizeof *list);
        if (list == NULL)
            return ERR_NOMEM;
        if (l->count > 0)
            memcpy(list, l->node, l->count * sizeof *list);
        mem_drop(l->node);
        l->node = list;
        l->cap = cap;
    }
    l->node[l->count++] = node;
    return OK;
}

/* Adds a non-blank node to a resolution: itself, then its unmerged leaves. */
static enum err resolve_node(const struct tree *t, uint32_t node,
                             struct leaf_set without, struct node_list *out)
{
    if (node_is_leaf(node)) {
        if (leaf_set_has(without, leaf_of_node(node)))
            return OK;
        return node_list_add(out, node);
    }
    const struct parent_slot *p = parent_at(t, node);
    TRY(node_list_add(out, node));
    for (uint32_t i = 0; i < p->unmerged_count; i++)
        if (!leaf_set_has(without, p->unmerged[i]))
            TRY(node_list_add(out, node_of_leaf(p->unmerged[i])));
    return OK;
}

bool node_is_blank(const struct tree *t, uint32_t node)
{
    return node_is_leaf(node) ? leaf_at(t, leaf_of_node(node)) == NULL
                              : parent_at(t, node) == NULL;
}

/*
 * Walks the subtree from left to right without a stack: below a blank parent
 * the next node is its left child; after any other, the node to the right of
 * the subtree just left, found by climbing while we come from the right.
 */
enum err tree_resolution(const struct tree *t, uint32_t node,
                         struct leaf_set without, struct node_list *out)
{
    uint32_t n = node;
    for (;;) {
        bool blank = node_is_blank(t, n);
        if (blank && !node_is_leaf(n)) {
            n = node_left(n);
            continue;
        }
        if (!blank)
            TRY(resolve_node(t, n, without, out));
        while (n != node && n == node_right(node_parent(n)))
            n = node_parent(n);
        if (n == node)
            return OK;
        n = node_sibling(n);
    }
}

/* Whether the resolution of a node is empty: it and all leaves below are
 * blank. (A parent over blank leaves only is in no tree that was checked.) */
static bool resolves_to_nothing(const struct tree *t, uint32_t node)
{
    if (!node_is_blank(t, node))
        return false;
    uint32_t first = node_first_leaf(node);
    uint32_t last = first + node_leaf_count(node);
    for (uint32_t i = first; i < last && i < t->end; i++)
        if (leaf_at(t, i) != NULL)
            return false;
    return true;
}

void tree_filtered_path(const struct tree *t, uint32_t leaf,
                        struct tree_path *out)
{
    out->count = 0;
    assert(leaf < t->leaves);
    uint32_t root = node_root(t->leaves);
    for (uint32_t n = node_of_leaf(leaf); n != root; n = node_parent(n)) {
        uint32_t copath = node_sibling(n);
        if (resolves_to_nothing(t, copath))
            continue;
        out->node[out->count] = node_parent(n);
        out->copath[out->count] = copath;
        out->count++;
    }
}
