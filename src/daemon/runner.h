/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives the client state machine its sockets and its clock. Each lane is a TLS
 * connection of its own; lanes connect, and after a failure connect again, at
 * independent random times. Nothing is sent or stored by the runner itself.
 */
#pragma once

#include "base/problem.h"
#include "client/client.h"

struct runner;
struct crypto;
struct sql;

struct runner_parts {
    struct crypto *crypto;       /* borrowed, as all of these */
    const struct random *random; /* */
    struct sql *db;              /* */
};

MUST_USE enum err runner_create(const struct runner_parts *parts,
                                struct runner **out, struct problem *p);
void runner_free(struct runner **r);

/* The machine, for commands and questions. After a command, the next round
 * sends what it queued. */
struct client *runner_client(struct runner *r);

/* Does one round of the loop, waiting at most `timeout_ms` for something to
 * happen. Fails when the store failed or a signal asked to end (ERR_STATE). */
MUST_USE enum err runner_round(struct runner *r, int timeout_ms,
                               struct problem *p);

/* Watches a descriptor for input beside the rest, such as a terminal. */
MUST_USE enum err runner_watch(struct runner *r, int fd,
                               void (*ready)(void *ctx), void *ctx);

/* Takes the client's next event. */
bool runner_event(struct runner *r, struct client_event *out);

/* What the store said when it last refused something. */
const struct problem *runner_store(const struct runner *r);

/* Why the last attempt to connect failed; PROBLEM_NONE: it did not. */
const struct problem *runner_network(const struct runner *r);
/* Whether any server was connected to, with TLS and all, since the start. */
bool runner_reached(const struct runner *r);
/* How many attempts have failed since the last one that succeeded. */
unsigned runner_failures(const struct runner *r);
