/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of the caller's own objects, which hold their links. Keys are
 * whatever the caller compares; they may be chosen by an attacker, so they are
 * hashed with a key of the table (SipHash). To look up:
 *
 *     uint64_t h = map_hash(m, key);
 *     for (struct map_node *n = map_find(m, h); n != NULL; n = map_again(n))
 *         if (same(MAP_OBJECT(n, struct thing, node), key)) ...
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/random.h"

struct map_node {
    struct map_node *next;
    uint64_t hash;
};

struct map {
    struct map_node **slots; /* `size` of them: a power of two, or none */
    size_t size;
    size_t count;
    uint64_t key[2];
};

#define MAP_OBJECT(n, type, member) \
    ((type *)map_object((n), offsetof(type, member)))

static inline void *map_object(struct map_node *n, size_t offset)
{
    return (char *)n - offset;
}

struct map map_new(const struct random *random);
/* Forgets all objects, which stay the caller's. */
void map_clear(struct map *m);

uint64_t map_hash(const struct map *m, struct bytes key);
/* The same for tables of another shape, with a key of their own. */
uint64_t map_hash_with(const uint64_t key[2], struct bytes of);

/* Adds an object; ERR_NOMEM only while the table has no slots at all. */
MUST_USE enum err map_add(struct map *m, struct map_node *n, uint64_t hash);
void map_remove(struct map *m, struct map_node *n); /* it must be in there */

/* The first object with this hash, and the next one; NULL: no more. */
struct map_node *map_find(const struct map *m, uint64_t hash);
struct map_node *map_again(const struct map_node *n);

/* All objects, in no order: pass NULL, then the last one. The map must not
 * change meanwhile. */
struct map_node *map_each(const struct map *m, const struct map_node *last);
