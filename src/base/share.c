/* SPDX-License-Identifier: Apache-2.0 */
#include "base/share.h"

unsigned share_level(size_t taken)
{
    unsigned bits = 0;
    for (; taken > 0; taken >>= 1)
        bits++;
    return bits;
}

void share_add(struct share *s, size_t taken)
{
    s->sums[share_level(taken)] += taken;
}

unsigned share_limit(const struct share *s, size_t keep)
{
    unsigned level = SHARE_LEVELS;
    size_t left = 0;
    for (size_t i = 0; i < SHARE_LEVELS; i++)
        left += s->sums[i];
    while (left > keep)
        left -= s->sums[--level];
    return level;
}
