/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of the pipes of the net processes: hands messages to the core,
 * and its answers back. All that arrived in one round of the loop, while the
 * last group was being made durable, is one group of the store.
 *
 * Net is not trusted: a process of it that breaks the format or a connection's
 * order of life is the end of the server, and can do no more than its clients.
 */
#pragma once

#include "base/problem.h"
#include "server/core.h"
#include "server/store.h"
#include "sys/loop.h"

struct keeper;

#define KEEPER_NETS_MAX 64U

/* Borrows the core and its store. Stops the loop when every net process has
 * said goodbye, or one is gone without. */
MUST_USE enum err keeper_create(struct loop *loop, struct core *core,
                                struct store store, struct keeper **out_keeper);
void keeper_free(struct keeper **keeper);

/* Adds a net process by its pipe, which it takes, on failure too. At most
 * KEEPER_NETS_MAX, before keeper_start. */
MUST_USE enum err keeper_add(struct keeper *keeper, int pipe);

/* Tells net to accept connections; to let answers out and end. */
void keeper_start(struct keeper *keeper);
void keeper_drain(struct keeper *keeper);

/* Gives net another certificate and key, which were tried, for new clients. */
MUST_USE enum err keeper_renew(struct keeper *keeper, struct bytes cert_pem,
                               struct bytes key_pem);

/* After the loop has stopped: OK when net ended in good order. */
MUST_USE enum err keeper_result(const struct keeper *keeper, struct problem *p);
