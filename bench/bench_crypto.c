/* SPDX-License-Identifier: Apache-2.0 */
/* Nanoseconds per call of what is on the path of a message or of a commit. */
#include "crypto/aead.h"
#include "crypto/entropy.h"
#include "crypto/hash.h"
#include "crypto/hpke.h"
#include "crypto/kem.h"
#include "crypto/sign.h"

#include "report.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_SIZE 1024U
#define OUT_MAX   4096U
#define ROUNDS    5U

struct bench {
    struct crypto *c;
    struct random random;
    struct secret key; /* symmetric */
    struct secret sign_key;
    struct secret kem_key;
    struct buf sign_public;
    struct buf kem_public;
    struct buf signature;
    struct buf enc;
    struct buf ct;
    enum kem_id kem;
    enum hash_id hash;
    enum aead_id aead;
    enum sign_id sign;
};

static const uint8_t text[TEXT_SIZE];
static const struct bytes small = {text, 60};

static enum err run_hash(struct bench *b)
{
    struct digest d;
    return hash(b->c, b->hash, PARTS(small), &d);
}

static enum err run_hmac(struct bench *b)
{
    struct digest d;
    return hmac(b->c, b->hash, &b->key, PARTS(small), &d);
}

static enum err run_expand(struct bench *b)
{
    CLEANUP(secret_clear) struct secret out = {0};
    return hkdf_expand(b->c, b->hash, &b->key, PARTS(small), 32, &out);
}

static struct aead aead_args(const struct bench *b)
{
    return (struct aead){b->aead, &b->key, {text, 12}, {text, 20}};
}

static enum err run_seal(struct bench *b)
{
    struct aead a = aead_args(b);
    buf_truncate(&b->ct, 0);
    return aead_seal(b->c, &a, BYTES_ARRAY(text), &b->ct);
}

static enum err run_open(struct bench *b)
{
    struct aead a = aead_args(b);
    CLEANUP(buf_clear) struct buf out = buf_new(OUT_MAX);
    return aead_open(b->c, &a, buf_bytes(&b->ct), &out);
}

static enum err run_sign(struct bench *b)
{
    buf_truncate(&b->signature, 0);
    return sign(b->c, b->sign, &b->sign_key, small, &b->signature);
}

static enum err run_verify(struct bench *b)
{
    return sign_verify(b->c, b->sign, buf_bytes(&b->sign_public), small,
                       buf_bytes(&b->signature));
}

static enum err run_derive(struct bench *b)
{
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf out = buf_new(OUT_MAX);
    return kem_derive(b->c, b->kem, &b->key, &key, &out);
}

static enum err run_encap(struct bench *b)
{
    CLEANUP(secret_clear) struct secret shared = {0};
    buf_truncate(&b->enc, 0);
    return kem_encap(b->c, b->kem, &b->random, buf_bytes(&b->kem_public),
                     &shared, &b->enc);
}

static enum err run_decap(struct bench *b)
{
    CLEANUP(secret_clear) struct secret shared = {0};
    return kem_decap(b->c, b->kem, &b->kem_key, buf_bytes(&b->kem_public),
                     buf_bytes(&b->enc), &shared);
}

static enum err run_hpke(struct bench *b)
{
    const struct hpke h = {b->kem, b->hash, b->aead};
    const struct hpke_args a = {.public_key = buf_bytes(&b->kem_public),
                                .text = {text, 32}};
    CLEANUP(buf_clear) struct buf enc = buf_new(OUT_MAX);
    CLEANUP(buf_clear) struct buf ct = buf_new(OUT_MAX);
    return hpke_seal(b->c, h, &b->random, &a, &enc, &ct);
}

static enum err run_forget(struct bench *b) { return crypto_forget(b->c); }

/* In this order: some rows use what those before them made. */
static const struct {
    const char *name;
    enum err (*run)(struct bench *b);
    unsigned count;
} rows[] = {
    {"hash_60B", run_hash, 20000},          {"hmac_60B", run_hmac, 20000},
    {"hkdf_expand_60B", run_expand, 20000}, {"aead_seal_1KiB", run_seal, 20000},
    {"aead_open_1KiB", run_open, 20000},    {"sign_60B", run_sign, 500},
    {"verify_60B", run_verify, 500},        {"kem_derive", run_derive, 500},
    {"kem_encap", run_encap, 500},          {"kem_decap", run_decap, 500},
    {"hpke_seal_32B", run_hpke, 500},       {"forget", run_forget, 2000},
};

/* The best of some rounds: what disturbs only ever adds. */
static enum err measure(struct bench *b, const struct suite *s, size_t row)
{
    char name[80];
    double best = 0;
    unsigned count = report_scale(rows[row].count, 2);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start = report_cpu();
        for (unsigned i = 0; i < count; i++)
            TRY(rows[row].run(b));
        double each = (report_cpu() - start) / count * 1e9;
        if (round == 0 || each < best)
            best = each;
    }
    (void)snprintf(name, sizeof name, "crypto_%04x_%s", (unsigned)s->id,
                   rows[row].name);
    report(name, best, "ns");
    return OK;
}

static void bench_clear(struct bench *b)
{
    secret_clear(&b->key);
    secret_clear(&b->sign_key);
    secret_clear(&b->kem_key);
    buf_clear(&b->sign_public);
    buf_clear(&b->kem_public);
    buf_clear(&b->signature);
    buf_clear(&b->enc);
    buf_clear(&b->ct);
    crypto_free(&b->c);
}

static enum err bench_suite(const struct suite *s)
{
    struct entropy_seeded seeded;
    entropy_seed(&seeded, 1);
    CLEANUP(bench_clear)
    struct bench b = {.random = entropy_of(&seeded),
                      .sign_public = buf_new(OUT_MAX),
                      .kem_public = buf_new(OUT_MAX),
                      .signature = buf_new(OUT_MAX),
                      .enc = buf_new(OUT_MAX),
                      .ct = buf_new(OUT_MAX),
                      .kem = s->kem,
                      .hash = s->hash,
                      .aead = s->aead,
                      .sign = s->sign};
    TRY(crypto_create(&b.c));
    secret_random(&b.key, s->nk, &b.random);
    TRY(sign_generate(b.c, s->sign, &b.random, &b.sign_key, &b.sign_public));
    TRY(kem_generate(b.c, s->kem, &b.random, &b.kem_key, &b.kem_public));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        TRY(measure(&b, s, i));
    return OK;
}

/* With no argument all suites, else the one with that number. */
int main(int argc, char **argv)
{
    const struct suite *s = NULL;
    unsigned long wanted = argc > 1 ? strtoul(argv[1], NULL, 0) : 0;
    for (size_t i = 0; (s = suite_at(i)) != NULL; i++) {
        if (wanted != 0 && wanted != s->id)
            continue;
        if (bench_suite(s) != OK)
            return 1;
    }
    return 0;
}
