/* SPDX-License-Identifier: Apache-2.0 */
/* What the plaintext of an application entry means, by its type. */
#pragma once

#include "client/history.h"

#include "proto/envelope.h"

struct entry;

struct incoming {
    struct conv *conv;
    const struct entry *entry;
    struct bytes account; /* the sender's */
    struct bytes signature_key;
    const struct envelope *envelope;
};

/* Within the step that applies the entry. */
MUST_USE enum err message_receive(struct client *c, const struct incoming *in);
