/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/derive.h"

#include <assert.h>
#include <string.h>

static void digest_take(const struct digest *d, uint8_t *out, size_t size)
{
    assert(d->len == size);
    memcpy(out, d->data, size);
}

enum err subscription_id(struct crypto *c,
                         const struct secret *subscription_secret,
                         struct bytes signature_key, uint8_t out[ID_SIZE])
{
    struct digest d;
    TRY(hmac(c, HASH_SHA256, subscription_secret,
             PARTS(label_text(LABEL_SUBSCRIPTION), signature_key), &d));
    digest_take(&d, out, ID_SIZE);
    return OK;
}

enum err cap_hash(struct crypto *c, struct bytes cap, uint8_t out[CAP_SIZE])
{
    struct digest d;
    TRY(hash(c, HASH_SHA256, PARTS(cap), &d));
    digest_take(&d, out, CAP_SIZE);
    return OK;
}

/* --- proof of work --- */

#define POW_INPUT (1U + ID_SIZE + 4U + 8U)

static void put_be(uint8_t *at, uint64_t v, size_t size)
{
    for (size_t i = size; i-- > 0; v >>= 8)
        at[i] = (uint8_t)v;
}

static void pow_input(enum pow_purpose purpose, struct bytes subject,
                      struct pow pow, uint8_t out[POW_INPUT])
{
    assert(subject.len == ID_SIZE);
    out[0] = (uint8_t)purpose;
    memcpy(out + 1, subject.data, ID_SIZE);
    put_be(out + 1 + ID_SIZE, pow.day, 4);
    put_be(out + 1 + ID_SIZE + 4, pow.nonce, 8);
}

static uint8_t zero_bits(const struct digest *d)
{
    uint8_t bits = 0;
    for (size_t i = 0; i < d->len; i++) {
        for (unsigned bit = 0x80; bit != 0; bit >>= 1) {
            if ((d->data[i] & bit) != 0)
                return bits;
            bits++;
        }
    }
    return bits;
}

enum err pow_check(struct crypto *c, enum pow_purpose purpose,
                   struct bytes subject, struct pow pow, uint8_t bits,
                   uint64_t server_time)
{
    uint8_t input[POW_INPUT];
    struct digest d;
    uint64_t today = server_time / SECONDS_OF_DAY;

    if (pow.day != today && pow.day + UINT64_C(1) != today)
        return ERR_STATE;
    pow_input(purpose, subject, pow, input);
    TRY(label_hash(c, LABEL_POW, PARTS(BYTES_ARRAY(input)), &d));
    return zero_bits(&d) >= bits ? OK : ERR_AUTH;
}

enum err pow_solve(struct crypto *c, const struct pow_task *task,
                   uint32_t attempts, struct pow *pow, bool *out_found)
{
    uint8_t input[POW_INPUT];
    *out_found = false;
    for (uint32_t i = 0; i < attempts; i++) {
        struct digest d;
        pow_input(task->purpose, task->subject, *pow, input);
        TRY(label_hash(c, LABEL_POW, PARTS(BYTES_ARRAY(input)), &d));
        if (zero_bits(&d) >= task->bits) {
            *out_found = true;
            return OK;
        }
        pow->nonce++;
    }
    return OK;
}
