/* SPDX-License-Identifier: Apache-2.0 */
#include "server/store.h"
#include "server/store_admin.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

#define NAME_SHOWN 40U

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

struct store_quotas store_quotas_of(const struct store_quotas *q)
{
    return (struct store_quotas){
        .retention_days =
            (uint32_t)or_default(q->retention_days, RETENTION_DAYS),
        .subscriptions =
            (uint32_t)or_default(q->subscriptions, SUBSCRIPTIONS_MAX),
        .channel_bytes = or_default(q->channel_bytes, 256 * MIB),
        .blob_bytes = or_default(q->blob_bytes, 4 * GIB),
        .blobs_bytes = or_default(q->blobs_bytes, 64 * GIB),
        .inbox_items = (uint32_t)or_default(q->inbox_items, 512),
        .stranger_takes = (uint32_t)or_default(q->stranger_takes, 20),
        .stranger_items = (uint32_t)or_default(q->stranger_items, 20),
        .contact_takes = (uint32_t)or_default(q->contact_takes, 1000),
        .chain_states = (uint32_t)or_default(q->chain_states, 1024),
    };
}

enum err store_nobody(struct bytes name, struct problem *p)
{
    return problem_set(p, ERR_NOTFOUND, PROBLEM_SYSTEM,
                       "nobody is called \"%.*s\": see sottod account list",
                       (int)(name.len < NAME_SHOWN ? name.len : NAME_SHOWN),
                       (const char *)name.data);
}
