/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that wait to leave: added at the end, taken from the front. An empty
 * queue owns nothing, or a block that it was told to keep. It has no limit of
 * its own, since a message, once accepted, must go whole: whoever fills it
 * looks at its length first.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

struct queue {
    uint8_t *data;
    size_t start; /* data[start .. end) waits */
    size_t end;
    size_t cap;
    size_t keep; /* an empty queue keeps a block that is not larger */
};

/* Adds a copy. */
MUST_USE enum err queue_add(struct queue *q, struct bytes b);

/* Adds `len` bytes for the caller to fill at once, before any other call. */
MUST_USE enum err queue_extend(struct queue *q, size_t len, uint8_t **out);

/* Lends what waits, until the next change. */
struct bytes queue_front(const struct queue *q);

/* Drops `len` bytes from the front. */
void queue_drop(struct queue *q, size_t len);
void queue_clear(struct queue *q);
