/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Randomness is an argument, so that a test or a simulation can fix it. The
 * sources are in crypto/entropy.h: the system's, and one with a seed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct random {
    void (*fill)(void *ctx, uint8_t *out, size_t len); /* cannot fail */
    void *ctx;
};

void random_fill(const struct random *r, uint8_t *out, size_t len);
