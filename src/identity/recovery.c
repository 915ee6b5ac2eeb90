/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/recovery.h"

#include "crypto/sign.h"

#include <stdio.h>
#include <string.h>

#define CHECK_SIZE 3U
#define CODE_RAW   (CODE_SIZE + CHECK_SIZE) /* 280 bits: 56 characters */
#define CODE_CHARS (CODE_RAW * 8 / 5)
#define GROUP      4U

_Static_assert(CODE_RAW * 8 % 5 == 0, "no bits are left over");
_Static_assert(CODE_CHARS + CODE_CHARS / GROUP == CODE_TEXT_MAX,
               "a hyphen or the NUL after each group");

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* 0xff when the two are equal, else 0: a code may be a secret, so neither a
 * branch nor an index may depend on its characters. */
static uint8_t equal_mask(unsigned a, unsigned b)
{
    unsigned diff = a ^ b;
    return (uint8_t)((diff - 1) >> 24);
}

static char char_of(uint8_t value)
{
    uint8_t c = 0;
    for (unsigned i = 0; i < 32; i++)
        c |= (uint8_t)((uint8_t)alphabet[i] & equal_mask(i, value));
    return (char)c;
}

/* Sets `value` and says whether the character is of the alphabet. */
static bool value_of(char c, uint8_t *value)
{
    static const char aliases[] = "OoIiLl"; /* for 0 0 1 1 1 1 */
    uint8_t found = 0;
    *value = 0;
    for (unsigned i = 0; i < 32; i++) {
        uint8_t upper = (uint8_t)alphabet[i]; /* a digit has bit 0x20 already */
        uint8_t mask = equal_mask(upper, (uint8_t)c) |
                       equal_mask(upper | 0x20U, (uint8_t)c);
        *value |= (uint8_t)(i & mask);
        found |= mask;
    }
    for (unsigned i = 0; i < sizeof(aliases) - 1; i++) {
        uint8_t mask = equal_mask((uint8_t)aliases[i], (uint8_t)c);
        *value |= (uint8_t)((i > 1) & mask);
        found |= mask;
    }
    return found != 0;
}

static enum err checksum(struct crypto *c, enum code_kind kind,
                         struct bytes raw, struct digest *out)
{
    uint8_t k = (uint8_t)kind;
    return label_hash(c, LABEL_CHECKSUM, PARTS({&k, 1}, raw), out);
}

enum err code_write(struct crypto *c, enum code_kind kind,
                    const struct secret *raw, char out[CODE_TEXT_MAX])
{
    CLEANUP(secret_clear) struct secret all = {0};
    struct digest check;

    if (raw->len != CODE_SIZE)
        return ERR_INVALID;
    TRY(checksum(c, kind, secret_expose(raw), &check));
    secret_copy(&all, raw);
    memcpy(all.data + CODE_SIZE, check.data, CHECK_SIZE);

    size_t at = 0;
    for (size_t i = 0; i < CODE_CHARS; i++) {
        size_t bit = 5 * i;
        unsigned pair = (unsigned)all.data[bit / 8] << 8;
        if (bit / 8 + 1 < CODE_RAW)
            pair |= all.data[bit / 8 + 1];
        if (i > 0 && i % GROUP == 0)
            out[at++] = '-';
        out[at++] = char_of((uint8_t)(pair >> (11 - bit % 8) & 31));
    }
    out[at] = '\0';
    return OK;
}

/* Puts 5 bits at a place in `raw`, which was zero there. */
static void put_bits(uint8_t *raw, size_t bit, uint8_t value)
{
    unsigned pair = (unsigned)value << (11 - bit % 8);
    raw[bit / 8] |= (uint8_t)(pair >> 8);
    if (bit / 8 + 1 < CODE_RAW)
        raw[bit / 8 + 1] |= (uint8_t)pair;
}

enum err code_read(struct crypto *c, enum code_kind kind, const char *text,
                   struct secret *out_raw)
{
    CLEANUP(secret_clear) struct secret all = {0};
    struct digest check;
    size_t chars = 0;

    for (const char *p = text; *p != '\0'; p++) {
        uint8_t value;
        if (*p == '-' || *p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
            continue;
        if (chars == CODE_CHARS || !value_of(*p, &value))
            return ERR_MALFORMED;
        put_bits(all.data, 5 * chars++, value);
    }
    if (chars != CODE_CHARS)
        return ERR_MALFORMED;
    struct bytes raw = {all.data, CODE_SIZE};
    struct bytes typed = {all.data + CODE_SIZE, CHECK_SIZE};
    TRY(checksum(c, kind, raw, &check));
    if (!bytes_equal(typed, (struct bytes){check.data, CHECK_SIZE}))
        return ERR_INVALID;
    return secret_set(out_raw, raw);
}

enum err recovery_write(struct crypto *c, const struct secret *recovery,
                        char out[CODE_TEXT_MAX])
{
    return code_write(c, CODE_RECOVERY, recovery, out);
}

enum err recovery_read(struct crypto *c, const char *text,
                       struct secret *out_recovery)
{
    return code_read(c, CODE_RECOVERY, text, out_recovery);
}

enum err recovery_keys(struct crypto *c, const struct secret *recovery,
                       struct secret *out_private, struct buf *out_public)
{
    CLEANUP(secret_clear) struct secret seed = {0};

    if (recovery->len != RECOVERY_SIZE)
        return ERR_INVALID;
    TRY(hkdf_expand(c, HASH_SHA256, recovery, PARTS(label_text(LABEL_RECOVERY)),
                    sign_private_size(SIGN_ED25519), &seed));
    TRY(sign_public(c, SIGN_ED25519, &seed, out_public));
    secret_take(out_private, &seed);
    return OK;
}

/* Twelve groups, each of 5 bytes modulo 100000: about 199 bits, far more than
 * anyone can search through to find a second account with the same number. */
enum err safety_number(struct crypto *c, struct bytes account_a,
                       struct bytes account_b, char out[SAFETY_MAX])
{
    struct digest d;
    bool swap = bytes_compare(account_a, account_b) > 0;
    TRY(hash(c, HASH_SHA512,
             PARTS(label_text(LABEL_SAFETY_NUMBER),
                   swap ? account_b : account_a, swap ? account_a : account_b),
             &d));
    for (size_t i = 0; i < 12; i++) {
        uint64_t v = 0;
        for (size_t j = 0; j < 5; j++)
            v = v << 8 | d.data[5 * i + j];
        (void)snprintf(out + 6 * i, SAFETY_MAX - 6 * i, "%05u%s",
                       (unsigned)(v % 100000), i < 11 ? " " : "");
    }
    return OK;
}
