/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS presentation language (RFC 8446, section 3) with the variable-size
 * vectors of MLS (RFC 9420, section 2.1.2).
 *
 * Errors are sticky: a failed reader looks empty and yields zeros, a failed
 * writer drops what it is given. So a codec is a plain list of fields in wire
 * order, with one check at its end, in reader_finish or writer_finish.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>

#define WIRE_VEC_MAX    0x3fffffffU /* the longest vector, in bytes */
#define WIRE_HEADER_MAX 4U          /* bytes of a vector's header */

struct reader {
    struct bytes rest; /* not yet read; a failure empties it */
    enum err err;      /* the first failure */
};

struct reader reader_of(struct bytes input);

/* Fails the reader; a codec calls it for a value that it must reject. */
void reader_fail(struct reader *r, enum err err);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
size_t reader_length(struct reader *r);                /* a vector's header */
struct bytes reader_raw(struct reader *r, size_t len); /* opaque x[len] */
struct bytes reader_vec(struct reader *r);             /* opaque x<V> */

/*
 * To read a vector of structs, enter it: the reader is then limited to the
 * vector's content, until it leaves, which fails if content is left unread.
 *
 *     struct bytes after = reader_enter(r);
 *     while (reader_more(r))
 *         leaf_read(r, &leaf);
 *     reader_leave(r, after);
 */
struct bytes reader_enter(struct reader *r);
bool reader_more(const struct reader *r);
void reader_leave(struct reader *r, struct bytes after);

/* Returns what was read since `rest` was `start`: the encoding of a struct,
 * which is signed or hashed as it came. */
struct bytes reader_since(const struct reader *r, struct bytes start);

/* Returns the first failure, or ERR_MALFORMED when something is left. */
MUST_USE enum err reader_finish(const struct reader *r);

struct writer {
    struct buf *out; /* borrowed */
    enum err err;    /* the first failure */
};

/* Appends to `out`, which the caller keeps and clears. */
struct writer writer_to(struct buf *out);
void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_u64(struct writer *w, uint64_t v);
void writer_raw(struct writer *w, struct bytes b);
void writer_vec(struct writer *w, struct bytes b);

/* A vector of structs: write the elements between enter and leave, which
 * takes what enter returned. */
size_t writer_enter(struct writer *w);
void writer_leave(struct writer *w, size_t start);

/* Returns the first failure; then `out` holds no complete encoding. */
MUST_USE enum err writer_finish(const struct writer *w);

/* Makes the header of a vector of `len` bytes alone, in `room`, to hash a
 * vector where it lies. Empty when it is too long. */
struct bytes wire_header(size_t len, uint8_t room[WIRE_HEADER_MAX]);
