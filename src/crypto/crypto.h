/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The primitives: libsodium for Curve25519, Ed25519, ML-KEM, X-Wing, ChaCha20
 * and Argon2id, OpenSSL for the rest. No other layer calls either.
 *
 * A struct crypto holds what is slow to set up (fetched algorithms, contexts
 * that are used again) and is the first argument of every call. It belongs to
 * one thread. All functions append to the buf they are given and leave every
 * output as it was when they fail.
 */
#pragma once

#include "base/err.h"

struct crypto;

MUST_USE enum err crypto_create(struct crypto **out_crypto);
void crypto_free(struct crypto **at);

/*
 * Wipes what the contexts still hold of the last keys and inputs. Whoever
 * handles keys that must not outlive their use calls it when a batch of work
 * is done (about as dear as one signature's hash: a few microseconds).
 */
MUST_USE enum err crypto_forget(struct crypto *c);
