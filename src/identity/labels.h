/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of domain-separation labels. Whatever Sotto signs, hashes,
 * derives or seals begins with a label of its own, so that bytes made for one
 * purpose are never valid for another. MLS's own labels all begin with
 * "MLS 1.0 " (RFC 9420, section 5.1.2), in the same place of what is signed.
 */
#pragma once

#include "base/buf.h"
#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/hash.h"

enum label {
    /* signatures */
    LABEL_STATE,        /* device or recovery key: an account state */
    LABEL_SERVER_HELLO, /* server key: hello */
    LABEL_REGISTER,     /* device: registration */
    LABEL_LOGIN,        /* device: login */
    LABEL_REJOIN,       /* device: rejoin request */
    LABEL_EPHEMERAL,    /* device: ephemeral entry */

    /* hashes and MACs */
    LABEL_ACCOUNT,       /* account id of a first state */
    LABEL_STATE_HASH,    /* hash of a state, which the next one names */
    LABEL_SAFETY_NUMBER, /* two account ids */
    LABEL_SUBSCRIPTION,  /* subscription id of a leaf */
    LABEL_LOG,           /* running hash of a channel's entries */
    LABEL_POW,           /* proof of work */
    LABEL_CHECKSUM,      /* of codes that people type */

    /* key derivation, and the info of HPKE */
    LABEL_RECOVERY,      /* recovery key -> its signature key */
    LABEL_INBOX_ITEM,    /* item sealed to a device */
    LABEL_CAPABILITY,    /* capability sealed to a new device */
    LABEL_JOINING,       /* associated data of a joining blob */
    LABEL_EPHEMERAL_KEY, /* MLS exporter label */

    LABEL_COUNT_,
};

/* The label's text, without a NUL. */
struct bytes label_text(enum label label);

/* Signs label<V> || content<V> with an Ed25519 key; appends the signature. */
MUST_USE enum err label_sign(struct crypto *c, enum label label,
                             const struct secret *key, struct bytes content,
                             struct buf *out_signature);
MUST_USE enum err label_verify(struct crypto *c, enum label label,
                               struct bytes public_key, struct bytes content,
                               struct bytes signature);

/* SHA-256(label || content). */
MUST_USE enum err label_hash(struct crypto *c, enum label label,
                             struct parts content, struct digest *out);
