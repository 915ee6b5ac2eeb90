/* SPDX-License-Identifier: Apache-2.0 */
/* Connections, stages and bounds; the methods have tests of their own. */
#include "server/core_fixture.h"

#include "test.h"

static const uint8_t nonce[NONCE_SIZE] = {1};

static struct request hello_of(uint16_t version)
{
    return (struct request){
        .method = METHOD_HELLO,
        .hello = {.version = version,
                  .lane = LANE_ANONYMOUS,
                  .client_nonce = BYTES_ARRAY(nonce)},
    };
}

static void unknown_version_is_told_ours(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    struct answer a;
    fixture_init(&f);
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(core_open(f.core, 1, (struct bytes){0}, 1), OK);
    struct request q = hello_of(PROTOCOL_VERSION + 1);
    CHECK_UINT(fixture_ask(&f, 1, &q, &a), OK);
    CHECK_UINT(a.status, STATUS_UNSUPPORTED);
    CHECK_UINT(a.detail, PROTOCOL_VERSION);
    q = hello_of(PROTOCOL_VERSION);
    CHECK_UINT(fixture_status(&f, 1, &q), STATUS_OK);
    CHECK_UINT(fixture_status(&f, 1, &q), STATUS_MALFORMED); /* once */
}

static void methods_need_their_stage_and_lane(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(core_open(f.core, 1, (struct bytes){0}, 1), OK);
    CHECK_UINT(fixture_connect(&f, 2, LANE_IDENTIFIED), OK);
    CHECK_UINT(fixture_connect(&f, 3, LANE_ANONYMOUS), OK);
    const struct request ping = {.method = METHOD_PING};
    const struct request count = {.method = METHOD_KP_COUNT};
    const struct request look = {.method = METHOD_LOOKUP,
                                 .lookup = {LIT("anna")}};
    const struct {
        uint32_t conn;
        const struct request *q;
        enum status status;
    } cases[] = {
        {1, &ping, STATUS_MALFORMED},  {2, &ping, STATUS_OK},
        {3, &ping, STATUS_OK},         {1, &look, STATUS_MALFORMED},
        {2, &look, STATUS_MALFORMED},  {3, &look, STATUS_NOTFOUND},
        {2, &count, STATUS_MALFORMED}, {3, &count, STATUS_MALFORMED},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_UINT(fixture_status(&f, cases[i].conn, cases[i].q),
                   cases[i].status);
}

static void breach_of_the_protocol_closes(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(fixture_connect(&f, 1, LANE_ANONYMOUS), OK);
    core_message(f.core, 1, FRAME_EVENT, 1, LIT("\x00\x02"), f.now);
    fixture_flush(&f, 0);
    CHECK(fixture_closed(&f, 1));
    const struct request ping = {.method = METHOD_PING};
    CHECK_UINT(fixture_status(&f, 1, &ping), STATUS_COUNT_); /* deaf now */
    core_close(f.core, 1);
    fixture_events_clear(&f);
    CHECK_UINT(fixture_connect(&f, 1, LANE_ANONYMOUS), OK);
}

static void queue_of_a_connection_is_bounded(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    f.core_config.conn_pending_max = 3;
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(fixture_connect(&f, 1, LANE_ANONYMOUS), OK);
    CHECK_UINT(fixture_connect(&f, 2, LANE_ANONYMOUS), OK);
    const struct request look = {.method = METHOD_LOOKUP,
                                 .lookup = {LIT("anna")}};
    uint32_t id = 0;
    for (unsigned i = 0; i < 3; i++) {
        CHECK(!core_is_full(f.core, 1));
        CHECK_UINT(fixture_send(&f, 1, &look, &id), OK);
    }
    CHECK(core_is_full(f.core, 1));
    CHECK(!core_is_full(f.core, 2));
    CHECK_UINT(fixture_status(&f, 1, &look), STATUS_BUSY);
    CHECK_UINT(fixture_status(&f, 1, &look), STATUS_NOTFOUND);
}

static void connections_are_bounded(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    f.core_config.connections_max = 2;
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(fixture_connect(&f, 1, LANE_ANONYMOUS), OK);
    CHECK_UINT(fixture_connect(&f, 2, LANE_ANONYMOUS), OK);
    CHECK_UINT(core_open(f.core, 3, (struct bytes){0}, 1), ERR_LIMIT);
    core_close(f.core, 1);
    CHECK_UINT(fixture_connect(&f, 3, LANE_ANONYMOUS), OK);
}

/* It has left before the answer: what it asked is done, and nobody is told. */
static void close_with_requests_under_way(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    struct core_output out;
    uint32_t id = 0;
    fixture_init(&f);
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(fixture_connect(&f, 1, LANE_ANONYMOUS), OK);
    const struct request look = {.method = METHOD_LOOKUP,
                                 .lookup = {LIT("anna")}};
    CHECK_UINT(fixture_send(&f, 1, &look, &id), OK);
    core_close(f.core, 1);
    core_flush(f.core, f.now);
    CHECK(!core_take(f.core, &out));
    CHECK_UINT(core_stats(f.core).connections, 0);
}

static const struct test tests[] = {
    TEST(unknown_version_is_told_ours),
    TEST(methods_need_their_stage_and_lane),
    TEST(breach_of_the_protocol_closes),
    TEST(queue_of_a_connection_is_bounded),
    TEST(connections_are_bounded),
    TEST(close_with_requests_under_way),
};
TEST_MAIN(tests)
