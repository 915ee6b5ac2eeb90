/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/inbox.h"

#include "identity/state.h"
#include "proto/sealing.h"

#define VERSION    1U
#define PLAIN_SIZE (INBOX_ITEM_SIZE - 1U - SEALING_OVERHEAD)

static struct bytes address_read(struct reader *r)
{
    struct bytes b = reader_vec(r);
    if (b.len == 0 || b.len > SERVER_ADDRESS_MAX)
        reader_fail(r, ERR_MALFORMED);
    return b;
}

static void welcome_read(struct reader *r, struct inbox_welcome *x)
{
    x->server_address = address_read(r);
    x->server_key = reader_raw(r, KEY_SIZE);
    x->channel = reader_raw(r, ID_SIZE);
    x->blob = reader_raw(r, ID_SIZE);
    x->blob_key = reader_raw(r, KEY_SIZE);
    x->commit_seq = reader_u64(r);
    x->log_hash = reader_raw(r, ID_SIZE);
}

static bool sizes_are(size_t size, const struct bytes *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].len != size)
            return false;
    }
    return true;
}

static enum err welcome_write(struct writer *w, const struct inbox_welcome *x)
{
    const struct bytes fixed[] = {x->server_key, x->channel, x->blob,
                                  x->blob_key, x->log_hash};
    if (!sizes_are(ID_SIZE, fixed, sizeof(fixed) / sizeof(fixed[0])))
        return ERR_INVALID;
    writer_vec(w, x->server_address);
    writer_raw(w, x->server_key);
    writer_raw(w, x->channel);
    writer_raw(w, x->blob);
    writer_raw(w, x->blob_key);
    writer_u64(w, x->commit_seq);
    writer_raw(w, x->log_hash);
    return writer_finish(w);
}

static void rejoin_read(struct reader *r, struct inbox_rejoin *x)
{
    x->server_address = address_read(r);
    x->server_key = reader_raw(r, KEY_SIZE);
    x->channel = reader_raw(r, ID_SIZE);
    x->account_id = reader_raw(r, ID_SIZE);
    x->device_id = reader_raw(r, ID_SIZE);
    x->contact_cap = reader_raw(r, CAP_SIZE);
    x->epoch = reader_u64(r);
    x->time = reader_u64(r);
    x->signature = reader_vec(r);
    if (x->signature.len != SIGNATURE_SIZE)
        reader_fail(r, ERR_MALFORMED);
}

/* All but the signature, which is over it. */
static enum err rejoin_body_write(struct writer *w,
                                  const struct inbox_rejoin *x)
{
    const struct bytes fixed[] = {x->server_key, x->channel, x->account_id,
                                  x->device_id, x->contact_cap};
    if (!sizes_are(ID_SIZE, fixed, sizeof(fixed) / sizeof(fixed[0])))
        return ERR_INVALID;
    writer_vec(w, x->server_address);
    writer_raw(w, x->server_key);
    writer_raw(w, x->channel);
    writer_raw(w, x->account_id);
    writer_raw(w, x->device_id);
    writer_raw(w, x->contact_cap);
    writer_u64(w, x->epoch);
    writer_u64(w, x->time);
    return writer_finish(w);
}

static enum err rejoin_write(struct writer *w, const struct inbox_rejoin *x)
{
    if (x->signature.len != SIGNATURE_SIZE)
        return ERR_INVALID;
    TRY(rejoin_body_write(w, x));
    writer_vec(w, x->signature);
    return writer_finish(w);
}

static enum err plain_write(struct buf *out, const struct inbox_message *m)
{
    struct writer w = writer_to(out);
    writer_u8(&w, m->type);
    if (m->type == INBOX_WELCOME)
        TRY(welcome_write(&w, &m->welcome));
    else if (m->type == INBOX_REJOIN)
        TRY(rejoin_write(&w, &m->rejoin));
    else
        return ERR_INVALID;
    return buf_extend(out, PLAIN_SIZE - out->len);
}

enum err inbox_seal(struct crypto *c, const struct random *random,
                    struct bytes sealing_key, const struct inbox_message *m,
                    struct buf *out)
{
    CLEANUP(buf_clear) struct buf plain = buf_new(PLAIN_SIZE);
    struct sealing s = {.label = LABEL_INBOX_ITEM};
    size_t before = out->len;
    struct writer w = writer_to(out);

    TRY(plain_write(&plain, m));
    writer_u8(&w, VERSION);
    enum err err = writer_finish(&w);
    if (err == OK)
        err = sealing_seal(c, random, sealing_key, &s, buf_bytes(&plain), out);
    if (err != OK)
        buf_truncate(out, before);
    return err;
}

static enum err plain_read(struct bytes plain, struct inbox_message *out)
{
    struct reader r = reader_of(plain);
    struct inbox_message m = {.type = reader_u8(&r)};
    if (m.type == INBOX_WELCOME)
        welcome_read(&r, &m.welcome);
    else if (m.type == INBOX_REJOIN)
        rejoin_read(&r, &m.rejoin);
    else
        return r.err == OK ? ERR_NOTFOUND : r.err;
    struct bytes padding = reader_raw(&r, r.rest.len);
    for (size_t i = 0; i < padding.len; i++) {
        if (padding.data[i] != 0)
            reader_fail(&r, ERR_MALFORMED);
    }
    TRY(reader_finish(&r));
    *out = m;
    return OK;
}

enum err inbox_open(struct crypto *c, const struct secret *sealing_key,
                    struct bytes item, struct buf *out_plain,
                    struct inbox_message *out)
{
    struct sealing s = {.label = LABEL_INBOX_ITEM};
    size_t before = out_plain->len;
    struct reader r = reader_of(item);

    if (item.len != INBOX_ITEM_SIZE || reader_u8(&r) != VERSION)
        return ERR_MALFORMED;
    TRY(sealing_open(c, sealing_key, &s, r.rest, out_plain));
    struct bytes plain = {out_plain->data + before, out_plain->len - before};
    enum err err = plain_read(plain, out);
    if (err != OK)
        buf_truncate(out_plain, before);
    return err;
}

static enum err rejoin_content(const struct inbox_rejoin *q, struct buf *out)
{
    struct writer w = writer_to(out);
    return rejoin_body_write(&w, q);
}

enum err rejoin_sign(struct crypto *c, const struct secret *device,
                     const struct inbox_rejoin *q, struct buf *out_signature)
{
    CLEANUP(buf_clear) struct buf content = buf_new(PLAIN_SIZE);
    TRY(rejoin_content(q, &content));
    return label_sign(c, LABEL_REJOIN, device, buf_bytes(&content),
                      out_signature);
}

enum err rejoin_verify(struct crypto *c, struct bytes device_key,
                       const struct inbox_rejoin *q)
{
    CLEANUP(buf_clear) struct buf content = buf_new(PLAIN_SIZE);
    TRY(rejoin_content(q, &content));
    return label_verify(c, LABEL_REJOIN, device_key, buf_bytes(&content),
                        q->signature);
}
