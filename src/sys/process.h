/* SPDX-License-Identifier: Apache-2.0 */
/* A child process that shares a socket with its parent, and what both do so
 * that their memory stays their own. */
#pragma once

#include "base/problem.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    pid_t pid;  /* 0: none */
    int pid_fd; /* readable when it has ended */
    int socket; /* non-blocking stream socket to the child */
};

/* Forks; the child runs `run(ctx, socket)` with its end of the socket and exits
 * with what it returns. Each end sees the end of file when the other dies. */
MUST_USE enum err process_spawn(int (*run)(void *ctx, int socket), void *ctx,
                                struct child *out_child, struct problem *p);

/* Waits at most `timeout_ms` for the end. ERR_STATE: still runs. `out_status`
 * is the exit status, or 128 + the signal that killed it. */
MUST_USE enum err process_wait(struct child *child, int timeout_ms,
                               int *out_status);

bool process_has_ended(const struct child *child, int timeout_ms);

/* Kills it if it runs, reaps it, closes its descriptors. */
void process_end(struct child *child);

/* In another child: closes the descriptors that it has inherited. */
void process_forget(struct child *child);

/* For processes that hold keys: no core dump, no ptrace by others, no new
 * privileges, no death by SIGPIPE or SIGXFSZ. */
MUST_USE enum err process_harden(struct problem *p);

/* Opens what tells of this process's memory, since a sandbox allows it only
 * before; negative: there is none. Close it. */
int process_memory_open(void);

/* The bytes of memory in use that are no files'; 0: not known. It costs one
 * system call, where mallinfo would walk the whole heap. */
uint64_t process_memory(int fd);

/* Raises the limit of open descriptors as far as allowed; returns it. */
uint64_t process_descriptors(void);
