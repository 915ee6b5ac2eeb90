/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

bool report_quick(void)
{
    const char *quick = getenv("BENCH_QUICK");
    return quick != NULL && quick[0] == '1';
}

unsigned report_scale(unsigned full, unsigned quick)
{
    return report_quick() ? quick : full;
}

void report(const char *name, double value, const char *unit)
{
    printf("%s\t%.*f\t%s\n", name, value < 100 ? 2 : 0, value, unit);
    (void)fflush(stdout);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

void report_sort(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
}

double report_quantile(const double *sorted, size_t count, double share)
{
    assert(count > 0 && share >= 0 && share <= 1);
    return sorted[(size_t)((double)(count - 1) * share)];
}

double report_median(double *values, size_t count)
{
    report_sort(values, count);
    return report_quantile(values, count, 0.5);
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    int failed = clock_gettime(clock, &t);
    assert(failed == 0);
    (void)failed;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double report_cpu(void) { return seconds(CLOCK_THREAD_CPUTIME_ID); }
double report_clock(void) { return seconds(CLOCK_MONOTONIC); }
