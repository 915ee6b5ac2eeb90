/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vectors of the MLS working group, one function per kind of file. A kind
 * is known by a key that each of its cases has and no other kind has.
 */
#pragma once

#include "base/bytes.h"
#include "crypto/crypto.h"
#include "crypto/suite.h"

#include <jansson.h>
#include <stdio.h>

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

/* Hex digits of a case, decoded into blocks of exact size that live until the
 * arena is cleared. */
struct hex_arena {
    struct hex_block *first;
};
void hex_arena_clear(struct hex_arena *a);
/* The value as bytes; empty when it is null, absent, or no hex. */
struct bytes hex_value(struct hex_arena *a, const json_t *value);
struct bytes hex_field(struct hex_arena *a, const json_t *object,
                       const char *key);
uint64_t int_field(const json_t *object, const char *key);
const struct suite *suite_field(const json_t *object);

/* Leaves a handler with FAIL, saying where. */
#define WANT(cond)                                                         \
    do {                                                                   \
        if (!(cond)) {                                                     \
            (void)snprintf(why, WHY_SIZE, "%s:%d: %s", __FILE__, __LINE__, \
                           #cond);                                         \
            return FAIL;                                                   \
        }                                                                  \
    } while (0)
