/* SPDX-License-Identifier: Apache-2.0 */
/* Items for other devices' inboxes: a row each, until their server took it. */
#pragma once

#include "client/state.h"

#include "identity/state.h"
#include "proto/inbox.h"

/* Seals a message to a device and queues it; within a step. */
MUST_USE enum err mail_add(struct client *c, int64_t conversation,
                           struct bytes account, const struct device *device,
                           const struct inbox_message *m);
