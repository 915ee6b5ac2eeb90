/* SPDX-License-Identifier: Apache-2.0 */
/* Members that present X.509 credentials (RFC 9420, section 5.3). */
#include "mls/world.h"

#include "test.h"

#include "base/wire.h"
#include "crypto/certs_for_test.h"

#define ANNA 0U
#define BEN  1U
#define CARL 2U

/* A world whose members have certificates: root -> middle -> member. */
struct pki {
    struct world w;
    struct test_ca *root, *middle, *other;
    struct buf root_der, middle_der, other_der;
    struct buf cert[4];
    struct sotto_bytes anchor;
    struct sotto_x509_trust trust;
};

static void pki_clear(struct pki *p)
{
    world_close(&p->w);
    test_ca_free(&p->root);
    test_ca_free(&p->middle);
    test_ca_free(&p->other);
    buf_clear(&p->root_der);
    buf_clear(&p->middle_der);
    buf_clear(&p->other_der);
    for (size_t i = 0; i < COUNT(p->cert); i++)
        buf_clear(&p->cert[i]);
}

static struct sotto_bytes lend(const struct buf *b)
{
    return (struct sotto_bytes){b->data, b->len};
}

static enum sign_id alg_of(uint16_t suite)
{
    return suite == 2 ? SIGN_P256 : SIGN_ED25519;
}

static enum err certify(struct pki *p, const struct test_ca *by, size_t key,
                        struct test_cert cert, struct buf *out)
{
    const struct sotto_buf *k = &p->w.member[key].signature_public;
    cert.alg = alg_of(p->w.suite);
    cert.public_key = (struct bytes){k->data, k->len};
    buf_truncate(out, 0);
    return test_cert_make(by, &cert, out);
}

static bool pki_open(struct pki *p, uint16_t suite)
{
    struct buf empty = buf_new(8192);
    *p = (struct pki){.root_der = empty,
                      .middle_der = empty,
                      .other_der = empty,
                      .cert = {empty, empty, empty, empty}};
    p->trust = (struct sotto_x509_trust){&p->anchor, 1, .now = CERT_NOW};
    return world_open(&p->w, suite, 1) == SOTTO_OK &&
           test_ca_create("Root", NULL, &p->root) == OK &&
           test_ca_create("Middle", p->root, &p->middle) == OK &&
           test_ca_create("Other", NULL, &p->other) == OK &&
           test_ca_der(p->root, &p->root_der) == OK &&
           test_ca_der(p->middle, &p->middle_der) == OK &&
           test_ca_der(p->other, &p->other_der) == OK &&
           certify(p, p->middle, ANNA, (struct test_cert){.subject = "anna"},
                   &p->cert[ANNA]) == OK &&
           certify(p, p->middle, BEN, (struct test_cert){.subject = "ben"},
                   &p->cert[BEN]) == OK;
}

static void employ(struct pki *p)
{
    p->anchor = lend(&p->root_der);
    sotto_mls_set_credential_check(
        p->w.mls, (struct sotto_credential_check){sotto_x509_check, &p->trust});
}

static struct sotto_identity identity_of(const struct member *m, uint16_t suite,
                                         const struct sotto_bytes *chain,
                                         size_t count)
{
    return (struct sotto_identity){
        .suite = suite,
        .certificates = chain,
        .certificate_count = count,
        .signature_private = view_of(&m->signature_private),
        .signature_public = view_of(&m->signature_public),
        .not_after = CERT_TO};
}

static enum sotto_err package(struct pki *p, size_t i,
                              const struct sotto_bytes *chain, size_t count)
{
    struct member *m = &p->w.member[i];
    struct sotto_identity id = identity_of(m, p->w.suite, chain, count);
    struct sotto_ref ref;
    sotto_buf_free(&m->key_package);
    sotto_buf_free(&m->key_package_private);
    return sotto_key_package_create(p->w.mls, &id, &m->key_package,
                                    &m->key_package_private, &ref);
}

static enum sotto_err found(struct pki *p, size_t i,
                            const struct sotto_bytes *chain, size_t count)
{
    struct member *m = &p->w.member[i];
    struct sotto_identity id = identity_of(m, p->w.suite, chain, count);
    return sotto_group_create(p->w.mls, &id, text_of("group"),
                              (struct sotto_extension_list){0}, &m->group);
}

/* Anna and Ben in a group, each with a chain of two; Ben's ends at `to`. */
static bool meet_until(struct pki *p, uint16_t suite, uint64_t to)
{
    struct test_cert cert = {.subject = "ben", .from = CERT_FROM, .to = to};
    if (!pki_open(p, suite) ||
        certify(p, p->middle, BEN, cert, &p->cert[BEN]) != OK)
        return false;
    employ(p);
    struct sotto_bytes anna[] = {lend(&p->cert[ANNA]), lend(&p->middle_der)};
    struct sotto_bytes ben[] = {lend(&p->cert[BEN]), lend(&p->middle_der)};
    if (found(p, ANNA, anna, 2) != SOTTO_OK ||
        package(p, BEN, ben, 2) != SOTTO_OK)
        return false;
    struct sotto_bytes add = view_of(&p->w.member[BEN].key_package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    return world_commit(&p->w, ANNA, &ask, (size_t[]){BEN}, 1) == SOTTO_OK &&
           world_agrees(&p->w);
}

static bool meet(struct pki *p, uint16_t suite)
{
    return meet_until(p, suite, CERT_TO);
}

static bool same(struct sotto_bytes a, struct sotto_bytes b)
{
    return bytes_equal((struct bytes){a.data, a.len},
                       (struct bytes){b.data, b.len});
}

static void members_with_certificates_meet(void)
{
    static const uint16_t suites[] = {1, 2};
    for (size_t i = 0; i < COUNT(suites); i++) {
        CLEANUP(pki_clear) struct pki p;
        struct sotto_leaf leaf = {0};
        struct sotto_bytes cert = {0};
        struct sotto_commit ask = {0};
        CHECK(meet(&p, suites[i]));
        CHECK_UINT(sotto_group_member(p.w.member[BEN].group, 0, &leaf),
                   SOTTO_OK);
        CHECK_UINT(leaf.credential_type, SOTTO_CREDENTIAL_X509);
        CHECK_UINT(sotto_certificate_at(leaf.identity, 0, &cert), SOTTO_OK);
        CHECK(same(cert, lend(&p.cert[ANNA])));
        CHECK_UINT(sotto_certificate_at(leaf.identity, 1, &cert), SOTTO_OK);
        CHECK(same(cert, lend(&p.middle_der)));
        CHECK_UINT(sotto_certificate_at(leaf.identity, 2, &cert),
                   SOTTO_ERR_NOTFOUND);
        CHECK_UINT(world_reload(&p.w, BEN), SOTTO_OK);
        CHECK_UINT(world_commit(&p.w, BEN, &ask, NULL, 0), SOTTO_OK);
        CHECK(world_agrees(&p.w));
    }
}

/* What somebody without a check, or with another one, may have made. */
static void a_chain_that_is_not_valid_is_refused(void)
{
    CLEANUP(pki_clear) struct pki p;
    CLEANUP(buf_clear) struct buf expired = buf_new(8192);
    CLEANUP(buf_clear) struct buf strange = buf_new(8192);
    CHECK(pki_open(&p, 1));
    CHECK_UINT(certify(&p, p.middle, BEN,
                       (struct test_cert){.subject = "ben",
                                          .from = CERT_FROM,
                                          .to = CERT_NOW - 1},
                       &expired),
               OK);
    CHECK_UINT(certify(&p, p.other, BEN, (struct test_cert){.subject = "ben"},
                       &strange),
               OK);
    struct sotto_bytes ben = lend(&p.cert[BEN]);
    struct sotto_bytes middle = lend(&p.middle_der);
    const struct {
        struct sotto_bytes chain[3];
        size_t count;
        enum sotto_err made, inspected;
    } rows[] = {
        {{ben, middle}, 2, SOTTO_OK, SOTTO_OK},
        {{ben, middle, lend(&p.root_der)}, 3, SOTTO_OK, SOTTO_OK},
        {{ben}, 1, SOTTO_OK, SOTTO_ERR_AUTH}, /* a gap */
        {{lend(&expired), middle}, 2, SOTTO_OK, SOTTO_ERR_AUTH},
        {{lend(&strange), lend(&p.other_der)}, 2, SOTTO_OK, SOTTO_ERR_AUTH},
        {{ben, {middle.data, middle.len - 1}}, 2, SOTTO_OK, SOTTO_ERR_INVALID},
        /* These nobody takes, and the maker neither. */
        {{middle, ben}, 2, SOTTO_ERR_INVALID, 0},
        {{lend(&p.cert[ANNA]), middle}, 2, SOTTO_ERR_INVALID, 0},
        {{{ben.data, ben.len - 1}, middle}, 2, SOTTO_ERR_MALFORMED, 0},
        {{text_of("")}, 1, SOTTO_ERR_MALFORMED, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct sotto_key_package kp = {0};
        sotto_mls_set_credential_check(p.w.mls,
                                       (struct sotto_credential_check){0});
        CHECK_UINT(package(&p, BEN, rows[i].chain, rows[i].count),
                   rows[i].made);
        if (rows[i].made != SOTTO_OK)
            continue;
        employ(&p);
        CHECK_UINT(sotto_key_package_inspect(
                       p.w.mls, view_of(&p.w.member[BEN].key_package), &kp),
                   rows[i].inspected);
    }
}

static void a_basic_credential_is_none_for_the_check(void)
{
    CLEANUP(pki_clear) struct pki p;
    struct sotto_credential c = {
        .suite = 1, .type = SOTTO_CREDENTIAL_BASIC, .identity = text_of("ben")};
    CHECK(pki_open(&p, 1));
    employ(&p);
    CHECK_UINT(sotto_x509_check(&p.trust, &c, NULL), SOTTO_ERR_INVALID);
    CHECK_UINT(package(&p, BEN, NULL, 0), SOTTO_ERR_INVALID);
    p.trust.anchor_count = 0;
    CHECK_UINT(sotto_x509_check(&p.trust, &c, NULL), SOTTO_ERR_AUTH);
}

/* Who has no check does not say that it takes X.509 credentials. */
static void x509_needs_the_consent_of_all(void)
{
    CLEANUP(pki_clear) struct pki p;
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CHECK(pki_open(&p, 1));
    struct sotto_bytes ben[] = {lend(&p.cert[BEN]), lend(&p.middle_der)};
    CHECK_UINT(found(&p, ANNA, NULL, 0), SOTTO_OK);
    CHECK_UINT(package(&p, BEN, ben, 2), SOTTO_OK);
    struct sotto_bytes add = view_of(&p.w.member[BEN].key_package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    CHECK_UINT(sotto_group_commit(p.w.member[ANNA].group, &ask, &out),
               SOTTO_ERR_INVALID);
}

static void a_certificate_is_renewed(void)
{
    CLEANUP(pki_clear) struct pki p;
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CHECK(meet(&p, 1));
    struct member *carl = &p.w.member[CARL];
    struct sotto_leaf_change change = {
        .signature_private = view_of(&carl->signature_private),
        .signature_public = view_of(&carl->signature_public),
        .certificate_count = 2};
    struct sotto_commit ask = {.leaf = &change};
    static const struct {
        const char *subject;
        size_t key;
        enum sotto_err want;
    } rows[] = {
        {"ben", BEN, SOTTO_ERR_INVALID},   /* of the old key */
        {"carl", CARL, SOTTO_ERR_INVALID}, /* of another name */
        {"ben", CARL, SOTTO_OK},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CHECK_UINT(certify(&p, p.middle, rows[i].key,
                           (struct test_cert){.subject = rows[i].subject},
                           &p.cert[CARL]),
                   OK);
        struct sotto_bytes chain[] = {lend(&p.cert[CARL]), lend(&p.middle_der)};
        change.certificates = chain;
        CHECK_UINT(world_commit(&p.w, BEN, &ask, NULL, 0), rows[i].want);
        CHECK(world_agrees(&p.w));
    }
    struct sotto_leaf leaf = {0};
    struct sotto_bytes cert = {0};
    CHECK_UINT(sotto_group_member(p.w.member[ANNA].group, 1, &leaf), SOTTO_OK);
    CHECK_UINT(sotto_certificate_at(leaf.identity, 0, &cert), SOTTO_OK);
    CHECK(same(cert, lend(&p.cert[CARL])));
}

/* Section 5.3.2: what a member says is taken after its certificate expired,
 * and so is the commit that brings a valid one. */
static void an_expired_member_is_still_heard(void)
{
    CLEANUP(pki_clear) struct pki p;
    CLEANUP(sotto_buf_free) struct sotto_buf said = {0};
    struct sotto_commit ask = {0};
    CHECK(meet_until(&p, 1, CERT_NOW + 1));
    p.trust.now = CERT_NOW + 2;
    CHECK_UINT(sotto_group_protect(p.w.member[BEN].group, text_of(""),
                                   text_of("still here"), 0, &said),
               SOTTO_OK);
    CHECK_UINT(world_outcome(&p.w, ANNA, &said), SOTTO_APPLICATION);
    CHECK_UINT(world_commit(&p.w, BEN, &ask, NULL, 0), SOTTO_OK);
    CHECK(world_agrees(&p.w));

    CHECK_UINT(certify(&p, p.middle, BEN, (struct test_cert){.subject = "ben"},
                       &p.cert[CARL]),
               OK);
    struct sotto_bytes chain[] = {lend(&p.cert[CARL]), lend(&p.middle_der)};
    struct sotto_leaf_change change = {.certificates = chain,
                                       .certificate_count = 2};
    ask.leaf = &change;
    CHECK_UINT(world_commit(&p.w, BEN, &ask, NULL, 0), SOTTO_OK);
    CHECK(world_agrees(&p.w));
}

static void a_name_is_asked_for(void)
{
    CLEANUP(pki_clear) struct pki p;
    CHECK(pki_open(&p, 1));
    p.anchor = lend(&p.middle_der);
    CHECK_UINT(certify(&p, p.middle, BEN,
                       (struct test_cert){.subject = "ben",
                                          .names = "DNS:ben.example"},
                       &p.cert[BEN]),
               OK);
    CLEANUP(buf_clear) struct buf chain = buf_new(8192);
    struct writer w = writer_to(&chain);
    writer_vec(&w, buf_bytes(&p.cert[BEN]));
    CHECK_UINT(writer_finish(&w), OK);
    struct sotto_credential c = {
        .suite = 1,
        .type = SOTTO_CREDENTIAL_X509,
        .identity = lend(&chain),
        .signature_key = view_of(&p.w.member[BEN].signature_public)};
    CHECK_UINT(sotto_x509_verify(&p.trust, &c, text_of("ben.example")),
               SOTTO_OK);
    CHECK_UINT(sotto_x509_verify(&p.trust, &c, text_of("anna.example")),
               SOTTO_ERR_INVALID);
    c.signature_key = view_of(&p.w.member[ANNA].signature_public);
    CHECK_UINT(sotto_x509_verify(&p.trust, &c, text_of("ben.example")),
               SOTTO_ERR_INVALID);
    CHECK_UINT(sotto_x509_verify(NULL, &c, text_of("")), SOTTO_ERR_USAGE);
}

static const struct test tests[] = {
    TEST(members_with_certificates_meet),
    TEST(a_chain_that_is_not_valid_is_refused),
    TEST(a_basic_credential_is_none_for_the_check),
    TEST(x509_needs_the_consent_of_all),
    TEST(a_certificate_is_renewed),
    TEST(an_expired_member_is_still_heard),
    TEST(a_name_is_asked_for),
};
TEST_MAIN(tests)
