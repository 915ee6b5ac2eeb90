/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event loop over epoll, used by one thread. It goes round: wait, call what
 * is ready, fire timers that are due, run the hooks. Work that should happen
 * once per round (flushing outputs, committing a batch) belongs in a hook.
 *
 * Watches, timers and hooks lie inside their owners' objects and the loop
 * borrows them. A callback may change, remove and free any of them, its own
 * too: what was removed is not called again.
 */
#pragma once

#include "base/problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h> /* EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR */

struct loop;

struct watch {
    int fd;
    void (*ready)(void *ctx, uint32_t events);
    void *ctx;
};

struct timer {
    void (*fire)(void *ctx);
    void *ctx;
    uint64_t due_ms; /* the loop's */
    size_t slot;     /* the loop's; 0: not set */
};

struct hook {
    void (*run)(void *ctx);
    void *ctx;
    struct hook *next; /* the loop's */
};

MUST_USE enum err loop_create(struct loop **out_loop, struct problem *p);
void loop_free(struct loop **loop);

/* Calls `ready` whenever one of `events` holds (level-triggered), or the
 * descriptor fails. */
MUST_USE enum err loop_watch(struct loop *loop, struct watch *w,
                             uint32_t events);

/* Changes what a watched descriptor is watched for; 0: only failures. */
void loop_watch_for(struct loop *loop, struct watch *w, uint32_t events);

/* Stops watching; call it before the descriptor is closed. Does nothing for a
 * watch that is not watched. */
void loop_unwatch(struct loop *loop, struct watch *w);

/* Fires once after `delay_ms`; a timer that is set already moves. */
MUST_USE enum err loop_timer_set(struct loop *loop, struct timer *t,
                                 uint64_t delay_ms);
void loop_timer_cancel(struct loop *loop, struct timer *t);

/* Runs `h` at the end of each round, in order of adding. */
void loop_hook_add(struct loop *loop, struct hook *h);
void loop_hook_remove(struct loop *loop, struct hook *h);

/* Makes the next round start without waiting: work was left over. */
void loop_hurry(struct loop *loop);

/* Says whether hooks are still to run in this round. */
bool loop_before_hooks(const struct loop *loop);

/* Blocks `signals` (a list that ends with 0) in this thread and calls `caught`
 * for each one from the loop. At most once per loop. */
MUST_USE enum err loop_signals(struct loop *loop, const int *signals,
                               void (*caught)(void *ctx, int signal), void *ctx,
                               struct problem *p);

/* The monotonic time at which this round began. */
uint64_t loop_now(const struct loop *loop);

/* Does one round, waiting at most `timeout_ms` (-1: for ever). */
MUST_USE enum err loop_round(struct loop *loop, int timeout_ms);

/* Goes round until loop_stop is called. */
MUST_USE enum err loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
