/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HPKE (RFC 9180), base mode: seals a message to a public key.
 *
 * One message is hpke_seal and hpke_open. A context (hpke_send, hpke_receive)
 * seals several, and exports secrets, as an external commit of MLS does.
 */
#pragma once

#include "base/buf.h"
#include "base/random.h"
#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/suite.h"

#define HPKE_NONCE_SIZE 12U

struct hpke {
    enum kem_id kem;
    enum hash_id kdf;
    enum aead_id aead; /* one of the registry: not XChaCha20 */
};

struct hpke suite_hpke(const struct suite *s);

/* What is known of one message, beside the secrets. */
struct hpke_args {
    struct bytes public_key; /* the receiver's; may be empty for receiving,
                                which then takes longer */
    struct bytes enc;        /* for receiving */
    struct bytes info;
    const struct secret *info_hash; /* instead of it; or NULL */
    struct bytes aad;
    struct bytes text; /* plaintext for sealing, ciphertext for opening */
};

/* Hashes what is `info` for many receivers of one sender. */
MUST_USE enum err hpke_info_hash(struct crypto *c, struct hpke h,
                                 struct bytes info, struct secret *out);

/* Appends the encapsulated key to `out_enc` and the ciphertext to `out`. */
MUST_USE enum err hpke_seal(struct crypto *c, struct hpke h,
                            const struct random *random,
                            const struct hpke_args *args, struct buf *out_enc,
                            struct buf *out);

/* Appends the plaintext to `out`; ERR_AUTH when it was not sealed so. */
MUST_USE enum err hpke_open(struct crypto *c, struct hpke h,
                            const struct secret *private_key,
                            const struct hpke_args *args, struct buf *out);

struct hpke_ctx {
    struct hpke hpke;
    struct secret key;
    struct secret base_nonce;
    struct secret exporter;
    uint64_t seq;
};

void hpke_ctx_clear(struct hpke_ctx *ctx);

/* SetupBaseS and SetupBaseR: they use public_key, enc and info of `args`. */
MUST_USE enum err hpke_send(struct crypto *c, struct hpke h,
                            const struct random *random,
                            const struct hpke_args *args, struct buf *out_enc,
                            struct hpke_ctx *out_ctx);
MUST_USE enum err hpke_receive(struct crypto *c, struct hpke h,
                               const struct secret *private_key,
                               const struct hpke_args *args,
                               struct hpke_ctx *out_ctx);

/* Seals or opens the next message of a context, which counts it when it
 * succeeds. */
MUST_USE enum err hpke_ctx_seal(struct crypto *c, struct hpke_ctx *ctx,
                                struct bytes aad, struct bytes plaintext,
                                struct buf *out);
MUST_USE enum err hpke_ctx_open(struct crypto *c, struct hpke_ctx *ctx,
                                struct bytes aad, struct bytes ciphertext,
                                struct buf *out);

/* Exports a secret of `len` <= SECRET_MAX bytes. */
MUST_USE enum err hpke_ctx_export(struct crypto *c, const struct hpke_ctx *ctx,
                                  struct bytes exporter_context, size_t len,
                                  struct secret *out);
