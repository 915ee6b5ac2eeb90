/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is connected from where: bounds what strangers can hold before they have
 * said anything, and what one network can take of everybody's room.
 *
 *   a network (an IPv4 address, an IPv6 /64) has at most `network_max`
 *   connections, of which `network_early_max` may be early: not greeted yet;
 *   they hold at most `network_bytes` of messages that are not whole; the IPv6
 *   /48 around it has the same bounds, since one may have that to oneself;
 *   at most `early_max` are early in all. When there are that many, the one
 *   that has been early longest makes room: who is honest needs two round
 *   trips, who is not holds on for as long as it may.
 */
#pragma once

#include "base/map.h"

#include <stdbool.h>

struct crowd_limits {
    size_t network_max; /* 0: no bound of these three */
    size_t network_early_max;
    size_t network_bytes;
    size_t early_max;
};

struct network; /* internal: lives as long as somebody is connected from it */

/* A part of the caller's connection; zeros at first. */
struct guest {
    struct network *network;
    size_t held;               /* bytes of messages that are not whole */
    struct guest *prev, *next; /* among the early ones, by age */
};

struct crowd {
    struct crowd_limits limits;
    struct map networks;
    struct guest *oldest, *newest;
    size_t early;
    size_t held; /* by all guests */
};

struct crowd crowd_new(const struct crowd_limits *limits,
                       const struct random *random);
/* Everybody must have left. */
void crowd_clear(struct crowd *c);

/* ERR_LIMIT: too many from there. `out_evict` is whom to drop (with
 * crowd_leave) to make room, or NULL; it is never the new guest. */
MUST_USE enum err crowd_enter(struct crowd *c, struct guest *g, uint64_t remote,
                              struct guest **out_evict);
/* It has been greeted. */
void crowd_settle(struct crowd *c, struct guest *g);
void crowd_leave(struct crowd *c, struct guest *g);

/* It holds so much now, also before it has entered; nothing once it has left.
 * ERR_LIMIT: they hold too much where it is from, and it should leave. */
MUST_USE enum err crowd_hold(struct crowd *c, struct guest *g, size_t held);

uint64_t crowd_remote(const struct guest *g);
