/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operator may see of a running server: a few numbers over all, none
 * of which is about a person or a channel. The store process sends its part to
 * net once a second; net adds its own and writes them at /metrics, in the text
 * format of Prometheus.
 */
#pragma once

#include "base/wire.h"

enum metric {
    /* Of the store process. */
    METRIC_CONNECTIONS,
    METRIC_REQUESTS,
    METRIC_APPENDS,
    METRIC_BUSY,
    METRIC_REFUSED,
    METRIC_PUSHED,
    METRIC_FLUSHES,
    METRIC_FAILED_FLUSHES,
    METRIC_STORE_BYTES,
    METRIC_STORE_MEMORY,

    /* Of net. */
    METRIC_CLIENTS,
    METRIC_ACCEPTED,
    METRIC_WEBSOCKETS,
    METRIC_QUEUED_BYTES,
    METRIC_PARTS_BYTES,
    METRIC_NET_MEMORY,

    METRICS_,
};
#define METRICS_STORE METRIC_CLIENTS /* so many are the store's */

struct metrics {
    uint64_t numbers[METRICS_];
};

/* The store's part, as it goes from process to process. */
void metrics_read(struct reader *r, struct metrics *m);
void metrics_write(struct writer *w, const struct metrics *m);

/* Appends all as text. */
MUST_USE enum err metrics_text(const struct metrics *m, struct buf *out);

/* The bytes that this process has from the system for its heap. */
uint64_t metrics_memory(void);
