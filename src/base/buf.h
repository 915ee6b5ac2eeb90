/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An owned block of bytes that grows up to a limit. Its content may be
 * secret, so a block is wiped before it is given back to the allocator.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max; /* len never exceeds it */
};

/* Returns an empty buffer, which owns nothing until it is extended. */
struct buf buf_new(size_t max);
void buf_clear(struct buf *b);

/* Lends the content, until `b` is next changed. */
struct bytes buf_bytes(const struct buf *b);

/* Makes room, so that `len` bytes more need no memory. */
MUST_USE enum err buf_reserve(struct buf *b, size_t len);

/* Adds `len` zero bytes at the end. */
MUST_USE enum err buf_extend(struct buf *b, size_t len);

/* Adds a copy of `b`, which must not lie in `to` itself. */
MUST_USE enum err buf_append(struct buf *to, struct bytes b);

/* Replaces the content by a copy of `b`, which must not lie in `to`. */
MUST_USE enum err buf_copy(struct buf *to, struct bytes b);

/* Cuts the content to its first `len` bytes and wipes the rest. */
void buf_truncate(struct buf *b, size_t len);
