/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gives back, when many together have taken too much of what all share:
 * those who have most of it, so that whoever has little keeps it. Two walks
 * over all: the first adds up what each has taken, by powers of two; the second
 * lets everybody go whose share_level is share_limit or more.
 */
#pragma once

#include <stddef.h>

#define SHARE_LEVELS (8 * sizeof(size_t) + 1)

/* Zeros at first. */
struct share {
    size_t sums[SHARE_LEVELS];
};

void share_add(struct share *s, size_t taken);

/* Bits of a size: 0 for 0. */
unsigned share_level(size_t taken);

/* The level from which on all go, so that at most `keep` is left. */
unsigned share_limit(const struct share *s, size_t keep);
