/* SPDX-License-Identifier: Apache-2.0 */
/* What a committer gives to new members (RFC 9420, section 12.4.3). */
#pragma once

#include "mls/group.h"

struct welcome_source {
    const struct epoch *epoch;          /* that they join */
    const struct proposal_list *list;   /* with their adds, and PSKs */
    const struct new_path *path;        /* NULL: none */
    const struct secret *joiner_secret; /* NULL psk_secret: none */
    const struct secret *psk_secret;
    bool with_tree;
};
/* Writes one Welcome (MLSMessage) for all that the list adds. */
MUST_USE enum err welcome_make(struct sotto_mls *mls,
                               const struct welcome_source *source,
                               struct buf *out);
