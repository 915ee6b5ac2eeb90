/* SPDX-License-Identifier: Apache-2.0 */
/* The real core over the real store, in memory; the test plays net. */
#include "server/keeper.h"

#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/entropy.h"
#include "proto/derive.h"
#include "proto/message.h"
#include "server/core_fixture.h"
#include "server/metrics.h"
#include "server/pipe.h"
#include "server/store_sqlite.h"
#include "sys/clock.h"
#include "test.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DAY_MS     86400000U
#define ROUNDS_MAX 500
#define SEEN_MAX   512

struct seen {
    unsigned net;
    uint8_t op;
    uint32_t conn;
    uint32_t id;
    uint16_t method;
    uint8_t status;
};

#define NETS_MAX 2

/* One end of a pipe, which the test plays. */
struct end {
    struct world *world;
    struct pipe *pipe;
};

struct world {
    struct loop *loop;
    struct crypto *crypto;
    struct random random;
    struct secret key;
    struct store_sqlite *sqlite;
    struct store store;
    struct core *core;
    struct keeper *keeper;
    struct end nets[NETS_MAX];
    unsigned net; /* who puts */
    struct seen seen[SEEN_MAX];
    size_t count;
    struct metrics metrics;
    unsigned stats;
};

static void on_record(void *ctx, const struct pipe_record *r)
{
    const struct end *end = ctx;
    struct world *w = end->world;
    struct reader in = reader_of(r->bytes);
    if (r->op == PIPE_STATS) { /* comes by the clock */
        metrics_read(r->bytes, &w->metrics);
        w->stats++;
        return;
    }
    if (w->count == SEEN_MAX)
        return;
    struct seen *s = &w->seen[w->count++];
    *s = (struct seen){.net = (unsigned)(end - w->nets),
                       .op = r->op,
                       .conn = r->conn,
                       .id = r->id};
    s->method = reader_u16(&in);
    s->status = reader_u8(&in);
}

static void on_ended(void *ctx, enum err err)
{
    (void)ctx;
    (void)err;
}

static const struct pipe_user user = {on_record, NULL, on_ended};

static void world_clear(struct world *w)
{
    keeper_free(&w->keeper);
    for (size_t i = 0; i < NETS_MAX; i++)
        pipe_free(&w->nets[i].pipe);
    core_free(&w->core);
    store_sqlite_close(&w->sqlite);
    crypto_free(&w->crypto);
    secret_clear(&w->key);
    loop_free(&w->loop);
}

static enum err add_net(struct world *w, unsigned i)
{
    int fds[2];
    struct end *end = &w->nets[i];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0)
        return ERR_IO;
    end->world = w;
    enum err err = pipe_create(w->loop, fds[0], &user, end, &end->pipe);
    if (err != OK) {
        (void)close(fds[1]);
        return err;
    }
    return keeper_add(w->keeper, fds[1]);
}

static enum err world_start(struct world *w, size_t connections_max)
{
    const struct store_sqlite_config memory = {0};
    w->random = entropy_system();
    TRY(loop_create(&w->loop, NULL));
    TRY(crypto_create(&w->crypto));
    secret_random(&w->key, 32, &w->random);
    TRY(store_sqlite_open(&memory, NULL, &w->sqlite));
    w->store = store_sqlite_store(w->sqlite);
    const struct core_parts parts = {
        .crypto = w->crypto,
        .random = &w->random,
        .store = &w->store,
        .server_key = &w->key,
        .config = {.connections_max = connections_max,
                   .pow_bits = 1,
                   .limits = {.subscription_reads = UINT32_MAX}}};
    TRY(core_create(&parts, &w->core));
    TRY(keeper_create(w->loop, w->core, w->store, &w->keeper));
    return add_net(w, 0);
}

static bool until(struct world *w, size_t want)
{
    for (int i = 0; i < ROUNDS_MAX && w->count < want; i++)
        if (loop_round(w->loop, 20) != OK)
            return false;
    return w->count >= want;
}

/* What net tells of a new client. */
static enum err put_open(struct world *w, uint32_t conn)
{
    static const uint8_t bytes[CORE_EXPORTER_SIZE + 8];
    return pipe_put(w->nets[w->net].pipe,
                    &(struct pipe_record){.op = PIPE_OPEN,
                                          .conn = conn,
                                          .bytes = BYTES_ARRAY(bytes)});
}

static enum err put_op(struct world *w, uint8_t op, uint32_t conn)
{
    return pipe_put(w->nets[w->net].pipe,
                    &(struct pipe_record){.op = op, .conn = conn});
}

static enum err put_request(struct world *w, uint32_t conn, uint32_t id,
                            const struct request *q)
{
    CLEANUP(buf_clear) struct buf bytes = buf_new(MESSAGE_MAX);
    TRY(request_write(&bytes, q));
    return pipe_put(w->nets[w->net].pipe,
                    &(struct pipe_record){.op = PIPE_MESSAGE,
                                          .conn = conn,
                                          .kind = FRAME_REQUEST,
                                          .id = id,
                                          .bytes = buf_bytes(&bytes)});
}

static const uint8_t nonce[NONCE_SIZE] = {1};
static const struct request hello = {
    .method = METHOD_HELLO,
    .hello = {.version = PROTOCOL_VERSION,
              .lane = LANE_ANONYMOUS,
              .client_nonce = {nonce, sizeof nonce}}};
static const struct request lookup = {
    .method = METHOD_LOOKUP,
    .lookup = {.name = {(const uint8_t *)"nobody", 6}}};

static void answers_what_net_passes_on(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w, 0), OK);
    keeper_start(w.keeper);
    CHECK(until(&w, 1));
    CHECK_UINT(w.seen[0].op, PIPE_START);
    CHECK_UINT(put_open(&w, 5), OK);
    CHECK_UINT(put_request(&w, 5, 77, &hello), OK);
    CHECK(until(&w, 2));
    CHECK_UINT(w.seen[1].op, PIPE_MESSAGE);
    CHECK_UINT(w.seen[1].conn, 5);
    CHECK_UINT(w.seen[1].id, 77);
    CHECK_UINT(w.seen[1].method, METHOD_HELLO);
    CHECK_UINT(w.seen[1].status, STATUS_OK);
}

/* A number may belong to another client after CLOSED. */
static void says_nothing_for_a_number_after_closed(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w, 0), OK);
    for (uint32_t round = 0; round < 20; round++) {
        CHECK_UINT(put_open(&w, 1), OK);
        CHECK_UINT(put_request(&w, 1, round, &hello), OK);
        CHECK_UINT(put_request(&w, 1, round, &lookup), OK);
        CHECK_UINT(put_op(&w, PIPE_CLOSE, 1), OK);
        size_t closed = w.count;
        for (int i = 0; i < ROUNDS_MAX; i++) {
            CHECK_UINT(loop_round(w.loop, 5), OK);
            while (closed < w.count && w.seen[closed].op != PIPE_CLOSED)
                closed++;
            if (closed < w.count)
                break;
        }
        for (int i = 0; i < 3; i++)
            CHECK_UINT(loop_round(w.loop, 0), OK);
        CHECK_UINT(closed, w.count - 1); /* it was the last word */
    }
}

static void many_requests_at_once_all_get_answers(void)
{
    enum {
        MANY = 300
    };
    CLEANUP(world_clear) struct world w = {0};
    unsigned fine = 0;
    CHECK_UINT(world_start(&w, 0), OK);
    CHECK_UINT(put_open(&w, 1), OK);
    CHECK_UINT(put_request(&w, 1, 0, &hello), OK);
    for (uint32_t i = 1; i < MANY; i++)
        CHECK_UINT(put_request(&w, 1, i, &lookup), OK);
    CHECK(until(&w, MANY));
    for (size_t i = 1; i < MANY; i++)
        fine += w.seen[i].status == STATUS_NOTFOUND;
    CHECK_UINT(fine, MANY - 1); /* none was told to wait */
}

static void ends_a_connection_that_it_cannot_take(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w, 1), OK);
    CHECK_UINT(put_open(&w, 1), OK);
    CHECK_UINT(put_open(&w, 2), OK);
    CHECK(until(&w, 1));
    CHECK_UINT(w.seen[0].op, PIPE_END);
    CHECK_UINT(w.seen[0].conn, 2);
    CHECK_UINT(put_op(&w, PIPE_CLOSE, 2), OK);
    CHECK(until(&w, 2));
    CHECK_UINT(w.seen[1].op, PIPE_CLOSED);
}

static void a_breach_of_protocol_ends_the_connection(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w, 0), OK);
    CHECK_UINT(put_open(&w, 1), OK);
    CHECK_UINT(pipe_put(w.nets[0].pipe,
                        &(struct pipe_record){.op = PIPE_MESSAGE,
                                              .conn = 1,
                                              .kind = FRAME_EVENT,
                                              .bytes = LIT("\x00\x01")}),
               OK);
    CHECK(until(&w, 1));
    CHECK_UINT(w.seen[w.count - 1].op, PIPE_END);
}

static void draining_is_passed_on_and_goodbye_ends(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w, 0), OK);
    keeper_drain(w.keeper);
    CHECK(until(&w, 1));
    CHECK_UINT(w.seen[0].op, PIPE_DRAIN);
    CHECK_UINT(put_op(&w, PIPE_BYE, 0), OK);
    CHECK_UINT(loop_run(w.loop), OK);
    CHECK_UINT(keeper_result(w.keeper, NULL), OK);
}

static void an_end_without_goodbye_is_an_error(void)
{
    CLEANUP(world_clear) struct world w = {0};
    struct problem p = {0};
    CHECK_UINT(world_start(&w, 0), OK);
    pipe_free(&w.nets[0].pipe);
    CHECK_UINT(loop_run(w.loop), OK);
    CHECK_UINT(keeper_result(w.keeper, &p), ERR_IO);
    CHECK(strstr(p.detail, "network process") != NULL);
}

/* Each has its own numbers; the store ends when both have. */
static void two_net_processes_are_kept_apart(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w, 0), OK);
    CHECK_UINT(add_net(&w, 1), OK);
    for (w.net = 0; w.net < NETS_MAX; w.net++) {
        CHECK_UINT(put_open(&w, 7), OK);
        CHECK_UINT(put_request(&w, 7, 10 + w.net, &hello), OK);
    }
    CHECK(until(&w, 2));
    for (size_t i = 0; i < 2; i++) {
        CHECK_UINT(w.seen[i].conn, 7);
        CHECK_UINT(w.seen[i].id, 10 + w.seen[i].net);
    }
    CHECK(w.seen[0].net != w.seen[1].net);
    w.net = 0;
    CHECK_UINT(put_op(&w, PIPE_CLOSE, 7), OK);
    CHECK_UINT(put_op(&w, PIPE_BYE, 0), OK);
    CHECK(until(&w, 3));
    CHECK_UINT(w.seen[2].net, 0);
    CHECK_UINT(w.seen[2].op, PIPE_CLOSED);
    CHECK(until(&w, 4)); /* the other is asked to end as well */
    CHECK_UINT(w.seen[3].net, 1);
    CHECK_UINT(w.seen[3].op, PIPE_DRAIN);
    pipe_free(&w.nets[0].pipe);
    w.net = 1; /* has something to do yet */
    CHECK_UINT(put_request(&w, 7, 99, &lookup), OK);
    CHECK(until(&w, 5));
    CHECK_UINT(w.seen[4].id, 99);
    CHECK_UINT(put_op(&w, PIPE_BYE, 0), OK);
    CHECK_UINT(loop_run(w.loop), OK);
    CHECK_UINT(keeper_result(w.keeper, NULL), OK);
}

static void a_number_given_twice_or_too_large_ends_the_store(void)
{
    const uint32_t numbers[] = {5, 1U << 16};
    for (size_t i = 0; i < COUNT(numbers); i++) {
        CLEANUP(world_clear) struct world w = {0};
        CHECK_UINT(world_start(&w, 0), OK);
        CHECK_UINT(put_open(&w, 5), OK);
        CHECK_UINT(put_open(&w, numbers[i]), OK);
        CHECK_UINT(loop_run(w.loop), OK);
        CHECK_UINT(keeper_result(w.keeper, NULL), ERR_MALFORMED);
    }
}

static const uint8_t some_id[ID_SIZE] = {1};

/* The rights to a channel that conn 5 has made, with an entry of this size. */
static enum err make_channel(struct world *w, size_t size,
                             struct access *out_access)
{
    CLEANUP(buf_clear) struct buf body = buf_new(size + 1000);
    CLEANUP(buf_clear) struct buf text = buf_new(size);
    struct digest digest;
    bool found = false;
    const struct pow_task task = {POW_CHANNEL_CREATE, BYTES_ARRAY(some_id), 1};
    struct request create = {
        .method = METHOD_CHANNEL_CREATE,
        .channel_create = {
            .channel = BYTES_ARRAY(some_id),
            .sub = BYTES_ARRAY(some_id),
            .pow = {.day = (uint32_t)(clock_wall_ms() / DAY_MS)}}};
    *out_access = (struct access){BYTES_ARRAY(some_id), BYTES_ARRAY(some_id),
                                  BYTES_ARRAY(some_id)};
    TRY(buf_extend(&text, size));
    TRY(hash(w->crypto, HASH_SHA256, PARTS(BYTES_ARRAY(some_id)), &digest));
    create.channel_create.cap_hash = digest_bytes(&digest);
    TRY(pow_solve(w->crypto, &task, 1U << 20, &create.channel_create.pow,
                  &found));
    TRY(fixture_private(&body, ENTRY_APPLICATION, (struct bytes){0},
                        buf_bytes(&text)));
    const struct request append = {
        .method = METHOD_APPEND,
        .append = {.access = *out_access,
                   .kind = ENTRY_APPLICATION,
                   .idempotency_key = {some_id, IDEMPOTENCY_KEY},
                   .body = buf_bytes(&body)}};
    TRY(put_open(w, 5));
    TRY(put_request(w, 5, 1, &hello));
    TRY(put_request(w, 5, 2, &create));
    return put_request(w, 5, 3, &append);
}

/* The store does not read on for a net process that takes nothing. */
static void answers_wait_for_net_to_read(void)
{
    enum {
        READS = 40,
        SIZE = 4U << 20
    };
    CLEANUP(world_clear) struct world w = {0};
    struct access access;
    CHECK_UINT(world_start(&w, 0), OK);
    CHECK_UINT(make_channel(&w, SIZE, &access), OK);
    CHECK(until(&w, 3));
    CHECK_UINT(w.seen[2].method, METHOD_APPEND);
    CHECK_UINT(w.seen[2].status, STATUS_OK);
    const struct request read = {.method = METHOD_READ,
                                 .read = {.access = access, .max_bytes = 1}};
    for (uint32_t i = 0; i < READS; i++)
        CHECK_UINT(put_request(&w, 5, 10 + i, &read), OK);
    pipe_pause(w.nets[0].pipe, true);
    for (int i = 0; i < 50; i++)
        CHECK_UINT(loop_round(w.loop, 1), OK);
    CHECK(core_is_waiting(w.core));
    pipe_pause(w.nets[0].pipe, false);
    CHECK(until(&w, 3 + READS));
    for (uint32_t i = 0; i < READS; i++)
        CHECK_UINT(w.seen[3 + i].id, 10 + i);
    CHECK(!core_is_waiting(w.core));
}

static void nonsense_from_net_ends_the_store(void)
{
    const uint8_t ops[] = {0, PIPE_START, PIPE_CLOSED, 200};
    for (size_t i = 0; i < COUNT(ops); i++) {
        CLEANUP(world_clear) struct world w = {0};
        CHECK_UINT(world_start(&w, 0), OK);
        CHECK_UINT(put_op(&w, ops[i], 0), OK);
        CHECK_UINT(loop_run(w.loop), OK);
        CHECK_UINT(keeper_result(w.keeper, NULL), ERR_MALFORMED);
    }
}

/* A client without an exporter, too. */
static void tells_net_once_a_second_how_it_goes(void)
{
    CLEANUP(world_clear) struct world w = {0};
    static const uint8_t remote[8];
    const struct pipe_record open = {
        .op = PIPE_OPEN, .conn = 3, .bytes = BYTES_ARRAY(remote)};
    CHECK_UINT(world_start(&w, 0), OK);
    CHECK_UINT(pipe_put(w.nets[0].pipe, &open), OK);
    CHECK_UINT(put_request(&w, 3, 1, &hello), OK);
    CHECK(until(&w, 1));
    CHECK_UINT(w.seen[0].status, STATUS_OK);
    for (int i = 0; i < ROUNDS_MAX && w.stats == 0; i++)
        CHECK_UINT(loop_round(w.loop, 20), OK);
    CHECK(w.stats > 0);
    CHECK_UINT(w.metrics.numbers[METRIC_CONNECTIONS], 1);
    CHECK_UINT(w.metrics.numbers[METRIC_REQUESTS], 1);
    CHECK(w.metrics.numbers[METRIC_FLUSHES] > 0);
    CHECK(w.metrics.numbers[METRIC_STORE_BYTES] > 0);
    CHECK_UINT(w.metrics.numbers[METRIC_ACCEPTED], 0);
    /* What net processes tell comes back in sum. */
    const struct metrics own = {
        .numbers = {[METRIC_ACCEPTED] = 40, [METRIC_APPENDS] = 1000}};
    uint8_t room[METRICS_SIZE];
    const struct pipe_record tell = {.op = PIPE_STATS,
                                     .bytes = metrics_write(&own, room)};
    CHECK_UINT(pipe_put(w.nets[0].pipe, &tell), OK);
    unsigned before = w.stats + 2;
    for (int i = 0; i < ROUNDS_MAX && w.stats <= before; i++)
        CHECK_UINT(loop_round(w.loop, 20), OK);
    CHECK_UINT(w.metrics.numbers[METRIC_ACCEPTED], 40);
    CHECK_UINT(w.metrics.numbers[METRIC_APPENDS], 0);
}

static const struct test tests[] = {
    TEST(tells_net_once_a_second_how_it_goes),
    TEST(answers_what_net_passes_on),
    TEST(says_nothing_for_a_number_after_closed),
    TEST(many_requests_at_once_all_get_answers),
    TEST(ends_a_connection_that_it_cannot_take),
    TEST(a_breach_of_protocol_ends_the_connection),
    TEST(draining_is_passed_on_and_goodbye_ends),
    TEST(an_end_without_goodbye_is_an_error),
    TEST(two_net_processes_are_kept_apart),
    TEST(a_number_given_twice_or_too_large_ends_the_store),
    TEST(answers_wait_for_net_to_read),
    TEST(nonsense_from_net_ends_the_store),
};
TEST_MAIN(tests)
