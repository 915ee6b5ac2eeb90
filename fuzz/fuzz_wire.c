/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever parses must encode back to the same bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_clear) struct buf out = buf_new(size);
    struct reader r = reader_of((struct bytes){data, size});
    struct writer w = writer_to(&out);

    while (reader_more(&r)) {
        struct bytes after = reader_enter(&r);
        size_t start = writer_enter(&w);
        while (reader_more(&r))
            writer_vec(&w, reader_vec(&r));
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
