/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and stops the real server program on a folder of its own, for
 * end-to-end tests and benchmarks. $SOTTOD names the program. */
#pragma once

#include "base/buf.h"
#include "sys/net.h"

#include <stdbool.h>
#include <sys/types.h>

#define SOTTOD_OUTPUT_MAX 8192U

struct sottod {
    char dir[64]; /* made by sottod_prepare, removed by sottod_clear */
    char data[96];
    pid_t pid;                      /* 0: does not run */
    pid_t net_pid;                  /* its other process */
    int out;                        /* its standard output and error */
    char output[SOTTOD_OUTPUT_MAX]; /* what it has printed so far */
    size_t output_len;
    struct net_name address;
};

/* Makes the folder; the server's data folder will be `data` in it. It is in
 * /tmp, or in a place of the caller's choice (a short path). */
MUST_USE enum err sottod_prepare(struct sottod *s);
MUST_USE enum err sottod_prepare_in(struct sottod *s, const char *place);

/* Runs the program with `args` (ends with NULL) and waits for its end, at most
 * ten seconds. Returns its exit status, or -1; `output` has what it said. */
int sottod_run(struct sottod *s, const char *const *args);

/* Starts a server on the folder, with more options, and waits until it
 * listens. ERR_STATE: it ended instead, and `output` says why. */
MUST_USE enum err sottod_start(struct sottod *s, const char *const *options);

/* Sends a signal to the server, waits for its end, returns its exit status
 * (128 + signal when killed), or -1 when it does not end. */
int sottod_stop(struct sottod *s, int signal);

/* Finds "label: value" in the output; an empty string if it is not there. */
void sottod_said(const struct sottod *s, const char *label, char *out,
                 size_t size);

/* Reads what was printed meanwhile. */
void sottod_listen(struct sottod *s);

/* Kills what runs and removes the folder. */
void sottod_clear(struct sottod *s);
