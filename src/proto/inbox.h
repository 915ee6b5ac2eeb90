/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items of a device's inbox: sealed to its sealing key, all of one size, so
 * that the server cannot tell one from another.
 *
 *     struct {
 *         uint8 version = 1;
 *         opaque enc[1120];             HPKE base mode: X-Wing, HKDF-SHA256,
 *         opaque ciphertext[927];       ChaCha20-Poly1305
 *     } InboxItem;                      INBOX_ITEM_SIZE bytes
 *
 *     struct {
 *         uint8 type;
 *         select (type) { welcome: InboxWelcome; rejoin: InboxRejoin; }
 *         opaque zeros[];               up to 911 bytes
 *     } InboxPlain;
 */
#pragma once

#include "base/random.h"
#include "crypto/crypto.h"
#include "proto/derive.h"

enum inbox_type {
    INBOX_WELCOME = 1,
    INBOX_REJOIN,
};

/* "You were added": where the channel is, and the joining blob. */
struct inbox_welcome {
    struct bytes server_address; /* <1..255> */
    struct bytes server_key;     /* [32] */
    struct bytes channel;        /* [32] */
    struct bytes blob;           /* [32] id of the joining blob */
    struct bytes blob_key;       /* [32] */
    uint64_t commit_seq;         /* the commit that added the device */
    struct bytes log_hash;       /* [32] running hash up to that commit */
};

/* "Add me again": signed by the device. */
struct inbox_rejoin {
    struct bytes server_address; /* <1..255> of the requester's account */
    struct bytes server_key;     /* [32] */
    struct bytes channel;        /* [32] */
    struct bytes account_id;     /* [32] */
    struct bytes device_id;      /* [32] */
    struct bytes contact_cap;    /* [32] to take its key package with */
    uint64_t epoch;              /* the last that it had; 0: none */
    uint64_t time;               /* seconds since 1970; newer than any before */
    struct bytes signature;      /* <64> */
};

struct inbox_message {
    uint8_t type; /* enum inbox_type */
    union {
        struct inbox_welcome welcome;
        struct inbox_rejoin rejoin;
    };
};

/* Appends an item of INBOX_ITEM_SIZE bytes. ERR_LIMIT: too long for one. */
MUST_USE enum err inbox_seal(struct crypto *c, const struct random *random,
                             struct bytes sealing_key,
                             const struct inbox_message *m, struct buf *out);

/* `out` borrows from `out_plain`, to which the content is appended.
 * ERR_NOTFOUND: a type that we do not know. */
MUST_USE enum err inbox_open(struct crypto *c, const struct secret *sealing_key,
                             struct bytes item, struct buf *out_plain,
                             struct inbox_message *out);

MUST_USE enum err rejoin_sign(struct crypto *c, const struct secret *device,
                              const struct inbox_rejoin *q,
                              struct buf *out_signature);
MUST_USE enum err rejoin_verify(struct crypto *c, struct bytes device_key,
                                const struct inbox_rejoin *q);
