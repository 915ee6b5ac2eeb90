/* SPDX-License-Identifier: Apache-2.0 */
/* That the schedule is right is shown by the vectors; here, its edges. */
#include "mls/schedule.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "crypto/hpke.h"
#include "test.h"

#include <limits.h>

struct fixture {
    struct crypto *c;
    const struct suite *s;
    struct secret init;
};

static void fixture_clear(struct fixture *f)
{
    crypto_free(&f->c);
    secret_clear(&f->init);
}

static enum err fixture_make(struct fixture *f)
{
    struct random rnd = entropy_system();
    f->s = suite_find(SUITE_X25519_AES128);
    secret_random(&f->init, f->s->nh, &rnd);
    return crypto_create(&f->c);
}

static bool epoch_equal(const struct epoch_secrets *a,
                        const struct epoch_secrets *b)
{
    return secret_equal(&a->sender_data_secret, &b->sender_data_secret) &&
           secret_equal(&a->encryption_secret, &b->encryption_secret) &&
           secret_equal(&a->exporter_secret, &b->exporter_secret) &&
           secret_equal(&a->external_secret, &b->external_secret) &&
           secret_equal(&a->confirmation_key, &b->confirmation_key) &&
           secret_equal(&a->membership_key, &b->membership_key) &&
           secret_equal(&a->resumption_psk, &b->resumption_psk) &&
           secret_equal(&a->epoch_authenticator, &b->epoch_authenticator) &&
           secret_equal(&a->init_secret, &b->init_secret);
}

static enum err next(struct fixture *f, const struct secret *commit,
                     const struct secret *psk, struct epoch_secrets *out)
{
    CLEANUP(secret_clear) struct secret joiner = {0};
    TRY(schedule_joiner(f->c, f->s, &f->init, commit, BYTES_LIT("gc"),
                        &joiner));
    return schedule_epoch(f->c, f->s, &joiner, psk, BYTES_LIT("gc"), out);
}

static void an_absent_secret_is_zeros(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets a = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets b = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets other = {0};
    CHECK_UINT(fixture_make(&f), OK);
    struct secret zeros = {.len = f.s->nh};
    CHECK_UINT(next(&f, NULL, NULL, &a), OK);
    CHECK_UINT(next(&f, &zeros, &zeros, &b), OK);
    CHECK_UINT(next(&f, &f.init, NULL, &other), OK);
    CHECK(epoch_equal(&a, &b));
    CHECK(!secret_equal(&a.init_secret, &other.init_secret));
}

static void stored_secrets_come_back(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets a = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets b = {0};
    CLEANUP(buf_clear) struct buf out = buf_new(4096);
    CHECK_UINT(fixture_make(&f), OK);
    CHECK_UINT(next(&f, NULL, NULL, &a), OK);
    secret_clear(&a.encryption_secret); /* used up by the secret tree */
    struct writer w = writer_to(&out);
    epoch_secrets_write(&w, &a);
    CHECK_UINT(writer_finish(&w), OK);
    struct reader r = reader_of(buf_bytes(&out));
    epoch_secrets_read(&r, &b);
    CHECK_UINT(reader_finish(&r), OK);
    CHECK(epoch_equal(&a, &b));
    epoch_secrets_clear(&b);
    const uint8_t *raw = (const uint8_t *)&b;
    for (size_t i = 0; i < sizeof b; i++)
        CHECK_UINT(raw[i], 0);
}

static void first_epochs_differ(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets a = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets b = {0};
    struct entropy_seeded e;
    entropy_seed(&e, 5);
    struct random rnd = entropy_of(&e);
    CHECK_UINT(fixture_make(&f), OK);
    CHECK_UINT(schedule_first(f.c, f.s, &rnd, &a), OK);
    CHECK_UINT(schedule_first(f.c, f.s, &rnd, &b), OK);
    CHECK(!secret_equal(&a.encryption_secret, &b.encryption_secret));
}

static void a_tag_is_for_its_key_and_data(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    struct digest tag;
    CHECK_UINT(fixture_make(&f), OK);
    CHECK_UINT(schedule_mac(f.c, f.s, &f.init, LIT("data"), &tag), OK);
    CHECK_UINT(
        schedule_mac_verify(f.c, f.s, &f.init, LIT("data"), digest_bytes(&tag)),
        OK);
    CHECK_UINT(
        schedule_mac_verify(f.c, f.s, &f.init, LIT("Data"), digest_bytes(&tag)),
        ERR_AUTH);
    CHECK_UINT(schedule_mac_verify(f.c, f.s, &f.init, LIT("data"), LIT("")),
               ERR_AUTH);
    f.init.data[0] ^= 1;
    CHECK_UINT(
        schedule_mac_verify(f.c, f.s, &f.init, LIT("data"), digest_bytes(&tag)),
        ERR_AUTH);
}

/* The sample of the ciphertext may be shorter than a hash. */
static void seals_sender_data_of_short_messages(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets es = {0};
    struct secret k[3] = {{.len = 0}};
    struct secret n[3] = {{.len = 0}};
    static const uint8_t text[33] = {1};
    static const size_t sizes[] = {5, 32, 33};
    CHECK_UINT(fixture_make(&f), OK);
    CHECK_UINT(next(&f, NULL, NULL, &es), OK);
    for (size_t i = 0; i < COUNT(sizes); i++)
        CHECK_UINT(schedule_sender_data(f.c, f.s, &es,
                                        (struct bytes){text, sizes[i]}, &k[i],
                                        &n[i]),
                   OK);
    CHECK(!secret_equal(&k[0], &k[1]));
    CHECK(secret_equal(&k[1], &k[2])); /* no more than a hash of it counts */
    CHECK(secret_equal(&n[1], &n[2]));
}

/* Two PSKs in either order; long ones too. */
static void psks_count_in_their_order(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(buf_clear) struct buf one = buf_new(1000);
    CLEANUP(buf_clear) struct buf two = buf_new(1000);
    struct secret ab = {0};
    struct secret ba = {0};
    struct secret none = {0};
    CHECK_UINT(fixture_make(&f), OK);
    CHECK_UINT(buf_extend(&one, 1000), OK);
    CHECK_UINT(buf_append(&two, LIT("two")), OK);
    struct psk a = {{.type = PSK_EXTERNAL, .id = LIT("a")}, &one};
    struct psk b = {{.type = PSK_EXTERNAL, .id = LIT("b")}, &two};
    CHECK_UINT(schedule_psk(f.c, f.s, (struct psk[]){a, b}, 2, &ab), OK);
    CHECK_UINT(schedule_psk(f.c, f.s, (struct psk[]){b, a}, 2, &ba), OK);
    CHECK(!secret_equal(&ab, &ba));
    CHECK_UINT(schedule_psk(f.c, f.s, NULL, 0, &none), OK);
    struct secret zeros = {.len = f.s->nh};
    CHECK(secret_equal(&none, &zeros));
    CHECK_UINT(schedule_psk(f.c, f.s, &a, MLS_PSKS_MAX + 1, &none), ERR_LIMIT);
}

/* As RFC 9420, section 8.3 has it, in the words of RFC 9180; both sides would
 * agree on another label too. */
static void the_init_secret_of_a_joiner_has_its_label(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets es = {0};
    CLEANUP(secret_clear) struct secret private_key = {0};
    CLEANUP(secret_clear) struct secret sent = {0};
    CLEANUP(secret_clear) struct secret received = {0};
    CLEANUP(secret_clear) struct secret want = {0};
    CLEANUP(buf_clear) struct buf public_key = buf_new(100);
    CLEANUP(buf_clear) struct buf kem_output = buf_new(100);
    CLEANUP(hpke_ctx_clear) struct hpke_ctx ctx = {0};
    struct random rnd = entropy_system();
    CHECK_UINT(fixture_make(&f), OK);
    CHECK_UINT(next(&f, NULL, NULL, &es), OK);
    CHECK_UINT(schedule_external(f.c, f.s, &es, &private_key, &public_key), OK);
    CHECK_UINT(schedule_external_send(f.c, f.s, &rnd, buf_bytes(&public_key),
                                      &kem_output, &sent),
               OK);
    CHECK_UINT(schedule_external_receive(f.c, f.s, &es, buf_bytes(&kem_output),
                                         &received),
               OK);
    struct hpke_args args = {.public_key = buf_bytes(&public_key),
                             .enc = buf_bytes(&kem_output)};
    CHECK_UINT(hpke_receive(f.c, suite_hpke(f.s), &private_key, &args, &ctx),
               OK);
    CHECK_UINT(hpke_ctx_export(f.c, &ctx, LIT("MLS 1.0 external init secret"),
                               f.s->nh, &want),
               OK);
    CHECK(secret_equal(&sent, &want) && secret_equal(&received, &want));
}

static enum err exercise(struct fixture *f)
{
    CLEANUP(epoch_secrets_clear) struct epoch_secrets es = {0};
    CLEANUP(buf_clear) struct buf value = buf_new(100);
    CLEANUP(buf_clear) struct buf out = buf_new(100);
    CLEANUP(buf_clear) struct buf key = buf_new(100);
    CLEANUP(secret_clear) struct secret psk_secret = {0};
    CLEANUP(secret_clear) struct secret private_key = {0};
    struct kdf_label l = {BYTES_LIT("l"), BYTES_LIT("c"), 80};
    TRY(buf_append(&value, BYTES_LIT("value")));
    struct psk psk = {{.type = PSK_EXTERNAL, .id = BYTES_LIT("a")}, &value};
    TRY(schedule_psk(f->c, f->s, &psk, 1, &psk_secret));
    TRY(next(f, NULL, &psk_secret, &es));
    TRY(schedule_external(f->c, f->s, &es, &private_key, &key));
    return schedule_export(f->c, f->s, &es, &l, &out);
}

static void survives_each_allocation_failure(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    enum err err = ERR_NOMEM;
    unsigned n = 0;
    CHECK_UINT(fixture_make(&f), OK);
    for (; err != OK; n++) {
        mem_fail_after(n);
        err = exercise(&f);
        CHECK(err == OK || err == ERR_NOMEM);
    }
    mem_fail_after(UINT_MAX); /* none */
    CHECK(n > 3);
}

static const struct test tests[] = {
    TEST(an_absent_secret_is_zeros),
    TEST(stored_secrets_come_back),
    TEST(first_epochs_differ),
    TEST(a_tag_is_for_its_key_and_data),
    TEST(seals_sender_data_of_short_messages),
    TEST(psks_count_in_their_order),
    TEST(the_init_secret_of_a_joiner_has_its_label),
    TEST(survives_each_allocation_failure),
};

TEST_MAIN(tests)
