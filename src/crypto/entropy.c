/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/entropy.h"

#include <assert.h>
#include <sodium.h>

static void fill_system(void *ctx, uint8_t *out, size_t len)
{
    (void)ctx;
    randombytes_buf(out, len);
}

struct random entropy_system(void)
{
    int state = sodium_init();
    assert(state >= 0);
    return (struct random){.fill = fill_system};
}

void entropy_seed(struct entropy_seeded *e, uint64_t seed)
{
    *e = (struct entropy_seeded){0};
    for (size_t i = 0; i < sizeof(seed); i++)
        e->seed[i] = (uint8_t)(seed >> 8 * i);
}

/* Each call has its own ChaCha20 stream, of which it takes a prefix. */
static void fill_seeded(void *ctx, uint8_t *out, size_t len)
{
    struct entropy_seeded *e = ctx;
    uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    for (size_t i = 0; i < sizeof(nonce); i++)
        nonce[i] = (uint8_t)(e->drawn >> 8 * i);
    e->drawn++;
    (void)crypto_stream_chacha20(out, len, nonce, e->seed);
}

struct random entropy_of(struct entropy_seeded *e)
{
    return (struct random){.fill = fill_seeded, .ctx = e};
}
