/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/entry.h"

#include <stdlib.h>

#define COMMIT_DATA_VERSION 1U
#define MLS_VERSION         1U /* mls10 */
#define MLS_PRIVATE_MESSAGE 2U /* RFC 9420, section 6: WireFormat */

void sub_add_read(struct reader *r, struct sub_add *add)
{
    add->sub = reader_raw(r, ID_SIZE);
    add->cap_hash = reader_raw(r, CAP_SIZE);
}

void sub_add_write(struct writer *w, const struct sub_add *add)
{
    writer_raw(w, add->sub);
    writer_raw(w, add->cap_hash);
}

/* Checks one list: whole rows, few enough, their ids strictly rising. */
static void list_check(struct reader *r, struct bytes list, size_t row)
{
    if (list.len / row > SUBSCRIPTIONS_MAX)
        reader_fail(r, ERR_LIMIT);
    struct reader in = reader_of(list);
    struct bytes last = {0};
    while (reader_more(&in)) {
        struct bytes id = reader_raw(&in, ID_SIZE);
        (void)reader_raw(&in, row - ID_SIZE);
        if (bytes_compare(last, id) >= 0)
            reader_fail(&in, ERR_MALFORMED);
        last = id;
    }
    if (reader_finish(&in) != OK)
        reader_fail(r, ERR_MALFORMED);
}

/* Walks both lists, which are sorted, side by side. */
static bool share_an_id(const struct commit_data *data)
{
    struct reader adds = reader_of(data->adds);
    struct reader ends = reader_of(data->ends);
    struct sub_add add = {0};
    struct bytes end = {0};
    int order = 0; /* of the last add against the last end */

    for (;;) {
        if ((order <= 0 && !reader_more(&adds)) ||
            (order >= 0 && !reader_more(&ends)))
            return false;
        if (order <= 0)
            sub_add_read(&adds, &add);
        if (order >= 0)
            end = reader_raw(&ends, ID_SIZE);
        order = bytes_compare(add.sub, end);
        if (order == 0)
            return true;
    }
}

enum err commit_data_read(struct bytes authenticated_data,
                          struct commit_data *out)
{
    struct commit_data data = {0};
    if (authenticated_data.len > 0) {
        struct reader r = reader_of(authenticated_data);
        if (reader_u8(&r) != COMMIT_DATA_VERSION)
            reader_fail(&r, ERR_MALFORMED);
        data.adds = reader_vec(&r);
        data.ends = reader_vec(&r);
        list_check(&r, data.adds, ID_SIZE + CAP_SIZE);
        list_check(&r, data.ends, ID_SIZE);
        TRY(reader_finish(&r));
        if (share_an_id(&data))
            return ERR_INVALID;
    }
    *out = data;
    return OK;
}

enum err commit_data_write(struct buf *out, const struct commit_data *data)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    writer_u8(&w, COMMIT_DATA_VERSION);
    writer_vec(&w, data->adds);
    writer_vec(&w, data->ends);
    if (writer_finish(&w) != OK)
        buf_truncate(out, before);
    return writer_finish(&w);
}

static int add_compare(const void *a, const void *b)
{
    const struct sub_add *x = a;
    const struct sub_add *y = b;
    return bytes_compare(x->sub, y->sub);
}

static int id_compare(const void *a, const void *b)
{
    const struct bytes *x = a;
    const struct bytes *y = b;
    return bytes_compare(*x, *y);
}

void sub_adds_sort(struct sub_add *adds, size_t count)
{
    if (count > 0)
        qsort(adds, count, sizeof(*adds), add_compare);
}

void sub_ids_sort(struct bytes *ids, size_t count)
{
    if (count > 0)
        qsort(ids, count, sizeof(*ids), id_compare);
}

/* RFC 9420, section 6 (MLSMessage) and section 6.3 (PrivateMessage). */
enum err private_header_read(struct bytes mls_message,
                             struct private_header *out)
{
    struct private_header h = {0};
    struct reader r = reader_of(mls_message);
    if (reader_u16(&r) != MLS_VERSION)
        reader_fail(&r, ERR_MALFORMED);
    if (reader_u16(&r) != MLS_PRIVATE_MESSAGE)
        reader_fail(&r, ERR_MALFORMED);
    h.group_id = reader_vec(&r);
    h.epoch = reader_u64(&r);
    h.content_type = reader_u8(&r);
    h.authenticated_data = reader_vec(&r);
    (void)reader_vec(&r); /* encrypted_sender_data */
    (void)reader_vec(&r); /* ciphertext */
    TRY(reader_finish(&r));
    *out = h;
    return OK;
}

enum err entry_check(uint8_t kind, struct bytes body, struct commit_data *out)
{
    struct private_header h;
    struct commit_data data = {0};

    if (kind == ENTRY_EPHEMERAL) {
        *out = data;
        return body.len <= EPHEMERAL_MAX ? OK : ERR_LIMIT;
    }
    if (body.len > ENTRY_MAX)
        return ERR_LIMIT;
    TRY(private_header_read(body, &h));
    if (h.content_type != kind)
        return ERR_INVALID;
    if (kind != ENTRY_COMMIT && h.authenticated_data.len > 0)
        return ERR_INVALID;
    TRY(commit_data_read(h.authenticated_data, &data));
    *out = data;
    return OK;
}
