/* SPDX-License-Identifier: Apache-2.0 */
/* That the operations are right is shown by the vectors; here, how they fail.
 */
#include "mls/label.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "crypto/kem.h"
#include "crypto/sign.h"
#include "mls/sizes.h"
#include "test.h"

#include <limits.h>

struct fixture {
    struct crypto *c;
    const struct suite *s;
    struct entropy_seeded entropy;
    struct random rnd;
    struct secret sign_key, kem_key;
    struct buf sign_public, kem_public;
};

static void fixture_clear(struct fixture *f)
{
    crypto_free(&f->c);
    secret_clear(&f->sign_key);
    secret_clear(&f->kem_key);
    buf_clear(&f->sign_public);
    buf_clear(&f->kem_public);
}

static enum err fixture_make(struct fixture *f)
{
    f->s = suite_find(SUITE_X25519_AES128);
    f->sign_public = buf_new(SIGN_PUBLIC_MAX);
    f->kem_public = buf_new(KEM_PUBLIC_MAX);
    entropy_seed(&f->entropy, 1);
    f->rnd = entropy_of(&f->entropy);
    TRY(crypto_create(&f->c));
    TRY(sign_generate(f->c, f->s->sign, &f->rnd, &f->sign_key,
                      &f->sign_public));
    return kem_generate(f->c, f->s->kem, &f->rnd, &f->kem_key, &f->kem_public);
}

/* Signs and verifies; seals and opens. */
static enum err exercise(struct fixture *f, const char *label,
                         struct bytes context)
{
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGN_MAX);
    CLEANUP(buf_clear) struct buf sealed = buf_new(4096);
    CLEANUP(buf_clear) struct buf plain = buf_new(4096);
    struct hpke_ciphertext ct;
    struct seal_label to = {"label", BYTES_LIT("context"),
                            buf_bytes(&f->kem_public), NULL};
    struct seal_label from = {label, context, buf_bytes(&f->kem_public), NULL};
    struct writer w = writer_to(&sealed);
    TRY(encrypt_with_label(f->c, f->s, &f->rnd, &to, BYTES_LIT("text"), &w));
    struct reader r = reader_of(buf_bytes(&sealed));
    hpke_ciphertext_read(&r, &ct);
    TRY(reader_finish(&r));
    TRY(decrypt_with_label(f->c, f->s, &f->kem_key, &from, &ct, &plain));
    TRY(sign_with_label(f->c, f->s, &f->sign_key, "label", BYTES_LIT("text"),
                        &signature));
    return verify_with_label(f->c, f->s, buf_bytes(&f->sign_public), label,
                             buf_bytes(&plain), buf_bytes(&signature));
}

static void labels_and_contexts_must_match(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CHECK_UINT(fixture_make(&f), OK);
    CHECK_UINT(exercise(&f, "label", LIT("context")), OK);
    CHECK_UINT(exercise(&f, "labe", LIT("context")), ERR_AUTH);
    CHECK_UINT(exercise(&f, "label", LIT("contex")), ERR_AUTH);
    CHECK_UINT(exercise(&f, "labelc", LIT("ontext")), ERR_AUTH);
}

static enum err verify(struct fixture *f, const char *label,
                       struct bytes content)
{
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGN_MAX);
    TRY(sign_with_label(f->c, f->s, &f->sign_key, "label", BYTES_LIT("text"),
                        &signature));
    return verify_with_label(f->c, f->s, buf_bytes(&f->sign_public), label,
                             content, buf_bytes(&signature));
}

static void a_signature_is_for_its_label_and_content(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CHECK_UINT(fixture_make(&f), OK);
    CHECK_UINT(verify(&f, "label", LIT("text")), OK);
    CHECK_UINT(verify(&f, "Label", LIT("text")), ERR_AUTH);
    CHECK_UINT(verify(&f, "label", LIT("tex")), ERR_AUTH);
}

static void derived_secrets_are_bounded(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(buf_clear) struct buf out = buf_new(1U << 17);
    struct secret key = {.len = 32};
    struct secret derived = {0};
    struct kdf_label l = {LIT("label"), {0}, SECRET_MAX + 1};
    CHECK_UINT(fixture_make(&f), OK);
    CHECK_UINT(expand_with_label(f.c, f.s, &key, &l, &derived), ERR_LIMIT);
    CHECK_UINT(derived.len, 0);
    l.len = 1000;
    CHECK_UINT(expand_with_label_long(f.c, f.s, &key, &l, &out), OK);
    CHECK_UINT(out.len, 1000);
    l.len = UINT16_MAX + 1; /* the length is a uint16 */
    CHECK_UINT(expand_with_label_long(f.c, f.s, &key, &l, &out), ERR_LIMIT);
}

/* A GroupInfo carries the tree: 27 MB in a group of 10,000 with hybrid keys. */
static void a_text_can_be_as_long_as_a_large_tree(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(buf_clear) struct buf text = buf_new(MLS_MESSAGE_MAX);
    CHECK_UINT(fixture_make(&f), OK);
    CHECK_UINT(buf_extend(&text, 30U << 20), OK);
    CHECK_UINT(verify(&f, "label", buf_bytes(&text)), ERR_AUTH);
}

static void survives_each_allocation_failure(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    enum err err = ERR_NOMEM;
    unsigned n = 0;
    CHECK_UINT(fixture_make(&f), OK);
    for (; err != OK; n++) {
        mem_fail_after(n);
        err = exercise(&f, "label", LIT("context"));
        CHECK(err == OK || err == ERR_NOMEM);
    }
    mem_fail_after(UINT_MAX); /* none */
    CHECK(n > 5);
}

static const struct test tests[] = {
    TEST(labels_and_contexts_must_match),
    TEST(a_signature_is_for_its_label_and_content),
    TEST(derived_secrets_are_bounded),
    TEST(a_text_can_be_as_long_as_a_large_tree),
    TEST(survives_each_allocation_failure),
};

TEST_MAIN(tests)
