/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/entry.h"

#include "test.h"

#include <string.h>

/* An id whose first byte is `n`. */
static struct bytes id_of(uint8_t n)
{
    static uint8_t ids[256][ID_SIZE];
    ids[n][0] = n;
    return (struct bytes){ids[n], ID_SIZE};
}

/* CommitData with these first bytes of ids, as they come. */
static enum err data_write(struct buf *out, struct bytes adds,
                           struct bytes ends)
{
    struct writer w = writer_to(out);
    writer_u8(&w, 1);
    size_t start = writer_enter(&w);
    for (size_t i = 0; i < adds.len; i++) {
        struct sub_add add = {id_of(adds.data[i]), id_of(0xaa)};
        sub_add_write(&w, &add);
    }
    writer_leave(&w, start);
    start = writer_enter(&w);
    for (size_t i = 0; i < ends.len; i++)
        writer_raw(&w, id_of(ends.data[i]));
    writer_leave(&w, start);
    return writer_finish(&w);
}

static enum err body_write(struct buf *out, uint8_t content_type,
                           struct bytes data)
{
    struct writer w = writer_to(out);
    writer_u16(&w, 1);
    writer_u16(&w, 2);
    writer_vec(&w, LIT("group"));
    writer_u64(&w, 5);
    writer_u8(&w, content_type);
    writer_vec(&w, data);
    writer_vec(&w, LIT("sender data"));
    writer_vec(&w, LIT("ciphertext"));
    return writer_finish(&w);
}

static void commit_lists_are_canonical(void)
{
    const struct {
        struct bytes adds;
        struct bytes ends;
        enum err err;
    } cases[] = {
        {LIT(""), LIT(""), OK},
        {LIT("\x01"), LIT(""), OK},
        {LIT("\x01\x02\x07"), LIT("\x03\x08"), OK},
        {LIT(""), LIT("\x01\x02"), OK},
        {LIT("\x02\x01"), LIT(""), ERR_MALFORMED},
        {LIT("\x01\x01"), LIT(""), ERR_MALFORMED},
        {LIT(""), LIT("\x03\x03"), ERR_MALFORMED},
        {LIT(""), LIT("\x04\x03"), ERR_MALFORMED},
        {LIT("\x01"), LIT("\x01"), ERR_INVALID},
        {LIT("\x01\x05\x09"), LIT("\x02\x04\x06\x09"), ERR_INVALID},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(COMMIT_DATA_MAX);
        CLEANUP(buf_clear) struct buf again = buf_new(COMMIT_DATA_MAX);
        struct commit_data data;
        CHECK_UINT(data_write(&out, cases[i].adds, cases[i].ends), OK);
        CHECK_UINT(commit_data_read(buf_bytes(&out), &data), cases[i].err);
        if (cases[i].err != OK)
            continue;
        CHECK_UINT(data.adds.len, cases[i].adds.len * (ID_SIZE + CAP_SIZE));
        CHECK_UINT(data.ends.len, cases[i].ends.len * ID_SIZE);
        CHECK_UINT(commit_data_write(&again, &data), OK);
        CHECK_BYTES(buf_bytes(&again), buf_bytes(&out));
    }
}

static void rejects_malformed_commit_data(void)
{
    const struct bytes cases[] = {
        LIT("\x02\x00\x00"),     /* version */
        LIT("\x01\x00"),         /* cut short */
        LIT("\x01\x00\x00\x00"), /* too long */
        LIT("\x01\x01x\x00"),    /* no whole row */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct commit_data data;
        CHECK_UINT(commit_data_read(cases[i], &data), ERR_MALFORMED);
    }
}

static void too_many_subscriptions_are_refused(void)
{
    CLEANUP(buf_clear) struct buf ends = buf_new(COMMIT_DATA_MAX);
    CLEANUP(buf_clear) struct buf out = buf_new(COMMIT_DATA_MAX);
    struct commit_data data = {0};
    for (uint32_t i = 0; i <= SUBSCRIPTIONS_MAX; i++) {
        uint8_t id[ID_SIZE] = {(uint8_t)(i >> 8), (uint8_t)i};
        struct writer w = writer_to(&ends);
        writer_raw(&w, (struct bytes){id, sizeof(id)});
        CHECK_UINT(writer_finish(&w), OK);
    }
    data.ends = buf_bytes(&ends);
    CHECK_UINT(commit_data_write(&out, &data), OK);
    CHECK_UINT(commit_data_read(buf_bytes(&out), &data), ERR_LIMIT);

    out.len = 0;
    data.ends = (struct bytes){ends.data, ends.len - ID_SIZE};
    CHECK_UINT(commit_data_write(&out, &data), OK);
    CHECK_UINT(commit_data_read(buf_bytes(&out), &data), OK);
}

static void sorting_makes_lists_readable(void)
{
    struct sub_add adds[] = {
        {id_of(9), id_of(1)}, {id_of(2), id_of(2)}, {id_of(5), id_of(3)}};
    struct bytes ids[] = {id_of(9), id_of(2), id_of(5)};
    sub_adds_sort(adds, COUNT(adds));
    sub_ids_sort(ids, COUNT(ids));
    sub_ids_sort(NULL, 0);
    const uint8_t want[] = {2, 5, 9};
    for (size_t i = 0; i < COUNT(want); i++) {
        CHECK_BYTES(adds[i].sub, id_of(want[i]));
        CHECK_BYTES(ids[i], id_of(want[i]));
    }
    CHECK_BYTES(adds[0].cap_hash, id_of(2)); /* rows move whole */
}

static void only_commits_carry_data(void)
{
    CLEANUP(buf_clear) struct buf data = buf_new(COMMIT_DATA_MAX);
    CHECK_UINT(data_write(&data, LIT("\x01"), LIT("\x02")), OK);
    const struct {
        uint8_t kind;
        uint8_t content_type;
        bool with_data;
        enum err err;
    } cases[] = {
        {ENTRY_COMMIT, 3, true, OK},
        {ENTRY_COMMIT, 3, false, OK},
        {ENTRY_APPLICATION, 1, false, OK},
        {ENTRY_PROPOSAL, 2, false, OK},
        {ENTRY_APPLICATION, 1, true, ERR_INVALID},
        {ENTRY_PROPOSAL, 2, true, ERR_INVALID},
        {ENTRY_APPLICATION, 3, true, ERR_INVALID}, /* a commit in disguise */
        {ENTRY_COMMIT, 1, false, ERR_INVALID},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf body = buf_new(ENTRY_MAX);
        struct commit_data got;
        CHECK_UINT(body_write(&body, cases[i].content_type,
                              cases[i].with_data ? buf_bytes(&data)
                                                 : (struct bytes){0}),
                   OK);
        CHECK_UINT(entry_check(cases[i].kind, buf_bytes(&body), &got),
                   cases[i].err);
        if (cases[i].err == OK)
            CHECK_UINT(got.ends.len, cases[i].with_data ? ID_SIZE : 0);
    }
}

static void header_of_a_private_message_is_read(void)
{
    CLEANUP(buf_clear) struct buf body = buf_new(ENTRY_MAX);
    struct private_header h;
    CHECK_UINT(body_write(&body, 3, LIT("data")), OK);
    CHECK_UINT(private_header_read(buf_bytes(&body), &h), OK);
    CHECK_BYTES(h.group_id, LIT("group"));
    CHECK_UINT(h.epoch, 5);
    CHECK_UINT(h.content_type, 3);
    CHECK_BYTES(h.authenticated_data, LIT("data"));

    for (size_t len = 0; len < body.len; len++) {
        struct bytes cut = {body.data, len};
        CHECK_UINT(private_header_read(cut, &h), ERR_MALFORMED);
    }
    body.data[3] = 1; /* a PublicMessage */
    CHECK_UINT(private_header_read(buf_bytes(&body), &h), ERR_MALFORMED);
}

static void ephemeral_entries_are_opaque_but_small(void)
{
    static const uint8_t large[EPHEMERAL_MAX + 1];
    struct commit_data data;
    CHECK_UINT(entry_check(ENTRY_EPHEMERAL, LIT("anything"), &data), OK);
    CHECK_UINT(entry_check(ENTRY_EPHEMERAL,
                           (struct bytes){large, sizeof(large)}, &data),
               ERR_LIMIT);
}

static const struct test tests[] = {
    TEST(commit_lists_are_canonical),
    TEST(rejects_malformed_commit_data),
    TEST(too_many_subscriptions_are_refused),
    TEST(sorting_makes_lists_readable),
    TEST(only_commits_carry_data),
    TEST(header_of_a_private_message_is_read),
    TEST(ephemeral_entries_are_opaque_but_small),
};
TEST_MAIN(tests)
