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

#define EXPORT_FIELDS_MAX 7U

/* A table, and what its columns are called. Its query's `?` is an account, or a
 * device of it; the PostgreSQL store has the same tables and columns. */
struct export_section {
    unsigned file; /* SQLite's */
    const char *row;
    const char *query;
    struct {
        const char *name;
        enum export_kind kind;
    } field[EXPORT_FIELDS_MAX];
};
/* The sections of an account, or of a device, one after the other; NULL past
 * the last. */
const struct export_section *export_of_account(size_t i);
const struct export_section *export_of_device(size_t i);
/* Of a name whose account was deleted; its `?` is the name. */
const struct export_section *export_of_name(void);
void export_put_row(const struct export_section *section,
                    void (*read)(void *row, int column,
                                 struct export_field *out),
                    void *row, const struct export_sink *sink);

/* For a test: the query that reads a table, one after the other; NULL past the
 * last. */
const char *export_query(size_t i);
