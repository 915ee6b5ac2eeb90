/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people write down, type and compare: codes in base32 with a checksum
 * (recovery key, invite), and safety numbers.
 *
 * A code is the base32 (Crockford's alphabet, which has no I, L, O and U) of
 * its bytes and the first 3 bytes of their labelled hash, in groups of four.
 * Reading ignores case, spaces and hyphens, and takes O for 0, I and L for 1.
 */
#pragma once

#include "base/secret.h"
#include "crypto/crypto.h"
#include "identity/labels.h"

#define CODE_SIZE     32U /* of the bytes of a code */
#define CODE_TEXT_MAX 70U /* 56 characters in 14 groups, and the NUL */
#define RECOVERY_SIZE CODE_SIZE
#define SAFETY_MAX    72U /* 12 groups of 5 digits, and the NUL */

/* The checksum covers the kind, so that one is not taken for another. */
enum code_kind {
    CODE_RECOVERY = 1,
    CODE_INVITE,
};

/* Writes the text of a code, and reads it. ERR_MALFORMED: not a code;
 * ERR_INVALID: mistyped, or of another kind. */
MUST_USE enum err code_write(struct crypto *c, enum code_kind kind,
                             const struct secret *raw, char out[CODE_TEXT_MAX]);
MUST_USE enum err code_read(struct crypto *c, enum code_kind kind,
                            const char *text, struct secret *out_raw);

/* The recovery key as a person's code. The text is as secret as the key. */
MUST_USE enum err recovery_write(struct crypto *c,
                                 const struct secret *recovery,
                                 char out[CODE_TEXT_MAX]);
MUST_USE enum err recovery_read(struct crypto *c, const char *text,
                                struct secret *out_recovery);

/* The Ed25519 key pair of a recovery key; appends the public key. */
MUST_USE enum err recovery_keys(struct crypto *c, const struct secret *recovery,
                                struct secret *out_private,
                                struct buf *out_public);

/* The number that two people compare: the same for (a, b) and (b, a). */
MUST_USE enum err safety_number(struct crypto *c, struct bytes account_a,
                                struct bytes account_b, char out[SAFETY_MAX]);
