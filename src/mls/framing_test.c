/* SPDX-License-Identifier: Apache-2.0 */
/* What the vectors do not show of RFC 9420, section 6: both sides would agree
 * on something else. */
#include "mls/framing.h"

#include "crypto/entropy.h"
#include "crypto/sign.h"
#include "test.h"

#define CONTEXT LIT("context")

struct fixture {
    struct crypto *c;
    const struct suite *s;
    struct random rnd;
    struct secret key;
    struct buf public_key;
};

static void fixture_clear(struct fixture *f)
{
    secret_clear(&f->key);
    buf_clear(&f->public_key);
    crypto_free(&f->c);
}

static enum err fixture_make(struct fixture *f)
{
    f->s = suite_find(SUITE_X25519_AES128);
    f->rnd = entropy_system();
    f->public_key = buf_new(SIGN_PUBLIC_MAX);
    TRY(crypto_create(&f->c));
    return sign_generate(f->c, f->s->sign, &f->rnd, &f->key, &f->public_key);
}

static struct authenticated_content content_of(enum sender_type type)
{
    return (struct authenticated_content){
        .wire_format = WIRE_PUBLIC_MESSAGE,
        .content = {.group_id = LIT("group"),
                    .epoch = 7,
                    .sender = {type, 0},
                    .type = CONTENT_APPLICATION,
                    .body = LIT("text")}};
}

/* FramedContentTBS, spelled out; `context` is empty where it has none. */
static enum err sign_by_hand(struct fixture *f,
                             const struct authenticated_content *ac,
                             struct bytes context, struct buf *signature)
{
    CLEANUP(buf_clear) struct buf tbs = buf_new(MLS_MESSAGE_MAX);
    struct writer w = writer_to(&tbs);
    writer_u16(&w, MLS_VERSION_10);
    writer_u16(&w, WIRE_PUBLIC_MESSAGE);
    framed_content_write(&w, &ac->content);
    writer_raw(&w, context);
    TRY(writer_finish(&w));
    return sign_with_label(f->c, f->s, &f->key, "FramedContentTBS",
                           buf_bytes(&tbs), signature);
}

/* "case member, case new_member_commit: GroupContext context" (section 6.1) */
static void who_knows_the_group_signs_its_context(void)
{
    static const struct {
        enum sender_type type;
        bool signs_context;
    } rows[] = {
        {SENDER_MEMBER, true},
        {SENDER_EXTERNAL, false},
        {SENDER_NEW_MEMBER_PROPOSAL, false},
        {SENDER_NEW_MEMBER_COMMIT, true},
    };
    CLEANUP(fixture_clear) struct fixture f = {0};
    CHECK_UINT(fixture_make(&f), OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int with = 0; with < 2; with++) {
            CLEANUP(buf_clear) struct buf signature = buf_new(SIGN_MAX);
            struct authenticated_content ac = content_of(rows[i].type);
            CHECK_UINT(
                sign_by_hand(&f, &ac, with ? CONTEXT : LIT(""), &signature),
                OK);
            ac.auth.signature = buf_bytes(&signature);
            CHECK_UINT(framing_verify(f.c, f.s, buf_bytes(&f.public_key), &ac,
                                      CONTEXT),
                       rows[i].signs_context == (with == 1) ? OK : ERR_AUTH);
        }
    }
}

/* The length of the encrypted content of a text in buckets of 64 bytes. */
static enum err sealed_len(struct fixture *f, size_t text_len, size_t *out)
{
    static const uint8_t text[200];
    CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
    struct epoch_secrets secrets = {.sender_data_secret = {.len = f->s->nh}};
    struct message_key key = {.key = {.len = f->s->nk},
                              .nonce = {.len = f->s->nn}};
    struct authenticated_content ac = content_of(SENDER_MEMBER);
    struct mls_message m = {0};
    ac.wire_format = WIRE_PRIVATE_MESSAGE;
    ac.content.body = (struct bytes){text, text_len};
    ac.auth.signature = LIT("signature");
    struct private_seal seal = {&ac, &secrets, &key, 64};
    TRY(framing_write_private(f->c, f->s, &f->rnd, &seal, &message));
    struct reader r = reader_of(buf_bytes(&message));
    mls_message_read(&r, &m);
    TRY(reader_finish(&r));
    *out = m.private_message.ciphertext.len;
    return OK;
}

static void padding_fills_the_bucket(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    size_t longest = 0;
    CHECK_UINT(fixture_make(&f), OK);
    CHECK_UINT(sealed_len(&f, 0, &longest), OK);
    size_t tag = longest % 64;
    for (size_t len = 1; len <= 200; len++) {
        size_t sealed = 0;
        CHECK_UINT(sealed_len(&f, len, &sealed), OK);
        CHECK_UINT(sealed % 64, tag);
        CHECK(sealed - tag >= len && sealed - tag < len + 64 + 16);
        CHECK(sealed >= longest);
        longest = sealed;
    }
    CHECK_UINT(tag, 16); /* of the AEAD, and nothing else */
}

static const struct test tests[] = {
    TEST(who_knows_the_group_signs_its_context),
    TEST(padding_fills_the_bucket),
};
TEST_MAIN(tests)
