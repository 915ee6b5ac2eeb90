/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/content.h"

#include <assert.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Foreign CBOR need not be deterministic, but what was read and written is, and
 * means the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct content first;
    static struct content second;
    CLEANUP(buf_clear) struct buf out = buf_new(2 * size + 64);
    CLEANUP(buf_clear) struct buf again = buf_new(2 * size + 64);

    if (content_read((struct bytes){data, size}, &first) != OK) {
        assert(first.part_count == 0);
        return 0;
    }
    assert(content_write(&out, &first) == OK);
    assert(content_read(buf_bytes(&out), &second) == OK);
    assert(first.part_count == second.part_count);
    for (size_t i = 0; i < first.part_count; i++) {
        const struct part *a = &first.parts[i];
        const struct part *b = &second.parts[i];
        assert(a->depth == b->depth && a->cardinality == b->cardinality);
        assert(bytes_equal(a->content, b->content));
        assert(!PLANTED_BUG || a->depth < 2 || a->disposition != 9);
    }
    assert(bytes_equal(content_show(&first), content_show(&second)));
    assert(content_write(&again, &second) == OK);
    assert(bytes_equal(buf_bytes(&again), buf_bytes(&out)));
    return 0;
}
