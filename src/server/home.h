/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's data folder, beside the store's files:
 *
 *     lock         held by the running server
 *     server.key   seed of the Ed25519 signing key that clients pin
 *     tls.crt      certificate and key for TLS, made when none are given
 *     tls.key
 */
#pragma once

#include "base/buf.h"
#include "base/problem.h"
#include "base/secret.h"
#include "crypto/crypto.h"
#include "sys/files.h"

#define HOME_KEY_FILE  "server.key"
#define HOME_LOCK_FILE "lock"

/* Takes the lock of a folder, whatever else is in it. */
MUST_USE enum err home_lock(const char *dir, struct file_lock *out_lock,
                            struct problem *p);

/* Makes the folder when it is not there, and takes its lock. */
MUST_USE enum err home_open(const char *dir, struct file_lock *out_lock,
                            struct problem *p);

/* The same for a folder that must be there already. */
MUST_USE enum err home_open_existing(const char *dir,
                                     struct file_lock *out_lock,
                                     struct problem *p);

/* Reads the signing key; makes one when there is none and `random` is given. */
MUST_USE enum err home_server_key(const char *dir, struct crypto *crypto,
                                  const struct random *random,
                                  struct secret *out_key, struct problem *p);

/* Copies the keys and the certificate of the folder, as far as they are there;
 * the signing key must be. */
MUST_USE enum err home_copy(const char *from, const char *to,
                            struct problem *p);

/* Appends certificate chain and key as PEM, from the given files or else from
 * the folder, where they are made when they are not there. */
MUST_USE enum err home_tls(const char *dir, const char *cert_path,
                           const char *key_path, struct buf *cert,
                           struct buf *key, struct problem *p);
