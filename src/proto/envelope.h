/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plaintext of each application message:
 *
 *     struct {
 *         uint8 version = 1;
 *         uint8 type;
 *         opaque content_id[16];    the same in each copy: drop the second
 *         uint64 seq;               the last stored entry that the sender had
 *         opaque log_hash[32];      applied, and the running hash up to it
 *         opaque body<V>;
 *         opaque zeros[];           up to the next bucket
 *     } Envelope;
 *
 * Buckets are the powers of two from 256 to 4096 bytes and the multiples of
 * 4096 from there on.
 */
#pragma once

#include "proto/log_hash.h"

#define CONTENT_ID_SIZE 16U
#define ENVELOPE_MAX    (1U << 20)

enum envelope_type {
    ENVELOPE_CONTENT = 1, /* body: MIMI content (proto/content.h) */
    ENVELOPE_CONTACT,     /* body: the sender's contact capability [32] */
    ENVELOPE_HANDLE,      /* body: the sender's name at its home server; a claim
                             that the receiver looks up before it shows it */
    ENVELOPE_LEAVE,       /* body: empty; any other member removes the sender's
                             account by commit, since nobody can remove itself */
};

struct envelope {
    uint8_t type;            /* one that we do not know is not an error */
    struct bytes content_id; /* [16] */
    uint64_t seq;
    struct bytes log_hash; /* [32] */
    struct bytes body;
};

MUST_USE enum err envelope_write(struct buf *out, const struct envelope *e);
MUST_USE enum err envelope_read(struct bytes plaintext, struct envelope *out);
