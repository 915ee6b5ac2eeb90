/* SPDX-License-Identifier: Apache-2.0 */
/* All that the store holds about one account: what an operator can hand over.
 * What it does not hold, no command can print. */
#pragma once

#include "server/store_sqlite.h"

enum export_kind {
    EXPORT_TEXT,
    EXPORT_NUMBER,
    EXPORT_BYTES,
    EXPORT_DAY,  /* days since 1970 */
    EXPORT_WEEK, /* weeks since 1970 */
};

/* One field of a row; borrowed while the sink is called. */
struct export_field {
    const char *row; /* what it is a row of */
    const char *name;
    bool first; /* of its row */
    enum export_kind kind;
    uint64_t number; /* also of days and weeks */
    struct bytes bytes;
    bool missing; /* NULL */
};

struct export_sink {
    void (*put)(void *ctx, const struct export_field *field);
    void *ctx;
};

/* Works beside a running server. ERR_NOTFOUND: nobody has that name. */
MUST_USE enum err export_account(struct store_sqlite *s, struct bytes name,
                                 const struct export_sink *sink,
                                 struct problem *p);

/* For a test: the query that reads a table, one after the other; NULL past the
 * last. */
const char *export_query(size_t i);
