/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/test_account.h"

#include "crypto/sign.h"
#include "identity/recovery.h"

#include <string.h>

#define LIST_MAX (16U << 20)

static enum err recovery_new(struct test_account *a, size_t i)
{
    CLEANUP(buf_clear) struct buf public = buf_new(STATE_KEY_SIZE);
    CLEANUP(secret_clear) struct secret raw = {0};
    struct random random = entropy_of(&a->seeded);
    secret_random(&raw, RECOVERY_SIZE, &random);
    TRY(recovery_keys(a->crypto, &raw, &a->recovery[i], &public));
    memcpy(a->recovery_key[i], public.data, STATE_KEY_SIZE);
    return OK;
}

struct device test_device_of(const struct test_account *a, size_t index)
{
    const struct test_device *d = &a->devices[index];
    return (struct device){
        .id = BYTES_ARRAY(d->id),
        .signature_key = BYTES_ARRAY(d->public_key),
        .sealing_kem = KEM_XWING,
        .sealing_key = BYTES_ARRAY(d->sealing_key),
        .may_authorise = true,
        .name = BYTES_LIT("a name, encrypted"),
    };
}

size_t test_device_index(const struct test_account *a, struct bytes id)
{
    size_t i = 0;
    while (i < a->device_count &&
           !bytes_equal(BYTES_ARRAY(a->devices[i].id), id))
        i++;
    return i;
}

enum err test_device_new(struct test_account *a, struct device *out_device)
{
    CLEANUP(buf_clear) struct buf public = buf_new(STATE_KEY_SIZE);
    CLEANUP(buf_clear) struct buf sealing = buf_new(KEM_PUBLIC_MAX);
    CLEANUP(secret_clear) struct secret unused = {0};
    struct random random = entropy_of(&a->seeded);
    if (a->device_count == TEST_DEVICES_MAX)
        return ERR_LIMIT;
    struct test_device *d = &a->devices[a->device_count];
    random_fill(&random, d->id, sizeof(d->id));
    TRY(sign_generate(a->crypto, SIGN_ED25519, &random, &d->private_key,
                      &public));
    TRY(kem_generate(a->crypto, KEM_XWING, &random, &unused, &sealing));
    memcpy(d->public_key, public.data, STATE_KEY_SIZE);
    memcpy(d->sealing_key, sealing.data, KEM_PUBLIC_MAX);
    *out_device = test_device_of(a, a->device_count++);
    return OK;
}

enum err test_account_new(struct test_account *a, uint64_t seed)
{
    CLEANUP(buf_clear) struct buf server = buf_new(STATE_KEY_SIZE);
    CLEANUP(buf_clear) struct buf first = buf_new(STATE_MAX);
    CLEANUP(secret_clear) struct secret unused = {0};
    struct device device;
    struct state s;

    *a = (struct test_account){.encoding = buf_new(STATE_MAX),
                               .list = buf_new(LIST_MAX)};
    entropy_seed(&a->seeded, seed);
    struct random random = entropy_of(&a->seeded);
    TRY(crypto_create(&a->crypto));
    TRY(recovery_new(a, 0));
    TRY(recovery_new(a, 1));
    TRY(sign_generate(a->crypto, SIGN_ED25519, &random, &unused, &server));
    memcpy(a->server_key, server.data, STATE_KEY_SIZE);
    TRY(test_device_new(a, &device));
    state_first(&s, BYTES_ARRAY(a->recovery_key[0]),
                BYTES_LIT("example.org:7470"), BYTES_ARRAY(a->server_key),
                &device);
    TRY(test_account_sign(a, &s, 0, &first));
    return test_account_push(a, buf_bytes(&first));
}

void test_account_clear(struct test_account *a)
{
    for (size_t i = 0; i < a->device_count; i++)
        secret_clear(&a->devices[i].private_key);
    secret_clear(&a->recovery[0]);
    secret_clear(&a->recovery[1]);
    buf_clear(&a->encoding);
    buf_clear(&a->list);
    crypto_free(&a->crypto);
}

void test_account_next(const struct test_account *a, enum state_reason reason,
                       struct state *out)
{
    state_next(&a->state, digest_bytes(&a->hash), reason, out);
}

enum err test_account_sign(const struct test_account *a, const struct state *s,
                           size_t signer, struct buf *out)
{
    struct bytes id = {0};
    const struct secret *key = &a->recovery[0];
    if (signer != BY_RECOVERY) {
        id = BYTES_ARRAY(a->devices[signer].id);
        key = &a->devices[signer].private_key;
    }
    return state_sign(a->crypto, s, id, key, out);
}

enum err test_account_push(struct test_account *a, struct bytes encoding)
{
    struct writer w = writer_to(&a->list);
    writer_vec(&w, encoding);
    TRY(writer_finish(&w));
    TRY(buf_copy(&a->encoding, encoding));
    TRY(state_hash(a->crypto, encoding, &a->hash));
    return state_read(buf_bytes(&a->encoding), &a->state);
}

void test_account_rotate(struct test_account *a)
{
    CLEANUP(secret_clear) struct secret old = {0};
    uint8_t old_key[STATE_KEY_SIZE];
    secret_copy(&old, &a->recovery[0]);
    secret_copy(&a->recovery[0], &a->recovery[1]);
    secret_copy(&a->recovery[1], &old);
    memcpy(old_key, a->recovery_key[0], sizeof(old_key));
    memcpy(a->recovery_key[0], a->recovery_key[1], sizeof(old_key));
    memcpy(a->recovery_key[1], old_key, sizeof(old_key));
}
