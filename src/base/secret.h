/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key material has its own type, so that a secret is wiped, is compared in
 * constant time, and is never logged or taken for public bytes by mistake.
 * Secrets are passed by pointer and never copied by assignment.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/random.h"

#define SECRET_MAX 66U /* P-521; longer ones (PSKs) are a buf */

struct secret {
    uint8_t data[SECRET_MAX];
    size_t len;
};

/* Wipes; made for CLEANUP. */
void secret_clear(struct secret *s);

/* Compares in constant time; only the lengths are taken as public. */
MUST_USE bool secret_equal(const struct secret *a, const struct secret *b);

/* The same for bytes that are borrowed: tags, capabilities. */
MUST_USE bool secret_equal_bytes(struct bytes a, struct bytes b);

/* Whether all bytes are zero, in the same way. */
MUST_USE bool secret_zero_bytes(struct bytes b);

/* Lends the raw bytes. It is the only way out: for src/crypto, and for the
 * codecs that write secrets. */
struct bytes secret_expose(const struct secret *s);

/* Takes a copy of raw bytes; ERR_LIMIT beyond SECRET_MAX. */
MUST_USE enum err secret_set(struct secret *s, struct bytes raw);

/* Copies `from`, which stays valid. The two may be the same. */
void secret_copy(struct secret *to, const struct secret *from);

/* Moves `from`, which is wiped. */
void secret_take(struct secret *to, struct secret *from);

/* Draws `len` <= SECRET_MAX random bytes. */
void secret_random(struct secret *s, size_t len, const struct random *r);
