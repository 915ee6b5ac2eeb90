/* SPDX-License-Identifier: Apache-2.0 */
#include "server/crowd.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "sys/net.h"
#include "test.h"

#define GUESTS 8

struct room {
    struct crowd crowd;
    struct guest guests[GUESTS];
};

static void room_clear(struct room *r)
{
    for (size_t i = 0; i < GUESTS; i++)
        crowd_leave(&r->crowd, &r->guests[i]);
    crowd_clear(&r->crowd);
}

static struct room room_new(size_t network, size_t network_early, size_t early)
{
    const struct random random = entropy_system();
    const struct crowd_limits limits = {network, network_early, 100, early};
    return (struct room){.crowd = crowd_new(&limits, &random)};
}

static enum err enter(struct room *r, size_t i, uint64_t remote)
{
    struct guest *none = NULL;
    return crowd_enter(&r->crowd, &r->guests[i], remote, &none);
}

static void a_network_has_its_bounds(void)
{
    CLEANUP(room_clear) struct room r = room_new(3, 2, 100);
    CHECK_UINT(enter(&r, 0, 7), OK);
    CHECK_UINT(enter(&r, 1, 7), OK);
    CHECK_UINT(enter(&r, 2, 7), ERR_LIMIT); /* two are early */
    CHECK_UINT(enter(&r, 2, 8), OK);        /* another's affair */
    crowd_settle(&r.crowd, &r.guests[0]);
    crowd_settle(&r.crowd, &r.guests[0]); /* twice is once */
    CHECK_UINT(enter(&r, 3, 7), OK);
    crowd_settle(&r.crowd, &r.guests[1]);
    CHECK_UINT(enter(&r, 4, 7), ERR_LIMIT); /* three in all */
    crowd_leave(&r.crowd, &r.guests[0]);
    CHECK_UINT(enter(&r, 4, 7), OK);
    CHECK_UINT(crowd_remote(&r.guests[4]), 7);
}

static void the_one_that_hesitates_longest_makes_room(void)
{
    CLEANUP(room_clear) struct room r = room_new(0, 0, 3);
    struct guest *evict = NULL;
    struct guest *g = r.guests;
    for (size_t i = 0; i < 3; i++) {
        CHECK_UINT(crowd_enter(&r.crowd, &g[i], i, &evict), OK);
        CHECK(evict == NULL);
    }
    CHECK_UINT(crowd_enter(&r.crowd, &g[3], 3, &evict), OK);
    CHECK(evict == &g[0]);
    crowd_leave(&r.crowd, &g[0]);
    crowd_settle(&r.crowd, &g[2]); /* from between two */
    CHECK_UINT(crowd_enter(&r.crowd, &g[4], 4, &evict), OK);
    CHECK(evict == NULL);
    CHECK_UINT(crowd_enter(&r.crowd, &g[5], 5, &evict), OK);
    CHECK(evict == &g[1]);
    crowd_leave(&r.crowd, &g[1]);
    CHECK_UINT(crowd_enter(&r.crowd, &g[6], 6, &evict), OK);
    CHECK(evict == &g[3]);
}

static void a_network_holds_so_much_together(void)
{
    CLEANUP(room_clear) struct room r = room_new(10, 10, 10);
    struct guest *g = r.guests;
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(enter(&r, i, i / 2),
                   OK); /* two from one, one from another */
    CHECK_UINT(crowd_hold(&r.crowd, &g[0], 60), OK);
    CHECK_UINT(crowd_hold(&r.crowd, &g[1], 40), OK);
    CHECK_UINT(crowd_hold(&r.crowd, &g[2], 100), OK);
    CHECK_UINT(crowd_hold(&r.crowd, &g[1], 41), ERR_LIMIT);
    crowd_leave(&r.crowd, &g[1]);
    CHECK_UINT(crowd_hold(&r.crowd, &g[0], 100), OK);
    /* what it held before it came counts too */
    CHECK_UINT(crowd_hold(&r.crowd, &g[3], 50), OK);
    CHECK_UINT(enter(&r, 3, 7), OK);
    CHECK_UINT(crowd_hold(&r.crowd, &g[3], 101), ERR_LIMIT);
    CHECK_UINT(r.crowd.held, 301);
}

static uint64_t remote_of(const char *address)
{
    uint64_t remote = 0;
    return net_remote_parse(bytes_str(address), &remote) == OK ? remote : 0;
}

/* Whoever has 65536 networks has not 65536 shares. */
static void the_network_around_has_the_same_bounds(void)
{
    CLEANUP(room_clear) struct room r = room_new(3, 2, 100);
    CHECK_UINT(enter(&r, 0, remote_of("2001:db8:1:0::1")), OK);
    CHECK_UINT(enter(&r, 1, remote_of("2001:db8:1:1::1")), OK);
    CHECK_UINT(enter(&r, 2, remote_of("2001:db8:1:2::1")), ERR_LIMIT);
    CHECK_UINT(enter(&r, 2, remote_of("2001:db8:2::1")), OK); /* another */
    crowd_settle(&r.crowd, &r.guests[0]);
    crowd_settle(&r.crowd, &r.guests[1]);
    CHECK_UINT(enter(&r, 3, remote_of("2001:db8:1:3::1")), OK);
    crowd_settle(&r.crowd, &r.guests[3]);
    CHECK_UINT(enter(&r, 4, remote_of("2001:db8:1:4::1")), ERR_LIMIT);
    CHECK_UINT(crowd_hold(&r.crowd, &r.guests[0], 60), OK);
    CHECK_UINT(crowd_hold(&r.crowd, &r.guests[1], 50), ERR_LIMIT);
    crowd_leave(&r.crowd, &r.guests[1]);
    CHECK_UINT(enter(&r, 4, remote_of("2001:db8:1:4::1")), OK);
    CHECK_UINT(enter(&r, 5, remote_of("192.0.2.1")), OK);
    CHECK_UINT(enter(&r, 6, remote_of("192.0.2.1")), OK);
    CHECK_UINT(enter(&r, 7, remote_of("192.0.2.2")), OK); /* is its own */
}

static void no_bound_on_networks_when_there_is_none(void)
{
    CLEANUP(room_clear) struct room r = room_new(0, 0, 100);
    for (size_t i = 0; i < GUESTS; i++)
        CHECK_UINT(enter(&r, i, 1), OK);
}

/* Nothing is left behind of whom it could not take. */
static void forgets_whom_it_refused(void)
{
    for (unsigned n = 0; n < 3; n++) { /* two networks, a table */
        CLEANUP(room_clear) struct room r = room_new(1, 1, 1);
        struct guest *evict = NULL;
        mem_fail_after(n);
        CHECK_UINT(crowd_enter(&r.crowd, &r.guests[0], 5, &evict), ERR_NOMEM);
        mem_fail_after(0);
        CHECK(mem_alloc(1) == NULL); /* the plan is used up */
        CHECK_UINT(r.crowd.networks.count, 0);
        CHECK(r.guests[0].network == NULL);
        CHECK_UINT(enter(&r, 1, 5), OK);
    }
}

static const struct test tests[] = {
    TEST(a_network_has_its_bounds),
    TEST(the_one_that_hesitates_longest_makes_room),
    TEST(a_network_holds_so_much_together),
    TEST(the_network_around_has_the_same_bounds),
    TEST(no_bound_on_networks_when_there_is_none),
    TEST(forgets_whom_it_refused),
};
TEST_MAIN(tests)
