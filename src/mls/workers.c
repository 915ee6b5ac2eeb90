/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/workers.h"

/* What is worth a thread: some signatures. */
#define PART_MIN 8U

struct run {
    const struct sotto_mls *mls;
    const struct job *job;
    size_t parts;
    enum err result[SOTTO_WORKERS_MAX];
};

static void run_part(void *arg, size_t i)
{
    struct run *r = arg;
    const struct job *job = r->job;
    if (i >= r->parts)
        return;
    size_t from = job->count * i / r->parts;
    size_t to = job->count * (i + 1) / r->parts;
    r->result[i] = job->part(r->mls->worker_crypto[i], job->arg, from, to);
}

enum err workers_do(const struct sotto_mls *mls, const struct job *job)
{
    const struct sotto_workers *w = &mls->workers;
    struct run r = {.mls = mls, .job = job, .parts = job->count / PART_MIN};
    if (r.parts > w->count)
        r.parts = w->count;
    if (r.parts <= 1)
        return job->part(mls->crypto, job->arg, 0, job->count);

    for (size_t i = 0; i < r.parts; i++)
        r.result[i] = ERR_IO; /* nothing passes because nobody looked */
    w->run(w->ctx, run_part, &r, r.parts);
    for (size_t i = 0; i < r.parts; i++)
        TRY(r.result[i]);
    return OK;
}
