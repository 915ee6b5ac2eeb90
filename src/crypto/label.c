/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/label.h"

#define VERSION BYTES_LIT("HPKE-v1")

enum err label_extract(const struct labels *l, struct bytes salt,
                       const char *label, struct bytes ikm, struct secret *out)
{
    return hkdf_extract_parts(l->c, l->hash, salt,
                              PARTS(VERSION, l->suite, bytes_str(label), ikm),
                              out);
}

enum err label_expand(const struct labels *l, const struct secret *prk,
                      const char *label, struct bytes info, size_t len,
                      struct secret *out)
{
    const uint8_t length[] = {(uint8_t)(len >> 8), (uint8_t)len};
    return hkdf_expand(
        l->c, l->hash, prk,
        PARTS(BYTES_ARRAY(length), VERSION, l->suite, bytes_str(label), info),
        len, out);
}
