/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/hpke.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "crypto/kem.h"
#include "test.h"

#include <limits.h>

#define TEXT_MAX 4096U

struct parties {
    struct crypto *c;
    struct hpke h;
    struct random random;
    struct secret key;
    struct buf pk;
    struct buf enc;
    struct buf ct;
    struct buf pt;
};

static void parties_clear(struct parties *p)
{
    secret_clear(&p->key);
    buf_clear(&p->pk);
    buf_clear(&p->enc);
    buf_clear(&p->ct);
    buf_clear(&p->pt);
    crypto_free(&p->c);
}

static enum err parties_make(const struct suite *s, struct parties *p)
{
    p->h = suite_hpke(s);
    p->random = entropy_system();
    p->pk = buf_new(KEM_PUBLIC_MAX);
    p->enc = buf_new(KEM_ENC_MAX);
    p->ct = buf_new(TEXT_MAX);
    p->pt = buf_new(TEXT_MAX);
    TRY(crypto_create(&p->c));
    return kem_generate(p->c, p->h.kem, &p->random, &p->key, &p->pk);
}

static struct hpke_args args_of(const struct parties *p)
{
    return (struct hpke_args){.public_key = buf_bytes(&p->pk),
                              .enc = buf_bytes(&p->enc),
                              .info = LIT("info"),
                              .aad = LIT("aad")};
}

static enum err open(struct parties *p, struct hpke_args a)
{
    a.enc = buf_bytes(&p->enc);
    a.text = buf_bytes(&p->ct);
    buf_clear(&p->pt);
    return hpke_open(p->c, p->h, &p->key, &a, &p->pt);
}

static void opens_only_with_the_same_context(void)
{
    const struct suite *s = NULL;
    for (size_t i = 0; (s = suite_at(i)) != NULL; i++) {
        CLEANUP(parties_clear) struct parties p = {0};
        CHECK_UINT(parties_make(s, &p), OK);
        struct hpke_args a = args_of(&p);
        a.text = LIT("hello");
        CHECK_UINT(hpke_seal(p.c, p.h, &p.random, &a, &p.enc, &p.ct), OK);
        CHECK_UINT(open(&p, a), OK);
        CHECK_BYTES(buf_bytes(&p.pt), LIT("hello"));

        struct hpke_args wrong = a;
        wrong.info = LIT("other");
        CHECK_UINT(open(&p, wrong), ERR_AUTH);
        wrong = a;
        wrong.aad = LIT("other");
        CHECK_UINT(open(&p, wrong), ERR_AUTH);
        p.ct.data[0] ^= 1;
        CHECK_UINT(open(&p, a), ERR_AUTH);
        CHECK_UINT(p.pt.len, 0);
    }
}

static void a_context_counts_its_messages(void)
{
    CLEANUP(parties_clear) struct parties p = {0};
    CLEANUP(hpke_ctx_clear) struct hpke_ctx sender = {0};
    CLEANUP(hpke_ctx_clear) struct hpke_ctx receiver = {0};
    CHECK_UINT(parties_make(suite_find(SUITE_X25519_AES128), &p), OK);
    struct hpke_args a = args_of(&p);
    CHECK_UINT(hpke_send(p.c, p.h, &p.random, &a, &p.enc, &sender), OK);
    a = args_of(&p);
    CHECK_UINT(hpke_receive(p.c, p.h, &p.key, &a, &receiver), OK);
    for (size_t i = 0; i < 3; i++) {
        buf_clear(&p.ct);
        buf_clear(&p.pt);
        CHECK_UINT(hpke_ctx_seal(p.c, &sender, a.aad, LIT("x"), &p.ct), OK);
        p.ct.data[0] ^= 1; /* a failure does not count */
        CHECK_UINT(
            hpke_ctx_open(p.c, &receiver, a.aad, buf_bytes(&p.ct), &p.pt),
            ERR_AUTH);
        p.ct.data[0] ^= 1;
        CHECK_UINT(
            hpke_ctx_open(p.c, &receiver, a.aad, buf_bytes(&p.ct), &p.pt), OK);
    }
    CHECK_UINT(hpke_ctx_open(p.c, &receiver, a.aad, buf_bytes(&p.ct), &p.pt),
               ERR_AUTH); /* replay */
    sender.seq = UINT64_MAX;
    CHECK_UINT(hpke_ctx_seal(p.c, &sender, a.aad, LIT("x"), &p.ct), ERR_LIMIT);
}

static void survives_each_allocation_failure(void)
{
    CLEANUP(parties_clear) struct parties p = {0};
    enum err err = ERR_NOMEM;
    CHECK_UINT(parties_make(suite_find(SUITE_XWING_AES256), &p), OK);
    for (unsigned n = 0; err != OK; n++) {
        struct hpke_args a = args_of(&p);
        a.text = LIT("hello");
        buf_clear(&p.enc);
        buf_clear(&p.ct);
        mem_fail_after(n);
        err = hpke_seal(p.c, p.h, &p.random, &a, &p.enc, &p.ct);
        CHECK(err == OK || p.enc.len + p.ct.len == 0);
        if (err == OK)
            err = open(&p, a);
        CHECK(err == OK || (err == ERR_NOMEM && p.pt.len == 0));
    }
    mem_fail_after(UINT_MAX); /* no failure is planned any more */
    CHECK_BYTES(buf_bytes(&p.pt), LIT("hello"));
}

static const struct test tests[] = {
    TEST(opens_only_with_the_same_context),
    TEST(a_context_counts_its_messages),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
