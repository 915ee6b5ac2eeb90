/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real server for a benchmark: on a folder in $BENCH_DIR (default:
 * /var/tmp), its processes on one core and the caller on another. $SOTTOD names
 * the program.
 */
#pragma once

#include "base/problem.h"
#include "support/sottod.h"

/* Makes its folder; starts it there, also again. */
MUST_USE enum err served_prepare(struct sottod *s, struct problem *p);
MUST_USE enum err served_start(struct sottod *s, struct problem *p);

const char *served_place(void);
const char *served_file_system(void);

/* Seconds of processor time that a process has used; bytes of memory that are
 * its own. */
double served_cpu(pid_t pid);
double served_memory(pid_t pid);
