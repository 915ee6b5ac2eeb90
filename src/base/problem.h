/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong, for a person: filled beside an error code where the failure
 * happens, before any cleanup can change errno.
 */
#pragma once

#include "base/err.h"

enum problem_kind {
    PROBLEM_NONE = 0,
    PROBLEM_USAGE,      /* what was asked for makes no sense */
    PROBLEM_SYSTEM,     /* the system refused; `sys` is its errno */
    PROBLEM_NETWORK,    /* the other side cannot be reached, or left */
    PROBLEM_TRUST,      /* the other side is not who it should be */
    PROBLEM_PERMISSION, /* a file is open to others, or not ours */
    PROBLEM_LOCKED,     /* another process uses it */
    PROBLEM_DAMAGED,    /* what was stored does not read back */
    PROBLEM_FULL,       /* no space left */
    PROBLEM_REFUSED,    /* the server said no */
};

struct problem {
    enum problem_kind kind;
    int sys; /* errno, or 0 */
    char detail[200];
};

/* Fills `p` (unless NULL) with a sentence that says what happened and, where
 * it helps, what to do. Keeps errno. Returns `err`, so that the caller can fail
 * in one line; a `sys` of ENOSPC or EDQUOT makes the kind PROBLEM_FULL. */
enum err problem_set(struct problem *p, enum err err, enum problem_kind kind,
                     const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a system call that failed: appends the text of errno. */
enum err problem_system(struct problem *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
