/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining by a Welcome. The inbox item says where the joining blob is; the blob
 * is fetched piece by piece, and the conversation begins (or goes on, after a
 * rejoin) with the commit that added this device.
 */
#pragma once

#include "client/state.h"

#include "proto/inbox.h"

/* Within the step that takes the inbox item. */
MUST_USE enum err joining_add(struct client *c, const struct inbox_welcome *w);
