/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server looks at in an entry of a channel. Stored entries are
 * MLSMessages that hold a PrivateMessage (RFC 9420, section 6.3); its
 * authenticated_data is in the clear and signed by the sender. That of a commit
 * lists the subscriptions which the commit adds and ends:
 *
 *     struct {
 *         uint8 version = 1;
 *         struct { opaque sub[32]; opaque cap_hash[32]; } adds<V>;
 *         opaque ends<V>;       of 32 bytes each
 *     } CommitData;
 *
 * Both lists are in strictly rising order of ids, so that what a commit does
 * has one encoding, which members compare with what they expect. Of other kinds
 * it is empty. No MLS is needed to read it.
 */
#pragma once

#include "proto/message.h"

#define SUBSCRIPTIONS_MAX 4096U /* of a channel; and in either list */
#define COMMIT_DATA_MAX   (1U << 20)

enum entry_kind {
    ENTRY_APPLICATION = 1, /* the same numbers as MLS's ContentType */
    ENTRY_PROPOSAL,
    ENTRY_COMMIT,
    ENTRY_EPHEMERAL,
};

struct sub_add {
    struct bytes sub;      /* [32] */
    struct bytes cap_hash; /* [32] */
};

struct commit_data {
    struct bytes adds; /* content of the vector: read with sub_add_read */
    struct bytes ends; /* content of the vector: ids one after another */
};

/* The cleartext of a PrivateMessage. */
struct private_header {
    struct bytes group_id;
    uint64_t epoch;
    uint8_t content_type;
    struct bytes authenticated_data;
};

void sub_add_read(struct reader *r, struct sub_add *add);
void sub_add_write(struct writer *w, const struct sub_add *add);

/* Checks order, sizes and that no id is in both lists; with empty input, gives
 * empty lists. */
MUST_USE enum err commit_data_read(struct bytes authenticated_data,
                                   struct commit_data *out);
MUST_USE enum err commit_data_write(struct buf *out,
                                    const struct commit_data *data);

/* Sorts ids or adds in place, as the lists must be. */
void sub_adds_sort(struct sub_add *adds, size_t count);
void sub_ids_sort(struct bytes *ids, size_t count);

MUST_USE enum err private_header_read(struct bytes mls_message,
                                      struct private_header *out);

/*
 * Checks the body of an entry to be appended: a PrivateMessage whose content
 * type is `kind`, of which only a commit carries data; gives that data. The
 * body of an ephemeral entry is only checked for its size.
 */
MUST_USE enum err entry_check(uint8_t kind, struct bytes body,
                              struct commit_data *out);
