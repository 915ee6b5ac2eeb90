/* SPDX-License-Identifier: Apache-2.0 */
#include "server/crowd.h"

#include "base/mem.h"
#include "sys/net.h"

#include <assert.h>

/* Guests count in theirs and in the one around it. */
struct network {
    struct map_node node;
    struct network *wide; /* around it; NULL: none */
    uint64_t remote;
    bool is_wide;
    size_t count;
    size_t early;
    size_t held;
};

struct crowd crowd_new(const struct crowd_limits *limits,
                       const struct random *random)
{
    return (struct crowd){.limits = *limits, .networks = map_new(random)};
}

void crowd_clear(struct crowd *c)
{
    assert(c->networks.count == 0 && c->early == 0 && c->held == 0);
    map_clear(&c->networks);
}

static uint64_t hash_of(const struct crowd *c, const uint64_t *remote)
{
    return map_hash(&c->networks,
                    (struct bytes){(const uint8_t *)remote, sizeof *remote});
}

static struct network *network_find(const struct crowd *c, uint64_t remote,
                                    bool wide)
{
    struct map_node *at = map_find(&c->networks, hash_of(c, &remote));
    for (; at != NULL; at = map_again(at)) {
        struct network *n = MAP_OBJECT(at, struct network, node);
        if (n->remote == remote && n->is_wide == wide)
            return n;
    }
    return NULL;
}

/* Finds it, or makes it known. */
static enum err network_get(struct crowd *c, uint64_t remote, bool wide,
                            struct network **out)
{
    struct network *n = network_find(c, remote, wide);
    if (n == NULL) {
        n = mem_alloc(sizeof *n);
        if (n == NULL)
            return ERR_NOMEM;
        n->remote = remote;
        n->is_wide = wide;
        if (map_add(&c->networks, &n->node, hash_of(c, &remote)) != OK) {
            mem_free(n, sizeof *n);
            return ERR_NOMEM;
        }
    }
    *out = n;
    return OK;
}

/* Of a network and the one around it, what nobody is in goes. */
static void network_release(struct crowd *c, struct network *n)
{
    while (n != NULL && n->count == 0) {
        struct network *wide = n->wide;
        map_remove(&c->networks, &n->node);
        mem_free(n, sizeof *n);
        n = wide;
    }
}

/* Where a connection comes from, with what is around it. */
static enum err networks_get(struct crowd *c, uint64_t remote,
                             struct network **out)
{
    struct network *wide = NULL;
    struct network *n = NULL;
    uint64_t around = 0;
    if (net_remote_wide(remote, &around))
        TRY(network_get(c, around, true, &wide));
    enum err err = network_get(c, remote, false, &n);
    if (err != OK) {
        network_release(c, wide);
        return err;
    }
    n->wide = wide;
    *out = n;
    return OK;
}

static bool has_room(const struct crowd_limits *max, const struct network *n)
{
    for (; n != NULL && max->network_max > 0; n = n->wide)
        if (n->count >= max->network_max || n->early >= max->network_early_max)
            return false;
    return true;
}

enum err crowd_enter(struct crowd *c, struct guest *g, uint64_t remote,
                     struct guest **out_evict)
{
    const struct crowd_limits *max = &c->limits;
    struct network *n = NULL;
    TRY(networks_get(c, remote, &n));
    if (!has_room(max, n)) {
        network_release(c, n);
        return ERR_LIMIT;
    }
    *out_evict = c->early >= max->early_max ? c->oldest : NULL;
    g->network = n;
    g->prev = c->newest;
    if (c->newest != NULL)
        c->newest->next = g;
    else
        c->oldest = g;
    c->newest = g;
    c->early++;
    for (; n != NULL; n = n->wide) {
        n->held += g->held;
        n->early++;
        n->count++;
    }
    return OK;
}

static bool is_early(const struct crowd *c, const struct guest *g)
{
    return g->prev != NULL || c->oldest == g;
}

void crowd_settle(struct crowd *c, struct guest *g)
{
    if (!is_early(c, g))
        return;
    if (g->prev != NULL)
        g->prev->next = g->next;
    else
        c->oldest = g->next;
    if (g->next != NULL)
        g->next->prev = g->prev;
    else
        c->newest = g->prev;
    g->prev = g->next = NULL;
    c->early--;
    for (struct network *n = g->network; n != NULL; n = n->wide)
        n->early--;
}

static void count(struct crowd *c, struct guest *g, size_t held)
{
    c->held = c->held - g->held + held;
    for (struct network *n = g->network; n != NULL; n = n->wide)
        n->held = n->held - g->held + held;
    g->held = held;
}

void crowd_leave(struct crowd *c, struct guest *g)
{
    count(c, g, 0);
    if (g->network == NULL)
        return;
    crowd_settle(c, g);
    for (struct network *n = g->network; n != NULL; n = n->wide)
        n->count--;
    network_release(c, g->network);
    g->network = NULL;
}

enum err crowd_hold(struct crowd *c, struct guest *g, size_t held)
{
    bool more = held > g->held;
    count(c, g, held);
    if (!more || c->limits.network_max == 0)
        return OK;
    for (const struct network *n = g->network; n != NULL; n = n->wide)
        if (n->held > c->limits.network_bytes)
            return ERR_LIMIT;
    return OK;
}

uint64_t crowd_remote(const struct guest *g) { return g->network->remote; }
