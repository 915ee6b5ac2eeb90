/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much one subscription, channel or address prefix does in a minute. It is
 * held in memory and in a table of one size, so that nobody can fill it: where
 * there are more than fit, the longest unused are forgotten.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/random.h"

enum limit_kind {
    LIMIT_SUB_APPENDS,
    LIMIT_SUB_COMMITS,
    LIMIT_SUB_BYTES,
    LIMIT_CHANNEL_APPENDS,
    LIMIT_CHANNEL_COMMITS,
    LIMIT_CHANNEL_BYTES,
    LIMIT_REMOTE_REQUESTS,
    LIMIT_REMOTE_WORK,
    LIMIT_REMOTE_BYTES,
    LIMIT_SUB_READS,
    LIMIT_REMOTE_READS,
};

struct limits;

MUST_USE enum err limits_create(const struct random *random,
                                struct limits **out);
void limits_free(struct limits **l);

/* Stands for what `id` names, in the calls below. */
uint64_t limits_key(const struct limits *l, struct bytes id);

/* Says whether `amount` more is within `max` in this minute (a number that the
 * caller counts), and if so counts it. */
bool limits_spend(struct limits *l, enum limit_kind kind, uint64_t key,
                  uint64_t minute, uint64_t amount, uint64_t max);

/* Gives back what was spent in this minute and not needed. */
void limits_refund(struct limits *l, enum limit_kind kind, uint64_t key,
                   uint64_t minute, uint64_t amount);
