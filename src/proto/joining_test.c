/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/joining.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "crypto/kem.h"
#include "test.h"

#define CHANNEL LIT("the id of a channel has 32 bytes")
#define OTHER   LIT("the id of another has 32 as well")
#define CAP     LIT("a capability of thirty-two bytes")

struct world {
    struct crypto *c;
    struct entropy_seeded seeded;
    struct random random;
    struct secret private;
    struct buf public;
};

static void world_clear(struct world *w)
{
    crypto_free(&w->c);
    secret_clear(&w->private);
    buf_clear(&w->public);
}

static enum err world_new(struct world *w)
{
    entropy_seed(&w->seeded, 11);
    w->random = entropy_of(&w->seeded);
    w->public = buf_new(KEM_PUBLIC_MAX);
    TRY(crypto_create(&w->c));
    return kem_generate(w->c, KEM_XWING, &w->random, &w->private, &w->public);
}

static enum err joining_example(struct buf *lists, struct buf *out)
{
    const struct joining_member members[] = {
        {CAP, LIT("\x05state")},
        {{0}, LIT("\x01x")},
    };
    const struct joining_cap cap = {OTHER, LIT("sealed")};
    struct writer w = writer_to(lists);
    joining_member_write(&w, &members[0]);
    joining_member_write(&w, &members[1]);
    TRY(writer_finish(&w));
    size_t split = lists->len;
    joining_cap_write(&w, &cap);
    TRY(writer_finish(&w));
    struct joining j = {
        .channel = CHANNEL,
        .welcome = LIT("welcome"),
        .ratchet_tree = {0},
        .members = {lists->data, split},
        .caps = {lists->data + split, lists->len - split},
    };
    return joining_write(out, &j);
}

static void lists_are_read(const struct joining *j)
{
    struct joining_member m;
    struct joining_cap cap;
    struct reader r = reader_of(j->members);
    joining_member_read(&r, &m);
    CHECK_BYTES(m.contact_cap, CAP);
    CHECK_BYTES(m.states, LIT("\x05state"));
    joining_member_read(&r, &m);
    CHECK_UINT(m.contact_cap.len, 0);
    CHECK_UINT(reader_finish(&r), OK);
    r = reader_of(j->caps);
    joining_cap_read(&r, &cap);
    CHECK_BYTES(cap.sub, OTHER);
    CHECK_BYTES(cap.sealed, LIT("sealed"));
    CHECK_UINT(reader_finish(&r), OK);
}

static void reads_what_it_wrote(void)
{
    CLEANUP(buf_clear) struct buf lists = buf_new(1024);
    CLEANUP(buf_clear) struct buf plain = buf_new(JOINING_MAX);
    CLEANUP(buf_clear) struct buf again = buf_new(JOINING_MAX);
    struct joining got;
    CHECK_UINT(joining_example(&lists, &plain), OK);
    CHECK_UINT(joining_read(buf_bytes(&plain), &got), OK);
    CHECK_BYTES(got.welcome, LIT("welcome"));
    lists_are_read(&got);
    CHECK_UINT(joining_write(&again, &got), OK);
    CHECK_BYTES(buf_bytes(&again), buf_bytes(&plain));

    for (size_t len = 0; len < plain.len; len++) {
        struct bytes cut = {plain.data, len};
        CHECK_UINT(joining_read(cut, &got), ERR_MALFORMED);
    }
    plain.data[0] = 2;
    CHECK_UINT(joining_read(buf_bytes(&plain), &got), ERR_MALFORMED);
}

static void rejects_broken_lists(void)
{
    const struct joining cases[] = {
        {CHANNEL, {0}, {0}, LIT("\x03"), {0}},
        {CHANNEL, {0}, {0}, LIT("\x01x\x00"), {0}}, /* capability of 1 byte */
        {CHANNEL, {0}, {0}, {0}, LIT("no capability")},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf plain = buf_new(JOINING_MAX);
        struct joining got;
        CHECK_UINT(joining_write(&plain, &cases[i]), OK);
        CHECK_UINT(joining_read(buf_bytes(&plain), &got), ERR_MALFORMED);
    }
}

static void blobs_open_with_their_key_and_id_only(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(buf_clear) struct buf sealed = buf_new(JOINING_MAX);
    CLEANUP(buf_clear) struct buf plain = buf_new(JOINING_MAX);
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret other = {0};
    CHECK_UINT(world_new(&w), OK);
    secret_random(&key, JOINING_KEY_SIZE, &w.random);
    secret_random(&other, JOINING_KEY_SIZE, &w.random);
    CHECK_UINT(joining_seal(w.c, &key, CHANNEL, LIT("plain"), &sealed), OK);
    CHECK_UINT(joining_open(w.c, &key, CHANNEL, buf_bytes(&sealed), &plain),
               OK);
    CHECK_BYTES(buf_bytes(&plain), LIT("plain"));

    struct bytes s = buf_bytes(&sealed);
    CHECK_UINT(joining_open(w.c, &other, CHANNEL, s, &plain), ERR_AUTH);
    CHECK_UINT(joining_open(w.c, &key, OTHER, s, &plain), ERR_AUTH);
    CHECK_UINT(joining_open(w.c, &key, CHANNEL, (struct bytes){0}, &plain),
               ERR_MALFORMED);
    for (size_t i = 0; i < sealed.len; i++) {
        sealed.data[i] ^= 1;
        CHECK_UINT(joining_open(w.c, &key, CHANNEL, s, &plain),
                   i == 0 ? ERR_MALFORMED : ERR_AUTH);
        sealed.data[i] ^= 1;
    }
    CHECK_BYTES(buf_bytes(&plain), LIT("plain")); /* nothing was added */
}

static void capabilities_are_bound_to_their_place(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(buf_clear) struct buf sealed = buf_new(4096);
    uint8_t cap[CAP_SIZE] = {0};
    struct cap_context context = {CHANNEL, OTHER};
    struct cap_context wrong = {OTHER, CHANNEL};
    CHECK_UINT(world_new(&w), OK);
    CHECK_UINT(
        cap_seal(w.c, &w.random, buf_bytes(&w.public), &context, CAP, &sealed),
        OK);
    struct bytes s = buf_bytes(&sealed);
    CHECK_UINT(cap_open(w.c, &w.private, &context, s, cap), OK);
    CHECK_BYTES(BYTES_ARRAY(cap), CAP);
    CHECK_UINT(cap_open(w.c, &w.private, &wrong, s, cap), ERR_AUTH);
    CHECK_UINT(
        cap_open(w.c, &w.private, &context, (struct bytes){s.data, 100}, cap),
        ERR_MALFORMED);
    sealed.data[sealed.len - 1] ^= 1;
    CHECK_UINT(cap_open(w.c, &w.private, &context, s, cap), ERR_AUTH);
}

static void sealing_needs_a_real_key(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(buf_clear) struct buf sealed = buf_new(4096);
    struct cap_context context = {CHANNEL, OTHER};
    CHECK_UINT(world_new(&w), OK);
    CHECK_UINT(cap_seal(w.c, &w.random, CHANNEL, &context, CAP, &sealed),
               ERR_MALFORMED);
    CHECK_UINT(cap_seal(w.c, &w.random, buf_bytes(&w.public), &context,
                        LIT("short"), &sealed),
               ERR_INVALID);
    CHECK_UINT(sealed.len, 0);
}

static enum err seal_all(struct world *w)
{
    CLEANUP(buf_clear) struct buf lists = buf_new(1024);
    CLEANUP(buf_clear) struct buf plain = buf_new(JOINING_MAX);
    CLEANUP(buf_clear) struct buf sealed = buf_new(JOINING_MAX);
    CLEANUP(secret_clear) struct secret key = {0};
    struct cap_context context = {CHANNEL, OTHER};
    secret_random(&key, JOINING_KEY_SIZE, &w->random);
    TRY(joining_example(&lists, &plain));
    TRY(joining_seal(w->c, &key, CHANNEL, buf_bytes(&plain), &sealed));
    return cap_seal(w->c, &w->random, buf_bytes(&w->public), &context, CAP,
                    &sealed);
}

static void survives_each_allocation_failure(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_new(&w), OK);
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        mem_fail_after(n);
        err = seal_all(&w);
        CHECK(err == OK || err == ERR_NOMEM);
        CHECK(n < 200);
    }
}

static const struct test tests[] = {
    TEST(reads_what_it_wrote),
    TEST(rejects_broken_lists),
    TEST(blobs_open_with_their_key_and_id_only),
    TEST(capabilities_are_bound_to_their_place),
    TEST(sealing_needs_a_real_key),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
