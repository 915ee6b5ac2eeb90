/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many clients of a running server on one event loop: each connects by TLS,
 * says hello, and then either makes a channel (or takes one that another has
 * made) and appends to it, or registers an account. A client has as many
 * appends under way as the plan says. All is a function of the plan, but for
 * what the network decides.
 */
#pragma once

#include "base/problem.h"
#include "sys/net.h"

#include <stdbool.h>
#include <stddef.h>

struct load;

struct load_plan {
    struct net_name server; /* started with --no-limits --pow-bits 1 */
    unsigned clients;
    unsigned channels;  /* client i uses the i-th, modulo this */
    bool attach;        /* entries are pushed to the client, its own too */
    bool identified;    /* registers an account, and nothing else */
    bool ephemeral;     /* what it sends is not stored */
    unsigned senders;   /* only the first so many send; 0: all */
    unsigned in_flight; /* appends of one client under way; 0: one */
    unsigned rate;      /* appends a second, of all in turn; 0: as many as go */
    unsigned first;     /* number of the first client, in ids and names */
};

#define LOAD_IN_FLIGHT_MAX 16U

/* Returns when all clients are ready. */
MUST_USE enum err load_open(const struct load_plan *plan, struct load **out,
                            struct problem *p);
void load_close(struct load **load);

struct load_result {
    size_t appends;
    size_t pushed; /* entries that came as events */
    double seconds;
    const double *latency; /* of each append, in seconds; until the next run */
};

/* Appends for a time, or until each sender has done `each` (0: no bound), and
 * waits for the last answers. */
MUST_USE enum err load_run(struct load *load, double seconds, unsigned each,
                           struct load_result *out, struct problem *p);

/* Lets time pass, with nothing to say. */
MUST_USE enum err load_rest(struct load *load, double seconds,
                            struct problem *p);
