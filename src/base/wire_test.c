/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"

#include "base/mem.h"
#include "test.h"

/* From the MLS working group's deserialization test vectors. */
static void reads_length_headers(void)
{
    const struct {
        struct bytes header;
        size_t length;
    } cases[] = {
        {LIT("\x00"), 0},
        {LIT("\x3f"), 63},
        {LIT("\x40\x40"), 64},
        {LIT("\x40\xff"), 255},
        {LIT("\x80\x00\xbe\xef"), 48879},
        {LIT("\xbf\xff\xff\xff"), WIRE_VEC_MAX},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct reader r = reader_of(cases[i].header);
        CHECK_UINT(reader_length(&r), cases[i].length);
        CHECK_UINT(reader_finish(&r), OK);
    }
}

static void rejects_malformed_vectors(void)
{
    const struct bytes cases[] = {
        LIT(""),                                 /* no header */
        LIT("\x40"),                             /* header cut short */
        LIT("\x02\x01"),                         /* content cut short */
        LIT("\x01\x01\x00"),                     /* a byte too many */
        LIT("\x40\x00"),                         /* 0 fits a shorter header */
        LIT("\x80\x00\x00\x00"),                 /* and again */
        LIT("\xc0\x00\x00\x00\x00\x00\x00\x00"), /* prefix 11 is reserved */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct reader r = reader_of(cases[i]);
        reader_vec(&r);
        CHECK_UINT(reader_finish(&r), ERR_MALFORMED);
    }
}

static void failed_reader_looks_empty(void)
{
    struct reader r = reader_of(LIT("\x03hi"));
    CHECK_UINT(reader_vec(&r).len, 0);
    CHECK(!reader_more(&r));
    CHECK_UINT(reader_u8(&r), 0);
    CHECK_UINT(reader_finish(&r), ERR_MALFORMED);
}

static void codec_can_reject_a_value(void)
{
    struct reader r = reader_of(LIT("\x02\x07"));
    if (reader_u8(&r) > 1) /* optional<T>: 0 or 1 */
        reader_fail(&r, ERR_MALFORMED);
    CHECK(!reader_more(&r));
    reader_fail(&r, ERR_LIMIT); /* the first failure stays */
    CHECK_UINT(reader_finish(&r), ERR_MALFORMED);
}

static void leaving_unread_content_fails(void)
{
    struct reader r = reader_of(LIT("\x02hi"));
    struct bytes after = reader_enter(&r);
    CHECK_UINT(reader_u8(&r), 'h');
    reader_leave(&r, after);
    CHECK_UINT(reader_finish(&r), ERR_MALFORMED);
}

/* struct { uint8 a; opaque b<V>; uint16 c<V>; } */
static enum err encode(struct buf *out, uint16_t count)
{
    struct writer w = writer_to(out);
    writer_u8(&w, 7);
    writer_vec(&w, LIT("hello"));
    size_t start = writer_enter(&w);
    for (uint16_t i = 0; i < count; i++)
        writer_u16(&w, i);
    writer_leave(&w, start);
    return writer_finish(&w);
}

static void reads_what_it_wrote(void)
{
    for (uint16_t count = 0; count < 9000; count += 31) {
        CLEANUP(buf_clear) struct buf out = buf_new(1U << 16);
        CHECK_UINT(encode(&out, count), OK);

        struct reader r = reader_of(buf_bytes(&out));
        CHECK_UINT(reader_u8(&r), 7);
        CHECK_BYTES(reader_vec(&r), LIT("hello"));
        struct bytes after = reader_enter(&r);
        for (uint16_t i = 0; i < count; i++)
            CHECK_UINT(reader_u16(&r), i);
        reader_leave(&r, after);
        CHECK_UINT(reader_finish(&r), OK);
    }
}

static void integers_are_big_endian(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(14);
    struct writer w = writer_to(&out);
    writer_u16(&w, 0x0102);
    writer_u32(&w, 0x03040506);
    writer_u64(&w, 0x0708090a0b0c0d0e);
    CHECK_UINT(writer_finish(&w), OK);
    CHECK_BYTES(buf_bytes(&out), LIT("\x01\x02\x03\x04\x05\x06\x07\x08\x09"
                                     "\x0a\x0b\x0c\x0d\x0e"));

    struct reader r = reader_of(buf_bytes(&out));
    CHECK_UINT(reader_u16(&r), 0x0102);
    CHECK_UINT(reader_u32(&r), 0x03040506);
    CHECK_UINT(reader_u64(&r), 0x0708090a0b0c0d0e);
    CHECK_UINT(reader_finish(&r), OK);
}

static void stops_at_the_limit(void)
{
    CLEANUP(buf_clear) struct buf fits = buf_new(8);
    CLEANUP(buf_clear) struct buf full = buf_new(7);
    CHECK_UINT(encode(&fits, 0), OK);
    CHECK_UINT(encode(&full, 0), ERR_LIMIT);
}

static void header_alone_is_that_of_the_vector(void)
{
    static const size_t sizes[] = {0, 1, 0x3f, 0x40, 0x3fff, 0x4000};
    static const uint8_t content[0x4000];
    for (size_t i = 0; i < COUNT(sizes); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(1U << 16);
        struct writer w = writer_to(&out);
        writer_vec(&w, (struct bytes){content, sizes[i]});
        uint8_t room[WIRE_HEADER_MAX];
        struct bytes header = wire_header(sizes[i], room);
        CHECK_UINT(header.len + sizes[i], out.len);
        CHECK_BYTES(header, ((struct bytes){out.data, header.len}));
    }
    uint8_t room[WIRE_HEADER_MAX];
    CHECK_UINT(wire_header((size_t)WIRE_VEC_MAX + 1, room).len, 0);
}

static void since_is_the_encoding_of_what_was_read(void)
{
    struct reader r = reader_of(BYTES_LIT("\x01\x02xyz"));
    (void)reader_u8(&r);
    struct bytes start = r.rest;
    (void)reader_vec(&r);
    CHECK_BYTES(reader_since(&r, start), BYTES_LIT("\x02xy"));
    reader_fail(&r, ERR_LIMIT);
    CHECK_UINT(reader_since(&r, start).len, 0);
}

static void survives_each_allocation_failure(void)
{
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(buf_clear) struct buf out = buf_new(1U << 16);
        mem_fail_after(n);
        err = encode(&out, 1000);
        CHECK(err == OK || err == ERR_NOMEM);
    }
}

static const struct test tests[] = {
    TEST(reads_length_headers),
    TEST(rejects_malformed_vectors),
    TEST(failed_reader_looks_empty),
    TEST(codec_can_reject_a_value),
    TEST(leaving_unread_content_fails),
    TEST(reads_what_it_wrote),
    TEST(integers_are_big_endian),
    TEST(stops_at_the_limit),
    TEST(header_alone_is_that_of_the_vector),
    TEST(since_is_the_encoding_of_what_was_read),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
