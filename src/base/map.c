/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/mem.h"

#include <string.h>

#define FIRST_SIZE 16U

struct map map_new(const struct random *random)
{
    struct map m = {0};
    uint8_t raw[sizeof m.key];
    random_fill(random, raw, sizeof raw);
    memcpy(m.key, raw, sizeof raw);
    return m;
}

void map_clear(struct map *m)
{
    mem_free(m->slots, m->size * sizeof m->slots[0]);
    m->slots = NULL;
    m->size = 0;
    m->count = 0;
}

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein), as in other hash tables. */
uint64_t map_hash_with(const uint64_t key[2], struct bytes of)
{
    uint64_t v[4] = {
        key[0] ^ 0x736f6d6570736575U,
        key[1] ^ 0x646f72616e646f6dU,
        key[0] ^ 0x6c7967656e657261U,
        key[1] ^ 0x7465646279746573U,
    };
    uint64_t word = 0;
    for (size_t i = 0; i < of.len; i++) {
        word |= (uint64_t)of.data[i] << 8 * (i % 8);
        if (i % 8 == 7) {
            v[3] ^= word;
            sip_round(v);
            v[0] ^= word;
            word = 0;
        }
    }
    word |= (uint64_t)of.len << 56;
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t map_hash(const struct map *m, struct bytes key)
{
    return map_hash_with(m->key, key);
}

static struct map_node **slot_of(const struct map *m, uint64_t hash)
{
    return &m->slots[hash & (m->size - 1)];
}

/* A table that cannot grow only becomes slower. */
static enum err grow(struct map *m)
{
    struct map bigger = {.size = m->size > 0 ? 2 * m->size : FIRST_SIZE};
    bigger.slots = mem_alloc(bigger.size * sizeof bigger.slots[0]);
    if (bigger.slots == NULL)
        return m->size > 0 ? OK : ERR_NOMEM;
    for (size_t i = 0; i < m->size; i++) {
        while (m->slots[i] != NULL) {
            struct map_node *n = m->slots[i];
            m->slots[i] = n->next;
            n->next = *slot_of(&bigger, n->hash);
            *slot_of(&bigger, n->hash) = n;
        }
    }
    mem_free(m->slots, m->size * sizeof m->slots[0]);
    m->slots = bigger.slots;
    m->size = bigger.size;
    return OK;
}

enum err map_add(struct map *m, struct map_node *n, uint64_t hash)
{
    if (m->count >= m->size)
        TRY(grow(m));
    n->hash = hash;
    n->next = *slot_of(m, hash);
    *slot_of(m, hash) = n;
    m->count++;
    return OK;
}

void map_remove(struct map *m, struct map_node *n)
{
    struct map_node **at = slot_of(m, n->hash);
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    n->next = NULL;
    m->count--;
}

static struct map_node *skip_to(struct map_node *n, uint64_t hash)
{
    while (n != NULL && n->hash != hash)
        n = n->next;
    return n;
}

struct map_node *map_find(const struct map *m, uint64_t hash)
{
    return m->size > 0 ? skip_to(*slot_of(m, hash), hash) : NULL;
}

struct map_node *map_again(const struct map_node *n)
{
    return skip_to(n->next, n->hash);
}

struct map_node *map_each(const struct map *m, const struct map_node *last)
{
    if (last != NULL && last->next != NULL)
        return last->next;
    size_t i = last != NULL ? (last->hash & (m->size - 1)) + 1 : 0;
    while (i < m->size && m->slots[i] == NULL)
        i++;
    return i < m->size ? m->slots[i] : NULL;
}
