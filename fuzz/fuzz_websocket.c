/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "sys/websocket.h"

#include <assert.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

#define ROOM 512U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Forgets, at a cut in the middle of a long frame, where the mask goes on. */
static void maybe_break(struct websocket *ws)
{
    if (PLANTED_BUG && ws->in_frame && ws->left > 40 && ws->header[0] == 0x02)
        ws->mask_at = 0;
}

/* Adds a frame that says the same as a piece. Data in a row is one frame. */
static void write_down(struct buf *out, const struct websocket_piece *p)
{
    static const uint8_t marks[] = {0, 'd', 'i', 'o', 'c'};
    if (p->kind != WEBSOCKET_DATA)
        assert(p->bytes.len <= WEBSOCKET_CONTROL_MAX &&
               buf_append(out, (struct bytes){&marks[p->kind], 1}) == OK);
    assert(buf_append(out, p->bytes) == OK);
}

/* Feeds a stream in steps and with room of the given sizes. */
static enum err listen(struct bytes stream, size_t step, size_t room_len,
                       struct buf *out)
{
    struct websocket ws = {0};
    uint8_t room[ROOM];
    while (stream.len > 0) {
        size_t len = step < stream.len ? step : stream.len;
        struct bytes input = {stream.data, len};
        for (;;) {
            struct websocket_piece p = {0};
            TRY(websocket_next(&ws, &input, room, room_len, &p));
            if (p.kind == WEBSOCKET_MORE)
                break;
            write_down(out, &p);
        }
        maybe_break(&ws);
        assert(input.len == 0);
        stream = (struct bytes){stream.data + len, stream.len - len};
    }
    return OK;
}

/* How a stream is cut, and how much room there is, makes no difference. The
 * first byte says how. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_clear) struct buf whole = buf_new(2 * size + 64);
    CLEANUP(buf_clear) struct buf cut = buf_new(2 * size + 64);
    if (size == 0)
        return 0;
    struct bytes stream = {data + 1, size - 1};
    enum err err = listen(stream, SIZE_MAX, ROOM, &whole);
    assert(err == OK || err == ERR_MALFORMED || err == ERR_INVALID);
    assert(listen(stream, (data[0] & 0x1fU) + 1, (data[0] >> 5) + 1U, &cut) ==
           err);
    assert(bytes_equal(buf_bytes(&cut), buf_bytes(&whole)));
    return 0;
}
