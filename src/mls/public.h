/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between our types and those of the installed header. They have the same
 * shape; only the names differ.
 */
#pragma once

#include "base/buf.h"
#include "base/random.h"
#include "crypto/crypto.h"
#include "crypto/hash.h"
#include "sotto/mls_components.h"

#include <string.h>

struct sotto_mls {
    struct crypto *crypto;
    struct random random;
    struct sotto_credential_check credential_check;
    struct sotto_component_logic component_logic;
    struct sotto_workers workers;
    struct crypto *worker_crypto[SOTTO_WORKERS_MAX]; /* one for each part */
};

static inline struct bytes bytes_in(struct sotto_bytes b)
{
    return (struct bytes){b.data, b.len};
}

static inline struct sotto_bytes bytes_out(struct bytes b)
{
    return (struct sotto_bytes){b.data, b.len};
}

/* api.c asserts that the codes are the same. */
static inline enum sotto_err err_out(enum err err)
{
    return (enum sotto_err)err;
}

/* A view is wrong when it has a length and no data. */
static inline bool bad_view(struct sotto_bytes b)
{
    return b.data == NULL && b.len > 0;
}

static inline void digest_out(const struct digest *from, struct sotto_ref *to)
{
    _Static_assert(sizeof(to->data) == sizeof(from->data), "same size");
    memcpy(to->data, from->data, sizeof(to->data));
    to->len = from->len;
}

/* Hands the block of `from` over to the caller, who had nothing in `to`. */
static inline void buf_give(struct buf *from, struct sotto_buf *to)
{
    *to = (struct sotto_buf){from->data, from->len, from->cap};
    *from = buf_new(from->max);
}
