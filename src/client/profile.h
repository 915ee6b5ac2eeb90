/* SPDX-License-Identifier: Apache-2.0 */
/* What a member tells the others about itself, in the conversation. */
#pragma once

#include "client/state.h"

/* Queues the own handle and contact capability; within a step. */
MUST_USE enum err profile_share(struct client *c, struct conv *cv);
