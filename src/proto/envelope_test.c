/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/envelope.h"

#include "base/mem.h"
#include "test.h"

static uint8_t body[ENVELOPE_MAX];

static struct envelope envelope_of(size_t len)
{
    return (struct envelope){
        .type = ENVELOPE_CONTENT,
        .content_id = LIT("sixteen bytes..."),
        .seq = 12,
        .log_hash = LIT("thirty-two bytes of running hash"),
        .body = {body, len},
    };
}

static void reads_what_it_wrote(void)
{
    static const size_t sizes[] = {0, 1, 100, 250, 5000, 70000};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(ENVELOPE_MAX);
        struct envelope e = envelope_of(sizes[i]);
        struct envelope got;
        CHECK_UINT(envelope_write(&out, &e), OK);
        CHECK_UINT(envelope_read(buf_bytes(&out), &got), OK);
        CHECK_UINT(got.type, e.type);
        CHECK_BYTES(got.content_id, e.content_id);
        CHECK_UINT(got.seq, e.seq);
        CHECK_BYTES(got.log_hash, e.log_hash);
        CHECK_BYTES(got.body, e.body);
    }
}

/* Lengths of texts within a bucket cannot be told apart. */
static void lengths_come_in_buckets(void)
{
    const struct {
        size_t body;
        size_t whole;
    } cases[] = {
        {0, 256},     {1, 256},     {196, 256},   {197, 512},   {4000, 4096},
        {4036, 4096}, {4037, 8192}, {5000, 8192}, {8132, 8192}, {8133, 12288},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(ENVELOPE_MAX);
        struct envelope e = envelope_of(cases[i].body);
        CHECK_UINT(envelope_write(&out, &e), OK);
        CHECK_UINT(out.len, cases[i].whole);
    }
}

static void rejects_malformed_envelopes(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(ENVELOPE_MAX);
    struct envelope e = envelope_of(10);
    struct envelope got;
    CHECK_UINT(envelope_write(&out, &e), OK);
    for (size_t len = 0; len < out.len; len++) {
        struct bytes cut = {out.data, len};
        CHECK_UINT(envelope_read(cut, &got), ERR_MALFORMED);
    }
    out.data[out.len - 1] = 1; /* padding must be zeros */
    CHECK_UINT(envelope_read(buf_bytes(&out), &got), ERR_MALFORMED);
    out.data[out.len - 1] = 0;
    CHECK_UINT(envelope_read(buf_bytes(&out), &got), OK);
    CHECK_UINT(buf_extend(&out, 256), OK); /* more than to the next bucket */
    CHECK_UINT(envelope_read(buf_bytes(&out), &got), ERR_MALFORMED);
    out.data[0] = 2;
    CHECK_UINT(envelope_read(buf_bytes(&out), &got), ERR_MALFORMED);
}

static void unknown_types_can_be_read(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(ENVELOPE_MAX);
    struct envelope e = envelope_of(10);
    struct envelope got;
    e.type = 200;
    CHECK_UINT(envelope_write(&out, &e), OK);
    CHECK_UINT(envelope_read(buf_bytes(&out), &got), OK);
    CHECK_UINT(got.type, 200);
}

static void refuses_what_nobody_could_read(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(2 * (size_t)ENVELOPE_MAX);
    struct envelope e = envelope_of(sizeof(body));
    CHECK_UINT(envelope_write(&out, &e), ERR_LIMIT);
    e = envelope_of(1);
    e.content_id.len--;
    CHECK_UINT(envelope_write(&out, &e), ERR_INVALID);
    CHECK_UINT(out.len, 0);
}

static void survives_each_allocation_failure(void)
{
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(buf_clear) struct buf out = buf_new(ENVELOPE_MAX);
        struct envelope e = envelope_of(5000);
        mem_fail_after(n);
        err = envelope_write(&out, &e);
        CHECK(err == OK || (err == ERR_NOMEM && out.len == 0));
        CHECK(n < 100);
    }
}

static const struct test tests[] = {
    TEST(reads_what_it_wrote),
    TEST(lengths_come_in_buckets),
    TEST(rejects_malformed_envelopes),
    TEST(unknown_types_can_be_read),
    TEST(refuses_what_nobody_could_read),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
