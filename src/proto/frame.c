/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include <assert.h>
#include <string.h>

#define MORE         0x80U
#define LENGTH_EXTRA 5U /* what the length covers beside the fragment */

struct deframer deframer_new(size_t max)
{
    return (struct deframer){.max = max};
}

void deframer_clear(struct deframer *d)
{
    buf_clear(&d->pending);
    *d = deframer_new(d->max);
}

void deframer_limit(struct deframer *d, size_t max) { d->max = max; }

static struct bytes take(struct bytes *input, size_t max)
{
    struct bytes taken = {input->data, input->len < max ? input->len : max};
    if (taken.len > 0) {
        input->data += taken.len;
        input->len -= taken.len;
    }
    return taken;
}

static enum err pending_append(struct deframer *d, struct bytes part)
{
    struct writer w = writer_to(&d->pending);
    writer_raw(&w, part);
    return writer_finish(&w);
}

/* Checks the frame's header; a message's frames have one kind and one id, and
 * an empty fragment would make no progress. */
static enum err header_accept(struct deframer *d)
{
    struct reader r = reader_of((struct bytes){d->header, FRAME_HEADER});
    uint32_t length = reader_u32(&r);
    uint8_t kind = reader_u8(&r);
    uint32_t id = reader_u32(&r);
    bool first = !d->more;

    if (length <= LENGTH_EXTRA || length > FRAGMENT_MAX + LENGTH_EXTRA)
        return ERR_MALFORMED;
    d->left = length - LENGTH_EXTRA;
    d->more = (kind & MORE) != 0;
    kind = (uint8_t)(kind & ~MORE);
    if (kind < FRAME_REQUEST || kind > FRAME_EVENT)
        return ERR_MALFORMED;
    if (!first && (kind != d->kind || id != d->id))
        return ERR_MALFORMED;
    if (first)
        d->pending = buf_new(d->max);
    d->kind = kind;
    d->id = id;
    return d->left > d->pending.max - d->pending.len ? ERR_LIMIT : OK;
}

static void message_set(const struct deframer *d, struct bytes bytes,
                        struct message *out)
{
    *out = (struct message){(enum frame_kind)d->kind, d->id, bytes};
}

/* Takes a part of the fragment; sets `out_whole` at the end of a message. */
static enum err fragment_take(struct deframer *d, struct bytes *input,
                              struct message *out, bool *out_whole)
{
    bool fresh = d->pending.len == 0;
    struct bytes part = take(input, d->left);

    d->left -= part.len;
    if (d->left == 0)
        d->header_len = 0;
    *out_whole = d->left == 0 && !d->more;
    if (*out_whole && fresh) { /* all in one piece: lend it as it is */
        message_set(d, part, out);
        return OK;
    }
    TRY(pending_append(d, part));
    if (*out_whole) {
        message_set(d, buf_bytes(&d->pending), out);
        d->lent = true;
    }
    return OK;
}

static enum err next(struct deframer *d, struct bytes *input,
                     struct message *out, bool *out_ready)
{
    bool whole = false;
    while (!whole && input->len > 0) {
        struct bytes part = take(input, FRAME_HEADER - d->header_len);
        if (part.len > 0) {
            memcpy(d->header + d->header_len, part.data, part.len);
            d->header_len += part.len;
            if (d->header_len < FRAME_HEADER)
                break;
            TRY(header_accept(d));
        }
        if (input->len > 0)
            TRY(fragment_take(d, input, out, &whole));
    }
    *out_ready = whole;
    return OK;
}

enum err deframer_next(struct deframer *d, struct bytes *input,
                       struct message *out, bool *out_ready)
{
    if (d->lent) {
        buf_clear(&d->pending);
        d->lent = false;
    }
    if (d->err == OK)
        d->err = next(d, input, out, out_ready);
    return d->err;
}

static size_t fragment_count(size_t len)
{
    return len / FRAGMENT_MAX + (len % FRAGMENT_MAX != 0);
}

size_t frame_size(size_t len)
{
    return len + fragment_count(len) * FRAME_HEADER;
}

enum err frame_write(struct buf *out, const struct message *m)
{
    assert(m->bytes.len > 0 && m->bytes.len <= MESSAGE_MAX);
    size_t before = out->len;
    struct writer w = writer_to(out);
    struct bytes rest = m->bytes;

    while (rest.len > 0) {
        struct bytes part = take(&rest, FRAGMENT_MAX);
        uint8_t more = rest.len > 0 ? MORE : 0;
        writer_u32(&w, (uint32_t)part.len + LENGTH_EXTRA);
        writer_u8(&w, (uint8_t)(m->kind | more));
        writer_u32(&w, m->id);
        writer_raw(&w, part);
    }
    if (writer_finish(&w) != OK)
        buf_truncate(out, before);
    return writer_finish(&w);
}
