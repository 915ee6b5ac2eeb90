/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The labelled operations of RFC 9420: every use of a key is bound to what it
 * is for, by a label with the prefix "MLS 1.0 ". Labels are C strings.
 */
#pragma once

#include "base/buf.h"
#include "base/random.h"
#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/hash.h"
#include "crypto/suite.h"
#include "mls/objects.h"

/* RFC 9420, section 8; the label is without its prefix */
struct kdf_label {
    struct bytes label;
    struct bytes context;
    size_t len; /* of what is derived */
};
MUST_USE enum err expand_with_label(struct crypto *c, const struct suite *s,
                                    const struct secret *secret,
                                    const struct kdf_label *l,
                                    struct secret *out);
/* Several from one secret, all or none; at most HKDF_WANTS_MAX. */
struct kdf_want {
    struct kdf_label label;
    struct secret *out;
};
MUST_USE enum err expand_with_label_each(struct crypto *c,
                                         const struct suite *s,
                                         const struct secret *secret,
                                         const struct kdf_want *wants,
                                         size_t count);
/* One of any length, appended to `out`. */
MUST_USE enum err expand_with_label_long(struct crypto *c,
                                         const struct suite *s,
                                         const struct secret *secret,
                                         const struct kdf_label *l,
                                         struct buf *out);
/* As long as a hash, without context. */
MUST_USE enum err derive_secret(struct crypto *c, const struct suite *s,
                                const struct secret *secret, const char *label,
                                struct secret *out);
/* RFC 9420, section 9.1: the context is the generation, which is written to
 * `room`. */
struct bytes generation_context(uint32_t generation, uint8_t room[4]);
MUST_USE enum err derive_tree_secret(struct crypto *c, const struct suite *s,
                                     const struct secret *secret,
                                     struct kdf_label l, uint32_t generation,
                                     struct secret *out);

/* RFC 9420, section 5.1.2; appends to `signature` */
MUST_USE enum err sign_with_label(struct crypto *c, const struct suite *s,
                                  const struct secret *key, const char *label,
                                  struct bytes content, struct buf *signature);
/* ERR_AUTH when the signature does not verify. */
MUST_USE enum err verify_with_label(struct crypto *c, const struct suite *s,
                                    struct bytes key, const char *label,
                                    struct bytes content,
                                    struct bytes signature);

/* What an application component signs with a key of MLS: SafeSignWithLabel and
 * SafeVerifyWithLabel of draft-ietf-mls-extensions, with the errors above. */
struct statement {
    uint16_t component_id;
    struct bytes label;
    struct bytes content;
};
MUST_USE enum err statement_sign(struct crypto *c, const struct suite *s,
                                 const struct secret *key,
                                 const struct statement *st,
                                 struct buf *signature);
MUST_USE enum err statement_verify(struct crypto *c, const struct suite *s,
                                   struct bytes key, const struct statement *st,
                                   struct bytes signature);

/* RFC 9420, section 5.1.3: what both sides of an HPKE message know */
struct seal_label {
    const char *label;
    struct bytes context;
    struct bytes public_key; /* the receiver's; when empty, opening is slower */
    const struct secret *prepared; /* of seal_prepare; or NULL */
};
/* Hashes label and context once for many receivers: a long context would cost
 * its length for each. */
MUST_USE enum err seal_prepare(struct crypto *c, const struct suite *s,
                               const struct seal_label *l, struct secret *out);
/* Writes an HPKECiphertext. */
MUST_USE enum err encrypt_with_label(struct crypto *c, const struct suite *s,
                                     const struct random *rnd,
                                     const struct seal_label *l,
                                     struct bytes plaintext, struct writer *w);
/* Appends to `plaintext`. */
MUST_USE enum err decrypt_with_label(struct crypto *c, const struct suite *s,
                                     const struct secret *key,
                                     const struct seal_label *l,
                                     const struct hpke_ciphertext *ciphertext,
                                     struct buf *plaintext);

/* RFC 9420, section 5.2 */
MUST_USE enum err ref_hash(struct crypto *c, const struct suite *s,
                           const char *label, struct bytes value,
                           struct digest *out);
MUST_USE enum err key_package_ref(struct crypto *c, const struct suite *s,
                                  struct bytes key_package, struct digest *out);
/* Of an AuthenticatedContent that holds a proposal. */
MUST_USE enum err proposal_ref(struct crypto *c, const struct suite *s,
                               struct bytes authenticated_content,
                               struct digest *out);
