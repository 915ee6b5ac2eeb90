/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vectors of the MLS working group, one function per kind of file. A kind
 * is known by a key that each of its cases has and no other kind has.
 */
#pragma once

#include "crypto/crypto.h"

#include <jansson.h>

enum verdict {
    PASS,
    FAIL,
    SKIP
};

#define WHY_SIZE 200

struct vector_kind {
    const char *name;
    const char *key;     /* in every case of this kind */
    const char *not_key; /* in none of them; may be NULL */
    enum verdict (*run)(struct crypto *c, const json_t *case_,
                        char why[WHY_SIZE]);
};

/* mls_low.c: objects, tree, key schedule. Ends with a row without a name. */
extern const struct vector_kind mls_low_kinds[];
/* mls_high.c: framing and groups. */
extern const struct vector_kind mls_high_kinds[];
