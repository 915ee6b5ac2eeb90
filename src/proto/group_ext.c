/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/group_ext.h"

#include "identity/state.h"

#define VERSION 1U

static struct reader versioned(struct bytes b)
{
    struct reader r = reader_of(b);
    if (reader_u8(&r) != VERSION)
        reader_fail(&r, ERR_MALFORMED);
    return r;
}

static struct bytes vec_read(struct reader *r, size_t min, size_t max)
{
    struct bytes b = reader_vec(r);
    if (b.len < min || b.len > max)
        reader_fail(r, ERR_MALFORMED);
    return b;
}

static enum err finish(const struct writer *w, size_t before)
{
    if (writer_finish(w) != OK)
        buf_truncate(w->out, before);
    return writer_finish(w);
}

enum err group_channel_read(struct bytes b, struct group_channel *out)
{
    struct group_channel x;
    struct reader r = versioned(b);
    x.server_address = vec_read(&r, 1, SERVER_ADDRESS_MAX);
    x.server_key = reader_raw(&r, KEY_SIZE);
    x.channel = reader_raw(&r, ID_SIZE);
    TRY(reader_finish(&r));
    *out = x;
    return OK;
}

enum err group_channel_write(struct buf *out, const struct group_channel *x)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    if (x->server_key.len != KEY_SIZE || x->channel.len != ID_SIZE)
        return ERR_INVALID;
    writer_u8(&w, VERSION);
    writer_vec(&w, x->server_address);
    writer_raw(&w, x->server_key);
    writer_raw(&w, x->channel);
    return finish(&w, before);
}

enum err group_subscription_read(struct bytes b, struct secret *out_secret)
{
    struct reader r = versioned(b);
    struct bytes raw = reader_raw(&r, SUBSCRIPTION_SECRET);
    TRY(reader_finish(&r));
    return secret_set(out_secret, raw);
}

enum err group_subscription_write(struct buf *out, const struct secret *secret)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    if (secret->len != SUBSCRIPTION_SECRET)
        return ERR_INVALID;
    writer_u8(&w, VERSION);
    writer_raw(&w, secret_expose(secret));
    return finish(&w, before);
}

enum err group_profile_read(struct bytes b, struct group_profile *out)
{
    struct group_profile x;
    struct reader r = versioned(b);
    x.kind = reader_u8(&r);
    x.name = vec_read(&r, 0, GROUP_NAME_MAX);
    if (x.kind < GROUP_DIRECT || x.kind > GROUP_SELF)
        reader_fail(&r, ERR_MALFORMED);
    TRY(reader_finish(&r));
    *out = x;
    return OK;
}

enum err group_profile_write(struct buf *out, const struct group_profile *x)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    if (x->name.len > GROUP_NAME_MAX)
        return ERR_LIMIT;
    writer_u8(&w, VERSION);
    writer_u8(&w, x->kind);
    writer_vec(&w, x->name);
    return finish(&w, before);
}

enum err leaf_account_read(struct bytes b, struct leaf_account *out)
{
    struct leaf_account x;
    struct reader r = versioned(b);
    x.state_version = reader_u64(&r);
    x.state_hash = reader_raw(&r, STATE_HASH_SIZE);
    TRY(reader_finish(&r));
    *out = x;
    return OK;
}

enum err leaf_account_write(struct buf *out, const struct leaf_account *x)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    if (x->state_hash.len != STATE_HASH_SIZE)
        return ERR_INVALID;
    writer_u8(&w, VERSION);
    writer_u64(&w, x->state_version);
    writer_raw(&w, x->state_hash);
    return finish(&w, before);
}

enum err account_states_read(struct bytes b, struct account_states *out)
{
    struct account_states x;
    struct reader r = versioned(b);
    x.account_id = reader_raw(&r, ID_SIZE);
    x.states = vec_read(&r, 1, WIRE_VEC_MAX);
    TRY(reader_finish(&r));
    *out = x;
    return OK;
}

enum err account_states_write(struct buf *out, const struct account_states *x)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    if (x->account_id.len != ID_SIZE)
        return ERR_INVALID;
    writer_u8(&w, VERSION);
    writer_raw(&w, x->account_id);
    writer_vec(&w, x->states);
    return finish(&w, before);
}

enum err joining_ref_read(struct bytes b, struct joining_ref *out)
{
    struct joining_ref x;
    struct reader r = versioned(b);
    x.blob = reader_raw(&r, ID_SIZE);
    x.key = reader_raw(&r, KEY_SIZE);
    TRY(reader_finish(&r));
    *out = x;
    return OK;
}

enum err joining_ref_write(struct buf *out, const struct joining_ref *x)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    if (x->blob.len != ID_SIZE || x->key.len != KEY_SIZE)
        return ERR_INVALID;
    writer_u8(&w, VERSION);
    writer_raw(&w, x->blob);
    writer_raw(&w, x->key);
    return finish(&w, before);
}
