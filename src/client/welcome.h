/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling a new device where its Welcome is. The adder does so in the step that
 * applies its commit. Every other member remembers what the commit says of the
 * blob, and does the same some hours later when nothing has come from the new
 * leaf, so that nobody stays out because one device was lost at a bad moment.
 */
#pragma once

#include "client/policy.h"

/* Within the step of the commit that adds or removes a leaf. `own`: it is this
 * device's commit. */
MUST_USE enum err welcome_note(struct client *c, const struct conv *cv,
                               const struct sotto_change *change,
                               const struct policy *p, bool own);
/* Something came from a leaf: it is there. */
MUST_USE enum err welcome_heard(struct client *c, const struct conv *cv,
                                struct bytes signature_key);
/* Forgets all of a conversation that this device leaves, or joins again. */
MUST_USE enum err welcome_forget(struct client *c, const struct conv *cv);
/* Tells those again who stay silent. */
MUST_USE enum err welcome_pump(struct client *c, const struct conv *cv);
