/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"
#include "proto/message.h"
#include "server/web.h"

#include <assert.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

#define HELD_MAX  (256U << 10)
#define BLOB_SIZE 100000U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The other sides: a core that answers at once, and a client that reads. */
struct world {
    struct web *web;
    struct buf sent;    /* to the client */
    struct buf frames;  /* from its WebSocket */
    struct buf request; /* to the core; empty: none */
    uint64_t stored;
    bool opened;
};

static enum err on_send(void *ctx, struct bytes bytes)
{
    struct world *w = ctx;
    return buf_append(&w->sent, bytes);
}

static enum err on_open(void *ctx, struct bytes origin)
{
    struct world *w = ctx;
    assert(!w->opened && origin.len < 8192);
    w->opened = true;
    return OK;
}

static enum err on_ask(void *ctx, uint32_t id, struct bytes message)
{
    struct world *w = ctx;
    (void)id;
    assert(w->opened && w->request.len == 0); /* one at a time */
    return buf_append(&w->request, message);
}

static enum err on_frames(void *ctx, struct bytes bytes)
{
    struct world *w = ctx;
    assert(w->opened && bytes.len > 0);
    return buf_append(&w->frames, bytes);
}

static bool is_healthy(void *ctx)
{
    (void)ctx;
    return true;
}

static enum err on_metrics(void *ctx, struct buf *out)
{
    (void)ctx;
    return buf_append(out, BYTES_LIT("x 1\n"));
}

static const struct web_user user = {on_send,   on_open,    on_ask,
                                     on_frames, is_healthy, on_metrics};

static void fill_answer(struct world *w, const struct request *q,
                        struct answer *a)
{
    static const uint8_t zeros[BLOB_SIZE];
    a->method = q->method;
    if (q->method == METHOD_HELLO) {
        a->hello.version = PROTOCOL_VERSION;
        a->hello.server_key = (struct bytes){zeros, KEY_SIZE};
        a->hello.server_nonce = (struct bytes){zeros, NONCE_SIZE};
        a->hello.signature = (struct bytes){zeros, SIGNATURE_SIZE};
    } else if (q->method == METHOD_BLOB_GET) {
        assert(q->blob_get.offset <= BLOB_SIZE);
        size_t left = BLOB_SIZE - (size_t)q->blob_get.offset;
        a->blob_get.total = BLOB_SIZE;
        a->blob_get.data = (struct bytes){
            zeros, left < q->blob_get.max ? left : q->blob_get.max};
    } else {
        assert(q->method == METHOD_BLOB_PUT);
        if (q->blob_put.data.len > 0)
            assert(q->blob_put.offset == w->stored &&
                   q->blob_put.data.len <= q->blob_put.total - w->stored);
        w->stored += q->blob_put.data.len;
        a->blob_put.stored = w->stored;
    }
}

/* Does what the loop would, until nothing moves any more. */
static enum err settle(struct world *w)
{
    while (!web_done(w->web)) {
        struct request q;
        struct answer a = {0};
        CLEANUP(buf_clear) struct buf answer = buf_new(1U << 20);
        assert(web_held(w->web) <= HELD_MAX);
        if (w->request.len == 0)
            TRY(web_drained(w->web));
        if (w->request.len == 0)
            return OK;
        assert(web_asks(w->web));
        assert(request_read(buf_bytes(&w->request), &q) == OK);
        fill_answer(w, &q, &a);
        assert(answer_write(&answer, &a) == OK);
        buf_truncate(&w->request, 0);
        TRY(web_answer(w->web, buf_bytes(&answer)));
    }
    return OK;
}

/* Loses a byte of what follows an upgrade, when it comes in small pieces. */
static void maybe_break(const struct world *w, size_t piece,
                        struct bytes *stream)
{
    if (PLANTED_BUG && piece < 8 && w->opened && stream->len > 8 &&
        stream->data[0] == 'z')
        *stream = (struct bytes){stream->data + 1, stream->len - 1};
}

/* Serves a stream that comes in pieces; tells everything that was sent. */
static enum err serve(struct bytes stream, enum web_door door, size_t piece,
                      struct world *w)
{
    *w = (struct world){.sent = buf_new(1U << 20),
                        .frames = buf_new(1U << 20),
                        .request = buf_new(1U << 20)};
    TRY(web_create(door, &user, w, &w->web));
    while (stream.len > 0 && !web_done(w->web)) {
        maybe_break(w, piece, &stream);
        size_t len = piece < stream.len ? piece : stream.len;
        TRY(web_data(w->web, (struct bytes){stream.data, len}));
        TRY(settle(w));
        stream = (struct bytes){stream.data + len, stream.len - len};
    }
    return OK;
}

static void world_clear(struct world *w)
{
    web_free(&w->web);
    buf_clear(&w->sent);
    buf_clear(&w->frames);
    buf_clear(&w->request);
}

/* How a stream is cut makes no difference to what is answered, and nothing is
 * sent after the end. The first byte says how it is cut and where it comes in.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(world_clear) struct world whole = {0};
    CLEANUP(world_clear) struct world cut = {0};
    if (size == 0 || size > (16U << 10))
        return 0;
    enum web_door door = (enum web_door)(data[0] % WEB_DOORS_);
    struct bytes stream = {data + 1, size - 1};
    enum err err = serve(stream, door, SIZE_MAX, &whole);
    assert(serve(stream, door, data[0] / WEB_DOORS_ + 1U, &cut) == err);
    assert(bytes_equal(buf_bytes(&cut.sent), buf_bytes(&whole.sent)));
    assert(bytes_equal(buf_bytes(&cut.frames), buf_bytes(&whole.frames)));
    assert(cut.stored == whole.stored);
    web_end(whole.web);
    if (!web_done(whole.web))
        return 0;
    size_t sent = whole.sent.len;
    web_end(whole.web);
    assert(web_data(whole.web, stream) == OK);
    assert(whole.sent.len == sent);
    return 0;
}
