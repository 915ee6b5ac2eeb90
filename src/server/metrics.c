/* SPDX-License-Identifier: Apache-2.0 */
#include "server/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define LINES_MAX 512U /* of text about one number */

enum type {
    COUNTER,
    GAUGE,
};

static const struct row {
    const char *name;
    const char *help;
    enum type type;
} rows[METRICS_] = {
    [METRIC_CONNECTIONS] = {"sotto_connections",
                            "Clients that the core knows of.", GAUGE},
    [METRIC_REQUESTS] = {"sotto_requests_total", "Requests taken.", COUNTER},
    [METRIC_APPENDS] = {"sotto_appends_total", "Entries appended.", COUNTER},
    [METRIC_BUSY] = {"sotto_busy_total", "Requests answered with busy.",
                     COUNTER},
    [METRIC_REFUSED] = {"sotto_refused_total", "Requests refused by a limit.",
                        COUNTER},
    [METRIC_PUSHED] = {"sotto_pushed_total", "Events pushed to clients.",
                       COUNTER},
    [METRIC_FLUSHES] = {"sotto_flushes_total", "Groups made durable.", COUNTER},
    [METRIC_FAILED_FLUSHES] = {"sotto_failed_flushes_total",
                               "Groups that the store could not write.",
                               COUNTER},
    [METRIC_STORE_BYTES] = {"sotto_store_bytes", "Size of what is stored.",
                            GAUGE},
    [METRIC_STORE_MEMORY] = {"sotto_store_memory_bytes",
                             "Memory of the store process, without files.",
                             GAUGE},
    [METRIC_CLIENTS] = {"sotto_net_clients", "Open connections.", GAUGE},
    [METRIC_TURNED_AWAY] = {"sotto_net_turned_away_total",
                            "Connections closed for want of room.", COUNTER},
    [METRIC_ACCEPTED] = {"sotto_net_accepted_total", "Connections accepted.",
                         COUNTER},
    [METRIC_WEB_CLIENTS] = {"sotto_net_web_clients_total",
                            "Clients that came by HTTP.", COUNTER},
    [METRIC_QUEUED_BYTES] = {"sotto_net_queued_bytes",
                             "Bytes that wait for clients to read.", GAUGE},
    [METRIC_PARTS_BYTES] = {"sotto_net_parts_bytes",
                            "Memory of messages that are not whole yet.",
                            GAUGE},
    [METRIC_NET_MEMORY] = {"sotto_net_memory_bytes",
                           "Memory of the network processes, without files.",
                           GAUGE},
};

void metrics_read(struct bytes bytes, struct metrics *m)
{
    struct reader r = reader_of(bytes);
    for (unsigned i = 0; i < METRICS_; i++)
        m->numbers[i] = reader_u64(&r);
}

struct bytes metrics_write(const struct metrics *m, uint8_t room[METRICS_SIZE])
{
    struct buf out = {room, 0, METRICS_SIZE, METRICS_SIZE}; /* enough */
    struct writer w = writer_to(&out);
    for (unsigned i = 0; i < METRICS_; i++)
        writer_u64(&w, m->numbers[i]);
    return buf_bytes(&out);
}

enum err metrics_text(const struct metrics *m, struct buf *out)
{
    static const char *const types[] = {
        [COUNTER] = "counter", [GAUGE] = "gauge"};
    for (unsigned i = 0; i < METRICS_; i++) {
        const struct row *row = &rows[i];
        char lines[LINES_MAX];
        int len = snprintf(lines, sizeof lines,
                           "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n",
                           row->name, row->help, row->name, types[row->type],
                           row->name, m->numbers[i]);
        assert(len > 0 && (size_t)len < sizeof lines);
        TRY(buf_append(out,
                       (struct bytes){(const uint8_t *)lines, (size_t)len}));
    }
    return OK;
}
