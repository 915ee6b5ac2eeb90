/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's commands on a store, in words. */
#pragma once

#include "server/store_admin.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Tells on standard error how far something is that takes longer than a moment:
 * on a terminal in one line, otherwise with a line now and then.
 *
 *     CLEANUP(teller_end) struct teller t = teller_begin("backup");
 *     const struct store_progress progress = {teller_say, &t};
 */
struct teller {
    const char *what;
    uint64_t next_ms;
    bool terminal;
    bool shown;
};
struct teller teller_begin(const char *what);
void teller_say(void *ctx, const char *part, uint64_t done, uint64_t total);
void teller_end(struct teller *t);

/* Prints a line per account, fields apart by tabs, after a line of titles. */
MUST_USE enum err operate_list(const struct store_admin *admin,
                               struct problem *p);

/* Prints a line per number: name, value, and "exact" or "about". */
MUST_USE enum err operate_stats(const struct store_admin *admin, uint64_t now,
                                struct problem *p);

/* `day`: today, since 1970. */
MUST_USE enum err operate_disable(const struct store_admin *admin,
                                  const char *name, bool disabled, uint32_t day,
                                  struct problem *p);
MUST_USE enum err operate_delete(const struct store_admin *admin,
                                 const char *name, uint32_t day,
                                 struct problem *p);
