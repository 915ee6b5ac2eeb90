/* SPDX-License-Identifier: Apache-2.0 */
/* Groups that follow from others (RFC 9420, sections 11.2 and 11.3), bound to
 * them by a resumption PSK. */
#pragma once

#include "mls/group.h"

/* What a new group says that it follows from. */
struct link_case {
    const struct sotto_group *from;
    const struct psk_id *psk; /* of usage reinit or branch */
    bool members_unchecked;
};
/* ERR_INVALID unless the group of `next` may follow so. */
MUST_USE enum err link_check(const struct link_case *at,
                             const struct group_context *next,
                             const struct tree *members);

MUST_USE enum err group_reinitialize(struct sotto_mls *mls,
                                     const struct sotto_link *ask,
                                     struct sotto_commit_out *out_commit,
                                     struct sotto_group **out);
MUST_USE enum err group_branch(struct sotto_mls *mls,
                               const struct sotto_link *ask,
                               struct sotto_commit_out *out_commit,
                               struct sotto_group **out);
