/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a real program and keeps what it says, for end-to-end tests. */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <sys/types.h>

#define PROGRAM_INPUT_MAX (1U << 20)

struct program {
    pid_t pid; /* 0: has ended */
    int fds[2];
    int typing;  /* the other end of its standard input, or -1 */
    char *out;   /* what it has said on standard output so far */
    char *error; /* and on standard error */
};

/* Starts argv[0] (argv ends with NULL); `input` is all that it reads. */
MUST_USE enum err program_start(struct program *p, const char *const *argv,
                                struct bytes input);
/* The same, but its input goes on until program_clear or the end. */
MUST_USE enum err program_start_typing(struct program *p,
                                       const char *const *argv);
MUST_USE enum err program_type(struct program *p, const char *text);

/* Waits until it has said `text` on either output; false: it has ended, or is
 * silent for too long. */
bool program_says(struct program *p, const char *text);

/* Waits for the end; the exit status, 128 + the signal that killed it, or -1 if
 * it does not end. */
int program_wait(struct program *p);
int program_run(struct program *p, const char *const *argv, struct bytes input);

void program_clear(struct program *p);
