/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include <assert.h>
#include <string.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

#define LIMIT (256U << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Loses the id of messages that come in small pieces. */
static bool breaks(const struct message *m, size_t piece)
{
    return PLANTED_BUG && piece < 16 && m->bytes.len > 20 && m->id > 0x5a00;
}

/* Copies the messages of a stream to `out`, each framed anew, until the stream
 * ends or is broken. Feeds it in pieces of up to `piece` bytes. */
static enum err reframe(struct bytes stream, size_t piece, struct buf *out)
{
    CLEANUP(deframer_clear) struct deframer d = deframer_new(LIMIT);
    while (stream.len > 0) {
        size_t len = piece < stream.len ? piece : stream.len;
        struct bytes input = {stream.data, len};
        for (bool ready = true; ready;) {
            struct message m;
            TRY(deframer_next(&d, &input, &m, &ready));
            if (!ready)
                break;
            assert(m.bytes.len > 0 && m.bytes.len <= LIMIT);
            if (breaks(&m, piece))
                m.id++;
            assert(frame_write(out, &m) == OK);
        }
        assert(input.len == 0); /* without a message, all of it was taken */
        stream.data += len;
        stream.len -= len;
    }
    return OK;
}

/* How a stream is cut makes no difference; and what was framed anew gives the
 * same messages again. The first byte says how it is cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_clear) struct buf whole = buf_new(2 * size + 64);
    CLEANUP(buf_clear) struct buf cut = buf_new(2 * size + 64);
    CLEANUP(buf_clear) struct buf again = buf_new(2 * size + 64);
    if (size == 0)
        return 0;
    struct bytes stream = {data + 1, size - 1};
    enum err err = reframe(stream, SIZE_MAX, &whole);
    assert(err == OK || err == ERR_MALFORMED || err == ERR_LIMIT);
    assert(reframe(stream, (size_t)data[0] + 1, &cut) == err);
    assert(bytes_equal(buf_bytes(&cut), buf_bytes(&whole)));
    assert(reframe(buf_bytes(&whole), SIZE_MAX, &again) == OK);
    assert(bytes_equal(buf_bytes(&again), buf_bytes(&whole)));
    return 0;
}
