/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CBOR (RFC 8949) item by item, in the manner of base/wire.h: errors are
 * sticky, a failed reader looks empty, strings borrow from the input. libcbor
 * decodes each head; nothing is allocated. Items of indefinite length are
 * refused: nothing that Sotto reads needs them.
 */
#pragma once

#include "base/wire.h"

enum item_kind {
    ITEM_NONE, /* at the end, or after a failure */
    ITEM_UINT,
    ITEM_NEGINT,
    ITEM_BYTES,
    ITEM_TEXT, /* valid UTF-8 */
    ITEM_ARRAY,
    ITEM_MAP,
    ITEM_TAG,
    ITEM_BOOL,
    ITEM_NULL,
    ITEM_OTHER, /* a float or undefined */
};

struct item {
    enum item_kind kind;
    uint64_t value; /* of a number, bool or tag; the count of an array or map */
    struct bytes bytes;
};

/* Lends a reader, whose rest and error it shares. */
struct item item_peek(struct reader *r);
struct item item_next(struct reader *r);

/* The next item must be of that kind, or the reader fails. */
uint64_t item_uint(struct reader *r, uint64_t max);
struct bytes item_bytes(struct reader *r);
struct bytes item_text(struct reader *r);
bool item_bool(struct reader *r);
void item_array(struct reader *r, uint64_t count);
uint64_t item_array_any(struct reader *r);

/* Takes null, or leaves what else there is. */
bool item_null(struct reader *r);

/* Passes over a whole item with all that is in it. */
void item_skip(struct reader *r);

/* Deterministic encodings (RFC 8949, section 4.2). */
void item_put_uint(struct writer *w, uint64_t v);
void item_put_bytes(struct writer *w, struct bytes b);
void item_put_text(struct writer *w, struct bytes b);
void item_put_bool(struct writer *w, bool v);
void item_put_null(struct writer *w);
void item_put_array(struct writer *w, size_t count);
void item_put_map(struct writer *w, size_t count);
