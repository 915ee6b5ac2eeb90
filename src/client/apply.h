/* SPDX-License-Identifier: Apache-2.0 */
/* Applies one entry of a channel: all of it in one transaction, or nothing. */
#pragma once

#include "client/history.h"
#include "client/policy.h"

struct entry;
struct access conv_access(const struct conv *cv);
struct answered;
/* Whether an append that is "behind" was told of an entry that can be read. */
bool behind_believed(const struct conv *cv, const struct answered *a);

/* The entry's seq is cursor + 1. Afterwards the conversation may be in another
 * state: left, or rejoining. */
MUST_USE enum err apply_entry(struct client *c, struct conv *cv,
                              const struct entry *e);

/* --- parts, by kind of entry --- */

MUST_USE enum err apply_application(struct client *c, struct conv *cv,
                                    const struct entry *e);
MUST_USE enum err apply_commit(struct client *c, struct conv *cv,
                               const struct entry *e);
/* Leaves a mark of an entry that does not count, and why. */
MUST_USE enum err apply_skip(struct client *c, struct conv *cv,
                             const struct entry *e, const char *cause);
