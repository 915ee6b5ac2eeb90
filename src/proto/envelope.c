/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/envelope.h"

#define VERSION      1U
#define BUCKET_FIRST 256U
#define BUCKET_STEP  4096U

static size_t bucket_of(size_t len)
{
    size_t bucket = BUCKET_FIRST;
    while (bucket < len && bucket < BUCKET_STEP)
        bucket *= 2;
    if (len > BUCKET_STEP)
        bucket = (len + BUCKET_STEP - 1) / BUCKET_STEP * BUCKET_STEP;
    return bucket;
}

enum err envelope_write(struct buf *out, const struct envelope *e)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    if (e->content_id.len != CONTENT_ID_SIZE ||
        e->log_hash.len != LOG_HASH_SIZE)
        return ERR_INVALID;
    if (e->body.len > ENVELOPE_MAX / 2)
        return ERR_LIMIT;
    writer_u8(&w, VERSION);
    writer_u8(&w, e->type);
    writer_raw(&w, e->content_id);
    writer_u64(&w, e->seq);
    writer_raw(&w, e->log_hash);
    writer_vec(&w, e->body);
    enum err err = writer_finish(&w);
    size_t len = out->len - before;
    if (err == OK)
        err = buf_extend(out, bucket_of(len) - len);
    if (err != OK)
        buf_truncate(out, before);
    return err;
}

/* Padding must be zeros, so that nothing can be hidden in it, and reach the
 * end of a bucket, so that a sender that does not pad is noticed. */
static void padding_read(struct reader *r, size_t whole)
{
    struct bytes padding = reader_raw(r, r->rest.len);
    for (size_t i = 0; i < padding.len; i++) {
        if (padding.data[i] != 0)
            reader_fail(r, ERR_MALFORMED);
    }
    if (bucket_of(whole - padding.len) != whole)
        reader_fail(r, ERR_MALFORMED);
}

enum err envelope_read(struct bytes plaintext, struct envelope *out)
{
    struct envelope e;
    if (plaintext.len > ENVELOPE_MAX)
        return ERR_LIMIT;
    struct reader r = reader_of(plaintext);
    if (reader_u8(&r) != VERSION)
        reader_fail(&r, ERR_MALFORMED);
    e.type = reader_u8(&r);
    e.content_id = reader_raw(&r, CONTENT_ID_SIZE);
    e.seq = reader_u64(&r);
    e.log_hash = reader_raw(&r, LOG_HASH_SIZE);
    e.body = reader_vec(&r);
    if (r.err == OK)
        padding_read(&r, plaintext.len);
    TRY(reader_finish(&r));
    *out = e;
    return OK;
}
