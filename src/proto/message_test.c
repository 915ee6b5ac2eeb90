/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/message.h"

#include "base/mem.h"
#include "proto/entry.h"
#include "test.h"

#include <string.h>

#define ID   {(const uint8_t *)"an id of thirty-two bytes, no mo", 32}
#define ID_2 {(const uint8_t *)"and a second one of thirty-two..", 32}
#define SIG                                                                  \
    {(const uint8_t *)"a signature has sixty-four bytes, like this one, whi" \
                      "ch isn't one",                                        \
     64}
#define TEXT(s) {(const uint8_t *)(s), sizeof(s) - 1}
#define ACCESS  {ID, ID_2, ID}
#define POW     {20000, 0x0102030405060708}

static const uint8_t item[INBOX_ITEM_SIZE] = {1, 2, 3};
#define ITEM {item, sizeof(item)}

/* One of each. */
static const struct request requests[] = {
    {METHOD_HELLO, .hello = {PROTOCOL_VERSION, LANE_ANONYMOUS, ID}},
    {METHOD_PING, .hello = {0}},
    {METHOD_REGISTER, .reg = {TEXT("ann"), TEXT("sixteen bytes..."),
                              TEXT("state"), ID, ID_2, SIG}},
    {METHOD_REGISTER, .reg = {TEXT("ann"), {0}, TEXT("state"), ID, ID_2, SIG}},
    {METHOD_LOGIN, .login = {ID, ID_2, SIG}},
    {METHOD_STATE_APPEND, .state_append = {TEXT("state")}},
    {METHOD_CONTACT_SET, .contact_set = {ID}},
    {METHOD_KP_PUBLISH, .kp_publish = {TEXT("\x01x\x02yy"), TEXT("last")}},
    {METHOD_KP_PUBLISH, .kp_publish = {{0}, {0}}},
    {METHOD_KP_COUNT, .hello = {0}},
    {METHOD_INBOX_READ, .inbox_read = {7, 64}},
    {METHOD_INBOX_ACK, .inbox_ack = {UINT64_MAX}},
    {METHOD_LOOKUP, .lookup = {TEXT("bob")}},
    {METHOD_CHAIN, .chain = {ID, 1}},
    {METHOD_KP_TAKE, .kp_take = {ID, {0}, {0}, ID_2, POW}},
    {METHOD_KP_TAKE, .kp_take = {ID, ID_2, ID_2, ID, {0}}},
    {METHOD_INBOX_APPEND, .inbox_append = {ID, ID_2, ID, {0}, ITEM}},
    {METHOD_CHANNEL_CREATE, .channel_create = {ID, ID_2, ID, POW}},
    {METHOD_ATTACH, .attach = {ACCESS}},
    {METHOD_READ, .read = {ACCESS, 12, 1U << 20}},
    {METHOD_APPEND,
     .append = {ACCESS, 3, ENTRY_COMMIT, TEXT("sixteen bytes..."), TEXT("x")}},
    {METHOD_ACK, .ack = {ACCESS, 12}},
    {METHOD_REOPEN, .reopen = {ACCESS, ID_2}},
    {METHOD_BLOB_PUT,
     .blob_put = {ACCESS, ID, 1U << 20, 1U << 21, 30, TEXT("data")}},
    {METHOD_BLOB_GET, .blob_get = {ID, 0, BLOB_PIECE_MAX}},
    {EVENT_INBOX_ITEM, .inbox_event = {9}},
    {EVENT_ENTRY, .entry_event = {ID, 4, 1700000000, 1, TEXT("body")}},
    {EVENT_HEAD, .head_event = {ID, 77}},
};

static const struct answer answers[] = {
    {METHOD_HELLO, STATUS_OK, 0,
     .hello = {1, ID, ID_2, 1700000000, 18, 5000, SIG}},
    {METHOD_PING, STATUS_OK, 0, .hello = {0}},
    {METHOD_REGISTER, STATUS_OK, 0, .hello = {0}},
    {METHOD_LOGIN, STATUS_OK, 0, .login = {3}},
    {METHOD_STATE_APPEND, STATUS_OK, 0, .hello = {0}},
    {METHOD_CONTACT_SET, STATUS_OK, 0, .hello = {0}},
    {METHOD_KP_PUBLISH, STATUS_OK, 0, .kp_count = {100}},
    {METHOD_KP_COUNT, STATUS_OK, 0, .kp_count = {99}},
    {METHOD_INBOX_READ, STATUS_OK, 0, .inbox_read = {{0}}},
    {METHOD_INBOX_ACK, STATUS_OK, 0, .hello = {0}},
    {METHOD_LOOKUP, STATUS_OK, 0, .lookup = {ID}},
    {METHOD_CHAIN, STATUS_OK, 0, .chain = {2, TEXT("\x01x\x02yy")}},
    {METHOD_KP_TAKE, STATUS_OK, 0, .kp_take = {{0}}},
    {METHOD_INBOX_APPEND, STATUS_OK, 0, .hello = {0}},
    {METHOD_CHANNEL_CREATE, STATUS_OK, 0, .hello = {0}},
    {METHOD_ATTACH, STATUS_OK, 0, .attach = {9, 3, 8, 4}},
    {METHOD_READ, STATUS_OK, 0, .read = {9, 4, {0}}},
    {METHOD_APPEND, STATUS_OK, 0, .append = {10}},
    {METHOD_ACK, STATUS_OK, 0, .hello = {0}},
    {METHOD_REOPEN, STATUS_OK, 0, .hello = {0}},
    {METHOD_BLOB_PUT, STATUS_OK, 0, .blob_put = {1U << 20}},
    {METHOD_BLOB_GET, STATUS_OK, 0, .blob_get = {5, TEXT("data")}},
    {METHOD_APPEND, STATUS_BEHIND, 17, .hello = {0}},
    {999, STATUS_MALFORMED, 0, .hello = {0}},
};

/* What was read must be written back as the same bytes; and no shorter or
 * longer input is a message. */
static void request_round_trip(const struct request *q)
{
    CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf again = buf_new(MESSAGE_MAX);
    struct request got;
    CHECK_UINT(request_write(&out, q), OK);
    CHECK_UINT(request_read(buf_bytes(&out), &got), OK);
    CHECK_UINT(got.method, q->method);
    CHECK_UINT(request_write(&again, &got), OK);
    CHECK_BYTES(buf_bytes(&again), buf_bytes(&out));

    for (size_t len = 0; len < out.len; len++) {
        struct bytes cut = {out.data, len};
        CHECK_UINT(request_read(cut, &got), ERR_MALFORMED);
    }
    CHECK_UINT(buf_extend(&out, 1), OK);
    CHECK_UINT(request_read(buf_bytes(&out), &got), ERR_MALFORMED);
}

static void answer_round_trip(const struct answer *a)
{
    CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf again = buf_new(MESSAGE_MAX);
    struct answer got;
    CHECK_UINT(answer_write(&out, a), OK);
    enum err want = method_find(a->method) == NULL ? ERR_NOTFOUND : OK;
    CHECK_UINT(answer_read(buf_bytes(&out), &got), want);
    if (want != OK)
        return;
    CHECK_UINT(got.status, a->status);
    CHECK_UINT(got.detail, a->detail);
    CHECK_UINT(answer_write(&again, &got), OK);
    CHECK_BYTES(buf_bytes(&again), buf_bytes(&out));

    for (size_t len = 0; len < out.len; len++) {
        struct bytes cut = {out.data, len};
        CHECK_UINT(answer_read(cut, &got), ERR_MALFORMED);
    }
    CHECK_UINT(buf_extend(&out, 1), OK);
    CHECK_UINT(answer_read(buf_bytes(&out), &got), ERR_MALFORMED);
}

static void reads_what_it_wrote(void)
{
    for (size_t i = 0; i < COUNT(requests); i++)
        request_round_trip(&requests[i]);
    for (size_t i = 0; i < COUNT(answers); i++)
        answer_round_trip(&answers[i]);
}

static void each_method_is_tested(void)
{
    for (uint32_t number = 0; number <= UINT16_MAX; number++) {
        const struct method_info *m = method_find((uint16_t)number);
        size_t seen = 0;
        for (size_t i = 0; i < COUNT(requests); i++)
            seen += requests[i].method == number;
        CHECK((m != NULL) == (seen > 0));
        seen = 0;
        for (size_t i = 0; i < COUNT(answers); i++)
            seen += answers[i].method == number && m != NULL;
        CHECK((m != NULL && m->kind == FRAME_REQUEST) == (seen > 0));
    }
}

/* The format itself, so that both sides of a round trip cannot drift. */
static void wire_format_is_fixed(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
    CHECK_UINT(request_write(&out, &requests[0]), OK);
    CHECK_BYTES(buf_bytes(&out), LIT("\x00\x01\x00\x01\x02"
                                     "an id of thirty-two bytes, no mo"));
    out.len = 0;
    struct request read = {METHOD_READ, .read = {ACCESS, 12, 256}};
    CHECK_UINT(request_write(&out, &read), OK);
    CHECK_BYTES(buf_bytes(&out), LIT("\x00\x26"
                                     "an id of thirty-two bytes, no mo"
                                     "and a second one of thirty-two.."
                                     "an id of thirty-two bytes, no mo"
                                     "\x00\x00\x00\x00\x00\x00\x00\x0c"
                                     "\x00\x00\x01\x00"));
    out.len = 0;
    struct answer behind = {METHOD_APPEND, STATUS_BEHIND, 5, .hello = {0}};
    CHECK_UINT(answer_write(&out, &behind), OK);
    CHECK_BYTES(buf_bytes(&out), LIT("\x00\x27\x01\0\0\0\0\0\0\0\x05"));
}

static void lists_can_be_read_again(void)
{
    CLEANUP(buf_clear) struct buf list = buf_new(MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
    const struct entry entries[] = {
        {1, 100, ENTRY_APPLICATION, TEXT("one")},
        {2, 101, ENTRY_COMMIT, TEXT("two")},
    };
    struct writer w = writer_to(&list);
    entry_write(&w, &entries[0]);
    entry_write(&w, &entries[1]);
    CHECK_UINT(writer_finish(&w), OK);
    struct answer a = {METHOD_READ, STATUS_OK, 0,
                       .read = {2, 1, buf_bytes(&list)}};
    CHECK_UINT(answer_write(&out, &a), OK);

    struct answer got;
    CHECK_UINT(answer_read(buf_bytes(&out), &got), OK);
    struct reader r = reader_of(got.read.entries);
    for (size_t i = 0; i < COUNT(entries); i++) {
        struct entry e;
        CHECK(reader_more(&r));
        entry_read(&r, &e);
        CHECK_UINT(e.seq, entries[i].seq);
        CHECK_UINT(e.time, entries[i].time);
        CHECK_UINT(e.kind, entries[i].kind);
        CHECK_BYTES(e.body, entries[i].body);
    }
    CHECK_UINT(reader_finish(&r), OK);
}

static void rejects_broken_lists(void)
{
    static const struct answer cases[] = {
        {METHOD_READ, STATUS_OK, 0, .read = {2, 1, TEXT("not an entry")}},
        {METHOD_CHAIN, STATUS_OK, 0, .chain = {2, TEXT("\x05x")}},
        {METHOD_CHAIN, STATUS_OK, 0, .chain = {2, TEXT("\x00")}},
        {METHOD_KP_TAKE, STATUS_OK, 0, .kp_take = {ID}},
        {METHOD_INBOX_READ, STATUS_OK, 0, .inbox_read = {ID}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
        struct answer got;
        CHECK_UINT(answer_write(&out, &cases[i]), OK);
        CHECK_UINT(answer_read(buf_bytes(&out), &got), ERR_MALFORMED);
    }
}

static void writer_refuses_wrong_lengths(void)
{
    static const uint8_t long_name[NAME_MAX_LEN + 1] = {'a'};
    static const struct request cases[] = {
        {METHOD_HELLO, .hello = {1, LANE_ANONYMOUS, TEXT("short")}},
        {METHOD_HELLO, .hello = {1, 3, ID}},
        {METHOD_LOOKUP, .lookup = {{0}}},
        {METHOD_LOOKUP, .lookup = {{long_name, sizeof(long_name)}}},
        {METHOD_REGISTER, .reg = {TEXT("a"), ID, TEXT("s"), ID, ID, SIG}},
        {METHOD_REGISTER, .reg = {TEXT("a"), {0}, TEXT("s"), ID, ID, ID}},
        {METHOD_KP_TAKE, .kp_take = {ID, {0}, TEXT("cap"), ID_2, POW}},
        {METHOD_APPEND, .append = {ACCESS, 0, 0, TEXT("sixteen bytes..."), ID}},
        {METHOD_APPEND, .append = {ACCESS, 0, 5, TEXT("sixteen bytes..."), ID}},
        {METHOD_INBOX_APPEND, .inbox_append = {ID, ID_2, ID, {0}, ID}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
        CHECK_UINT(request_write(&out, &cases[i]), ERR_INVALID);
        CHECK_UINT(out.len, 0);
    }
}

static void unknown_methods_are_told_apart(void)
{
    struct request q;
    struct answer a;
    CHECK_UINT(request_read(LIT("\x03\xe7 anything"), &q), ERR_NOTFOUND);
    CHECK_UINT(q.method, 999);
    CHECK_UINT(request_read(LIT("\x03"), &q), ERR_MALFORMED);
    CHECK_UINT(answer_read(LIT("\x03\xe7\x00"), &a), ERR_NOTFOUND);
    CHECK_UINT(answer_read(LIT("\x00\x27\x63"), &a), ERR_MALFORMED);
}

/* So that a server can answer "unsupported" to what it cannot read. */
static void hello_of_another_version_gives_its_version(void)
{
    struct request q;
    CHECK_UINT(request_read(LIT("\x00\x01\x00\x02 other fields"), &q), OK);
    CHECK_UINT(q.hello.version, 2);
    CHECK_UINT(request_read(LIT("\x00\x01\x00\x01 other fields"), &q),
               ERR_MALFORMED);
}

static void methods_are_allowed_in_their_place_only(void)
{
    static const struct {
        uint16_t method;
        enum lane lane;
        enum stage stage;
        bool allowed;
    } cases[] = {
        {METHOD_HELLO, LANE_ANONYMOUS, STAGE_OPEN, true},
        {METHOD_HELLO, LANE_ANONYMOUS, STAGE_HELLO, false},
        {METHOD_APPEND, LANE_ANONYMOUS, STAGE_OPEN, false},
        {METHOD_APPEND, LANE_ANONYMOUS, STAGE_HELLO, true},
        {METHOD_APPEND, LANE_IDENTIFIED, STAGE_LOGIN, false},
        {METHOD_LOGIN, LANE_IDENTIFIED, STAGE_HELLO, true},
        {METHOD_LOGIN, LANE_ANONYMOUS, STAGE_HELLO, false},
        {METHOD_KP_PUBLISH, LANE_IDENTIFIED, STAGE_HELLO, false},
        {METHOD_KP_PUBLISH, LANE_IDENTIFIED, STAGE_LOGIN, true},
        {METHOD_PING, LANE_IDENTIFIED, STAGE_LOGIN, true},
        {METHOD_PING, LANE_ANONYMOUS, STAGE_OPEN, false},
        {EVENT_ENTRY, LANE_ANONYMOUS, STAGE_HELLO, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct method_info *m = method_find(cases[i].method);
        CHECK(m != NULL);
        CHECK(method_allowed(m, cases[i].lane, cases[i].stage) ==
              cases[i].allowed);
    }
}

static void survives_each_allocation_failure(void)
{
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
        mem_fail_after(n);
        err = request_write(&out, &requests[2]);
        CHECK(err == OK || (err == ERR_NOMEM && out.len == 0));
        CHECK(n < 100);
    }
}

static const struct test tests[] = {
    TEST(reads_what_it_wrote),
    TEST(each_method_is_tested),
    TEST(wire_format_is_fixed),
    TEST(lists_can_be_read_again),
    TEST(rejects_broken_lists),
    TEST(writer_refuses_wrong_lengths),
    TEST(unknown_methods_are_told_apart),
    TEST(hello_of_another_version_gives_its_version),
    TEST(methods_are_allowed_in_their_place_only),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
