/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/crypto.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "crypto/hpke.h"
#include "crypto/internal.h"
#include "crypto/kem.h"
#include "crypto/sign.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#define OUT_MAX 4096U
#define SAMPLES 40U

/* OpenSSL's allocator counts its calls, and can fail at one of them. */
static unsigned openssl_calls;
static unsigned openssl_fail_at; /* 0: never */

static bool fails(void) { return ++openssl_calls == openssl_fail_at; }

static void plan(unsigned fail_at)
{
    openssl_calls = 0;
    openssl_fail_at = fail_at;
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : malloc(size);
}

static void *openssl_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : realloc(p, size);
}

static void openssl_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

/* OpenSSL gets along without some of its allocations, so OK is no end. */
static void creation_survives_each_allocation_failure(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    mem_fail_after(0);
    CHECK_UINT(crypto_create(&c), ERR_NOMEM);
    CHECK_UINT(crypto_create(&c), OK); /* sets up OpenSSL, once */
    crypto_free(&c);
    plan(0);
    CHECK_UINT(crypto_create(&c), OK);
    crypto_free(&c);
    unsigned calls = openssl_calls;
    unsigned failed = 0;
    for (unsigned n = 1; n <= calls; n++) {
        plan(n);
        enum err err = crypto_create(&c);
        plan(0);
        CHECK(err == OK || (err == ERR_NOMEM && c == NULL));
        failed += err != OK;
        crypto_free(&c);
    }
    CHECK(failed > 10);
}

/* What the calls of a suite do when OpenSSL gets no memory. */
static enum err use(struct crypto *c, const struct suite *s)
{
    struct entropy_seeded seeded;
    entropy_seed(&seeded, 1);
    struct random random = entropy_of(&seeded);
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret sign_key = {0};
    CLEANUP(buf_clear) struct buf pk = buf_new(OUT_MAX);
    CLEANUP(buf_clear) struct buf enc = buf_new(OUT_MAX);
    CLEANUP(buf_clear) struct buf ct = buf_new(OUT_MAX);
    CLEANUP(buf_clear) struct buf pt = buf_new(OUT_MAX);
    TRY(kem_generate(c, s->kem, &random, &key, &pk));
    struct hpke_args a = {.public_key = buf_bytes(&pk), .text = LIT("text")};
    TRY(hpke_seal(c, suite_hpke(s), &random, &a, &enc, &ct));
    a.enc = buf_bytes(&enc);
    a.text = buf_bytes(&ct);
    TRY(hpke_open(c, suite_hpke(s), &key, &a, &pt));
    if (!bytes_equal(buf_bytes(&pt), LIT("text")))
        return ERR_STATE;

    buf_clear(&pk);
    buf_clear(&ct);
    TRY(sign_generate(c, s->sign, &random, &sign_key, &pk));
    TRY(sign(c, s->sign, &sign_key, LIT("text"), &ct));
    return sign_verify(c, s->sign, buf_bytes(&pk), LIT("text"), buf_bytes(&ct));
}

/* A sample: some suites make thousands of allocations. */
static void use_survives_allocation_failures(void)
{
    const struct suite *s = NULL;
    for (size_t i = 0; (s = suite_at(i)) != NULL; i++) {
        CLEANUP(crypto_free) struct crypto *c = NULL;
        CHECK_UINT(crypto_create(&c), OK);
        plan(0);
        CHECK_UINT(use(c, s), OK);
        unsigned calls = openssl_calls;
        for (unsigned n = 1; n <= calls; n += 1 + calls / SAMPLES) {
            plan(n);
            enum err err = use(c, s);
            plan(0);
            CHECK(err != ERR_STATE);   /* never a wrong result */
            CHECK_UINT(use(c, s), OK); /* the contexts are still sound */
        }
    }
}

static void forgetting_wipes_the_key_that_was_kept(void)
{
    static const uint8_t zeros[ED25519_SK];
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(use(c, suite_find(SUITE_X25519_AES128)), OK);
    CHECK(c->ed25519_seed.len > 0);
    CHECK(memcmp(c->ed25519_sk, zeros, sizeof(zeros)) != 0);
    CHECK_UINT(crypto_forget(c), OK);
    CHECK_UINT(c->ed25519_seed.len, 0);
    CHECK(memcmp(c->ed25519_sk, zeros, sizeof(zeros)) == 0);
    CHECK_UINT(use(c, suite_find(SUITE_X25519_AES128)), OK);
}

static const struct test tests[] = {
    TEST(creation_survives_each_allocation_failure),
    TEST(use_survives_allocation_failures),
    TEST(forgetting_wipes_the_key_that_was_kept),
};

int main(void)
{
    /* before OpenSSL's first allocation, or it refuses */
    if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc,
                                 openssl_free) != 1)
        return 1;
    return test_run(tests, COUNT(tests));
}
