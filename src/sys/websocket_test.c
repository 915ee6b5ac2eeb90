/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/websocket.h"

#include "base/buf.h"
#include "test.h"

#include <string.h>

/* What came, written down: "d" and the data, "i" ping, "o" pong, "c" close. */
struct story {
    struct buf text;
    enum err err;
};

static void story_clear(struct story *s) { buf_clear(&s->text); }

static enum err tell(struct story *s, struct bytes input)
{
    static const char marks[] = {[WEBSOCKET_DATA] = 'd',
                                 [WEBSOCKET_PING] = 'i',
                                 [WEBSOCKET_PONG] = 'o',
                                 [WEBSOCKET_CLOSE] = 'c'};
    struct websocket ws = {0};
    struct websocket_piece p = {0};
    uint8_t room[64];
    s->text = buf_new(4096);
    for (;;) {
        s->err = websocket_next(&ws, &input, room, sizeof room, &p);
        if (s->err != OK || p.kind == WEBSOCKET_MORE)
            return OK;
        TRY(buf_append(&s->text,
                       (struct bytes){(const uint8_t *)&marks[p.kind], 1}));
        TRY(buf_append(&s->text, p.bytes));
    }
}

#define NO_MASK "\0\0\0\0"

static void frames_give_their_payload(void)
{
    const struct {
        struct bytes in;
        struct bytes want;
    } cases[] = {
        {LIT(""), LIT("")},
        {LIT("\x82\x83" NO_MASK "abc"), LIT("dabc")},
        /* RFC 6455, section 5.7 has "Hello" under this mask */
        {LIT("\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), LIT("dHello")},
        {LIT("\x02\x81" NO_MASK "a\x00\x81" NO_MASK "b\x80\x81" NO_MASK "c"),
         LIT("dadbdc")},
        {LIT("\x02\x81" NO_MASK "a\x89\x82" NO_MASK "pq\x80\x80" NO_MASK),
         LIT("daipq")},
        {LIT("\x82\x80" NO_MASK "\x82\x81" NO_MASK "z"), LIT("dz")},
        {LIT("\x8a\x81" NO_MASK "p"), LIT("op")},
        {LIT("\x88\x80" NO_MASK), LIT("c")},
        {LIT("\x88\x82" NO_MASK "\x03\xe8"), LIT("c\x03\xe8")},
        {LIT("\x88\x85" NO_MASK "\x0f\xa0"
             "bye"),
         LIT("c\x0f\xa0")},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(story_clear) struct story s = {0};
        CHECK_UINT(tell(&s, cases[i].in), OK);
        CHECK_UINT(s.err, OK);
        CHECK_BYTES(buf_bytes(&s.text), cases[i].want);
    }
}

static void broken_frames_are_refused(void)
{
    const struct {
        struct bytes in;
        enum err want;
    } cases[] = {
        {LIT("\x82\x03"), ERR_MALFORMED}, /* no mask */
        {LIT("\xc2\x80"), ERR_MALFORMED}, /* a reserved bit */
        {LIT("\x92\x80"), ERR_MALFORMED},
        {LIT("\x83\x80"), ERR_MALFORMED}, /* reserved opcodes */
        {LIT("\x87\x80"), ERR_MALFORMED},
        {LIT("\x8b\x80"), ERR_MALFORMED},
        {LIT("\x8f\x80"), ERR_MALFORMED},
        {LIT("\x80\x80"), ERR_MALFORMED}, /* goes on with nothing */
        {LIT("\x02\x80" NO_MASK "\x82\x80"), ERR_MALFORMED}, /* in another */
        {LIT("\x09\x80"), ERR_MALFORMED}, /* a control frame in parts */
        {LIT("\x89\xfe"), ERR_MALFORMED}, /* and one that is too long */
        {LIT("\x82\xfe\x00\x7d" NO_MASK), ERR_MALFORMED}, /* not shortest */
        {LIT("\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff" NO_MASK),
         ERR_MALFORMED},
        {LIT("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00" NO_MASK),
         ERR_MALFORMED},                              /* no such length */
        {LIT("\x88\x81" NO_MASK "x"), ERR_MALFORMED}, /* half a status */
        {LIT("\x88\x82" NO_MASK "\x03\xed"), ERR_MALFORMED}, /* 1005 */
        {LIT("\x88\x82" NO_MASK "\x00\x01"), ERR_MALFORMED},
        {LIT("\x81\x80"), ERR_INVALID}, /* text */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(story_clear) struct story s = {0};
        CHECK_UINT(tell(&s, cases[i].in), OK);
        CHECK_UINT(s.err, cases[i].want);
    }
}

static void a_lost_stream_stays_lost(void)
{
    struct websocket ws = {0};
    struct websocket_piece p;
    struct bytes bad = LIT("\x82\x03");
    struct bytes good = LIT("\x82\x83" NO_MASK "abc");
    uint8_t room[8];
    CHECK_UINT(websocket_next(&ws, &bad, room, sizeof room, &p), ERR_MALFORMED);
    CHECK_UINT(websocket_next(&ws, &good, room, sizeof room, &p),
               ERR_MALFORMED);
}

static void headers_are_the_shortest(void)
{
    const struct {
        size_t len;
        struct bytes want;
    } cases[] = {
        {0, LIT("\x82\x00")},
        {125, LIT("\x82\x7d")},
        {126, LIT("\x82\x7e\x00\x7e")},
        {65535, LIT("\x82\x7e\xff\xff")},
        {65536, LIT("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00")},
    };
    uint8_t room[WEBSOCKET_HEADER_MAX];
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_BYTES(websocket_header(WEBSOCKET_DATA, cases[i].len, room),
                    cases[i].want);
    CHECK_BYTES(websocket_header(WEBSOCKET_PONG, 3, room), LIT("\x8a\x03"));
    CHECK_BYTES(websocket_header(WEBSOCKET_CLOSE, 2, room), LIT("\x88\x02"));
}

/* RFC 6455, section 1.3 */
static void a_key_has_its_answer(void)
{
    char text[WEBSOCKET_ACCEPT_TEXT] = "";
    CHECK_UINT(websocket_accept(LIT("dGhlIHNhbXBsZSBub25jZQ=="), text), OK);
    CHECK_BYTES(bytes_str(text), LIT("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    const struct bytes bad[] = {
        LIT(""),
        LIT("dGhlIHNhbXBsZSBub25jZQ="),
        LIT("dGhlIHNhbXBsZSBub25jZQA="),
        LIT("dGhlIHNhbXBsZSBub25jZ==="),
        LIT("dGhlIHNhbXBsZSBub25j\0Q=="),
        LIT("dGhlIHNhbXBsZSBub25jZQ==A"),
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK_UINT(websocket_accept(bad[i], text), ERR_MALFORMED);
}

static const struct test tests[] = {
    TEST(frames_give_their_payload), TEST(broken_frames_are_refused),
    TEST(a_lost_stream_stays_lost),  TEST(headers_are_the_shortest),
    TEST(a_key_has_its_answer),
};
TEST_MAIN(tests)
