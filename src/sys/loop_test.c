/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/loop.h"

#include "base/mem.h"
#include "sys/clock.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* What happened, as letters in order. */
struct trace {
    char text[64];
    size_t len;
    struct loop *loop;
    struct watch *victim;
    struct timer *timer;
    int fd;
};

static void note(struct trace *t, char c)
{
    if (t->len < sizeof t->text)
        t->text[t->len++] = c;
}

static struct bytes noted(const struct trace *t)
{
    return (struct bytes){(const uint8_t *)t->text, t->len};
}

static void on_read(void *ctx, uint32_t events)
{
    struct trace *t = ctx;
    char c = 0;
    (void)events;
    if (read(t->fd, &c, 1) == 1)
        note(t, c);
}

static void on_read_remove(void *ctx, uint32_t events)
{
    struct trace *t = ctx;
    (void)events;
    note(t, 'r');
    loop_unwatch(t->loop, t->victim);
}

static void on_a(void *ctx) { note(ctx, 'a'); }
static void on_b(void *ctx) { note(ctx, 'b'); }
static void on_c(void *ctx) { note(ctx, 'c'); }

static void on_stop(void *ctx)
{
    struct trace *t = ctx;
    loop_stop(t->loop);
}

static void on_again(void *ctx)
{
    struct trace *t = ctx;
    note(t, 't');
    if (loop_timer_set(t->loop, t->timer, 0) != OK)
        note(t, '!');
}

static void on_signal(void *ctx, int signal)
{
    note(ctx, signal == SIGUSR1 ? 's' : '?');
}

static void calls_what_is_readable(void)
{
    CLEANUP(loop_free) struct loop *loop = NULL;
    int fds[2];
    CHECK_UINT(loop_create(&loop, NULL), OK);
    CHECK(pipe2(fds, O_NONBLOCK) == 0);
    struct trace t = {.fd = fds[0]};
    struct watch w = {fds[0], on_read, &t};
    CHECK_UINT(loop_watch(loop, &w, EPOLLIN), OK);
    CHECK_UINT(loop_round(loop, 0), OK);
    CHECK_UINT(t.len, 0);
    CHECK(write(fds[1], "xy", 2) == 2);
    CHECK_UINT(loop_round(loop, 0), OK);
    CHECK_UINT(loop_round(loop, 0), OK);
    CHECK_BYTES(noted(&t), LIT("xy"));

    CHECK(write(fds[1], "z", 1) == 1);
    loop_watch_for(loop, &w, 0);
    CHECK_UINT(loop_round(loop, 0), OK);
    CHECK_BYTES(noted(&t), LIT("xy"));
    loop_watch_for(loop, &w, EPOLLIN);
    loop_unwatch(loop, &w);
    loop_unwatch(loop, &w); /* does nothing */
    CHECK_UINT(loop_round(loop, 0), OK);
    CHECK_BYTES(noted(&t), LIT("xy"));
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* Both are ready in one round; whichever comes first removes the other. */
static void does_not_call_what_was_removed_in_the_same_round(void)
{
    CLEANUP(loop_free) struct loop *loop = NULL;
    int a[2];
    int b[2];
    CHECK_UINT(loop_create(&loop, NULL), OK);
    CHECK(pipe2(a, O_NONBLOCK) == 0);
    CHECK(pipe2(b, O_NONBLOCK) == 0);
    struct watch wa;
    struct watch wb;
    struct trace ta = {.loop = loop, .victim = &wb};
    struct trace tb = {.loop = loop, .victim = &wa};
    wa = (struct watch){a[0], on_read_remove, &ta};
    wb = (struct watch){b[0], on_read_remove, &tb};
    CHECK_UINT(loop_watch(loop, &wa, EPOLLIN), OK);
    CHECK_UINT(loop_watch(loop, &wb, EPOLLIN), OK);
    CHECK(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    CHECK_UINT(loop_round(loop, 0), OK);
    CHECK_UINT(ta.len + tb.len, 1);
    (void)close(a[0]);
    (void)close(a[1]);
    (void)close(b[0]);
    (void)close(b[1]);
}

static void fires_timers_in_order_of_due_time(void)
{
    CLEANUP(loop_free) struct loop *loop = NULL;
    CHECK_UINT(loop_create(&loop, NULL), OK);
    struct trace t = {.loop = loop};
    struct timer a = {.fire = on_a, .ctx = &t};
    struct timer b = {.fire = on_b, .ctx = &t};
    struct timer c = {.fire = on_c, .ctx = &t};
    struct timer stop = {.fire = on_stop, .ctx = &t};
    CHECK_UINT(loop_timer_set(loop, &stop, 40), OK);
    CHECK_UINT(loop_timer_set(loop, &a, 30), OK);
    CHECK_UINT(loop_timer_set(loop, &b, 10), OK);
    CHECK_UINT(loop_timer_set(loop, &c, 20), OK);
    loop_timer_cancel(loop, &c);
    CHECK_UINT(loop_timer_set(loop, &c, 1), OK); /* moves */
    CHECK_UINT(loop_timer_set(loop, &c, 2), OK);
    uint64_t before = clock_mono_ms();
    CHECK_UINT(loop_run(loop), OK);
    CHECK(clock_mono_ms() - before >= 38);
    CHECK_BYTES(noted(&t), LIT("cba"));
}

static void keeps_many_timers_sorted(void)
{
    enum {
        MANY = 1000
    };
    CLEANUP(loop_free) struct loop *loop = NULL;
    static struct timer timers[MANY];
    CHECK_UINT(loop_create(&loop, NULL), OK);
    struct trace t = {0};
    for (unsigned i = 0; i < MANY; i++) {
        timers[i] = (struct timer){.fire = on_a, .ctx = &t};
        CHECK_UINT(loop_timer_set(loop, &timers[i], 1 + i * 7919U % MANY), OK);
    }
    for (unsigned i = 0; i < MANY; i += 2)
        loop_timer_cancel(loop, &timers[i]);
    for (unsigned i = 1; i < MANY; i += 4)
        CHECK_UINT(loop_timer_set(loop, &timers[i], 100000), OK);
    for (unsigned i = 1; i < MANY; i += 4)
        CHECK(timers[i].slot > 0 && timers[i].slot <= MANY / 2);
    for (unsigned i = 3; i < MANY; i += 4)
        loop_timer_cancel(loop, &timers[i]);
    for (unsigned i = 1; i < MANY; i += 4)
        loop_timer_cancel(loop, &timers[i]);
    CHECK_UINT(loop_round(loop, 2), OK);
    CHECK_UINT(t.len, 0);
}

static void a_timer_that_sets_itself_does_not_hold_the_round(void)
{
    CLEANUP(loop_free) struct loop *loop = NULL;
    CHECK_UINT(loop_create(&loop, NULL), OK);
    struct trace t = {.loop = loop};
    struct timer again = {.fire = on_again, .ctx = &t};
    t.timer = &again;
    CHECK_UINT(loop_timer_set(loop, &again, 0), OK);
    CHECK_UINT(loop_round(loop, 50), OK);
    CHECK_BYTES(noted(&t), LIT("t"));
}

static void runs_hooks_once_a_round_after_the_rest(void)
{
    CLEANUP(loop_free) struct loop *loop = NULL;
    int fds[2];
    CHECK_UINT(loop_create(&loop, NULL), OK);
    CHECK(pipe2(fds, O_NONBLOCK) == 0);
    struct trace t = {.fd = fds[0]};
    struct watch w = {fds[0], on_read, &t};
    struct hook a = {.run = on_a, .ctx = &t};
    struct hook b = {.run = on_b, .ctx = &t};
    loop_hook_add(loop, &a);
    loop_hook_add(loop, &b);
    CHECK_UINT(loop_watch(loop, &w, EPOLLIN), OK);
    CHECK(write(fds[1], "xy", 2) == 2);
    CHECK_UINT(loop_round(loop, 0), OK);
    CHECK_UINT(loop_round(loop, 0), OK);
    loop_hook_remove(loop, &a);
    CHECK_UINT(loop_round(loop, 0), OK);
    CHECK_BYTES(noted(&t), LIT("xabyabb"));
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void does_not_wait_when_hurried(void)
{
    CLEANUP(loop_free) struct loop *loop = NULL;
    CHECK_UINT(loop_create(&loop, NULL), OK);
    uint64_t before = clock_mono_ms();
    loop_hurry(loop);
    CHECK_UINT(loop_round(loop, 10000), OK);
    CHECK(clock_mono_ms() - before < 5000);
}

static void hands_signals_to_the_loop(void)
{
    CLEANUP(loop_free) struct loop *loop = NULL;
    CHECK_UINT(loop_create(&loop, NULL), OK);
    struct trace t = {0};
    CHECK_UINT(
        loop_signals(loop, (const int[]){SIGUSR1, 0}, on_signal, &t, NULL), OK);
    CHECK(raise(SIGUSR1) == 0);
    CHECK_UINT(t.len, 0);
    CHECK_UINT(loop_round(loop, 0), OK);
    CHECK_BYTES(noted(&t), LIT("s"));
}

static void survives_each_allocation_failure(void)
{
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(loop_free) struct loop *loop = NULL;
        struct timer t = {.fire = on_a};
        mem_fail_after(n);
        err = loop_create(&loop, NULL);
        if (err == OK)
            err = loop_timer_set(loop, &t, 1);
        CHECK(err == OK || err == ERR_NOMEM);
    }
}

static const struct test tests[] = {
    TEST(calls_what_is_readable),
    TEST(does_not_call_what_was_removed_in_the_same_round),
    TEST(fires_timers_in_order_of_due_time),
    TEST(keeps_many_timers_sorted),
    TEST(a_timer_that_sets_itself_does_not_hold_the_round),
    TEST(runs_hooks_once_a_round_after_the_rest),
    TEST(does_not_wait_when_hurried),
    TEST(hands_signals_to_the_loop),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
