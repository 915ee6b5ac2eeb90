/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/entry.h"
#include "proto/envelope.h"
#include "proto/group_ext.h"
#include "proto/joining.h"

#include <assert.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each reads its format and writes it again; an error: it is not of it. */

static enum err again_commit(struct bytes b, struct buf *out)
{
    struct commit_data data;
    TRY(commit_data_read(b, &data));
    if (b.len == 0)
        return OK; /* stands for two empty lists */
    if (PLANTED_BUG && data.adds.len == 0 && data.ends.len > 0)
        data.ends.len -= ID_SIZE;
    return commit_data_write(out, &data);
}

static enum err again_request(struct bytes b, struct buf *out)
{
    struct request q;
    TRY(request_read(b, &q));
    if (q.method == METHOD_HELLO && q.hello.version != PROTOCOL_VERSION)
        return ERR_NOTFOUND; /* all but the version is unknown */
    if (q.method == METHOD_APPEND) {
        struct commit_data data;
        if (entry_check(q.append.kind, q.append.body, &data) == OK)
            assert(data.adds.len + data.ends.len <= q.append.body.len);
    }
    return request_write(out, &q);
}

static enum err again_answer(struct bytes b, struct buf *out)
{
    struct answer a;
    TRY(answer_read(b, &a));
    return answer_write(out, &a);
}

static enum err again_envelope(struct bytes b, struct buf *out)
{
    struct envelope e;
    TRY(envelope_read(b, &e));
    return envelope_write(out, &e);
}

static enum err again_joining(struct bytes b, struct buf *out)
{
    struct joining j;
    TRY(joining_read(b, &j));
    return joining_write(out, &j);
}

static enum err again_channel(struct bytes b, struct buf *out)
{
    struct group_channel x;
    TRY(group_channel_read(b, &x));
    return group_channel_write(out, &x);
}

static enum err again_profile(struct bytes b, struct buf *out)
{
    struct group_profile x;
    TRY(group_profile_read(b, &x));
    return group_profile_write(out, &x);
}

static enum err again_leaf(struct bytes b, struct buf *out)
{
    struct leaf_account x;
    TRY(leaf_account_read(b, &x));
    return leaf_account_write(out, &x);
}

static enum err again_states(struct bytes b, struct buf *out)
{
    struct account_states x;
    TRY(account_states_read(b, &x));
    return account_states_write(out, &x);
}

static enum err (*const formats[])(struct bytes, struct buf *) = {
    again_request, again_answer,  again_commit, again_envelope, again_joining,
    again_channel, again_profile, again_leaf,   again_states,
};
#define FORMATS (sizeof(formats) / sizeof(formats[0]))

/* What parses must encode back to the same bytes. The first byte says as what
 * the rest is read. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_clear) struct buf out = buf_new(2 * size + 8192);
    if (size == 0)
        return 0;
    struct bytes b = {data + 1, size - 1};
    enum err err = formats[data[0] % FORMATS](b, &out);
    if (err == OK)
        assert(bytes_equal(buf_bytes(&out), b));
    else
        assert(err != ERR_NOMEM && out.len == 0);
    return 0;
}
