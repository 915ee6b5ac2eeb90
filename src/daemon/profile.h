/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A profile is a folder that only its owner may read:
 *
 *     lock         held by the one process that uses the profile
 *     client.db    the client's store, encrypted
 *     key          its key (mode 0600), unless there is a passphrase
 *     passphrase   salt and cost with which a passphrase gives the key
 */
#pragma once

#include "base/bytes.h"
#include "base/problem.h"
#include "base/random.h"
#include "sys/files.h"

#include <stdbool.h>

struct crypto;
struct sql;

/* A profile in use, and what its use needs. */
struct profile_folder {
    struct file_lock lock;
    struct sql *db;
    struct crypto *crypto;
    struct random random;
};

struct profile_options {
    const char *path;
    bool create; /* otherwise it must be there */
    /* Of an existing profile that has one, or for a new one; empty: none. */
    struct bytes passphrase;
};

/* ERR_NOTFOUND: no profile there; ERR_EXISTS: another sotto uses it; ERR_AUTH:
 * a wrong passphrase, or one is needed; the problem says it in words. */
MUST_USE enum err profile_open(const struct profile_options *options,
                               struct profile_folder *out, struct problem *p);
void profile_close(struct profile_folder *f);
/* Closes the store and deletes the files, when no account came of it. */
void profile_discard(struct profile_folder *f, const char *folder);

/* Must a passphrase be asked for? */
bool profile_wants_passphrase(const char *path);
