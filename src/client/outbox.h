/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Own messages on their way into the log. A row is encrypted and stored before
 * it is sent, and leaves when its entry comes back in order; it is known by the
 * hash of any body that was tried for it. Whatever happens in between, it is
 * tried again under the same idempotency key, so it is in the log once.
 */
#pragma once

#include "client/history.h"

struct entry;

/* Within a step. `message` is the row that people see, or 0. */
MUST_USE enum err outbox_add(struct client *c, const struct conv *cv,
                             enum envelope_type type, struct bytes body,
                             int64_t message);
/* Queues a text and its row. */
MUST_USE enum err outbox_text(struct client *c, const struct conv *cv,
                              struct bytes text, int64_t *out_message);
MUST_USE enum err outbox_pump(struct client *c, struct conv *cv);
/* After attaching: the server takes back that it accepted what lies above the
 * head that it names. */
MUST_USE enum err outbox_check_head(struct client *c, const struct conv *cv);
/* Within the step that applies the entry: is it one of ours? */
MUST_USE enum err outbox_returned(struct client *c, struct conv *cv,
                                  const struct entry *e, bool *out_own);
/* After joining again: what was accepted before will not be read any more, and
 * what is still queued may have been, up to there. */
MUST_USE enum err outbox_settle(struct client *c, const struct conv *cv);
/* Within the step in which the conversation ends for this device: what is not
 * in the log will never be, and its person is told. */
MUST_USE enum err outbox_abandon(struct client *c, const struct conv *cv);
