/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operator may see of a running server: a few numbers over all, none
 * of which is about a person or a channel. Once a second the store process
 * sends them to each net process, and each answers with its own part, for the
 * next sum. Net writes them at /metrics, in the text format of Prometheus.
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

    /* Of the net processes, in sum. */
    METRIC_CLIENTS,
    METRIC_ACCEPTED,
    METRIC_TURNED_AWAY,
    METRIC_WEB_CLIENTS,
    METRIC_QUEUED_BYTES,
    METRIC_PARTS_BYTES,
    METRIC_NET_MEMORY,

    METRICS_,
};
#define METRICS_NET  METRIC_CLIENTS /* from here on they are of net */
#define METRICS_SIZE (METRICS_ * sizeof(uint64_t))

struct metrics {
    uint64_t numbers[METRICS_];
};

/* As they go from process to process. */
void metrics_read(struct bytes bytes, struct metrics *m);
struct bytes metrics_write(const struct metrics *m, uint8_t room[METRICS_SIZE]);

/* Appends all as text. */
MUST_USE enum err metrics_text(const struct metrics *m, struct buf *out);
