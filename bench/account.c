/* SPDX-License-Identifier: Apache-2.0 */
#include "account.h"

#include "crypto/entropy.h"
#include "crypto/kem.h"
#include "crypto/sign.h"
#include "identity/chain.h"

#include <stdio.h>

struct account {
    struct secret device_key;
    struct secret recovery_key;
    struct secret sealing_key;
    struct buf device_public;
    struct buf recovery_public;
    struct buf sealing_public;
    struct buf state;
    uint8_t device[ID_SIZE];
};

static void account_clear(struct account *a)
{
    secret_clear(&a->device_key);
    secret_clear(&a->recovery_key);
    secret_clear(&a->sealing_key);
    buf_clear(&a->device_public);
    buf_clear(&a->recovery_public);
    buf_clear(&a->sealing_public);
    buf_clear(&a->state);
}

static enum err account_make(struct crypto *c, struct random *random,
                             struct bytes server_key, struct account *a)
{
    struct state s;
    random_fill(random, a->device, sizeof a->device);
    TRY(sign_generate(c, SIGN_ED25519, random, &a->device_key,
                      &a->device_public));
    TRY(sign_generate(c, SIGN_ED25519, random, &a->recovery_key,
                      &a->recovery_public));
    TRY(kem_generate(c, KEM_XWING, random, &a->sealing_key,
                     &a->sealing_public));
    const struct device device = {
        .id = BYTES_ARRAY(a->device),
        .signature_key = buf_bytes(&a->device_public),
        .sealing_kem = KEM_XWING,
        .sealing_key = buf_bytes(&a->sealing_public),
        .may_authorise = true,
    };
    state_first(&s, buf_bytes(&a->recovery_public), BYTES_LIT("localhost:7470"),
                server_key, &device);
    return state_sign(c, &s, BYTES_ARRAY(a->device), &a->device_key, &a->state);
}

enum err account_request(struct crypto *c, const struct session *s,
                         unsigned number, struct buf *out)
{
    CLEANUP(account_clear)
    struct account a = {.device_public = buf_new(KEY_SIZE),
                        .recovery_public = buf_new(KEY_SIZE),
                        .sealing_public = buf_new(KEM_PUBLIC_MAX),
                        .state = buf_new(STATE_MAX)};
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGNATURE_SIZE);
    static const uint8_t contact_hash[CAP_SIZE];
    struct entropy_seeded seeded;
    char name[NAME_MAX_LEN + 1];
    entropy_seed(&seeded, number);
    struct random random = entropy_of(&seeded);
    TRY(account_make(c, &random, s->server_key, &a));
    (void)snprintf(name, sizeof name, "bench%u", number);
    struct request q = {.method = METHOD_REGISTER,
                        .reg = {.name = bytes_str(name),
                                .state = buf_bytes(&a.state),
                                .device_id = BYTES_ARRAY(a.device),
                                .contact_hash = BYTES_ARRAY(contact_hash)}};
    TRY(register_sign(c, &a.device_key, s, &q.reg, &signature));
    q.reg.signature = buf_bytes(&signature);
    return request_write(out, &q);
}
