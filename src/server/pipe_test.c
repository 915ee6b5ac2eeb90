/* SPDX-License-Identifier: Apache-2.0 */
#include "server/pipe.h"

#include "base/mem.h"
#include "test.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS_MAX 20000

/* One side: what it got. */
struct side {
    struct pipe *pipe;
    unsigned records;
    unsigned bytes; /* sum of all, to compare */
    struct pipe_record last;
    uint8_t first_bytes[16];
    unsigned drained;
    unsigned ended;
    enum err err;
    bool pause_after_each;
};

struct world {
    struct loop *loop;
    struct side a, b;
};

static unsigned sum_of(struct bytes b)
{
    unsigned sum = 0;
    for (size_t i = 0; i < b.len; i++)
        sum += b.data[i];
    return sum;
}

static void on_record(void *ctx, const struct pipe_record *r)
{
    struct side *s = ctx;
    s->records++;
    s->bytes += sum_of(r->bytes);
    s->last = *r;
    if (r->bytes.len <= sizeof s->first_bytes && r->bytes.len > 0)
        memcpy(s->first_bytes, r->bytes.data, r->bytes.len);
    if (s->pause_after_each)
        pipe_pause(s->pipe, true);
}

static void on_drained(void *ctx) { ((struct side *)ctx)->drained++; }

static void on_ended(void *ctx, enum err err)
{
    struct side *s = ctx;
    s->ended++;
    s->err = err;
}

static const struct pipe_user user = {on_record, on_drained, on_ended};

static enum err world_start(struct world *w, int *out_raw)
{
    int fds[2];
    TRY(loop_create(&w->loop, NULL));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0)
        return ERR_IO;
    enum err err = pipe_create(w->loop, fds[0], &user, &w->a, &w->a.pipe);
    if (err == OK && out_raw == NULL)
        return pipe_create(w->loop, fds[1], &user, &w->b, &w->b.pipe);
    if (err == OK)
        *out_raw = fds[1];
    else
        (void)close(fds[1]);
    return err;
}

static void world_clear(struct world *w)
{
    pipe_free(&w->a.pipe);
    pipe_free(&w->b.pipe);
    loop_free(&w->loop);
}

static bool until(struct world *w, const unsigned *counter, unsigned want)
{
    for (int i = 0; i < ROUNDS_MAX && *counter < want; i++)
        if (loop_round(w->loop, 100) != OK)
            return false;
    return *counter >= want;
}

static void carries_every_field(void)
{
    CLEANUP(world_clear) struct world w = {0};
    const struct pipe_record r = {.op = PIPE_MESSAGE,
                                  .conn = 0x01020304,
                                  .kind = FRAME_ANSWER,
                                  .id = 0xf0e0d0c0,
                                  .bytes = LIT("payload")};
    CHECK_UINT(world_start(&w, NULL), OK);
    CHECK_UINT(pipe_put(w.a.pipe, &r), OK);
    CHECK(until(&w, &w.b.records, 1));
    CHECK_UINT(w.b.last.op, r.op);
    CHECK_UINT(w.b.last.conn, r.conn);
    CHECK_UINT(w.b.last.kind, r.kind);
    CHECK_UINT(w.b.last.id, r.id);
    CHECK_BYTES(((struct bytes){w.b.first_bytes, w.b.last.bytes.len}),
                LIT("payload"));
    CHECK_UINT(w.a.drained, 1);
}

/* Small ones, the largest, and some between, both ways at once. */
static void carries_records_of_all_sizes_both_ways(void)
{
    static uint8_t data[MESSAGE_MAX];
    const size_t sizes[] = {1,         100, 70000, MESSAGE_MAX, 0,
                            256 << 10, 5,   65522, 300 << 10};
    CLEANUP(world_clear) struct world w = {0};
    unsigned want_sum = 0;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7919U >> 3);
    CHECK_UINT(world_start(&w, NULL), OK);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const struct pipe_record r = {.op = PIPE_MESSAGE,
                                      .bytes = {data, sizes[i]}};
        CHECK_UINT(pipe_put(w.a.pipe, &r), OK);
        CHECK_UINT(pipe_put(w.b.pipe, &r), OK);
        want_sum += sum_of(r.bytes);
    }
    CHECK(until(&w, &w.b.records, COUNT(sizes)));
    CHECK(until(&w, &w.a.records, COUNT(sizes)));
    CHECK_UINT(w.a.bytes, want_sum);
    CHECK_UINT(w.b.bytes, want_sum);
    CHECK_UINT(pipe_queued(w.a.pipe), 0);
}

static void a_paused_side_gets_nothing_and_loses_nothing(void)
{
    static uint8_t data[100000];
    CLEANUP(world_clear) struct world w = {0};
    const struct pipe_record r = {.op = PIPE_MESSAGE,
                                  .bytes = {data, sizeof data}};
    CHECK_UINT(world_start(&w, NULL), OK);
    w.b.pause_after_each = true;
    for (int i = 0; i < 40; i++)
        CHECK_UINT(pipe_put(w.a.pipe, &r), OK);
    for (unsigned i = 1; i <= 40; i++) {
        CHECK(until(&w, &w.b.records, i));
        for (int k = 0; k < 3; k++)
            CHECK_UINT(loop_round(w.loop, 0), OK);
        CHECK_UINT(w.b.records, i);
        pipe_pause(w.b.pipe, false);
    }
}

/* A block that is there needs no allocation. */
static void gives_a_block_back_after_a_time_that_did_not_use_it(void)
{
    static uint8_t data[300 << 10];
    CLEANUP(world_clear) struct world w = {0};
    const struct pipe_record large = {.op = PIPE_MESSAGE,
                                      .bytes = {data, sizeof data}};
    const struct pipe_record small = {.op = PIPE_STATS};
    CHECK_UINT(world_start(&w, NULL), OK);
    CHECK_UINT(pipe_put(w.a.pipe, &large), OK);
    CHECK(until(&w, &w.b.records, 1));
    pipe_trim(w.a.pipe);
    mem_fail_after(0);
    CHECK_UINT(pipe_put(w.a.pipe, &small), OK);
    mem_fail_after(1U << 30);
    CHECK(until(&w, &w.b.records, 2));
    pipe_trim(w.a.pipe);
    mem_fail_after(0);
    CHECK_UINT(pipe_put(w.a.pipe, &small), ERR_NOMEM);
    mem_fail_after(1U << 30);
}

static void says_that_the_other_side_is_gone(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w, NULL), OK);
    pipe_free(&w.b.pipe);
    CHECK(until(&w, &w.a.ended, 1));
    CHECK_UINT(w.a.err, OK);
    for (int i = 0; i < 3; i++)
        CHECK_UINT(loop_round(w.loop, 0), OK);
    CHECK_UINT(w.a.ended, 1);
}

/* Also when we have just found out that we cannot tell it anything more. */
static void hears_what_was_said_before_the_end(void)
{
    CLEANUP(world_clear) struct world w = {0};
    const struct pipe_record r = {.op = PIPE_BYE};
    CHECK_UINT(world_start(&w, NULL), OK);
    CHECK_UINT(pipe_put(w.b.pipe, &r), OK);
    pipe_pause(w.a.pipe, true);
    CHECK_UINT(loop_round(w.loop, 0), OK); /* b's word leaves */
    pipe_free(&w.b.pipe);
    pipe_pause(w.a.pipe, false);
    CHECK_UINT(pipe_put(w.a.pipe, &r), OK);
    CHECK(until(&w, &w.a.ended, 1));
    CHECK_UINT(w.a.records, 1);
    CHECK_UINT(w.a.err, OK);
}

/* And what was said before it. */
static void notices_the_end_while_paused(void)
{
    CLEANUP(world_clear) struct world w = {0};
    const struct pipe_record r = {.op = PIPE_BYE};
    CHECK_UINT(world_start(&w, NULL), OK);
    pipe_pause(w.a.pipe, true);
    CHECK_UINT(pipe_put(w.b.pipe, &r), OK);
    CHECK_UINT(loop_round(w.loop, 0), OK);
    CHECK_UINT(w.a.records, 0);
    pipe_free(&w.b.pipe);
    CHECK(until(&w, &w.a.ended, 1));
    CHECK_UINT(w.a.records, 1);
    CHECK_UINT(w.a.err, OK);
}

static void refuses_broken_records(void)
{
    const struct bytes cases[] = {
        LIT("\x00\x00\x00\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00"),
        LIT("\xff\xff\xff\xff"),
        LIT("\x01\x10\x00\x0b"), /* one byte over the maximum */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(world_clear) struct world w = {0};
        int raw = 0;
        CHECK_UINT(world_start(&w, &raw), OK);
        CHECK(send(raw, cases[i].data, cases[i].len, 0) ==
              (ssize_t)cases[i].len);
        bool ended = until(&w, &w.a.ended, 1);
        (void)close(raw);
        CHECK(ended);
        CHECK_UINT(w.a.err, ERR_MALFORMED);
        CHECK_UINT(w.a.records, 0);
    }
}

static void survives_each_allocation_failure(void)
{
    bool done = false;
    for (unsigned n = 0; !done; n++) {
        CLEANUP(world_clear) struct world w = {0};
        static uint8_t data[400 << 10];
        const struct pipe_record r = {.op = PIPE_MESSAGE,
                                      .bytes = {data, sizeof data}};
        mem_fail_after(n);
        if (world_start(&w, NULL) != OK || pipe_put(w.a.pipe, &r) != OK)
            continue;
        for (int i = 0; i < 100 && w.b.records == 0 && w.b.ended == 0; i++)
            CHECK_UINT(loop_round(w.loop, 10), OK);
        CHECK(w.b.records == 1 || w.b.err == ERR_NOMEM);
        done = w.b.records == 1;
    }
    CHECK(done);
    mem_fail_after(1U << 30);
}

static const struct test tests[] = {
    TEST(carries_every_field),
    TEST(carries_records_of_all_sizes_both_ways),
    TEST(a_paused_side_gets_nothing_and_loses_nothing),
    TEST(gives_a_block_back_after_a_time_that_did_not_use_it),
    TEST(says_that_the_other_side_is_gone),
    TEST(hears_what_was_said_before_the_end),
    TEST(notices_the_end_while_paused),
    TEST(refuses_broken_records),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
