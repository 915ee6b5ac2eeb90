/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/x509.h"

#include "crypto/certs_for_test.h"
#include "crypto/entropy.h"
#include "crypto/openssl.h"
#include "test.h"

#include <openssl/ui.h>
#include <stdio.h>
#include <string.h>

/* root -> middle -> end; `other` signs nothing here. */
struct pki {
    struct crypto *c;
    struct test_ca *root, *middle, *other;
    struct buf root_der, root_pem, middle_der, other_der, other_pem;
    struct buf key, end_der;
};

static void pki_clear(struct pki *p)
{
    crypto_free(&p->c);
    test_ca_free(&p->root);
    test_ca_free(&p->middle);
    test_ca_free(&p->other);
    buf_clear(&p->root_der);
    buf_clear(&p->root_pem);
    buf_clear(&p->middle_der);
    buf_clear(&p->other_der);
    buf_clear(&p->other_pem);
    buf_clear(&p->key);
    buf_clear(&p->end_der);
}

static enum err key_make(struct pki *p, enum sign_id alg, uint64_t seed,
                         struct buf *out)
{
    CLEANUP(secret_clear) struct secret key = {0};
    struct entropy_seeded entropy;
    entropy_seed(&entropy, seed);
    struct random rnd = entropy_of(&entropy);
    return sign_generate(p->c, alg, &rnd, &key, out);
}

static enum err pki_make(struct pki *p)
{
    struct buf empty = buf_new(8192);
    *p = (struct pki){.root_der = empty,
                      .root_pem = empty,
                      .middle_der = empty,
                      .other_der = empty,
                      .other_pem = empty,
                      .key = empty,
                      .end_der = empty};
    TRY(crypto_create(&p->c));
    TRY(test_ca_create("Root", NULL, &p->root));
    TRY(test_ca_create("Middle", p->root, &p->middle));
    TRY(test_ca_create("Other", NULL, &p->other));
    TRY(test_ca_der(p->root, &p->root_der));
    TRY(test_ca_pem(p->root, &p->root_pem));
    TRY(test_ca_der(p->middle, &p->middle_der));
    TRY(test_ca_der(p->other, &p->other_der));
    TRY(test_ca_pem(p->other, &p->other_pem));
    TRY(key_make(p, SIGN_ED25519, 1, &p->key));
    struct test_cert end = {.subject = "anna",
                            .names = "DNS:anna.example,email:anna@example.org",
                            .alg = SIGN_ED25519,
                            .public_key = buf_bytes(&p->key)};
    return test_cert_make(p->middle, &end, &p->end_der);
}

static void a_certificate_is_of_one_key(void)
{
    static const enum sign_id algs[] = {SIGN_ED25519, SIGN_ED448, SIGN_P256,
                                        SIGN_P384, SIGN_P521};
    CLEANUP(pki_clear) struct pki p;
    CHECK_UINT(pki_make(&p), OK);
    for (size_t i = 0; i < COUNT(algs); i++) {
        CLEANUP(buf_clear) struct buf key = buf_new(256);
        CLEANUP(buf_clear) struct buf other = buf_new(256);
        CLEANUP(buf_clear) struct buf der = buf_new(8192);
        CHECK_UINT(key_make(&p, algs[i], 2, &key), OK);
        CHECK_UINT(key_make(&p, algs[i], 3, &other), OK);
        struct test_cert cert = {
            .subject = "x", .alg = algs[i], .public_key = buf_bytes(&key)};
        CHECK_UINT(test_cert_make(p.root, &cert, &der), OK);
        for (size_t k = 0; k < COUNT(algs); k++)
            CHECK_UINT(
                x509_check_key(buf_bytes(&der), algs[k], buf_bytes(&key)),
                k == i ? OK : ERR_INVALID);
        CHECK_UINT(x509_check_key(buf_bytes(&der), algs[i], buf_bytes(&other)),
                   ERR_INVALID);
        key.len--;
        CHECK_UINT(x509_check_key(buf_bytes(&der), algs[i], buf_bytes(&key)),
                   ERR_INVALID);
    }
}

static void a_key_that_may_not_sign_is_refused(void)
{
    static const struct {
        const char *usage;
        enum err want;
    } rows[] = {{"digitalSignature,keyAgreement", OK},
                {"keyAgreement", ERR_INVALID},
                {"keyCertSign", ERR_INVALID}};
    CLEANUP(pki_clear) struct pki p;
    CHECK_UINT(pki_make(&p), OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(buf_clear) struct buf der = buf_new(8192);
        struct test_cert cert = {.subject = "x",
                                 .usage = rows[i].usage,
                                 .alg = SIGN_ED25519,
                                 .public_key = buf_bytes(&p.key)};
        CHECK_UINT(test_cert_make(p.root, &cert, &der), OK);
        CHECK_UINT(
            x509_check_key(buf_bytes(&der), SIGN_ED25519, buf_bytes(&p.key)),
            rows[i].want);
    }
}

/* A key that another parser would not see must not be one for us. */
static void a_certificate_is_whole_and_alone(void)
{
    CLEANUP(pki_clear) struct pki p;
    CLEANUP(buf_clear) struct buf longer = buf_new(8192);
    CHECK_UINT(pki_make(&p), OK);
    struct bytes der = buf_bytes(&p.end_der);
    struct bytes key = buf_bytes(&p.key);
    CHECK_UINT(x509_check_key(der, SIGN_ED25519, key), OK);
    for (size_t len = 0; len < der.len; len++)
        CHECK_UINT(
            x509_check_key((struct bytes){der.data, len}, SIGN_ED25519, key),
            ERR_MALFORMED);
    CHECK_UINT(buf_append(&longer, der), OK);
    CHECK_UINT(buf_append(&longer, LIT("\0")), OK);
    CHECK_UINT(x509_check_key(buf_bytes(&longer), SIGN_ED25519, key),
               ERR_MALFORMED);
}

struct row {
    const char *what;
    struct bytes chain[4];
    struct bytes anchors[3];
    uint64_t now;
    const char *name;
    enum err want;
};

static enum err judge(const struct row *row)
{
    struct x509_chain chain = {0};
    struct x509_question q = {
        .chain = &chain,
        .anchors = row->anchors,
        .now = row->now,
        .name = {(const uint8_t *)row->name, strlen(row->name)}};
    while (chain.count < 4 && row->chain[chain.count].data != NULL) {
        chain.certificate[chain.count] = row->chain[chain.count];
        chain.count++;
    }
    while (q.anchor_count < 3 && row->anchors[q.anchor_count].data != NULL)
        q.anchor_count++;
    return x509_verify(&q);
}

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum err err = judge(&rows[i]);
        if (err != rows[i].want)
            printf("# %s\n", rows[i].what);
        CHECK_UINT(err, rows[i].want);
        CHECK_UINT(ERR_peek_error(), 0); /* libssl would take it for its own */
    }
}

static void a_path_leads_to_an_anchor(void)
{
    CLEANUP(pki_clear) struct pki p;
    CLEANUP(buf_clear) struct buf bundle = buf_new(16384);
    CHECK_UINT(pki_make(&p), OK);
    CHECK_UINT(buf_append(&bundle, LIT("# two of them\n")), OK);
    CHECK_UINT(buf_append(&bundle, buf_bytes(&p.other_pem)), OK);
    CHECK_UINT(buf_append(&bundle, buf_bytes(&p.root_pem)), OK);
    struct bytes end = buf_bytes(&p.end_der);
    struct bytes middle = buf_bytes(&p.middle_der);
    struct bytes root = buf_bytes(&p.root_der);
    struct bytes pem = buf_bytes(&p.root_pem);
    struct bytes other = buf_bytes(&p.other_der);
    struct bytes cut = {end.data, end.len - 1};
    struct bytes middle_cut = {middle.data, middle.len - 1};
    struct bytes pem_cut = {pem.data, pem.len / 2};
    const struct row rows[] = {
        {"a chain", {end, middle}, {root}, CERT_NOW, "", OK},
        {"with its root", {end, middle, root}, {root}, CERT_NOW, "", OK},
        {"an anchor as PEM", {end, middle}, {pem}, CERT_NOW, "", OK},
        {"a bundle", {end, middle}, {buf_bytes(&bundle)}, CERT_NOW, "", OK},
        {"among others", {end, middle}, {other, root}, CERT_NOW, "", OK},
        {"an anchor in the middle", {end}, {middle}, CERT_NOW, "", OK},
        {"from others by order", {end, root, middle}, {root}, CERT_NOW, "", OK},
        {"at the first second", {end, middle}, {root}, CERT_FROM, "", OK},

        {"not trusted", {end, middle}, {other}, CERT_NOW, "", ERR_AUTH},
        {"its own root", {end, middle, root}, {other}, CERT_NOW, "", ERR_AUTH},
        {"no anchor", {end, middle}, {{0}}, CERT_NOW, "", ERR_AUTH},
        {"a gap", {end}, {root}, CERT_NOW, "", ERR_AUTH},
        {"expired", {end, middle}, {root}, CERT_TO + 1, "", ERR_AUTH},
        {"not yet", {end, middle}, {root}, CERT_FROM - 1, "", ERR_AUTH},
        {"no clock", {end, middle}, {root}, 0, "", ERR_AUTH},
        {"far ahead", {end, middle}, {root}, UINT64_MAX, "", ERR_AUTH},
        {"nobody", {{0}}, {root}, CERT_NOW, "", ERR_MALFORMED},
        {"truncated", {cut, middle}, {root}, CERT_NOW, "", ERR_MALFORMED},
        {"further on", {end, middle_cut}, {root}, CERT_NOW, "", ERR_MALFORMED},
        {"half an anchor",
         {end, middle},
         {pem_cut},
         CERT_NOW,
         "",
         ERR_MALFORMED},
        {"no anchor at all",
         {end, middle},
         {LIT("root")},
         CERT_NOW,
         "",
         ERR_MALFORMED},

        {"a name", {end, middle}, {root}, CERT_NOW, "anna.example", OK},
        {"an address", {end, middle}, {root}, CERT_NOW, "anna@example.org", OK},
        {"another name",
         {end, middle},
         {root},
         CERT_NOW,
         "ben.example",
         ERR_INVALID},
        {"another address",
         {end, middle},
         {root},
         CERT_NOW,
         "ben@example.org",
         ERR_INVALID},
        {"the subject", {end, middle}, {root}, CERT_NOW, "anna", ERR_INVALID},
        {"a part", {end, middle}, {root}, CERT_NOW, "example", ERR_INVALID},
        {"any of a domain",
         {end, middle},
         {root},
         CERT_NOW,
         ".example",
         ERR_INVALID},
    };
    check_rows(rows, COUNT(rows));
}

/* A want of memory would be tried again, for ever. */
static void an_empty_anchor_is_malformed(void)
{
    CLEANUP(pki_clear) struct pki p;
    CHECK_UINT(pki_make(&p), OK);
    const struct bytes anchors[] = {buf_bytes(&p.root_der), {NULL, 0}};
    const struct x509_chain chain = {
        {buf_bytes(&p.end_der), buf_bytes(&p.middle_der)}, 2};
    const struct x509_question q = {&chain, anchors, 2, CERT_NOW, {NULL, 0}};
    CHECK_UINT(x509_verify(&q), ERR_MALFORMED);
}

/* What another reader would see of a name with a NUL is not what we see. */
static void a_name_has_no_nul(void)
{
    CLEANUP(pki_clear) struct pki p;
    CHECK_UINT(pki_make(&p), OK);
    struct bytes root = buf_bytes(&p.root_der);
    const struct x509_chain chain = {
        {buf_bytes(&p.end_der), buf_bytes(&p.middle_der)}, 2};
    const struct bytes names[] = {LIT("anna.example\0"), LIT("\0"),
                                  LIT("anna.example\0.org"),
                                  LIT("anna@example.org\0")};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct x509_question q = {&chain, &root, 1, CERT_NOW, names[i]};
        CHECK_UINT(x509_verify(&q), ERR_INVALID);
    }
}

static bool asked;
static int note_asking(UI *ui)
{
    (void)ui;
    asked = true;
    return 0;
}

/* A daemon with a terminal must not hang at a file of anchors. */
static void nobody_is_asked_for_a_password(void)
{
    CLEANUP(pki_clear) struct pki p;
    CLEANUP(buf_clear) struct buf pem = buf_new(16384);
    CHECK_UINT(pki_make(&p), OK);
    const struct bytes head = LIT("-----BEGIN CERTIFICATE-----\n");
    struct bytes root = buf_bytes(&p.root_pem);
    CHECK(root.len > head.len);
    CHECK_UINT(buf_append(&pem, head), OK);
    CHECK_UINT(buf_append(&pem, LIT("Proc-Type: 4,ENCRYPTED\n"
                                    "DEK-Info: AES-128-CBC,"
                                    "000102030405060708090a0b0c0d0e0f\n\n")),
               OK);
    CHECK_UINT(buf_append(&pem, (struct bytes){root.data + head.len,
                                               root.len - head.len}),
               OK);
    const struct row row = {
        .what = "",
        .chain = {buf_bytes(&p.end_der), buf_bytes(&p.middle_der)},
        .anchors = {buf_bytes(&pem)},
        .now = CERT_NOW,
        .name = ""};
    UI_METHOD *method = UI_create_method("test");
    CHECK(method != NULL && UI_method_set_opener(method, note_asking) == 0);
    const UI_METHOD *before = UI_get_default_method();
    UI_set_default_method(method);
    enum err err = judge(&row);
    UI_set_default_method(before);
    UI_destroy_method(method);
    CHECK_UINT(err, ERR_MALFORMED);
    CHECK(!asked);
}

/* An end entity may vouch for nobody, however good its own certificate is. */
static void only_an_authority_vouches(void)
{
    CLEANUP(pki_clear) struct pki p;
    CLEANUP(buf_clear) struct buf der = buf_new(8192);
    CHECK_UINT(pki_make(&p), OK);
    /* `other` is not signed by the root; `middle` is, but not for this one. */
    struct test_cert cert = {.subject = "mallory",
                             .alg = SIGN_ED25519,
                             .public_key = buf_bytes(&p.key)};
    CHECK_UINT(test_cert_make(p.other, &cert, &der), OK);
    const struct row rows[] = {
        {"under another authority",
         {buf_bytes(&der), buf_bytes(&p.middle_der)},
         {buf_bytes(&p.root_der)},
         CERT_NOW,
         "",
         ERR_AUTH},
        {"under an end entity",
         {buf_bytes(&der), buf_bytes(&p.end_der), buf_bytes(&p.middle_der)},
         {buf_bytes(&p.root_der)},
         CERT_NOW,
         "",
         ERR_AUTH},
        {"its authority is no anchor",
         {buf_bytes(&der), buf_bytes(&p.other_der)},
         {buf_bytes(&p.root_der)},
         CERT_NOW,
         "",
         ERR_AUTH},
        {"it is",
         {buf_bytes(&der)},
         {buf_bytes(&p.other_der)},
         CERT_NOW,
         "",
         OK},
    };
    check_rows(rows, COUNT(rows));
}

/* Who holds it could be anybody below. */
static void a_wildcard_is_nobodys_name(void)
{
    CLEANUP(pki_clear) struct pki p;
    CLEANUP(buf_clear) struct buf der = buf_new(8192);
    CHECK_UINT(pki_make(&p), OK);
    const struct test_cert cert = {.subject = "x",
                                   .names = "DNS:*.org.example",
                                   .alg = SIGN_ED25519,
                                   .public_key = buf_bytes(&p.key)};
    CHECK_UINT(test_cert_make(p.root, &cert, &der), OK);
    struct row row = {.chain = {buf_bytes(&der)},
                      .anchors = {buf_bytes(&p.root_der)},
                      .now = CERT_NOW,
                      .name = ""};
    CHECK_UINT(judge(&row), OK);
    row.name = "anna.org.example";
    CHECK_UINT(judge(&row), ERR_INVALID);
}

static void a_forged_signature_is_no_path(void)
{
    CLEANUP(pki_clear) struct pki p;
    CHECK_UINT(pki_make(&p), OK);
    struct row row = {
        .what = "",
        .chain = {buf_bytes(&p.end_der), buf_bytes(&p.middle_der)},
        .anchors = {buf_bytes(&p.root_der)},
        .now = CERT_NOW,
        .name = ""};
    CHECK_UINT(judge(&row), OK);
    p.end_der.data[p.end_der.len - 1] ^= 1;
    CHECK_UINT(judge(&row), ERR_AUTH);
}

static void a_successor_keeps_its_names(void)
{
    static const struct {
        const char *subject, *names;
        enum err want;
    } rows[] = {
        {"anna", "DNS:anna.example,email:anna@example.org", OK},
        {"ben", "DNS:anna.example,email:anna@example.org", ERR_INVALID},
        {"anna", "DNS:ben.example", ERR_INVALID},
        {"anna", NULL, ERR_INVALID},
    };
    CLEANUP(pki_clear) struct pki p;
    CHECK_UINT(pki_make(&p), OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(buf_clear) struct buf key = buf_new(64);
        CLEANUP(buf_clear) struct buf der = buf_new(8192);
        CHECK_UINT(key_make(&p, SIGN_ED25519, 9, &key), OK);
        struct test_cert cert = {.subject = rows[i].subject,
                                 .names = rows[i].names,
                                 .alg = SIGN_ED25519,
                                 .public_key = buf_bytes(&key)};
        CHECK_UINT(test_cert_make(p.root, &cert, &der), OK);
        CHECK_UINT(x509_check_successor(buf_bytes(&p.end_der), buf_bytes(&der)),
                   rows[i].want);
    }
    CHECK_UINT(x509_check_successor(buf_bytes(&p.end_der), LIT("x")),
               ERR_MALFORMED);
}

static const struct test tests[] = {
    TEST(a_certificate_is_of_one_key),
    TEST(a_key_that_may_not_sign_is_refused),
    TEST(a_certificate_is_whole_and_alone),
    TEST(a_path_leads_to_an_anchor),
    TEST(an_empty_anchor_is_malformed),
    TEST(a_name_has_no_nul),
    TEST(nobody_is_asked_for_a_password),
    TEST(only_an_authority_vouches),
    TEST(a_wildcard_is_nobodys_name),
    TEST(a_forged_signature_is_no_path),
    TEST(a_successor_keeps_its_names),
};
TEST_MAIN(tests)
