/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"

#include <string.h>

/* The size of the length header of a vector; 0 if the vector is too long. */
static size_t header_size(size_t len)
{
    if (len <= 0x3f)
        return 1;
    if (len <= 0x3fff)
        return 2;
    return len <= WIRE_VEC_MAX ? 4 : 0;
}

struct reader reader_of(struct bytes input)
{
    return (struct reader){.rest = input};
}

void reader_fail(struct reader *r, enum err err)
{
    r->rest = (struct bytes){0};
    if (r->err == OK)
        r->err = err;
}

struct bytes reader_raw(struct reader *r, size_t len)
{
    if (len > r->rest.len)
        reader_fail(r, ERR_MALFORMED);
    if (r->err != OK || len == 0)
        return (struct bytes){0};
    struct bytes taken = {r->rest.data, len};
    r->rest.data += len;
    r->rest.len -= len;
    return taken;
}

static uint64_t read_uint(struct reader *r, size_t size)
{
    struct bytes b = reader_raw(r, size);
    uint64_t v = 0;
    for (size_t i = 0; i < b.len; i++)
        v = v << 8 | b.data[i];
    return v;
}

uint8_t reader_u8(struct reader *r) { return (uint8_t)read_uint(r, 1); }
uint16_t reader_u16(struct reader *r) { return (uint16_t)read_uint(r, 2); }
uint32_t reader_u32(struct reader *r) { return (uint32_t)read_uint(r, 4); }
uint64_t reader_u64(struct reader *r) { return read_uint(r, 8); }

/* Only the shortest header is valid (RFC 9420, section 2.1.2): each value has
 * one encoding, so that peers sign and hash the same bytes. */
size_t reader_length(struct reader *r)
{
    size_t first = reader_u8(r);
    size_t size = (size_t)1 << (first >> 6);
    size_t len = first & 0x3f;
    for (size_t i = 1; i < size; i++)
        len = len << 8 | reader_u8(r);
    if (header_size(len) != size) /* too long a form, or prefix 11 */
        reader_fail(r, ERR_MALFORMED);
    return r->err == OK ? len : 0;
}

struct bytes reader_vec(struct reader *r)
{
    return reader_raw(r, reader_length(r));
}

struct bytes reader_enter(struct reader *r)
{
    struct bytes content = reader_vec(r);
    struct bytes after = r->rest;
    r->rest = content;
    return after;
}

bool reader_more(const struct reader *r) { return r->rest.len > 0; }

void reader_leave(struct reader *r, struct bytes after)
{
    if (reader_more(r))
        reader_fail(r, ERR_MALFORMED);
    if (r->err == OK)
        r->rest = after;
}

struct bytes reader_since(const struct reader *r, struct bytes start)
{
    if (r->err != OK)
        return (struct bytes){0};
    return (struct bytes){start.data, start.len - r->rest.len};
}

enum err reader_finish(const struct reader *r)
{
    return r->err == OK && reader_more(r) ? ERR_MALFORMED : r->err;
}

struct writer writer_to(struct buf *out) { return (struct writer){.out = out}; }

/* Returns room for `len` more bytes; NULL if there is nothing to write. */
static uint8_t *extend(struct writer *w, size_t len)
{
    if (w->err == OK)
        w->err = buf_extend(w->out, len);
    if (w->err != OK || len == 0)
        return NULL;
    return w->out->data + w->out->len - len;
}

static void put_uint(uint8_t *at, uint64_t v, size_t size)
{
    for (size_t i = size; i-- > 0; v >>= 8)
        at[i] = (uint8_t)v;
}

static void put_header(uint8_t *at, size_t len, size_t size)
{
    put_uint(at, len, size);
    at[0] |= (uint8_t)(size / 2 << 6); /* size 1, 2, 4: prefix 0, 1, 2 */
}

struct bytes wire_header(size_t len, uint8_t room[WIRE_HEADER_MAX])
{
    size_t size = header_size(len);
    if (size > 0)
        put_header(room, len, size);
    return (struct bytes){room, size};
}

static void write_uint(struct writer *w, uint64_t v, size_t size)
{
    uint8_t *room = extend(w, size);
    if (room != NULL)
        put_uint(room, v, size);
}

void writer_u8(struct writer *w, uint8_t v) { write_uint(w, v, 1); }
void writer_u16(struct writer *w, uint16_t v) { write_uint(w, v, 2); }
void writer_u32(struct writer *w, uint32_t v) { write_uint(w, v, 4); }
void writer_u64(struct writer *w, uint64_t v) { write_uint(w, v, 8); }

void writer_raw(struct writer *w, struct bytes b)
{
    uint8_t *room = extend(w, b.len);
    if (room != NULL)
        memcpy(room, b.data, b.len);
}

void writer_vec(struct writer *w, struct bytes b)
{
    size_t start = writer_enter(w);
    writer_raw(w, b);
    writer_leave(w, start);
}

size_t writer_enter(struct writer *w)
{
    writer_u8(w, 0); /* room for a short header; leave makes more */
    return w->out->len;
}

void writer_leave(struct writer *w, size_t start)
{
    size_t len = w->out->len - start;
    size_t size = header_size(len);
    if (w->err == OK)
        w->err = size > 0 ? buf_extend(w->out, size - 1) : ERR_LIMIT;
    if (w->err != OK)
        return;
    uint8_t *header = w->out->data + start - 1;
    memmove(header + size, header + 1, len);
    put_header(header, len, size);
}

enum err writer_finish(const struct writer *w) { return w->err; }
