/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/item.h"

#include <cbor.h>

#define HEAD_MAX 9U

/* --- libcbor calls back once for each head --- */

static void take(void *ctx, enum item_kind kind, uint64_t value)
{
    struct item *item = ctx;
    item->kind = kind;
    item->value = value;
}

static void on_uint8(void *ctx, uint8_t v) { take(ctx, ITEM_UINT, v); }
static void on_uint16(void *ctx, uint16_t v) { take(ctx, ITEM_UINT, v); }
static void on_uint32(void *ctx, uint32_t v) { take(ctx, ITEM_UINT, v); }
static void on_uint64(void *ctx, uint64_t v) { take(ctx, ITEM_UINT, v); }
static void on_neg8(void *ctx, uint8_t v) { take(ctx, ITEM_NEGINT, v); }
static void on_neg16(void *ctx, uint16_t v) { take(ctx, ITEM_NEGINT, v); }
static void on_neg32(void *ctx, uint32_t v) { take(ctx, ITEM_NEGINT, v); }
static void on_neg64(void *ctx, uint64_t v) { take(ctx, ITEM_NEGINT, v); }
static void on_array(void *ctx, size_t n) { take(ctx, ITEM_ARRAY, n); }
static void on_map(void *ctx, size_t n) { take(ctx, ITEM_MAP, n); }
static void on_tag(void *ctx, uint64_t v) { take(ctx, ITEM_TAG, v); }
static void on_bool(void *ctx, bool v) { take(ctx, ITEM_BOOL, v); }
static void on_null(void *ctx) { take(ctx, ITEM_NULL, 0); }
static void on_undefined(void *ctx) { take(ctx, ITEM_OTHER, 0); }
static void on_float(void *ctx, float v)
{
    (void)v;
    take(ctx, ITEM_OTHER, 0);
}
static void on_double(void *ctx, double v)
{
    (void)v;
    take(ctx, ITEM_OTHER, 0);
}

static void on_bytes(void *ctx, cbor_data data, size_t len)
{
    struct item *item = ctx;
    take(ctx, ITEM_BYTES, 0);
    item->bytes = (struct bytes){data, len};
}

static void on_text(void *ctx, cbor_data data, size_t len)
{
    struct item *item = ctx;
    take(ctx, ITEM_TEXT, 0);
    item->bytes = (struct bytes){data, len};
}

/* Indefinite lengths and breaks leave the item as it is: ITEM_NONE. */
static void on_refused(void *ctx) { (void)ctx; }

static const struct cbor_callbacks callbacks = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint64,
    .negint8 = on_neg8,
    .negint16 = on_neg16,
    .negint32 = on_neg32,
    .negint64 = on_neg64,
    .byte_string_start = on_refused,
    .byte_string = on_bytes,
    .string = on_text,
    .string_start = on_refused,
    .indef_array_start = on_refused,
    .array_start = on_array,
    .indef_map_start = on_refused,
    .map_start = on_map,
    .tag = on_tag,
    .float2 = on_float,
    .float4 = on_float,
    .float8 = on_double,
    .undefined = on_undefined,
    .null = on_null,
    .boolean = on_bool,
    .indef_break = on_refused,
};

/* The length of the UTF-8 sequence at the start of `b`; 0: there is none
 * (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). */
static size_t utf8_sequence(struct bytes b)
{
    uint8_t first = b.data[0];
    if (first < 0x80)
        return 1;
    size_t len = 2 + (size_t)(first >= 0xe0) + (first >= 0xf0);
    uint32_t v = first & (0x7fU >> len);
    if (first < 0xc2 || first > 0xf4 || len > b.len)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((b.data[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (b.data[i] & 0x3fU);
    }
    if ((len == 3 && v < 0x800) || (len == 4 && v < 0x10000) ||
        (v >= 0xd800 && v <= 0xdfff) || v > 0x10ffff)
        return 0;
    return len;
}

static bool utf8_valid(struct bytes b)
{
    while (b.len > 0) {
        size_t len = utf8_sequence(b);
        if (len == 0)
            return false;
        b.data += len;
        b.len -= len;
    }
    return true;
}

/* --- reading --- */

/* Decodes the item at the start; `out_size` is that of its head and, for a
 * string, its content. */
static struct item decode(struct reader *r, size_t *out_size)
{
    struct item item = {ITEM_NONE, 0, {0}};
    *out_size = 0;
    if (!reader_more(r))
        return item;
    struct cbor_decoder_result result =
        cbor_stream_decode(r->rest.data, r->rest.len, &callbacks, &item);
    if (result.status != CBOR_DECODER_FINISHED || item.kind == ITEM_NONE ||
        (item.kind == ITEM_TEXT && !utf8_valid(item.bytes))) {
        reader_fail(r, ERR_MALFORMED);
        return (struct item){ITEM_NONE, 0, {0}};
    }
    *out_size = result.read;
    return item;
}

struct item item_peek(struct reader *r)
{
    size_t size;
    return decode(r, &size);
}

struct item item_next(struct reader *r)
{
    size_t size;
    struct item item = decode(r, &size);
    if (item.kind == ITEM_NONE)
        reader_fail(r, ERR_MALFORMED);
    (void)reader_raw(r, size);
    return item;
}

static struct item expect(struct reader *r, enum item_kind kind)
{
    struct item item = item_next(r);
    if (item.kind == kind)
        return item;
    reader_fail(r, ERR_MALFORMED);
    return (struct item){ITEM_NONE, 0, {0}};
}

uint64_t item_uint(struct reader *r, uint64_t max)
{
    uint64_t v = expect(r, ITEM_UINT).value;
    if (v > max)
        reader_fail(r, ERR_MALFORMED);
    return r->err == OK ? v : 0;
}

struct bytes item_bytes(struct reader *r)
{
    return expect(r, ITEM_BYTES).bytes;
}

struct bytes item_text(struct reader *r) { return expect(r, ITEM_TEXT).bytes; }

bool item_bool(struct reader *r) { return expect(r, ITEM_BOOL).value != 0; }

void item_array(struct reader *r, uint64_t count)
{
    if (item_array_any(r) != count)
        reader_fail(r, ERR_MALFORMED);
}

uint64_t item_array_any(struct reader *r)
{
    return expect(r, ITEM_ARRAY).value;
}

bool item_null(struct reader *r)
{
    if (item_peek(r).kind != ITEM_NULL)
        return false;
    (void)item_next(r);
    return true;
}

void item_skip(struct reader *r)
{
    uint64_t items = 1;
    while (items > 0 && r->err == OK) {
        struct item item = item_next(r);
        items--;
        if (item.value > r->rest.len &&
            (item.kind == ITEM_ARRAY || item.kind == ITEM_MAP))
            reader_fail(r, ERR_MALFORMED); /* more items than bytes */
        else if (item.kind == ITEM_ARRAY)
            items += item.value;
        else if (item.kind == ITEM_MAP)
            items += 2 * item.value;
        else if (item.kind == ITEM_TAG)
            items++;
    }
}

/* --- writing --- */

void item_put_uint(struct writer *w, uint64_t v)
{
    uint8_t head[HEAD_MAX];
    writer_raw(w, (struct bytes){head, cbor_encode_uint(v, head, HEAD_MAX)});
}

void item_put_bytes(struct writer *w, struct bytes b)
{
    uint8_t head[HEAD_MAX];
    size_t len = cbor_encode_bytestring_start(b.len, head, HEAD_MAX);
    writer_raw(w, (struct bytes){head, len});
    writer_raw(w, b);
}

void item_put_text(struct writer *w, struct bytes b)
{
    uint8_t head[HEAD_MAX];
    size_t len = cbor_encode_string_start(b.len, head, HEAD_MAX);
    writer_raw(w, (struct bytes){head, len});
    writer_raw(w, b);
}

void item_put_bool(struct writer *w, bool v)
{
    uint8_t head[HEAD_MAX];
    writer_raw(w, (struct bytes){head, cbor_encode_bool(v, head, HEAD_MAX)});
}

void item_put_null(struct writer *w)
{
    uint8_t head[HEAD_MAX];
    writer_raw(w, (struct bytes){head, cbor_encode_null(head, HEAD_MAX)});
}

void item_put_array(struct writer *w, size_t count)
{
    uint8_t head[HEAD_MAX];
    size_t len = cbor_encode_array_start(count, head, HEAD_MAX);
    writer_raw(w, (struct bytes){head, len});
}

void item_put_map(struct writer *w, size_t count)
{
    uint8_t head[HEAD_MAX];
    size_t len = cbor_encode_map_start(count, head, HEAD_MAX);
    writer_raw(w, (struct bytes){head, len});
}
