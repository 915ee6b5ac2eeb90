/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/hello.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "crypto/sign.h"
#include "test.h"

#include <string.h>

#define NONCE_A LIT("the nonce of the client, 32 bytes")
#define NONCE_B LIT("the nonce of the server, 32 bytes")
#define OTHER   LIT("something else that is 32 bytes..")

static struct bytes cut(struct bytes b) { return (struct bytes){b.data, 32}; }

struct world {
    struct crypto *c;
    struct secret private;
    struct buf public;
    struct session session;
    struct buf signature;
};

static void world_clear(struct world *w)
{
    crypto_free(&w->c);
    secret_clear(&w->private);
    buf_clear(&w->public);
    buf_clear(&w->signature);
}

static enum err world_new(struct world *w)
{
    struct entropy_seeded e;
    entropy_seed(&e, 7);
    struct random random = entropy_of(&e);
    w->public = buf_new(64);
    w->signature = buf_new(64);
    TRY(crypto_create(&w->c));
    TRY(sign_generate(w->c, SIGN_ED25519, &random, &w->private, &w->public));
    w->session = (struct session){
        .lane = LANE_IDENTIFIED,
        .server_key = buf_bytes(&w->public),
        .client_nonce = cut(NONCE_A),
        .server_nonce = cut(NONCE_B),
        .exporter = cut(OTHER),
    };
    return OK;
}

static struct hello_answer hello_of(const struct world *w)
{
    return (struct hello_answer){
        .version = 1,
        .server_key = w->session.server_key,
        .server_nonce = w->session.server_nonce,
        .time = 1700000000,
        .pow_bits = 18,
        .reconnect_delay_ms = 5000,
        .signature = buf_bytes(&w->signature),
    };
}

/* Sessions that differ in one thing from the one that was signed for. */
static size_t other_sessions(const struct session *s, struct session out[6])
{
    for (size_t i = 0; i < 6; i++)
        out[i] = *s;
    out[0].lane = LANE_ANONYMOUS;
    out[1].client_nonce = cut(OTHER);
    out[2].exporter = (struct bytes){0};
    out[3].exporter = cut(NONCE_A);
    out[4].server_key = cut(OTHER);
    out[5].server_nonce = cut(OTHER);
    return 6;
}

static void hello_is_bound_to_server_and_connection(void)
{
    CLEANUP(world_clear) struct world w = {0};
    struct session others[6];
    CHECK_UINT(world_new(&w), OK);
    struct hello_answer a = hello_of(&w);
    CHECK_UINT(hello_sign(w.c, &w.private, &w.session, &a, &w.signature), OK);
    a = hello_of(&w);
    CHECK_UINT(hello_verify(w.c, &w.session, &a), OK);
    size_t count = other_sessions(&w.session, others);
    for (size_t i = 0; i < count; i++)
        CHECK_UINT(hello_verify(w.c, &others[i], &a), ERR_AUTH);
}

static void hello_covers_what_the_server_says(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_new(&w), OK);
    struct hello_answer a = hello_of(&w);
    CHECK_UINT(hello_sign(w.c, &w.private, &w.session, &a, &w.signature), OK);
    struct hello_answer changed[4];
    for (size_t i = 0; i < 4; i++)
        changed[i] = hello_of(&w);
    changed[0].version = 2;
    changed[1].time++;
    changed[2].pow_bits = 0;
    changed[3].reconnect_delay_ms = 0;
    for (size_t i = 0; i < 4; i++)
        CHECK_UINT(hello_verify(w.c, &w.session, &changed[i]), ERR_AUTH);
}

static void login_is_bound_to_device_and_connection(void)
{
    CLEANUP(world_clear) struct world w = {0};
    struct session others[6];
    CHECK_UINT(world_new(&w), OK);
    struct login_request q = {cut(NONCE_A), cut(NONCE_B), {0}};
    CHECK_UINT(login_sign(w.c, &w.private, &w.session, &q, &w.signature), OK);
    q.signature = buf_bytes(&w.signature);
    struct bytes key = buf_bytes(&w.public);
    CHECK_UINT(login_verify(w.c, key, &w.session, &q), OK);
    size_t count = other_sessions(&w.session, others);
    for (size_t i = 0; i < count; i++)
        CHECK_UINT(login_verify(w.c, key, &others[i], &q), ERR_AUTH);

    struct login_request other = q;
    other.device_id = cut(OTHER);
    CHECK_UINT(login_verify(w.c, key, &w.session, &other), ERR_AUTH);
    other = q;
    other.account_id = cut(OTHER);
    CHECK_UINT(login_verify(w.c, key, &w.session, &other), ERR_AUTH);
}

static void registration_covers_all_that_it_asks_for(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_new(&w), OK);
    struct bytes key = buf_bytes(&w.public);
    struct register_request q = {.name = LIT("ann"),
                                 .invite = LIT("sixteen bytes..."),
                                 .state = LIT("state"),
                                 .device_id = cut(NONCE_A),
                                 .contact_hash = cut(NONCE_B)};
    CHECK_UINT(register_sign(w.c, &w.private, &w.session, &q, &w.signature),
               OK);
    q.signature = buf_bytes(&w.signature);
    CHECK_UINT(register_verify(w.c, key, &w.session, &q), OK);

    struct register_request changed[5];
    for (size_t i = 0; i < COUNT(changed); i++)
        changed[i] = q;
    changed[0].name = LIT("bob");
    changed[1].invite = (struct bytes){0};
    changed[2].state = LIT("stats");
    changed[3].device_id = cut(OTHER);
    changed[4].contact_hash = cut(OTHER);
    for (size_t i = 0; i < COUNT(changed); i++)
        CHECK_UINT(register_verify(w.c, key, &w.session, &changed[i]),
                   ERR_AUTH);
}

static void rejects_parts_of_a_wrong_size(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_new(&w), OK);
    struct login_request q = {cut(NONCE_A), cut(NONCE_B), {0}};
    w.session.exporter = LIT("short");
    CHECK_UINT(login_sign(w.c, &w.private, &w.session, &q, &w.signature),
               ERR_INVALID);
    CHECK_UINT(w.signature.len, 0);
}

static enum err sign_once(void)
{
    CLEANUP(world_clear) struct world w = {0};
    TRY(world_new(&w));
    struct hello_answer a = hello_of(&w);
    return hello_sign(w.c, &w.private, &w.session, &a, &w.signature);
}

static void survives_each_allocation_failure(void)
{
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        mem_fail_after(n);
        err = sign_once();
        CHECK(err == OK || err == ERR_NOMEM);
        CHECK(n < 100);
    }
}

static const struct test tests[] = {
    TEST(hello_is_bound_to_server_and_connection),
    TEST(hello_covers_what_the_server_says),
    TEST(login_is_bound_to_device_and_connection),
    TEST(registration_covers_all_that_it_asks_for),
    TEST(rejects_parts_of_a_wrong_size),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
