/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which leaves and KeyPackages are valid (RFC 9420, sections 7.3, 10.1, 11.1
 * and 13.4): a KeyPackage that is good, and a row for each way to spoil it.
 */
#include "mls/key_package.h"

#include "crypto/certs_for_test.h"
#include "crypto/entropy.h"
#include "crypto/sign.h"
#include "test.h"

#include <stdio.h>

#define EXT 0xf100U

struct fixture {
    struct sotto_mls *mls;
    struct entropy_seeded entropy;
    struct sotto_buf private_key, public_key;
    struct key_package_private kp;
};

static void fixture_clear(struct fixture *f)
{
    key_package_private_clear(&f->kp);
    sotto_buf_free(&f->private_key);
    sotto_buf_free(&f->public_key);
    sotto_mls_free(&f->mls);
}

static struct sotto_identity identity_of(const struct fixture *f)
{
    static const uint16_t extensions[] = {EXT};
    static const uint16_t proposals[] = {PROPOSAL_APP_EPHEMERAL};
    return (struct sotto_identity){
        .suite = SUITE_X25519_AES128,
        .identity = bytes_out(LIT("somebody")),
        .signature_private = {f->private_key.data, f->private_key.len},
        .signature_public = {f->public_key.data, f->public_key.len},
        .extension_types = extensions,
        .extension_type_count = COUNT(extensions),
        .proposal_types = proposals,
        .proposal_type_count = COUNT(proposals),
        .not_before = 1000,
        .not_after = 2000};
}

static bool fixture_open(struct fixture *f)
{
    *f = (struct fixture){0};
    entropy_seed(&f->entropy, 1);
    struct random rnd = entropy_of(&f->entropy);
    if (sotto_mls_create((struct sotto_random){rnd.fill, rnd.ctx}, &f->mls) !=
            SOTTO_OK ||
        sotto_mls_signature_keygen(f->mls, SUITE_X25519_AES128, &f->private_key,
                                   &f->public_key) != SOTTO_OK)
        return false;
    struct sotto_identity id = identity_of(f);
    return key_package_make(f->mls, &id, &f->kp) == OK;
}

/* What is signed again after it was spoiled: nothing, the KeyPackage alone, or
 * the leaf as well. */
enum sign {
    SIGN_NOTHING,
    SIGN_PACKAGE,
    SIGN_LEAF
};

static enum err sign_again(struct fixture *f, enum sign which,
                           struct key_package *kp, struct buf *leaf,
                           struct buf *out)
{
    CLEANUP(buf_clear) struct buf tbs = buf_new(2 * MLS_LEAF_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGN_MAX);
    struct leaf_place nowhere = {0};

    kp->leaf.signed_part = (struct bytes){0};
    if (which == SIGN_LEAF) {
        TRY(leaf_sign(f->mls->crypto, f->kp.suite, &f->kp.signature_key,
                      &kp->leaf, &nowhere, leaf));
        struct reader r = reader_of(buf_bytes(leaf));
        leaf_node_read(&r, &kp->leaf);
        TRY(reader_finish(&r));
    }
    if (which != SIGN_NOTHING) {
        struct writer w = writer_to(&tbs);
        key_package_write_unsigned(&w, kp);
        TRY(writer_finish(&w));
        TRY(sign_with_label(f->mls->crypto, f->kp.suite, &f->kp.signature_key,
                            "KeyPackageTBS", buf_bytes(&tbs), &signature));
        kp->signature = buf_bytes(&signature);
    }
    struct writer w = writer_to(out);
    key_package_write(&w, kp);
    return writer_finish(&w);
}

/* ---- Ways to spoil ---- */

static void keep(struct key_package *kp) { (void)kp; }

static void older_version(struct key_package *kp) { kp->version = 0; }

static void other_suite(struct key_package *kp)
{
    kp->cipher_suite = SUITE_P256_AES128;
}

static void init_key_of_leaf(struct key_package *kp)
{
    kp->init_key = kp->leaf.encryption_key;
}

static void init_key_short(struct key_package *kp) { kp->init_key.len--; }

static void key_short(struct key_package *kp) { kp->leaf.encryption_key.len--; }

static void leaf_of_update(struct key_package *kp)
{
    kp->leaf.source = LEAF_UPDATE;
}

static void leaf_of_commit(struct key_package *kp)
{
    kp->leaf.source = LEAF_COMMIT;
}

static void no_version(struct key_package *kp)
{
    kp->leaf.capabilities.versions = LIT("\0\2");
}

static void no_suite(struct key_package *kp)
{
    kp->leaf.capabilities.cipher_suites = LIT("\0\2");
}

static void no_credential(struct key_package *kp)
{
    kp->leaf.capabilities.credentials = LIT("\0\2\xf0\0");
}

static void credential_of_grease(struct key_package *kp)
{
    kp->leaf.capabilities.credentials = LIT("\0\1\x2a\x2a");
    kp->leaf.credential.type = 0x2a2a;
}

static void extension_not_listed(struct key_package *kp)
{
    kp->leaf.extensions = LIT("\xf1\1\0");
}

static void grease_not_listed(struct key_package *kp)
{
    kp->leaf.extensions = LIT("\x3a\x3a\0");
}

static void extension_twice(struct key_package *kp)
{
    kp->leaf.extensions = LIT("\xf1\0\0\xf1\0\0");
}

static void package_extension_twice(struct key_package *kp)
{
    kp->extensions = LIT("\xf1\0\0\xf1\0\0");
}

static void damage(struct bytes *part, uint8_t copy[SIGN_MAX])
{
    for (size_t i = 0; i < part->len; i++)
        copy[i] = part->data[i];
    copy[0] ^= 1;
    part->data = copy;
}

static void leaf_signature(struct key_package *kp)
{
    static uint8_t copy[SIGN_MAX];
    damage(&kp->leaf.signature, copy);
}

static void package_signature(struct key_package *kp)
{
    static uint8_t copy[SIGN_MAX];
    damage(&kp->signature, copy);
}

/* "MUST ignore all unrecognized values" (section 13.4) */

static void unknown_capabilities(struct key_package *kp)
{
    kp->leaf.capabilities = (struct capabilities){
        .versions = LIT("\xab\xcd\0\1"),
        .cipher_suites = LIT("\x4a\x4a\0\1\xab\xcd"),
        .extensions = LIT("\x5a\x5a\xab\xcd"),
        .proposals = LIT("\x6a\x6a\xab\xcd"),
        .credentials = LIT("\0\1\x7a\x7a\xab\xcd"),
    };
}

static void unknown_package_extensions(struct key_package *kp)
{
    kp->extensions = LIT("\x8a\x8a\3abc\xab\xcd\0");
}

static void unknown_leaf_extensions(struct key_package *kp)
{
    kp->leaf.capabilities.extensions = LIT("\x9a\x9a\xab\xcd");
    kp->leaf.extensions = LIT("\x9a\x9a\2xy\xab\xcd\0");
}

static void default_leaf_extensions(struct key_package *kp)
{
    kp->leaf.extensions = LIT("\0\1\4\3app"); /* application_id */
}

/* X.509 credentials (section 5.3); the test makes the certificates. */

static struct bytes chain_of_key, chain_of_other;

static void present(struct key_package *kp, struct bytes chain)
{
    kp->leaf.capabilities.credentials = LIT("\0\1\0\2");
    kp->leaf.credential = (struct credential){CREDENTIAL_X509, chain};
}

static void its_certificate(struct key_package *kp)
{
    present(kp, chain_of_key);
}

static void another_certificate(struct key_package *kp)
{
    present(kp, chain_of_other);
}

static void no_certificate(struct key_package *kp) { present(kp, LIT("")); }

static void bad_certificate(struct key_package *kp)
{
    present(kp, LIT("\3abc"));
}

/* A chain of one certificate. */
static enum err chain_make(const struct test_ca *ca,
                           const struct sotto_buf *key, struct buf *out)
{
    CLEANUP(buf_clear) struct buf der = buf_new(8192);
    struct test_cert cert = {.subject = "somebody",
                             .alg = SIGN_ED25519,
                             .public_key = {key->data, key->len}};
    TRY(test_cert_make(ca, &cert, &der));
    struct writer w = writer_to(out);
    writer_vec(&w, buf_bytes(&der));
    return writer_finish(&w);
}

struct chains {
    struct buf of_key, of_other;
};

static void chains_clear(struct chains *c)
{
    buf_clear(&c->of_key);
    buf_clear(&c->of_other);
}

/* Of the key of `f`, and of another one. */
static enum err chains_make(struct fixture *f, struct chains *c)
{
    CLEANUP(test_ca_free) struct test_ca *ca = NULL;
    CLEANUP(sotto_buf_free) struct sotto_buf private_key = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf public_key = {0};
    if (sotto_mls_signature_keygen(f->mls, SUITE_X25519_AES128, &private_key,
                                   &public_key) != SOTTO_OK)
        return ERR_NOMEM;
    TRY(test_ca_create("Root", NULL, &ca));
    TRY(chain_make(ca, &f->public_key, &c->of_key));
    TRY(chain_make(ca, &public_key, &c->of_other));
    chain_of_key = buf_bytes(&c->of_key);
    chain_of_other = buf_bytes(&c->of_other);
    return OK;
}

static void a_key_package_keeps_each_rule(void)
{
    static const struct {
        const char *what;
        void (*spoil)(struct key_package *kp);
        enum sign sign;
        enum err want;
    } rows[] = {
        {"as it was", keep, SIGN_NOTHING, OK},
        {"signed again", keep, SIGN_LEAF, OK},
        {"unknown capabilities", unknown_capabilities, SIGN_LEAF, OK},
        {"unknown extensions", unknown_package_extensions, SIGN_PACKAGE, OK},
        {"unknown in the leaf", unknown_leaf_extensions, SIGN_LEAF, OK},
        {"of RFC 9420", default_leaf_extensions, SIGN_LEAF, OK},

        {"a certificate", its_certificate, SIGN_LEAF, OK},

        {"another's", another_certificate, SIGN_LEAF, ERR_INVALID},
        {"none", no_certificate, SIGN_LEAF, ERR_INVALID},
        {"no such thing", bad_certificate, SIGN_LEAF, ERR_MALFORMED},
        {"older version", older_version, SIGN_PACKAGE, ERR_INVALID},
        {"other suite", other_suite, SIGN_PACKAGE, ERR_INVALID},
        {"one key for two uses", init_key_of_leaf, SIGN_PACKAGE, ERR_INVALID},
        {"init key", init_key_short, SIGN_PACKAGE, ERR_MALFORMED},
        {"encryption key", key_short, SIGN_LEAF, ERR_MALFORMED},
        {"source update", leaf_of_update, SIGN_LEAF, ERR_INVALID},
        {"source commit", leaf_of_commit, SIGN_LEAF, ERR_INVALID},
        {"no version", no_version, SIGN_LEAF, ERR_INVALID},
        {"no suite", no_suite, SIGN_LEAF, ERR_INVALID},
        {"no credential", no_credential, SIGN_LEAF, ERR_INVALID},
        {"GREASE credential", credential_of_grease, SIGN_LEAF, ERR_INVALID},
        {"extension", extension_not_listed, SIGN_LEAF, ERR_INVALID},
        {"GREASE extension", grease_not_listed, SIGN_LEAF, ERR_INVALID},
        {"extension twice", extension_twice, SIGN_PACKAGE, ERR_MALFORMED},
        {"extension twice", package_extension_twice, SIGN_PACKAGE,
         ERR_MALFORMED},
        {"leaf's signature", leaf_signature, SIGN_PACKAGE, ERR_AUTH},
        {"signature", package_signature, SIGN_NOTHING, ERR_AUTH},
    };
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(chains_clear)
    struct chains chains = {buf_new(8192), buf_new(8192)};
    CHECK(fixture_open(&f));
    CHECK_UINT(chains_make(&f, &chains), OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(buf_clear) struct buf leaf = buf_new(MLS_LEAF_MAX);
        CLEANUP(buf_clear) struct buf out = buf_new(2 * MLS_LEAF_MAX);
        struct key_package kp = f.kp.key_package;
        rows[i].spoil(&kp);
        CHECK_UINT(sign_again(&f, rows[i].sign, &kp, &leaf, &out), OK);
        struct reader r = reader_of(buf_bytes(&out));
        key_package_read(&r, &kp);
        enum err err = reader_finish(&r);
        if (err == OK)
            err = key_package_check(f.mls, f.kp.suite, &kp);
        if (err != rows[i].want)
            printf("# %s\n", rows[i].what);
        CHECK_UINT(err, rows[i].want);
    }
}

static void a_leaf_lives_from_one_second_to_another(void)
{
    struct leaf_node leaf = {
        .source = LEAF_KEY_PACKAGE, .not_before = 10, .not_after = 20};
    CHECK(!leaf_lives(&leaf, 9) && leaf_lives(&leaf, 10));
    CHECK(leaf_lives(&leaf, 20) && !leaf_lives(&leaf, 21));
    leaf.source = LEAF_COMMIT;
    CHECK(leaf_lives(&leaf, 21));
}

/* "The extension type appears once" (section 13.4), for what we make. */
static void no_extension_is_made_twice(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CHECK(fixture_open(&f));
    const struct sotto_extension twice[] = {{EXT, bytes_out(LIT("a"))},
                                            {EXT + 1, bytes_out(LIT("a"))},
                                            {EXT, bytes_out(LIT("b"))}};
    for (size_t n = 2; n <= COUNT(twice); n++) {
        CLEANUP(key_package_private_clear) struct key_package_private kp = {0};
        struct sotto_identity id = identity_of(&f);
        id.extensions = (struct sotto_extension_list){twice, n};
        CHECK_UINT(key_package_make(f.mls, &id, &kp),
                   n == 2 ? OK : ERR_INVALID);
    }
}

static void a_lifetime_does_not_end_before_it_begins(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CHECK(fixture_open(&f));
    CLEANUP(key_package_private_clear) struct key_package_private kp = {0};
    struct sotto_identity id = identity_of(&f);
    id.not_after = id.not_before - 1;
    CHECK_UINT(key_package_make(f.mls, &id, &kp), ERR_INVALID);
    id.not_after = id.not_before;
    CHECK_UINT(key_package_make(f.mls, &id, &kp), OK);
}

/* Section 13.5: what a client can do is told without GREASE. */
static void grease_is_no_capability(void)
{
    struct bytes list = LIT("\x1a\x1a\xf1\0\0\1");
    CHECK(!capability_has(list, 0x1a1a));
    CHECK(capability_has(list, 0xf100) && capability_has(list, 1));
    CHECK(!capability_has(list, 2));
}

static void a_leaf_supports_what_the_group_uses_and_requires(void)
{
    static const struct {
        struct bytes extensions;
        enum err want;
    } rows[] = {
#define ROW(s, want) {{(const uint8_t *)(s), sizeof(s) - 1}, want}
        ROW("", OK),
        ROW("\xf1\0\0", OK),
        ROW("\xf1\1\0", ERR_INVALID),
        ROW("\x1a\x1a\0", ERR_INVALID), /* listed, but GREASE */
        ROW("\0\3\3\0\0\0", OK),
        ROW("\0\3\x09\2\xf1\0\2\0\x09\2\0\1", OK),
        ROW("\0\3\x09\2\0\5\2\0\7\2\0\1", OK), /* nobody has to list these */
        ROW("\0\3\x09\2\xf1\1\2\0\x09\2\0\1", ERR_INVALID),
        ROW("\0\3\x09\2\xf1\0\2\0\x0a\2\0\1", ERR_INVALID),
        ROW("\0\3\x09\2\xf1\0\2\0\x09\2\0\2", ERR_INVALID),
        ROW("\0\3\5\2\x1a\x1a\0\0", ERR_INVALID),
        ROW("\0\3\1\0", ERR_MALFORMED),
        ROW("\0\3\4\0\0\0x", ERR_MALFORMED),
    };
    struct leaf_node leaf = {
        .capabilities = {.extensions = LIT("\xf1\0\x1a\x1a"),
                         .proposals = LIT("\0\x09"),
                         .credentials = LIT("\0\1")}};
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_UINT(leaf_check_group(&leaf, rows[i].extensions), rows[i].want);
}

/* A commit's new leaf may not forget a credential type that others use, nor use
 * one that they do not list. */
static void a_replaced_leaf_still_goes_with_the_others(void)
{
    static const struct {
        uint16_t type;
        struct bytes listed;
        struct bytes extensions;
        enum err want;
    } rows[] = {
#define ROW_OF(type, s, ext, want)              \
    {type,                                      \
     {(const uint8_t *)(s), sizeof(s) - 1},     \
     {(const uint8_t *)(ext), sizeof(ext) - 1}, \
     want}
        ROW_OF(1, "\0\1", "", OK),
        ROW_OF(1, "\0\1\0\2", "", OK),
        ROW_OF(1, "\0\1\0\2", "\xf1\0\0", OK),
        ROW_OF(1, "\0\1", "\xf1\1\0", ERR_INVALID),
        ROW_OF(1, "\0\1\0\2", "\xf1\1\0", ERR_INVALID),
        ROW_OF(3, "\0\1", "", ERR_INVALID), /* lists what the old one did */
        ROW_OF(3, "\0\1\0\3", "", ERR_INVALID),
        ROW_OF(3, "\0\3", "", ERR_INVALID),
        ROW_OF(1, "\0\3", "", ERR_INVALID),
    };
    CLEANUP(fixture_clear) struct fixture f;
    CHECK(fixture_open(&f));
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(tree_free) struct tree *t = NULL;
        CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_LEAF_MAX);
        struct leaf_node before = f.kp.key_package.leaf;
        struct leaf_node leaf = before;
        uint32_t at = 0;
        CHECK_UINT(tree_create(f.kp.suite, &t), OK);
        CHECK_UINT(tree_add(t, &before, &at), OK);
        CHECK_UINT(tree_add(t, &before, &at), OK);
        leaf.credential.type = rows[i].type;
        leaf.capabilities.credentials = rows[i].listed;
        struct writer w = writer_to(&encoded);
        leaf_node_write(&w, &leaf);
        CHECK_UINT(writer_finish(&w), OK);
        struct reader r = reader_of(buf_bytes(&encoded));
        leaf_node_read(&r, &leaf);
        CHECK_UINT(reader_finish(&r), OK);
        CHECK_UINT(tree_set_leaf(t, at, &leaf), OK);
        CHECK_UINT(replaced_leaf_check(t, &before, &leaf, rows[i].extensions),
                   rows[i].want);
    }
}

static const struct test tests[] = {
    TEST(a_key_package_keeps_each_rule),
    TEST(a_leaf_lives_from_one_second_to_another),
    TEST(no_extension_is_made_twice),
    TEST(a_lifetime_does_not_end_before_it_begins),
    TEST(grease_is_no_capability),
    TEST(a_leaf_supports_what_the_group_uses_and_requires),
    TEST(a_replaced_leaf_still_goes_with_the_others),
};
TEST_MAIN(tests)
