/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process gives up, for good, before it works on what strangers send:
 * most system calls (seccomp, denied unless listed here), and the file system
 * but for its folders (Landlock, where the kernel has it). Call it when
 * everything is open; from then on:
 *
 *                      net                  store
 *     files            none                 below the folder; some read only
 *     new sockets      accepted ones only   none; or streams to the ports of
 *                                           its database, or local ones
 *     other processes  none                 end its children
 *     new code         none                 none
 *     other calls      kill the process     fail with EPERM
 *
 * The store goes on when a call is refused: an error is better than an end for
 * a library that does something unforeseen once in a while.
 */
#pragma once

#include "base/problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum sandbox_kind {
    SANDBOX_NET,
    SANDBOX_STORE,
    SANDBOX_DATABASE, /* a store whose database is elsewhere: may reconnect */
};

#define SANDBOX_READ_MAX  8U
#define SANDBOX_PORTS_MAX 8U

struct sandbox {
    enum sandbox_kind kind;
    const char *folder;    /* store: its data */
    const pid_t *children; /* store: what it may end and wait for */
    size_t child_count;
    const char *read[SANDBOX_READ_MAX]; /* store: folders with a certificate or
                                           a key; NULL: no more */
    uint16_t ports[SANDBOX_PORTS_MAX];  /* database: its TCP ports; 0: no more.
                                           Needs Landlock 4 to bind */
};

/* False in builds with a sanitizer, which itself needs what is forbidden here:
 * sandbox_enter then only says so in the log. */
bool sandbox_is_built(void);

/* Whether the kernel restricts files too (0: it does not know Landlock). */
int sandbox_landlock(void);

/* Also when it fails, some of it may be in force. */
MUST_USE enum err sandbox_enter(const struct sandbox *s, struct problem *p);
