/* SPDX-License-Identifier: Apache-2.0 */
/* The GroupInfo (RFC 9420, section 12.4.3): made by a member, and checked by
 * who joins with it. */
#pragma once

#include "mls/group.h"

/* Writes a signed GroupInfo of an epoch: MLSMessage or the bare struct. */
struct group_info_form {
    bool message;
    bool with_tree;
    bool with_external_pub;
};
MUST_USE enum err group_info_make(struct sotto_mls *mls, const struct epoch *e,
                                  struct group_info_form form, struct buf *out);

/* Reads an MLSMessage that holds a GroupInfo. */
MUST_USE enum err group_info_message_read(struct bytes message,
                                          struct group_info *out);

/* The external key in it (section 12.4.3.2); ERR_NOTFOUND: there is none. */
MUST_USE enum err group_info_external_pub(const struct group_info *info,
                                          struct bytes *out);

/* What a joiner has of a group before it is in it. */
struct info_case {
    struct sotto_mls *mls;
    const struct suite *suite; /* that it must be of */
    const struct group_info *info;
    struct bytes ratchet_tree; /* when it is not in the GroupInfo */
    uint64_t now;              /* 0: lifetimes are not looked at */
};
/* Checks the GroupInfo and its tree as far as that needs no keys (section
 * 12.4.3.1), and gives the tree. ERR_NOTFOUND: there is none. */
MUST_USE enum err group_info_check(const struct info_case *at,
                                   struct tree **out_tree);
