/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

void random_fill(const struct random *r, uint8_t *out, size_t len)
{
    if (len > 0)
        r->fill(r->ctx, out, len);
}
