/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core asks of a store. An operation is one whole rule of the server
 * (an append with its idempotency key, its `after` and its lists of
 * subscriptions), so that any database can carry it out in one transaction or
 * one statement. The interface is asynchronous: operations are submitted, a
 * flush sets out to make them durable, and each comes back from poll after it
 * is, with the answer in it. Operations on the same channel, blob, account or
 * inbox are carried out, and come back, in the order of their submission; the
 * order of others is the store's affair.
 *
 * When a store cannot make an operation durable, its status is BUSY and nothing
 * of it is there. Only a store that another server has taken over cannot tell:
 * what it had under way is BUSY, and may be there.
 */
#pragma once

#include "proto/entry.h"
#include "proto/message.h"

struct problem;

/* Operations of the core's own, beside the methods of the protocol. */
enum {
    STORE_NEWEST_STATE = 0x8000, /* of `account`: in `data`; NOTFOUND */
    STORE_INVITE_ADD,            /* `invite_hash` */
    STORE_COLLECT,               /* delete some of what nobody needs */
    STORE_NOTICES,               /* accounts that were barred after `version` */
};

#define STORE_NOTICES_MAX   64U        /* that one STORE_NOTICES gives */
#define STORE_NOTICE_NEWEST UINT64_MAX /* `version`: only says the newest */

struct store_op {
    struct store_op *next; /* the holder's: core, then store, then core */

    /* What to do: set by the core. All bytes outlive the operation. */
    uint16_t rule; /* enum method, or one of the above. METHOD_LOGIN only
                      notes the week */
    struct request request;
    uint64_t now; /* seconds since 1970 */
    uint32_t day; /* the same in days: all that most rows get to know */
    struct bytes cap_hash;    /* of access.cap or contact_cap; empty: none */
    struct bytes account;     /* whose; of the identified lane, or computed */
    struct bytes device;      /* whose; of the identified lane */
    struct bytes invite_hash; /* register; empty: none is needed */
    struct bytes devices;     /* register, state_append: all ids of the state */
    struct bytes digest;      /* inbox_append: of the item; kp_take: the work's
                                 subject; kp_publish: of each package */
    uint64_t version;         /* state_append: of the state that is added.
                                 STORE_NOTICES: the last one that was seen */
    struct commit_data commit; /* append of a commit */

    /* What came of it: set by the store. */
    struct answer answer; /* borrows from `data`; a status for core's own */
    struct buf data;      /* also the state, for STORE_NEWEST_STATE */
    uint64_t seq;         /* inbox_append: the item's; 0: it was there.
                             STORE_NEWEST_STATE: week of the last login.
                             STORE_NOTICES: the last one that is in `data` */
    bool fresh;           /* append: made now, not found by its key */
    unsigned touched;     /* the store's own */
};

/* Quotas that outlive the process; zero fields take the value in brackets. */
struct store_quotas {
    uint32_t retention_days; /* of entries, items, keys [30] */
    uint32_t subscriptions;  /* of a channel [SUBSCRIPTIONS_MAX] */
    uint64_t channel_bytes;  /* of stored bodies [256 MiB] */
    uint64_t blob_bytes;     /* of one blob [4 GiB] */
    uint64_t blobs_bytes;    /* of all blobs together [64 GiB] */
    uint32_t inbox_items;    /* of one inbox [512] */
    uint32_t stranger_takes; /* key packages of an account a day [20] */
    uint32_t stranger_items; /* of an inbox a day [20] */
    uint32_t contact_takes;  /* with the capability, a day [1000] */
    uint32_t chain_states;   /* of an account [1024] */
};
struct store_quotas store_quotas_of(const struct store_quotas *q);

/* What both stores think of an answer. */
#define SECONDS_PER_DAY  86400U
#define DAYS_PER_WEEK    7U
#define HANDLE_REST_DAYS 364U /* of a deleted account, then it is free */
#define SPENT_DAYS       2U   /* work is good today and was good yesterday */
#define COLLECT_STEP     16U  /* objects of a kind that one collection visits */
#define READ_ENTRIES_MAX 1024U              /* in an answer */
#define LIST_OVERHEAD    64U                /* of an entry in a list, at most */
#define STORE_BUSY_MS    1000U              /* after which to try again */
#define FLUSH_DATA_MAX   ((size_t)32 << 20) /* of the answers of a flush */

struct store {
    void *ctx;
    void (*submit)(void *ctx, struct store_op *op);
    /* Starts to make durable what was submitted; need not wait for it. When its
     * answers take much memory, the rest of it waits for the next flush. */
    void (*flush)(void *ctx);
    /* Returns the next operation that is done, or NULL; does not wait. */
    struct store_op *(*poll)(void *ctx);
    /* Why something was last BUSY; never NULL. */
    const struct problem *(*problem)(void *ctx);
    /* About how many bytes are stored; NULL: it is not known. */
    uint64_t (*size)(void *ctx);
    /* A store whose flush leaves work under way: readable when poll should be
     * called. Others: -1. */
    int fd;
    /* For those who have no loop: sleeps until poll should be called, or a
     * while. NULL where fd is -1. */
    void (*wait)(void *ctx);
};
