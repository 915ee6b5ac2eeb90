/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/messages.h"

#include "test.h"

#define BYTES(s)   {(const uint8_t *)(s), sizeof(s) - 1}
#define HEAD(wire) "\0\1\0" wire
#define TO_GROUP   "\1g\0\0\0\0\0\0\0\5" /* group id and epoch */

static enum err echo(struct bytes in, struct buf *out)
{
    struct mls_message m;
    struct reader r = reader_of(in);
    struct writer w = writer_to(out);
    mls_message_read(&r, &m);
    mls_message_write(&w, &m);
    TRY(reader_finish(&r));
    return writer_finish(&w);
}

static const struct bytes good[] = {
    /* application data of a member, with a membership tag */
    BYTES(HEAD("\1") TO_GROUP "\1\0\0\0\2\1a\1\4text\1S\1M"),
    /* a proposal of each other kind of sender, without */
    BYTES(HEAD("\1") TO_GROUP "\2\0\0\0\2\0\2\0\3\0\0\0\1\1S"),
    BYTES(HEAD("\1") TO_GROUP "\3\0\2\0\3\0\0\0\1\1S"),
    BYTES(HEAD("\1") TO_GROUP "\4\0\2\0\3\0\0\0\1\1S"),
    /* a commit, with a confirmation tag */
    BYTES(HEAD("\1") TO_GROUP "\1\0\0\0\2\0\3\0\0\1S\1C\1M"),
    BYTES(HEAD("\2") TO_GROUP "\3\1a\1s\2ct"),
    BYTES(HEAD("\3") "\0\1\7\1r\1e\2ct\4info"),
};

static void each_wire_format_encodes_back(void)
{
    for (size_t i = 0; i < COUNT(good); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(4096);
        CHECK_UINT(echo(good[i], &out), OK);
        CHECK_BYTES(buf_bytes(&out), good[i]);
        for (size_t n = 0; n < good[i].len; n++) {
            CLEANUP(buf_clear) struct buf cut = buf_new(4096);
            CHECK_UINT(echo((struct bytes){good[i].data, n}, &cut),
                       ERR_MALFORMED);
        }
    }
}

static void rejects_values_that_cannot_be(void)
{
    static const struct bytes cases[] = {
        BYTES("\0\2\0\3\0\1\0\4info"),             /* version 2 */
        BYTES(HEAD("\0") "\0\1\0\4info"),          /* wire format */
        BYTES(HEAD("\6") "\0\1\0\4info"),          /* again */
        BYTES(HEAD("\1") TO_GROUP "\0\0\1\0\1S"),  /* sender */
        BYTES(HEAD("\1") TO_GROUP "\5\0\1\0\1S"),  /* again */
        BYTES(HEAD("\1") TO_GROUP "\3\0\0\0\1S"),  /* content */
        BYTES(HEAD("\1") TO_GROUP "\3\0\4\0\1S"),  /* again */
        BYTES(HEAD("\2") TO_GROUP "\0\1a\1s\2ct"), /* and here */
        BYTES(HEAD("\2") TO_GROUP "\4\1a\1s\2ct"), /* again */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(4096);
        CHECK_UINT(echo(cases[i], &out), ERR_MALFORMED);
    }
}

static void content_is_kept_as_it_came(void)
{
    struct mls_message m;
    struct reader r = reader_of(good[4]);
    mls_message_read(&r, &m);
    CHECK_UINT(reader_finish(&r), OK);
    const struct framed_content *c = &m.public_message.content;
    CHECK_UINT(c->type, CONTENT_COMMIT);
    CHECK_UINT(c->epoch, 5);
    CHECK_BYTES(c->body, LIT("\0\0"));
    CHECK_BYTES(c->raw, LIT(TO_GROUP "\1\0\0\0\2\0\3\0\0"));
    CHECK_BYTES(m.public_message.auth.confirmation_tag, LIT("C"));
    CHECK_BYTES(m.public_message.membership_tag, LIT("M"));
}

static enum err read_padded(struct bytes in, struct private_content *pc)
{
    struct reader r = reader_of(in);
    private_content_read(&r, CONTENT_APPLICATION, pc);
    return reader_finish(&r);
}

/* Section 6.3.1 */
static void padding_is_zeros_of_any_length(void)
{
    static const size_t sizes[] = {0, 1, 255, 256, 257, 1000};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(4096);
        struct private_content pc = {LIT("text"), {LIT("S"), {0}}, sizes[i]};
        struct private_content back;
        struct writer w = writer_to(&out);
        private_content_write(&w, CONTENT_APPLICATION, &pc);
        CHECK_UINT(writer_finish(&w), OK);
        CHECK_UINT(out.len, 7 + sizes[i]);
        CHECK_UINT(read_padded(buf_bytes(&out), &back), OK);
        CHECK_UINT(back.padding, sizes[i]);
        CHECK_BYTES(back.body, LIT("text"));
        if (sizes[i] == 0)
            continue;
        out.data[7] = 1;
        CHECK_UINT(read_padded(buf_bytes(&out), &back), ERR_MALFORMED);
        out.data[7] = 0;
        out.data[out.len - 1] = 0x80;
        CHECK_UINT(read_padded(buf_bytes(&out), &back), ERR_MALFORMED);
    }
}

static void sender_data_encodes_back(void)
{
    CLEANUP(buf_clear) struct buf out = buf_new(64);
    struct bytes in = LIT("\0\0\0\1\0\0\0\2guar");
    struct sender_data sd;
    struct reader r = reader_of(in);
    struct writer w = writer_to(&out);
    sender_data_read(&r, &sd);
    sender_data_write(&w, &sd);
    CHECK_UINT(reader_finish(&r), OK);
    CHECK_UINT(sd.generation, 2);
    CHECK_BYTES(buf_bytes(&out), in);
}

static const struct test tests[] = {
    TEST(each_wire_format_encodes_back), TEST(rejects_values_that_cannot_be),
    TEST(content_is_kept_as_it_came),    TEST(padding_is_zeros_of_any_length),
    TEST(sender_data_encodes_back),
};

TEST_MAIN(tests)
