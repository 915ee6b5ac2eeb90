/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include "base/mem.h"
#include "test.h"

#include <string.h>

static uint8_t text[3 * FRAME_MAX];

static void text_fill(void)
{
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 7 + i / 251);
}

/* Feeds `stream` in pieces and expects one message, at the very end. */
static void expect(struct bytes stream, size_t piece, const struct message *m)
{
    CLEANUP(deframer_clear) struct deframer d = deframer_new(MESSAGE_MAX);
    bool ready = false;

    while (stream.len > 0) {
        CHECK(!ready);
        size_t len = piece < stream.len ? piece : stream.len;
        struct bytes input = {stream.data, len};
        struct message got;
        CHECK_UINT(deframer_next(&d, &input, &got, &ready), OK);
        CHECK_UINT(input.len, 0);
        stream.data += len;
        stream.len -= len;
        if (!ready)
            continue;
        CHECK_UINT(got.kind, m->kind);
        CHECK_UINT(got.id, m->id);
        CHECK_BYTES(got.bytes, m->bytes);
    }
    CHECK(ready);
}

static void messages_survive_any_cut(void)
{
    static const size_t sizes[] = {
        1, 2, FRAGMENT_MAX - 1, FRAGMENT_MAX, FRAGMENT_MAX + 1, sizeof(text)};
    static const size_t pieces[] = {1, 7, 8, 9, 10, 4096, SIZE_MAX};
    text_fill();
    for (size_t i = 0; i < COUNT(sizes); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
        struct message m = {FRAME_ANSWER, 0xfffffffe, {text, sizes[i]}};
        CHECK_UINT(frame_write(&out, &m), OK);
        CHECK_UINT(out.len, frame_size(sizes[i]));
        for (size_t j = 0; j < COUNT(pieces); j++)
            expect(buf_bytes(&out), pieces[j], &m);
    }
}

static void no_frame_is_larger_than_the_limit(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
    struct message m = {FRAME_REQUEST, 1, {text, sizeof(text)}};
    CHECK_UINT(frame_write(&out, &m), OK);
    struct reader r = reader_of(buf_bytes(&out));
    while (reader_more(&r)) {
        uint32_t length = reader_u32(&r);
        CHECK(length + 4 <= FRAME_MAX);
        (void)reader_raw(&r, length);
    }
    CHECK_UINT(reader_finish(&r), OK);
}

static void several_messages_come_one_by_one(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
    CLEANUP(deframer_clear) struct deframer d = deframer_new(MESSAGE_MAX);
    struct message m = {FRAME_EVENT, 0, {text, 10}};
    struct message large = {FRAME_ANSWER, 7, {text, FRAGMENT_MAX + 1}};
    CHECK_UINT(frame_write(&out, &m), OK);
    CHECK_UINT(frame_write(&out, &large), OK);
    CHECK_UINT(frame_write(&out, &m), OK);

    struct bytes input = buf_bytes(&out);
    static const uint32_t ids[] = {0, 7, 0};
    bool ready = false;
    struct message got;
    for (size_t i = 0; i < COUNT(ids); i++) {
        CHECK_UINT(deframer_next(&d, &input, &got, &ready), OK);
        CHECK(ready);
        CHECK_UINT(got.id, ids[i]);
    }
    CHECK_UINT(deframer_next(&d, &input, &got, &ready), OK);
    CHECK(!ready);
}

#define FRAME(length, kind, id, rest) \
    LIT("\x00\x00\x00" length kind "\x00\x00\x00" id rest)

static void rejects_malformed_frames(void)
{
    const struct bytes cases[] = {
        LIT("\x00\x00\x00\x00\x01\x00\x00\x00\x01"), /* shorter than a header */
        FRAME("\x05", "\x01", "\x01", ""),           /* an empty fragment */
        LIT("\x00\x00\xff\xfd\x01\x00\x00\x00\x01"), /* a byte too long */
        LIT("\xff\xff\xff\xff\x01\x00\x00\x00\x01"), /* */
        FRAME("\x06", "\x00", "\x01", "x"),          /* kind 0 */
        FRAME("\x06", "\x04", "\x01", "x"),          /* kind 4 */
        FRAME("\x06", "\x41", "\x01", "x"),          /* an unknown flag */
        LIT("\x00\x00\x00\x06\x81\x00\x00\x00\x01x"  /* other kind follows */
            "\x00\x00\x00\x06\x02\x00\x00\x00\x01x"),
        LIT("\x00\x00\x00\x06\x81\x00\x00\x00\x01x" /* other id follows */
            "\x00\x00\x00\x06\x01\x00\x00\x00\x02x"),
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(deframer_clear) struct deframer d = deframer_new(MESSAGE_MAX);
        struct bytes input = cases[i];
        struct message m;
        bool ready = false;
        CHECK_UINT(deframer_next(&d, &input, &m, &ready), ERR_MALFORMED);
        CHECK(!ready);
        input = FRAME("\x06", "\x01", "\x01", "x"); /* lost for good */
        CHECK_UINT(deframer_next(&d, &input, &m, &ready), ERR_MALFORMED);
    }
}

static void limit_is_for_the_whole_message_and_can_be_raised(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
    struct message m = {FRAME_REQUEST, 1, {text, FRAGMENT_MAX + 2}};
    CHECK_UINT(frame_write(&out, &m), OK);

    static const struct {
        size_t max;
        enum err err;
    } cases[] = {{100, ERR_LIMIT},
                 {FRAGMENT_MAX + 1, ERR_LIMIT},
                 {FRAGMENT_MAX + 2, OK}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(deframer_clear) struct deframer d = deframer_new(1);
        struct bytes input = buf_bytes(&out);
        bool ready = false;
        deframer_limit(&d, cases[i].max);
        CHECK_UINT(deframer_next(&d, &input, &m, &ready), cases[i].err);
        CHECK(ready == (cases[i].err == OK));
    }
}

static void whole_frames_need_no_memory(void)
{
    struct deframer d = deframer_new(MESSAGE_MAX);
    struct bytes input = FRAME("\x08", "\x01", "\x01", "abc");
    struct message m;
    bool ready = false;
    CHECK_UINT(deframer_next(&d, &input, &m, &ready), OK);
    CHECK(ready);
    CHECK_BYTES(m.bytes, LIT("abc"));
    CHECK(d.pending.data == NULL);
}

static void owns_nothing_between_messages(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
    CLEANUP(deframer_clear) struct deframer d = deframer_new(MESSAGE_MAX);
    struct message m = {FRAME_REQUEST, 1, {text, (size_t)2 * FRAGMENT_MAX}};
    bool ready = false;
    CHECK_UINT(frame_write(&out, &m), OK);
    struct bytes input = buf_bytes(&out);
    CHECK_UINT(deframer_next(&d, &input, &m, &ready), OK);
    CHECK(ready);
    CHECK_UINT(deframer_next(&d, &input, &m, &ready), OK);
    CHECK(!ready);
    CHECK(d.pending.data == NULL);
}

static enum err send_and_receive(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(MESSAGE_MAX);
    CLEANUP(deframer_clear) struct deframer d = deframer_new(MESSAGE_MAX);
    struct message m = {FRAME_REQUEST, 1, {text, (size_t)2 * FRAGMENT_MAX}};
    bool ready = false;
    enum err err = frame_write(&out, &m);
    if (err != OK)
        return out.len == 0 ? err : ERR_INVALID; /* half a message is none */
    struct bytes input = buf_bytes(&out);
    TRY(deframer_next(&d, &input, &m, &ready));
    return ready ? OK : ERR_INVALID;
}

static void survives_each_allocation_failure(void)
{
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        mem_fail_after(n);
        err = send_and_receive();
        CHECK(err == OK || err == ERR_NOMEM);
        CHECK(n < 100);
    }
}

static const struct test tests[] = {
    TEST(messages_survive_any_cut),
    TEST(no_frame_is_larger_than_the_limit),
    TEST(several_messages_come_one_by_one),
    TEST(rejects_malformed_frames),
    TEST(limit_is_for_the_whole_message_and_can_be_raised),
    TEST(whole_frames_need_no_memory),
    TEST(owns_nothing_between_messages),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
