/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets that Valgrind holds for uninitialised: it then reports each branch
 * and each index that depends on one.
 *
 * In a program that is linked with veil.c and VEIL_ARGS (see meson.build), what
 * src/mls gets from src/crypto is hidden where it is secret, and shown where
 * everybody may know it: public keys, ciphertexts, signatures, tags, whether a
 * check succeeded. Nothing in between is touched, so a whole group can run
 * behind the veil. Each key that an algorithm is given must be hidden; one that
 * is not counts as a failure, since then nothing of it would be seen.
 */
#pragma once

#include "base/bytes.h"
#include "base/secret.h"

#include <valgrind/memcheck.h>

static inline void veil_hide(const void *p, size_t len)
{
    VALGRIND_MAKE_MEM_UNDEFINED(p, len);
}

static inline void veil_show(const void *p, size_t len)
{
    VALGRIND_MAKE_MEM_DEFINED(p, len);
}

/* Whether each bit is hidden; true without Valgrind, where nothing is. */
bool veil_covers(struct bytes b);

/* Keys that were in plain sight, since the program began. */
unsigned veil_failures(void);
