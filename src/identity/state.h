/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An account state: a signed snapshot of who an account is. States form a
 * chain; the first one's hash is the account's id, so an account certifies
 * itself (docs/protocol.md, section 4).
 *
 *     struct {
 *         opaque id[32];
 *         opaque signature_key[32];      Ed25519
 *         uint16 sealing_kem = 0x647a;   X-Wing
 *         opaque sealing_key<V>;
 *         uint8 may_authorise;           0 or 1
 *         uint32 order;                  of joining: lower is older
 *         opaque name<0..256>;           encrypted
 *     } Device;
 *
 *     struct {
 *         uint8 format = 1;
 *         uint64 version;                the first is 1
 *         opaque previous[32];           hash; of the first: zeros
 *         opaque recovery_key[32];       Ed25519
 *         opaque server_address<1..255>;
 *         opaque server_key[32];         Ed25519
 *         uint32 next_order;             for the next device
 *         Device devices<V>;             in rising order
 *         uint8 reason;
 *         opaque conflicts<V>;           hashes of 32 bytes, rising; recover
 * only opaque signer<V>;              device id; empty: the recovery key opaque
 * signature<V>;           over all of the above, LABEL_STATE } State;
 */
#pragma once

#include "base/wire.h"
#include "crypto/crypto.h"
#include "identity/labels.h"

#define STATE_FORMAT        1U
#define STATE_MAX           (64U << 10)
#define STATE_ID_SIZE       32U
#define STATE_KEY_SIZE      32U
#define STATE_HASH_SIZE     32U
#define STATE_DEVICES_MAX   32U
#define STATE_CONFLICTS_MAX 8U
#define DEVICE_NAME_MAX     256U
#define SERVER_ADDRESS_MAX  255U

enum state_reason {
    REASON_NEW = 1,
    REASON_ADD,
    REASON_REVOKE,
    REASON_RECOVER,
    REASON_ROTATE_RECOVERY,
    REASON_MOVE,
};

struct device {
    struct bytes id;
    struct bytes signature_key;
    uint16_t sealing_kem; /* enum kem_id */
    struct bytes sealing_key;
    bool may_authorise;
    uint32_t order;
    struct bytes name;
};

/* Borrows from its encoding, or from what it was built of. */
struct state {
    uint64_t version;
    struct bytes previous;
    struct bytes recovery_key;
    struct bytes server_address;
    struct bytes server_key;
    uint32_t next_order;
    struct device devices[STATE_DEVICES_MAX];
    size_t device_count;
    uint8_t reason;         /* enum state_reason */
    struct bytes conflicts; /* content of the vector */
    struct bytes signer;    /* empty: the recovery key */
    struct bytes signature;
    struct bytes tbs; /* what is signed; set by state_read */
};

/* Which rule a state breaks; all are ERR_INVALID or ERR_AUTH outside. */
enum state_fault {
    FAULT_NONE,
    FAULT_FORMAT,    /* order of devices, doubled ids or keys, bad keys */
    FAULT_VERSION,   /* is not the one before plus 1 */
    FAULT_PREVIOUS,  /* does not name the one before */
    FAULT_SIGNER,    /* may not sign this */
    FAULT_SIGNATURE, /* is not the signer's */
    FAULT_REASON,    /* says something else than what changed */
    FAULT_DEVICE,    /* a device that stays was changed */
    FAULT_ORDER,     /* of joining is not the next */
    FAULT_SENIORITY, /* a device revokes an older one */
    FAULT_CONFLICTS, /* named where there can be none */
    FAULT_RETURNED,  /* a revoked device or its keys are back */
};
const char *state_fault_text(enum state_fault fault);

/* Parses one whole state and checks its form, but no signature. */
MUST_USE enum err state_read(struct bytes encoding, struct state *out);

/* SHA-256 under LABEL_STATE_HASH and under LABEL_ACCOUNT. */
MUST_USE enum err state_hash(struct crypto *c, struct bytes encoding,
                             struct digest *out);
MUST_USE enum err account_id(struct crypto *c, struct bytes first_encoding,
                             struct digest *out);

/* Checks a first state, and that `next` may follow `prev`, whose hash is
 * given. Fills `out_fault` (which may be NULL) on ERR_INVALID and ERR_AUTH. */
MUST_USE enum err state_verify_first(struct crypto *c, const struct state *s,
                                     enum state_fault *out_fault);
MUST_USE enum err state_verify_next(struct crypto *c, const struct state *prev,
                                    struct bytes prev_hash,
                                    const struct state *next,
                                    enum state_fault *out_fault);

/* The device with this id or this signature key; NULL: not listed. */
const struct device *state_device(const struct state *s, struct bytes id);
const struct device *state_device_of_key(const struct state *s,
                                         struct bytes signature_key);

/* --- Building: fill a state, change it, sign it --- */

/* Starts an account: its first device joins with order 1 and may authorise. */
void state_first(struct state *out, struct bytes recovery_key,
                 struct bytes server_address, struct bytes server_key,
                 const struct device *device);

/* Starts the successor of `prev`, equal to it in all else than its number,
 * link and reason. */
void state_next(const struct state *prev, struct bytes prev_hash,
                enum state_reason reason, struct state *out);

/* Sets the order of joining of the new device; ERR_LIMIT: too many. */
MUST_USE enum err state_add(struct state *s, const struct device *device);
MUST_USE enum err state_remove(struct state *s, struct bytes id);

/* Signs as the device with id `signer`, or as the recovery key when it is
 * empty, and appends the whole encoding to `out`. */
MUST_USE enum err state_sign(struct crypto *c, const struct state *s,
                             struct bytes signer, const struct secret *key,
                             struct buf *out);
