/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof of work, a slice in each pump, so that no call into the client takes
 * long. One is under way at a time, in memory only; when whoever wanted it
 * does not come back for it, it is given up.
 */
#include "client/pump.h"

#include <string.h>

#define WORK_SLICE 16384U /* attempts: some milliseconds */

static void work_begin(struct client *c, struct lane_state *l,
                       const struct work_for *f)
{
    struct work *w = &c->work;
    *w = (struct work){.lane = l, .task = f->task, .row = f->row};
    w->pow.day = (uint32_t)(lane_server_time(c, l) / SECONDS_OF_DAY);
    if (f->subject.len == sizeof w->subject)
        memcpy(w->subject, f->subject.data, sizeof w->subject);
    else
        random_fill(c->random, w->subject, sizeof w->subject);
}

enum err work_slice(struct client *c, struct lane_state *l,
                    const struct work_for *f, const struct work **out)
{
    struct work *w = &c->work;
    bool found = false;
    *out = NULL;
    if (w->lane == NULL)
        work_begin(c, l, f);
    else if (w->lane != l || w->task != f->task || w->row != f->row)
        return OK;
    w->wanted = true;
    const struct pow_task task = {f->purpose, ID_BYTES(w->subject),
                                  l->pow_bits};
    TRY(pow_solve(c->crypto, &task, WORK_SLICE, &w->pow, &found));
    if (!found) {
        c->deadline = c->now;
        return OK;
    }
    w->lane = NULL;
    *out = w;
    return OK;
}

void work_pump_begin(struct client *c) { c->work.wanted = false; }

void work_pump_end(struct client *c)
{
    if (c->work.lane == NULL || c->work.wanted)
        return;
    c->work.lane = NULL;
    c->deadline = c->now; /* for who has waited meanwhile */
}
