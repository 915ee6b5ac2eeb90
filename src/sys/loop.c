/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers are a binary heap of pointers, by due time; a timer knows its slot, so
 * that it can be moved and cancelled. Slot 0 is not used: it means "not set".
 */
#include "sys/loop.h"

#include "base/mem.h"
#include "sys/clock.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define EVENTS_PER_ROUND 256
#define TIMERS_FIRST     64U
#define TIMERS_MAX       (1U << 20)

struct loop {
    int epoll;
    bool stopped;
    bool hurried;
    bool before_hooks;
    uint64_t now_ms;

    /* The events of this round; `next` is the first one not yet handled. */
    struct epoll_event events[EVENTS_PER_ROUND];
    int count;
    int next;

    struct timer **heap; /* heap[1..timers] */
    size_t timers;
    size_t heap_cap; /* slots, with the unused one */

    struct hook *hooks;
    struct hook *next_hook; /* while they run */

    struct watch signals; /* fd 0: none */
    void (*caught)(void *ctx, int signal);
    void *caught_ctx;
};

enum err loop_create(struct loop **out_loop, struct problem *p)
{
    struct loop *loop = mem_alloc(sizeof *loop);
    if (loop == NULL)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM, "out of memory");
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0) {
        enum err err = problem_system(p, "cannot make an epoll descriptor");
        mem_free(loop, sizeof *loop);
        return err;
    }
    loop->now_ms = clock_mono_ms();
    *out_loop = loop;
    return OK;
}

void loop_free(struct loop **loop)
{
    struct loop *l = *loop;
    if (l == NULL)
        return;
    if (l->signals.fd > 0)
        (void)close(l->signals.fd);
    (void)close(l->epoll);
    mem_free(l->heap, l->heap_cap * sizeof(struct timer *));
    mem_free(l, sizeof *l);
    *loop = NULL;
}

/* ---- Descriptors ---- */

enum err loop_watch(struct loop *loop, struct watch *w, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, w->fd, &e) == 0)
        return OK;
    return errno == ENOMEM || errno == ENOSPC ? ERR_LIMIT : ERR_IO;
}

void loop_watch_for(struct loop *loop, struct watch *w, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};
    int result = epoll_ctl(loop->epoll, EPOLL_CTL_MOD, w->fd, &e);
    assert(result == 0); /* only a descriptor that is not watched fails */
    (void)result;
}

void loop_unwatch(struct loop *loop, struct watch *w)
{
    if (w->fd < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_DEL, w->fd, NULL) != 0)
        return;
    for (int i = loop->next; i < loop->count; i++) {
        if (loop->events[i].data.ptr == w)
            loop->events[i].data.ptr = NULL;
    }
}

static void call_watches(struct loop *loop)
{
    while (loop->next < loop->count) {
        struct epoll_event e = loop->events[loop->next++];
        struct watch *w = e.data.ptr;
        if (w != NULL)
            w->ready(w->ctx, e.events);
    }
    loop->next = loop->count = 0;
}

/* ---- Timers ---- */

static void heap_put(struct loop *loop, size_t slot, struct timer *t)
{
    loop->heap[slot] = t;
    t->slot = slot;
}

static void heap_up(struct loop *loop, size_t slot, struct timer *t)
{
    for (; slot > 1 && loop->heap[slot / 2]->due_ms > t->due_ms; slot /= 2)
        heap_put(loop, slot, loop->heap[slot / 2]);
    heap_put(loop, slot, t);
}

static void heap_down(struct loop *loop, size_t slot, struct timer *t)
{
    for (;;) {
        size_t child = 2 * slot;
        if (child > loop->timers)
            break;
        if (child < loop->timers &&
            loop->heap[child + 1]->due_ms < loop->heap[child]->due_ms)
            child++;
        if (loop->heap[child]->due_ms >= t->due_ms)
            break;
        heap_put(loop, slot, loop->heap[child]);
        slot = child;
    }
    heap_put(loop, slot, t);
}

/* Makes room for one more timer. */
static enum err heap_reserve(struct loop *loop)
{
    if (loop->timers + 1 < loop->heap_cap)
        return OK;
    size_t cap = loop->heap_cap == 0 ? TIMERS_FIRST : 2 * loop->heap_cap;
    if (cap > TIMERS_MAX)
        return ERR_LIMIT;
    struct timer **heap = mem_alloc(cap * sizeof(struct timer *));
    if (heap == NULL)
        return ERR_NOMEM;
    for (size_t i = 1; i <= loop->timers; i++)
        heap[i] = loop->heap[i];
    mem_free(loop->heap, loop->heap_cap * sizeof(struct timer *));
    loop->heap = heap;
    loop->heap_cap = cap;
    return OK;
}

enum err loop_timer_set(struct loop *loop, struct timer *t, uint64_t delay_ms)
{
    if (t->slot == 0)
        TRY(heap_reserve(loop));
    loop_timer_cancel(loop, t);
    /* At least 1: a timer that sets itself must not hold the round. */
    t->due_ms = clock_mono_ms() + (delay_ms > 0 ? delay_ms : 1);
    loop->timers++;
    heap_up(loop, loop->timers, t);
    return OK;
}

void loop_timer_cancel(struct loop *loop, struct timer *t)
{
    if (t->slot == 0)
        return;
    size_t slot = t->slot;
    struct timer *last = loop->heap[loop->timers];
    loop->timers--;
    t->slot = 0;
    if (last == t)
        return;
    if (slot > 1 && loop->heap[slot / 2]->due_ms > last->due_ms)
        heap_up(loop, slot, last);
    else
        heap_down(loop, slot, last);
}

static void fire_timers(struct loop *loop)
{
    while (loop->timers > 0 && loop->heap[1]->due_ms <= loop->now_ms) {
        struct timer *t = loop->heap[1];
        loop_timer_cancel(loop, t);
        t->fire(t->ctx);
    }
}

/* ---- Hooks ---- */

void loop_hook_add(struct loop *loop, struct hook *h)
{
    struct hook **end = &loop->hooks;
    while (*end != NULL)
        end = &(*end)->next;
    h->next = NULL;
    *end = h;
}

void loop_hook_remove(struct loop *loop, struct hook *h)
{
    struct hook **at = &loop->hooks;
    while (*at != NULL && *at != h)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = h->next;
    if (loop->next_hook == h)
        loop->next_hook = h->next;
}

static void run_hooks(struct loop *loop)
{
    loop->next_hook = loop->hooks;
    while (loop->next_hook != NULL) {
        struct hook *h = loop->next_hook;
        loop->next_hook = h->next;
        h->run(h->ctx);
    }
}

/* ---- Signals ---- */

static void signal_ready(void *ctx, uint32_t events)
{
    struct loop *loop = ctx;
    struct signalfd_siginfo info;
    (void)events;
    if (read(loop->signals.fd, &info, sizeof info) == (ssize_t)sizeof info)
        loop->caught(loop->caught_ctx, (int)info.ssi_signo);
}

enum err loop_signals(struct loop *loop, const int *signals,
                      void (*caught)(void *ctx, int signal), void *ctx,
                      struct problem *p)
{
    sigset_t set;
    assert(loop->signals.fd == 0);
    (void)sigemptyset(&set);
    for (size_t i = 0; signals[i] != 0; i++)
        (void)sigaddset(&set, signals[i]);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return problem_system(p, "cannot block signals");
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return problem_system(p, "cannot make a signal descriptor");
    loop->caught = caught;
    loop->caught_ctx = ctx;
    loop->signals = (struct watch){fd, signal_ready, loop};
    return loop_watch(loop, &loop->signals, EPOLLIN);
}

/* ---- Rounds ---- */

uint64_t loop_now(const struct loop *loop) { return loop->now_ms; }

void loop_hurry(struct loop *loop) { loop->hurried = true; }

bool loop_before_hooks(const struct loop *loop) { return loop->before_hooks; }

static int wait_ms(struct loop *loop, int timeout_ms)
{
    if (loop->hurried) {
        loop->hurried = false;
        return 0;
    }
    if (loop->timers == 0)
        return timeout_ms;
    uint64_t now = clock_mono_ms();
    uint64_t due = loop->heap[1]->due_ms;
    uint64_t left = due > now ? due - now : 0;
    int until_due = left > INT_MAX ? INT_MAX : (int)left;
    return timeout_ms >= 0 && timeout_ms < until_due ? timeout_ms : until_due;
}

enum err loop_round(struct loop *loop, int timeout_ms)
{
    int n = epoll_wait(loop->epoll, loop->events, EVENTS_PER_ROUND,
                       wait_ms(loop, timeout_ms));
    if (n < 0 && errno != EINTR)
        return ERR_IO;
    loop->count = n > 0 ? n : 0;
    loop->next = 0;
    loop->now_ms = clock_mono_ms();
    loop->before_hooks = true;
    call_watches(loop);
    fire_timers(loop);
    loop->before_hooks = false;
    run_hooks(loop);
    return OK;
}

enum err loop_run(struct loop *loop)
{
    loop->stopped = false;
    while (!loop->stopped)
        TRY(loop_round(loop, -1));
    return OK;
}

void loop_stop(struct loop *loop) { loop->stopped = true; }
