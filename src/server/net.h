/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network side of the server: accepts connections, cuts their bytes
 * (or those of a WebSocket, web.h) into messages, and passes these over the
 * pipe to the process that holds the core and the store. It keeps no state of
 * the protocol beside "the hello was answered", and everything that it holds
 * for a client is bounded:
 *
 *   before the hello   a deadline for the handshake, another for the hello,
 *                      messages of at most 4 KiB, and bounds on how many are
 *                      there at a time (crowd.h)
 *   requests           a client with too many under way, with too much queued
 *                      for it, or while the pipe is full, is not read from
 *   answers            a client that asks but does not read is dropped
 *   pushed entries     dropped for a client that is slow; the core hears of it
 *                      and tells the client to pull
 *   parts of messages  bounded in sum over all clients and over a network's,
 *                      and they must come at a minimum rate
 */
#pragma once

#include "base/problem.h"
#include "sys/loop.h"
#include "sys/tls.h"

#include <stdbool.h>
#include <stddef.h>

#define NET_CLIENTS_MAX  65536U
#define NET_HANDSHAKE_MS 10000U
#define NET_HELLO_MS     10000U       /* from the end of the handshake */
#define NET_PIECE_MS     30000U       /* for 64 KiB of a blob over HTTP */
#define NET_END_MS       2000U        /* for a client to take its last answer */
#define NET_DRAIN_MS     5000U        /* for all clients, at the end */
#define NET_REQUESTS_MAX 64U          /* of one client, under way */
#define NET_SLOW_BYTES   (256U << 10) /* queued for one client */
#define NET_QUEUE_MAX    (36U << 20)  /* the same: two large answers */

/* Of all net processes together; each has its part of them, but always room for
 * some large messages. */
#define NET_QUEUES_MAX (1U << 30)   /* queued for all clients */
#define NET_PARTS_MAX  (256U << 20) /* of messages that are not whole yet */
#define NET_EARLY_MAX  4096U        /* connections that are not greeted yet */

#define NET_PIPE_BYTES     (2U << 20) /* towards the store */
#define NET_ACCEPTS        64         /* in one round */
#define NET_ACCEPT_REST_MS 200U       /* when the system has no room */
#define NET_EARLY_SHARE    8U         /* a network has this part of them, */
#define NET_SHARE          4U /* and this of connections and parts of messages */
#define NET_RATE_MS        10000U     /* in which what is not whole must grow */
#define NET_RATE_BYTES     (4U << 10) /* by so much, */
#define NET_RATE_SHARE     32U        /* or by this part of what is there */
#define NET_PULSE_MS       5000U /* a store silent for longer is not well */

struct net;

struct net_config {
    struct tls_context *tls; /* borrowed */
    int listener;            /* these are taken, on failure too */
    int pipe;
    int proxy;          /* listens for a proxy, without TLS; 0: none */
    int admin;          /* listens for the operator, without TLS; 0: none */
    size_t clients_max; /* zeros take the values above */
    unsigned handshake_ms;
    unsigned hello_ms;
    unsigned piece_ms;
    unsigned end_ms;
    unsigned drain_ms;
    size_t slow_bytes;
    unsigned rate_ms;
    size_t network_max; /* connections from one network, to all processes */
    bool no_limits;     /* of what one network may have */
    unsigned processes; /* that share what is bounded for all; 0: this one */
};

/* Begins to accept once the store says that it is ready. Stops the loop when
 * everything has drained, or the store is gone. */
MUST_USE enum err net_create(struct loop *loop, const struct net_config *config,
                             struct net **out_net, struct problem *p);
void net_free(struct net **net);

/* Accepts no more, lets answers out, closes everything. */
void net_drain(struct net *net);

/* After the loop has stopped: OK when all was drained. */
MUST_USE enum err net_result(const struct net *net, struct problem *p);

size_t net_clients(const struct net *net);
