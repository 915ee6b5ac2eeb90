/* SPDX-License-Identifier: Apache-2.0 */
#include "server/limits.h"

#include "base/map.h"
#include "base/mem.h"

#define WAYS 4U         /* places that a meter can have */
#define SETS (1U << 14) /* so 64 Ki meters: 2 MiB, most of it never touched */

struct meter {
    uint64_t key; /* 0: free */
    uint64_t minute;
    uint64_t used;
};

struct limits {
    struct map hasher; /* for its key only */
    struct meter meters[SETS][WAYS];
};

enum err limits_create(const struct random *random, struct limits **out)
{
    struct limits *l = mem_alloc(sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    l->hasher = map_new(random);
    *out = l;
    return OK;
}

/* Counts are no secrets; wiping would touch pages that never were. */
void limits_free(struct limits **l)
{
    mem_drop(*l);
    *l = NULL;
}

uint64_t limits_key(const struct limits *l, struct bytes id)
{
    return map_hash(&l->hasher, id);
}

/* Mixes the kind in, so that the meters of one id lie apart. */
static uint64_t meter_key(enum limit_kind kind, uint64_t key)
{
    key += ((uint64_t)kind + 1) * 0x9e3779b97f4a7c15U;
    key ^= key >> 32;
    return key != 0 ? key : 1;
}

/* The key's own place, or else that of the longest unused. */
static struct meter *meter_of(struct limits *l, uint64_t key, uint64_t minute)
{
    struct meter *set = l->meters[key % SETS];
    struct meter *oldest = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key) {
            oldest = &set[i];
            break;
        }
        if (set[i].minute < oldest->minute)
            oldest = &set[i];
    }
    if (oldest->key != key || oldest->minute != minute)
        *oldest = (struct meter){.key = key, .minute = minute};
    return oldest;
}

bool limits_spend(struct limits *l, enum limit_kind kind, uint64_t key,
                  uint64_t minute, uint64_t amount, uint64_t max)
{
    struct meter *m = meter_of(l, meter_key(kind, key), minute);
    if (m->used > max || amount > max - m->used)
        return false;
    m->used += amount;
    return true;
}

void limits_refund(struct limits *l, enum limit_kind kind, uint64_t key,
                   uint64_t minute, uint64_t amount)
{
    struct meter *m = meter_of(l, meter_key(kind, key), minute);
    m->used -= amount < m->used ? amount : m->used;
}
