/* SPDX-License-Identifier: Apache-2.0 */
/* The sources of randomness (base/random.h). */
#pragma once

#include "base/random.h"

#define ENTROPY_SEED_SIZE 32U

/* The operating system's generator; aborts the process if it is broken. */
struct random entropy_system(void);

/* A generator whose output is a function of its seed: for tests and
 * simulations only. */
struct entropy_seeded {
    uint8_t seed[ENTROPY_SEED_SIZE];
    uint64_t drawn; /* calls so far: the nonce of the next */
};

/* Starts a generator at a seed, and lends it as a source. */
void entropy_seed(struct entropy_seeded *e, uint64_t seed);
struct random entropy_of(struct entropy_seeded *e);
