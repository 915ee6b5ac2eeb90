/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <assert.h>
#include <string.h>

void secret_clear(struct secret *s) { explicit_bzero(s, sizeof(*s)); }

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return secret_equal_bytes(secret_expose(a), secret_expose(b));
}

/* The volatile reads keep the compiler from leaving the loop early. */
bool secret_equal_bytes(struct bytes a, struct bytes b)
{
    if (a.len != b.len)
        return false;
    const volatile uint8_t *x = a.data;
    const volatile uint8_t *y = b.data;
    uint8_t differ = 0;
    for (size_t i = 0; i < a.len; i++)
        differ |= (uint8_t)(x[i] ^ y[i]);
    return differ == 0;
}

bool secret_zero_bytes(struct bytes b)
{
    const volatile uint8_t *x = b.data;
    uint8_t any = 0;
    for (size_t i = 0; i < b.len; i++)
        any |= x[i];
    return any == 0;
}

struct bytes secret_expose(const struct secret *s)
{
    return (struct bytes){s->data, s->len};
}

enum err secret_set(struct secret *s, struct bytes raw)
{
    if (raw.len > SECRET_MAX)
        return ERR_LIMIT;
    secret_clear(s);
    if (raw.len > 0)
        memcpy(s->data, raw.data, raw.len);
    s->len = raw.len;
    return OK;
}

void secret_copy(struct secret *to, const struct secret *from)
{
    memmove(to, from, sizeof(*to));
}

void secret_take(struct secret *to, struct secret *from)
{
    if (to == from)
        return;
    secret_copy(to, from);
    secret_clear(from);
}

void secret_random(struct secret *s, size_t len, const struct random *r)
{
    assert(len <= SECRET_MAX);
    secret_clear(s);
    random_fill(r, s->data, len);
    s->len = len;
}
