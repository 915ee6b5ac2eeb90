/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator does to a store, beside the server that may run on it: short
 * transactions, so that it goes on. Each function fills `p` when it fails.
 */
#pragma once

#include "base/bytes.h"
#include "base/problem.h"

#include <stdbool.h>
#include <stdint.h>

/* All that is told of an account; borrowed while the sink is called. */
struct store_account {
    struct bytes name;
    struct bytes id;
    uint32_t made_week, used_week; /* since 1970 */
    uint64_t devices;
    bool disabled;
};

struct store_account_sink {
    void (*put)(void *ctx, const struct store_account *a);
    void *ctx;
};

/* Called now and then by what takes long; `total` 0: it is not known. Also
 * called once when a part begins, with `done` 0. */
struct store_progress {
    void (*say)(void *ctx, const char *part, uint64_t done, uint64_t total);
    void *ctx;
};

/* Gets each number; `estimated`: it is right within a few percent, or what a
 * database believes. */
struct store_stats_sink {
    void (*put)(void *ctx, const char *name, uint64_t value, bool estimated);
    void *ctx;
};

struct store_admin {
    void *ctx;
    /* Gives each account, in an order of the store's, without holding them
     * all. */
    enum err (*accounts)(void *ctx, const struct store_account_sink *sink,
                         struct problem *p);
    /* ERR_NOTFOUND: nobody has that name. A running server cuts off the devices
     * that are logged in within seconds. */
    enum err (*account_disable)(void *ctx, struct bytes name, bool disabled,
                                uint32_t day, struct problem *p);
    /* Removes the account, its chain, KeyPackages and inboxes. What is left is
     * its id, which cannot be registered again, and for a year its name. */
    enum err (*account_delete)(void *ctx, struct bytes name, uint32_t day,
                               struct problem *p);
    /* Numbers of the store, none of them about a person or a channel; quick for
     * any size. `now`: seconds since 1970. */
    enum err (*stats)(void *ctx, const struct store_stats_sink *sink,
                      uint64_t now, struct problem *p);
    /* Reads everything and checks that it fits together: ERR_IO with
     * PROBLEM_DAMAGED, and what is wrong, at the first fault. */
    enum err (*check)(void *ctx, const struct store_progress *progress,
                      struct problem *p);
    /* Copies the store to a folder that is there, so that it opens as one from
     * it. NULL: the database has tools of its own. */
    enum err (*backup)(void *ctx, const char *dir,
                       const struct store_progress *progress,
                       struct problem *p);
};

/* The problem of a name that nobody has: ERR_NOTFOUND. */
enum err store_nobody(struct bytes name, struct problem *p);
