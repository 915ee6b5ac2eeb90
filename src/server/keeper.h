/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of net's pipe: hands messages to the core, and its answers
 * back. All that arrived in one round of the loop, while the last group was
 * being made durable, is one group of the store.
 */
#pragma once

#include "base/problem.h"
#include "server/core.h"
#include "server/store.h"
#include "sys/loop.h"

struct keeper;

/* Takes `pipe`, on failure too; borrows the core and its store. Stops the loop
 * when net has said goodbye, or is gone. */
MUST_USE enum err keeper_create(struct loop *loop, int pipe, struct core *core,
                                struct store store, struct keeper **out_keeper);
void keeper_free(struct keeper **keeper);

/* Tells net to accept connections; to let answers out and end. */
void keeper_start(struct keeper *keeper);
void keeper_drain(struct keeper *keeper);

/* Gives net another certificate and key, which were tried, for new clients. */
MUST_USE enum err keeper_renew(struct keeper *keeper, struct bytes cert_pem,
                               struct bytes key_pem);

/* After the loop has stopped: OK when net ended in good order. */
MUST_USE enum err keeper_result(const struct keeper *keeper, struct problem *p);
