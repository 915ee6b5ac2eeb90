/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/password.h"

#include <sodium.h>

#define PASSES_MAX 0x10000U
#define MEMORY_MIN 8U        /* KiB; RFC 9106, section 3.1 */
#define MEMORY_MAX 0x400000U /* KiB: 4 GiB */

const struct password_cost password_cost_default = {
    .passes = 3,
    .memory_kib = 262144,
};

enum err password_key(struct bytes passphrase, struct bytes salt,
                      struct password_cost cost, struct secret *out)
{
    if (salt.len != PASSWORD_SALT_SIZE || cost.passes < 1 ||
        cost.memory_kib < MEMORY_MIN)
        return ERR_INVALID;
    if (cost.passes > PASSES_MAX || cost.memory_kib > MEMORY_MAX)
        return ERR_LIMIT;
    CLEANUP(secret_clear) struct secret key = {.len = PASSWORD_KEY_SIZE};
    int failed = crypto_pwhash_argon2id(
        key.data, key.len, (const char *)passphrase.data, passphrase.len,
        salt.data, cost.passes, (size_t)cost.memory_kib * 1024,
        crypto_pwhash_argon2id_ALG_ARGON2ID13);
    if (failed != 0)
        return ERR_NOMEM;
    secret_take(out, &key);
    return OK;
}
