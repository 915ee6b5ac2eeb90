/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Loses vectors of one length. */
static bool loses(struct bytes v) { return PLANTED_BUG && v.len == 13; }

/* Whatever parses must encode back to the same bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_clear) struct buf out = buf_new(size);
    struct reader r = reader_of((struct bytes){data, size});
    struct writer w = writer_to(&out);

    while (reader_more(&r)) {
        struct bytes after = reader_enter(&r);
        size_t start = writer_enter(&w);
        while (reader_more(&r)) {
            struct bytes v = reader_vec(&r);
            if (!loses(v))
                writer_vec(&w, v);
        }
        reader_leave(&r, after);
        writer_leave(&w, start);
    }
    if (reader_finish(&r) == OK) {
        assert(writer_finish(&w) == OK);
        assert(out.len == size);
        assert(size == 0 || memcmp(out.data, data, size) == 0);
    }
    return 0;
}
