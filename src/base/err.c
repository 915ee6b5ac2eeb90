/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

const char *err_text(enum err err)
{
    static const char *const texts[] = {
        [OK] = "ok",
        [ERR_NOMEM] = "out of memory",
        [ERR_LIMIT] = "over the limit",
        [ERR_MALFORMED] = "malformed",
        [ERR_INVALID] = "against the rules",
        [ERR_AUTH] = "not authentic",
        [ERR_STATE] = "not now",
        [ERR_NOTFOUND] = "not found",
        [ERR_EXISTS] = "exists already",
        [ERR_IO] = "refused by the system",
    };
    return err < sizeof(texts) / sizeof(texts[0]) ? texts[err] : "unknown";
}
