/* SPDX-License-Identifier: Apache-2.0 */
#include "server/crowd.h"

#include "base/mem.h"

#include <assert.h>

struct network {
    struct map_node node;
    uint64_t remote;
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

/* Finds where a connection comes from, or makes it known. */
static enum err network_get(struct crowd *c, uint64_t remote,
                            struct network **out)
{
    uint64_t hash = hash_of(c, &remote);
    struct map_node *n = map_find(&c->networks, hash);
    while (n != NULL && MAP_OBJECT(n, struct network, node)->remote != remote)
        n = map_again(n);
    if (n != NULL) {
        *out = MAP_OBJECT(n, struct network, node);
        return OK;
    }
    struct network *made = mem_alloc(sizeof *made);
    if (made == NULL)
        return ERR_NOMEM;
    made->remote = remote;
    if (map_add(&c->networks, &made->node, hash) != OK) {
        mem_free(made, sizeof *made);
        return ERR_NOMEM;
    }
    *out = made;
    return OK;
}

static void network_release(struct crowd *c, struct network *n)
{
    if (n->count > 0)
        return;
    map_remove(&c->networks, &n->node);
    mem_free(n, sizeof *n);
}

enum err crowd_enter(struct crowd *c, struct guest *g, uint64_t remote,
                     struct guest **out_evict)
{
    const struct crowd_limits *max = &c->limits;
    struct network *n = NULL;
    TRY(network_get(c, remote, &n));
    if (max->network_max > 0 &&
        (n->count >= max->network_max || n->early >= max->network_early_max)) {
        network_release(c, n);
        return ERR_LIMIT;
    }
    *out_evict = c->early >= max->early_max ? c->oldest : NULL;
    g->network = n;
    g->prev = c->newest;
    n->held += g->held;
    if (c->newest != NULL)
        c->newest->next = g;
    else
        c->oldest = g;
    c->newest = g;
    c->early++;
    n->early++;
    n->count++;
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
    g->network->early--;
}

static void count(struct crowd *c, struct guest *g, size_t held)
{
    c->held = c->held - g->held + held;
    if (g->network != NULL)
        g->network->held = g->network->held - g->held + held;
    g->held = held;
}

void crowd_leave(struct crowd *c, struct guest *g)
{
    count(c, g, 0);
    if (g->network == NULL)
        return;
    crowd_settle(c, g);
    g->network->count--;
    network_release(c, g->network);
    g->network = NULL;
}

enum err crowd_hold(struct crowd *c, struct guest *g, size_t held)
{
    const struct network *n = g->network;
    bool more = held > g->held;
    count(c, g, held);
    return n != NULL && more && c->limits.network_max > 0 &&
                   n->held > c->limits.network_bytes
               ? ERR_LIMIT
               : OK;
}

uint64_t crowd_remote(const struct guest *g) { return g->network->remote; }
