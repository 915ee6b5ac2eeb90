/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ML-KEM-768 alone (FIPS 203), and X-Wing, of which it is a half. Sotto uses
 * it only inside X-Wing, so these vectors go to libsodium itself.
 */
#include "crypto/kem.h"
#include "test.h"
#include "vectors.h"

#include <sodium.h>
#include <string.h>

#define PUBLIC_SIZE crypto_kem_mlkem768_PUBLICKEYBYTES
#define PUBLIC_HEX  ((size_t)2 * PUBLIC_SIZE)
#define SECRET_SIZE crypto_kem_mlkem768_SECRETKEYBYTES
#define CIPHER_SIZE crypto_kem_mlkem768_CIPHERTEXTBYTES
#define SHARED_SIZE crypto_kem_mlkem768_SHAREDSECRETBYTES
#define SEED_SIZE   crypto_kem_mlkem768_SEEDBYTES
#define COINS_SIZE  32U
#define TEXT_MAX    4096U

static bool keygen(struct bytes seed, struct bytes ek, struct bytes dk,
                   uint8_t out_dk[SECRET_SIZE])
{
    uint8_t public_key[PUBLIC_SIZE];
    if (seed.len != SEED_SIZE ||
        crypto_kem_mlkem768_seed_keypair(public_key, out_dk, seed.data) != 0)
        return false;
    return bytes_equal(BYTES_ARRAY(public_key), ek) &&
           (dk.len == 0 ||
            bytes_equal((struct bytes){out_dk, SECRET_SIZE}, dk));
}

static bool encap(struct bytes ek, struct bytes m, struct bytes c,
                  struct bytes shared)
{
    uint8_t ciphertext[CIPHER_SIZE];
    uint8_t k[SHARED_SIZE];
    return ek.len == PUBLIC_SIZE && m.len == COINS_SIZE &&
           crypto_kem_mlkem768_enc_deterministic(ciphertext, k, ek.data,
                                                 m.data) == 0 &&
           bytes_equal(BYTES_ARRAY(ciphertext), c) &&
           bytes_equal(BYTES_ARRAY(k), shared);
}

static bool decap(struct bytes dk, struct bytes c, struct bytes shared)
{
    uint8_t k[SHARED_SIZE];
    return dk.len == SECRET_SIZE && c.len == CIPHER_SIZE &&
           crypto_kem_mlkem768_dec(k, c.data, dk.data) == 0 &&
           bytes_equal(BYTES_ARRAY(k), shared);
}

/* Wycheproof: a case fails to run when a size or the content is not right. */

static bool wycheproof_keygen(struct vectors *v, const json_t *test)
{
    uint8_t dk[SECRET_SIZE];
    return keygen(vectors_hex(v, test, "seed"), vectors_hex(v, test, "ek"),
                  vectors_hex(v, test, "dk"), dk);
}

static bool wycheproof_encap(struct vectors *v, const json_t *test)
{
    return encap(vectors_hex(v, test, "ek"), vectors_hex(v, test, "m"),
                 vectors_hex(v, test, "c"), vectors_hex(v, test, "K"));
}

static bool wycheproof_decap(struct vectors *v, const json_t *test)
{
    return decap(vectors_hex(v, test, "dk"), vectors_hex(v, test, "c"),
                 vectors_hex(v, test, "K"));
}

static bool wycheproof_all(struct vectors *v, const json_t *test)
{
    uint8_t dk[SECRET_SIZE];
    return keygen(vectors_hex(v, test, "seed"), vectors_hex(v, test, "ek"),
                  (struct bytes){0}, dk) &&
           decap(BYTES_ARRAY(dk), vectors_hex(v, test, "c"),
                 vectors_hex(v, test, "K"));
}

struct mlkem_kind {
    bool (*runs)(struct vectors *v, const json_t *test);
};

static void run_wycheproof(struct vectors *v, const json_t *root)
{
    const struct mlkem_kind *kind = v->file->kind;
    const json_t *groups = json_object_get(root, "testGroups");
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *tests =
            json_object_get(json_array_get(groups, i), "tests");
        for (size_t j = 0; j < json_array_size(tests); j++) {
            const json_t *test = json_array_get(tests, j);
            bool valid = strcmp(vectors_text(test, "result"), "valid") == 0;
            if (vectors_flag(test, "InvalidDecapsulationKey"))
                vectors_skip(
                    v, "decapsulation keys that do not come from a seed", 1);
            else
                vectors_case(v, kind->runs(v, test) == valid, "test",
                             vectors_int(test, "tcId"));
        }
    }
}

/* ACVP: the prompt and the expected results are two files. */

static bool acvp_keygen(struct vectors *v, const json_t *group,
                        const json_t *in, const json_t *out)
{
    uint8_t seed[SEED_SIZE];
    uint8_t dk[SECRET_SIZE];
    struct bytes d = vectors_hex(v, in, "d");
    struct bytes z = vectors_hex(v, in, "z");
    (void)group;
    if (d.len != 32 || z.len != 32)
        return false;
    memcpy(seed, d.data, 32);
    memcpy(seed + 32, z.data, 32);
    return keygen(BYTES_ARRAY(seed), vectors_hex(v, out, "ek"),
                  vectors_hex(v, out, "dk"), dk);
}

static bool acvp_encap_decap(struct vectors *v, const json_t *group,
                             const json_t *in, const json_t *out)
{
    if (strcmp(vectors_text(group, "function"), "decapsulation") == 0)
        return decap(vectors_hex(v, group, "dk"), vectors_hex(v, in, "c"),
                     vectors_hex(v, out, "k"));
    return encap(vectors_hex(v, in, "ek"), vectors_hex(v, in, "m"),
                 vectors_hex(v, out, "c"), vectors_hex(v, out, "k"));
}

struct acvp_kind {
    const char *results;
    bool (*check)(struct vectors *v, const json_t *group, const json_t *in,
                  const json_t *out);
};

static void run_acvp(struct vectors *v, const json_t *root)
{
    const struct acvp_kind *kind = v->file->kind;
    json_t *results = vectors_load(v, kind->results);
    const json_t *groups = json_object_get(root, "testGroups");
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *group = json_array_get(groups, i);
        const json_t *in = json_object_get(group, "tests");
        const json_t *out = json_object_get(
            json_array_get(json_object_get(results, "testGroups"), i), "tests");
        if (strcmp(vectors_text(group, "parameterSet"), "ML-KEM-768") != 0) {
            vectors_skip(v, "parameter sets other than 768",
                         json_array_size(in));
            continue;
        }
        for (size_t j = 0; j < json_array_size(in); j++)
            vectors_case(v,
                         kind->check(v, group, json_array_get(in, j),
                                     json_array_get(out, j)),
                         "test", vectors_int(json_array_get(in, j), "tcId"));
    }
    json_decref(results);
}

/* CCTV: one case in "name = hex" lines. */

static void run_strcmp(struct vectors *v, struct bytes text)
{
    bool ok = decap(vectors_line(v, text, "dk"), vectors_line(v, text, "c"),
                    vectors_line(v, text, "K"));
    vectors_case(v, ok, "decapsulation", 1);
}

static void run_whole(struct vectors *v, struct bytes text)
{
    struct bytes dk = vectors_line(v, text, "dk");
    struct bytes c = vectors_line(v, text, "c");
    struct bytes shared = vectors_line(v, text, "K");
    bool ok = encap(vectors_line(v, text, "ek"), vectors_line(v, text, "m"), c,
                    shared) &&
              decap(dk, c, shared);
    vectors_case(v, ok, "encapsulation, decapsulation", 1);
    /* without the byte that the final standard appends to d */
    vectors_skip(v, "key generation of the draft of FIPS 203", 1);
}

/* Keys of which one coefficient is not below the modulus, a line each. */
static void run_modulus(struct vectors *v, struct bytes text)
{
    uint8_t c[CIPHER_SIZE];
    uint8_t k[SHARED_SIZE];
    static const uint8_t m[COINS_SIZE];
    const char *at = (const char *)text.data;
    for (json_int_t line = 1; text.len > PUBLIC_HEX; line++) {
        struct bytes ek = vectors_decode(v, at, PUBLIC_HEX);
        int failed = crypto_kem_mlkem768_enc_deterministic(c, k, ek.data, m);
        vectors_case(v, failed != 0, "line", line);
        at += PUBLIC_HEX + 1;
        text.len -= PUBLIC_HEX + 1;
    }
}

/* X-Wing, through our own interface. */

static bool xwing_case(struct vectors *v, const json_t *test)
{
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret sent = {0};
    CLEANUP(secret_clear) struct secret got = {0};
    CLEANUP(buf_clear) struct buf pk = buf_new(TEXT_MAX);
    CLEANUP(buf_clear) struct buf ct = buf_new(TEXT_MAX);
    struct vectors_random seed = {vectors_hex(v, test, "seed")};
    struct vectors_random eseed = {vectors_hex(v, test, "eseed")};
    struct random key_random = vectors_random(&seed);
    struct random random = vectors_random(&eseed);
    struct bytes ss = vectors_hex(v, test, "ss");
    return kem_generate(v->c, KEM_XWING, &key_random, &key, &pk) == OK &&
           bytes_equal(secret_expose(&key), vectors_hex(v, test, "sk")) &&
           bytes_equal(buf_bytes(&pk), vectors_hex(v, test, "pk")) &&
           kem_encap(v->c, KEM_XWING, &random, buf_bytes(&pk), &sent, &ct) ==
               OK &&
           bytes_equal(buf_bytes(&ct), vectors_hex(v, test, "ct")) &&
           bytes_equal(secret_expose(&sent), ss) &&
           kem_decap(v->c, KEM_XWING, &key, buf_bytes(&pk), buf_bytes(&ct),
                     &got) == OK &&
           bytes_equal(secret_expose(&got), ss);
}

static void run_xwing(struct vectors *v, const json_t *root)
{
    for (size_t i = 0; i < json_array_size(root); i++)
        vectors_case(v, xwing_case(v, json_array_get(root, i)), "row",
                     (json_int_t)i);
}

static const struct mlkem_kind whole = {wycheproof_all};
static const struct mlkem_kind keys = {wycheproof_keygen};
static const struct mlkem_kind encaps = {wycheproof_encap};
static const struct mlkem_kind decaps = {wycheproof_decap};

#define ACVP "mlkem/acvp/ML-KEM-"

static const struct acvp_kind key_gen = {
    ACVP "keyGen-FIPS203-expectedResults.json", acvp_keygen};
static const struct acvp_kind encap_decap = {
    ACVP "encapDecap-FIPS203-expectedResults.json", acvp_encap_decap};

#define WYCHEPROOF(name, what)                          \
    {.path = "mlkem/wycheproof/mlkem_768" name ".json", \
     .run_json = run_wycheproof,                        \
     .kind = &(what)}

static const struct vectors_file files[] = {
    {.path = "xwing/xwing.json", .run_json = run_xwing},
    WYCHEPROOF("_test", whole),
    WYCHEPROOF("_keygen_seed_test", keys),
    WYCHEPROOF("_encaps_test", encaps),
    WYCHEPROOF("_semi_expanded_decaps_test", decaps),
    {.path = ACVP "keyGen-FIPS203-prompt.json",
     .run_json = run_acvp,
     .kind = &key_gen},
    {.path = ACVP "encapDecap-FIPS203-prompt.json",
     .run_json = run_acvp,
     .kind = &encap_decap},
    {.path = "mlkem/cctv-intermediate-768.txt", .run_text = run_whole},
    {.path = "mlkem/cctv-unluckysample-768.txt", .run_text = run_whole},
    {.path = "mlkem/cctv-strcmp-768.txt", .run_text = run_strcmp},
    {.path = "mlkem/cctv-modulus-768.txt.gz", .run_text = run_modulus},
};

int main(void) { return vectors_main(files, COUNT(files)); }
