/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent to a group from outside: proposals (RFC 9420, section 12.1.8),
 * and a commit by who joins by it (section 12.4.3.2). */
#pragma once

#include "mls/group.h"

/* Joins, in the epoch that the commit in `out_message` begins. */
MUST_USE enum err group_join_external(struct sotto_mls *mls,
                                      const struct sotto_external_join *join,
                                      struct buf *out_message,
                                      struct sotto_group **out);

MUST_USE enum err outsider_propose(struct sotto_mls *mls,
                                   const struct sotto_outsider *from,
                                   const struct sotto_proposal *p,
                                   struct buf *out);
