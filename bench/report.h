/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmarks print: a line `name<TAB>value<TAB>unit` per figure, and
 * lines that begin with # about how it was measured.
 *
 * With BENCH_QUICK=1 each does only a few operations: its figures mean nothing,
 * but it cannot rot. The test suite runs them so.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

bool report_quick(void);

/* One of two numbers. */
unsigned report_scale(unsigned full, unsigned quick);

void report(const char *name, double value, const char *unit);

/* The value in the middle; the list is sorted. */
double report_median(double *values, size_t count);

/* The smallest value that `share` (0 to 1) of a sorted list does not exceed. */
double report_quantile(const double *sorted, size_t count, double share);
void report_sort(double *values, size_t count);

/* Seconds of this thread's processor time, and of a clock that never jumps. */
double report_cpu(void);
double report_clock(void);
