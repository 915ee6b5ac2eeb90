/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs worlds, a seed each, on as many processes as there are processors:
 *
 *     sim [-n COUNT] [-s FIRST] [-j JOBS] [-t] [-q]
 *
 * -t prints what happens, to replay one seed; -q leaves out the table. A batch
 * of REQUIRED_BATCH seeds or more fails when it met one of the points of the
 * table less than REQUIRED times. The first line of output is a TAP plan, so
 * a batch is a test.
 */
#include "world.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRED_BATCH 10000U
#define REQUIRED       100U
#define JOBS_MAX       64U

struct options {
    uint64_t first;
    uint64_t count;
    unsigned jobs;
    bool required; /* the points of the list */
    bool trace;
    bool quiet;
};

/* What the processes share. */
struct results {
    uint64_t failed;
    uint64_t texts;
    uint64_t points[JOBS_MAX][POINTS_MAX];
};

static bool run_seed(uint64_t seed, bool trace, uint64_t *points,
                     uint64_t *texts)
{
    struct world *w = NULL;
    if (world_create(seed, trace, points, &w) != OK)
        return false;
    life_live(w);
    world_settle(w);
    if (w->failed == 0)
        world_check(w);
    bool ok = w->failed == 0;
    *texts += w->sent_count;
    if (!ok)
        printf("# seed %llu failed: replay it with sim -n 1 -s %llu -t\n",
               (unsigned long long)seed, (unsigned long long)seed);
    world_free(&w);
    return ok;
}

static void run_job(const struct options *o, unsigned job, struct results *r)
{
    uint64_t texts = 0;
    for (uint64_t i = job; i < o->count; i += o->jobs) {
        if (!run_seed(o->first + i, o->trace, r->points[job], &texts))
            __atomic_add_fetch(&r->failed, 1, __ATOMIC_SEQ_CST);
        (void)fflush(stdout);
    }
    __atomic_add_fetch(&r->texts, texts, __ATOMIC_SEQ_CST);
}

static bool run_jobs(const struct options *o, struct results *r)
{
    bool ok = true;
    if (o->jobs == 1) {
        run_job(o, 0, r);
        return true;
    }
    (void)fflush(stdout);
    for (unsigned job = 0; job < o->jobs; job++) {
        pid_t pid = fork();
        if (pid == 0) {
            run_job(o, job, r);
            _exit(0);
        }
        ok = ok && pid > 0;
    }
    for (int status = 0; wait(&status) > 0;)
        ok = ok && status == 0;
    return ok;
}

static uint64_t times_met(const struct options *o, const struct results *r,
                          size_t point)
{
    uint64_t met = 0;
    for (unsigned job = 0; job < o->jobs; job++)
        met += r->points[job][point];
    return met;
}

/* Prints how often each point was met; gives how many were met too seldom. */
static unsigned print_points(const struct options *o, const struct results *r)
{
    char room[64];
    unsigned missed = 0;
    const char *name = NULL;
    size_t rarest = 0;
    for (size_t p = 0; (name = point_name(p, room)) != NULL; p++) {
        uint64_t met = times_met(o, r, p);
        bool seldom =
            o->required && o->count >= REQUIRED_BATCH && met < REQUIRED;
        missed += seldom;
        if (met < times_met(o, r, rarest))
            rarest = p;
        if (!o->quiet || seldom)
            printf("# %10llu  %s%s\n", (unsigned long long)met, name,
                   seldom ? "  TOO SELDOM" : "");
    }
    printf("# %zu points; met the least, %llu times: %s\n", point_count(),
           (unsigned long long)times_met(o, r, rarest),
           point_name(rarest, room));
    return missed;
}

static bool parse(int argc, char **argv, struct options *o)
{
    int c = 0;
    while ((c = getopt(argc, argv, "n:s:j:tq")) != -1) {
        switch (c) {
        case 'n':
            o->count = strtoull(optarg, NULL, 10);
            break;
        case 's':
            o->first = strtoull(optarg, NULL, 10);
            break;
        case 'j':
            o->jobs = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            o->trace = true;
            break;
        case 'q':
            o->quiet = true;
            break;
        default:
            return false;
        }
    }
    o->required = true;
    if (getenv("SOTTO_TEST_STORE") != NULL) { /* one database; no disk */
        o->jobs = 1;
        o->required = false;
    }
    if (o->jobs == 0)
        o->jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    if (o->jobs > JOBS_MAX)
        o->jobs = JOBS_MAX;
    if (o->trace)
        o->jobs = 1;
    return optind == argc && o->count > 0;
}

int main(int argc, char **argv)
{
    struct options o = {.count = 200};
    if (!parse(argc, argv, &o)) {
        (void)fprintf(stderr,
                      "usage: sim [-n COUNT] [-s FIRST] [-j JOBS] [-t] [-q]\n");
        return 2;
    }
    struct results *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r == MAP_FAILED)
        return 2;
    /* Worlds come and go: their memory is not given back in between. */
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    printf("1..2\n");
    bool finished = run_jobs(&o, r);
    printf("# %llu seeds, %llu texts sent, %llu failed\n",
           (unsigned long long)o.count, (unsigned long long)r->texts,
           (unsigned long long)r->failed);
    bool held = finished && r->failed == 0 && r->texts > 0;
    printf("%sok 1 - invariants hold in each world\n", held ? "" : "not ");
    unsigned missed = print_points(&o, r);
    printf("%sok 2 - every point was met often enough\n",
           missed == 0 ? "" : "not ");
    return held && missed == 0 ? 0 : 1;
}
