/* SPDX-License-Identifier: Apache-2.0 */
/* What application components sign with the keys of leaves. */
#include "sotto/mls_components.h"

#include "crypto/sign.h"
#include "mls/label.h"
#include "mls/world.h"
#include "test.h"

#include "base/err.h"
#include "base/mem.h"

#define SUITE_1   1U /* X25519, AES-128, SHA-256, Ed25519: the fastest */
#define COMPONENT 0x8001U

static enum sotto_err verify(struct world *w, size_t by,
                             const struct sotto_statement *s,
                             const struct sotto_buf *signature)
{
    return sotto_safe_verify(w->mls, SUITE_1,
                             view_of(&w->member[by].signature_public), s,
                             view_of(signature));
}

static void a_statement_is_verified_by_all_and_is_no_other(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf signature = {0};
    const struct sotto_statement s = {COMPONENT, "label", text_of("content")};
    const struct sotto_statement others[] = {
        {COMPONENT + 1, "label", text_of("content")},
        {COMPONENT, "labe", text_of("content")},
        {COMPONENT, "label", text_of("conten")},
    };
    CHECK(world_three(&w, SUITE_1, 1));
    CHECK_UINT(sotto_group_safe_sign(w.member[1].group, &s, &signature),
               SOTTO_OK);
    CHECK_UINT(verify(&w, 1, &s, &signature), SOTTO_OK);
    CHECK_UINT(verify(&w, 2, &s, &signature), SOTTO_ERR_AUTH);
    for (size_t i = 0; i < COUNT(others); i++)
        CHECK_UINT(verify(&w, 1, &others[i], &signature), SOTTO_ERR_AUTH);
    signature.data[0] ^= 1;
    CHECK_UINT(verify(&w, 1, &s, &signature), SOTTO_ERR_AUTH);
    signature.len = 0;
    CHECK_UINT(verify(&w, 1, &s, &signature), SOTTO_ERR_AUTH);
}

/* The bytes that are signed, written out. */
static void what_is_signed_has_the_form_of_the_draft(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(sotto_buf_free) struct sotto_buf signature = {0};
    const struct sotto_statement s = {COMPONENT, "label", text_of("content")};
    CHECK_UINT(crypto_create(&c), OK);
    CHECK(world_three(&w, SUITE_1, 2));
    CHECK_UINT(sotto_group_safe_sign(w.member[0].group, &s, &signature),
               SOTTO_OK);
    const struct sotto_buf *key = &w.member[0].signature_public;
    CHECK_UINT(sign_verify(c, suite_find(SUITE_1)->sign,
                           (struct bytes){key->data, key->len},
                           LIT("\x1eMLS 1.0 "
                               "\x0dMLS Component"
                               "\x80\x01"
                               "\x05label"
                               "\x07"
                               "content"),
                           (struct bytes){signature.data, signature.len}),
               OK);
}

static void signing_says_what_is_wrong(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf signature = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    const struct sotto_statement s = {COMPONENT, "label", text_of("")};
    struct sotto_statement bad = s;
    uint32_t leaf = 2;
    struct sotto_commit ask = {.removes = &leaf, .remove_count = 1};
    CHECK(world_three(&w, SUITE_1, 3));
    struct sotto_group *g = w.member[2].group;
    bad.label = NULL;
    CHECK_UINT(sotto_group_safe_sign(g, &bad, &signature), SOTTO_ERR_USAGE);
    bad = s;
    bad.content.len = 1;
    bad.content.data = NULL;
    CHECK_UINT(sotto_group_safe_sign(g, &bad, &signature), SOTTO_ERR_USAGE);
    CHECK_UINT(verify(&w, 2, &bad, &signature), SOTTO_ERR_USAGE);
    CHECK_UINT(sotto_safe_verify(w.mls, 0x7777, text_of("key"), &s,
                                 text_of("signature")),
               SOTTO_ERR_NOTFOUND);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 2, &out.message), SOTTO_COMMIT);
    CHECK_UINT(sotto_group_safe_sign(g, &s, &signature), SOTTO_ERR_STATE);
}

static void signing_survives_lack_of_memory(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf signature = {0};
    const struct sotto_statement s = {COMPONENT, "label", text_of("content")};
    enum sotto_err err = SOTTO_ERR_NOMEM;
    CHECK(world_three(&w, SUITE_1, 4));
    for (unsigned n = 0; err == SOTTO_ERR_NOMEM; n++) {
        mem_fail_after(n);
        err = sotto_group_safe_sign(w.member[0].group, &s, &signature);
        CHECK(n < 5000);
    }
    CHECK_UINT(err, SOTTO_OK);
    err = SOTTO_ERR_NOMEM;
    for (unsigned n = 0; err == SOTTO_ERR_NOMEM; n++) {
        mem_fail_after(n);
        err = verify(&w, 0, &s, &signature);
        CHECK(n < 5000);
    }
    mem_fail_after(1U << 30);
    CHECK_UINT(err, SOTTO_OK);
}

static const struct test tests[] = {
    TEST(a_statement_is_verified_by_all_and_is_no_other),
    TEST(what_is_signed_has_the_form_of_the_draft),
    TEST(signing_says_what_is_wrong),
    TEST(signing_survives_lack_of_memory),
};
TEST_MAIN(tests)
