/* SPDX-License-Identifier: Apache-2.0 */
/* What serving and the commands work on: the opened data folder. */
#pragma once

#include "base/secret.h"
#include "crypto/crypto.h"
#include "server/core.h"
#include "server/options.h"
#include "server/store_pg.h"
#include "server/store_sqlite.h"

struct server {
    struct random random;
    struct crypto *crypto;
    struct secret key;
    struct store_sqlite *sqlite; /* one of the two */
    struct store_pg *pg;
    bool serves; /* set before: it is the one server of its database */
    struct store store;
    struct store_admin admin;
    struct core *core;
};

/* Opens store and key; makes them when they are not there, unless `existing`.
 * Works beside a running server: the database lets both in. */
MUST_USE enum err server_open(const struct options *o, bool existing,
                              struct server *s, struct problem *p);
void server_close(struct server *s);

/* Makes one more invite code and prints it. */
MUST_USE enum err server_print_invite(struct server *s, struct problem *p);
