/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/inbox.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "crypto/kem.h"
#include "crypto/sign.h"
#include "identity/state.h"
#include "test.h"

#define ID    LIT("an id of thirty-two bytes, no mo")
#define OTHER LIT("and a second one of thirty-two..")

struct world {
    struct crypto *c;
    struct entropy_seeded seeded;
    struct random random;
    struct secret sealing;
    struct buf sealing_public;
    struct secret device;
    struct buf device_public;
};

static void world_clear(struct world *w)
{
    crypto_free(&w->c);
    secret_clear(&w->sealing);
    buf_clear(&w->sealing_public);
    secret_clear(&w->device);
    buf_clear(&w->device_public);
}

static enum err world_new(struct world *w)
{
    entropy_seed(&w->seeded, 12);
    w->random = entropy_of(&w->seeded);
    w->sealing_public = buf_new(KEM_PUBLIC_MAX);
    w->device_public = buf_new(KEY_SIZE);
    TRY(crypto_create(&w->c));
    TRY(kem_generate(w->c, KEM_XWING, &w->random, &w->sealing,
                     &w->sealing_public));
    return sign_generate(w->c, SIGN_ED25519, &w->random, &w->device,
                         &w->device_public);
}

static struct inbox_message welcome_of(struct bytes address)
{
    return (struct inbox_message){
        .type = INBOX_WELCOME,
        .welcome = {address, ID, OTHER, ID, OTHER, 77, ID},
    };
}

static struct inbox_message rejoin_of(struct bytes signature)
{
    return (struct inbox_message){
        .type = INBOX_REJOIN,
        .rejoin = {LIT("example.org:7470"), ID, OTHER, ID, OTHER, ID, 5,
                   1700000000, signature},
    };
}

static void opens_what_was_sealed(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(buf_clear) struct buf item = buf_new(INBOX_ITEM_SIZE);
    CLEANUP(buf_clear) struct buf plain = buf_new(INBOX_ITEM_SIZE);
    struct inbox_message m = welcome_of(LIT("example.org:7470"));
    struct inbox_message got;
    CHECK_UINT(world_new(&w), OK);
    CHECK_UINT(
        inbox_seal(w.c, &w.random, buf_bytes(&w.sealing_public), &m, &item),
        OK);
    CHECK_UINT(item.len, INBOX_ITEM_SIZE);
    CHECK_UINT(inbox_open(w.c, &w.sealing, buf_bytes(&item), &plain, &got), OK);
    CHECK_UINT(got.type, INBOX_WELCOME);
    CHECK_BYTES(got.welcome.server_address, LIT("example.org:7470"));
    CHECK_BYTES(got.welcome.server_key, ID);
    CHECK_BYTES(got.welcome.channel, OTHER);
    CHECK_BYTES(got.welcome.blob, ID);
    CHECK_BYTES(got.welcome.blob_key, OTHER);
    CHECK_UINT(got.welcome.commit_seq, 77);
    CHECK_BYTES(got.welcome.log_hash, ID);
}

static void all_items_have_one_size(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGNATURE_SIZE);
    static uint8_t address[SERVER_ADDRESS_MAX];
    CHECK_UINT(world_new(&w), OK);
    CHECK_UINT(buf_extend(&signature, SIGNATURE_SIZE), OK);
    const struct inbox_message messages[] = {
        welcome_of(LIT("a")),
        welcome_of(BYTES_ARRAY(address)),
        rejoin_of(buf_bytes(&signature)),
    };
    for (size_t i = 0; i < COUNT(messages); i++) {
        CLEANUP(buf_clear) struct buf item = buf_new(INBOX_ITEM_SIZE);
        CHECK_UINT(inbox_seal(w.c, &w.random, buf_bytes(&w.sealing_public),
                              &messages[i], &item),
                   OK);
        CHECK_UINT(item.len, INBOX_ITEM_SIZE);
    }
}

static void damaged_items_do_not_open(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(buf_clear) struct buf item = buf_new(INBOX_ITEM_SIZE);
    CLEANUP(buf_clear) struct buf plain = buf_new(INBOX_ITEM_SIZE);
    struct inbox_message m = welcome_of(LIT("a"));
    struct inbox_message got;
    CHECK_UINT(world_new(&w), OK);
    CHECK_UINT(
        inbox_seal(w.c, &w.random, buf_bytes(&w.sealing_public), &m, &item),
        OK);
    static const size_t places[] = {1, 500, 1120, 1200, INBOX_ITEM_SIZE - 1};
    for (size_t i = 0; i < COUNT(places); i++) {
        item.data[places[i]] ^= 1;
        CHECK_UINT(inbox_open(w.c, &w.sealing, buf_bytes(&item), &plain, &got),
                   ERR_AUTH);
        item.data[places[i]] ^= 1;
    }
    item.data[0] = 2; /* version */
    CHECK_UINT(inbox_open(w.c, &w.sealing, buf_bytes(&item), &plain, &got),
               ERR_MALFORMED);
    struct bytes cut = {item.data, INBOX_ITEM_SIZE - 1};
    CHECK_UINT(inbox_open(w.c, &w.sealing, cut, &plain, &got), ERR_MALFORMED);
    CHECK_UINT(plain.len, 0);
}

static void rejoin_requests_are_signed_in_full(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGNATURE_SIZE);
    CLEANUP(buf_clear) struct buf item = buf_new(INBOX_ITEM_SIZE);
    CLEANUP(buf_clear) struct buf plain = buf_new(INBOX_ITEM_SIZE);
    struct inbox_message m = rejoin_of((struct bytes){0});
    struct inbox_message got;
    CHECK_UINT(world_new(&w), OK);
    CHECK_UINT(rejoin_sign(w.c, &w.device, &m.rejoin, &signature), OK);
    m.rejoin.signature = buf_bytes(&signature);
    CHECK_UINT(
        inbox_seal(w.c, &w.random, buf_bytes(&w.sealing_public), &m, &item),
        OK);
    CHECK_UINT(inbox_open(w.c, &w.sealing, buf_bytes(&item), &plain, &got), OK);
    CHECK_UINT(got.type, INBOX_REJOIN);
    struct bytes key = buf_bytes(&w.device_public);
    CHECK_UINT(rejoin_verify(w.c, key, &got.rejoin), OK);

    struct inbox_rejoin changed[8];
    for (size_t i = 0; i < COUNT(changed); i++)
        changed[i] = got.rejoin;
    changed[0].server_address = LIT("example.net:7470");
    changed[1].server_key = OTHER;
    changed[2].channel = ID;
    changed[3].account_id = OTHER;
    changed[4].device_id = ID;
    changed[5].contact_cap = OTHER;
    changed[6].epoch++;
    changed[7].time++;
    for (size_t i = 0; i < COUNT(changed); i++)
        CHECK_UINT(rejoin_verify(w.c, key, &changed[i]), ERR_AUTH);
}

static void refuses_what_nobody_could_read(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(buf_clear) struct buf item = buf_new(INBOX_ITEM_SIZE);
    CHECK_UINT(world_new(&w), OK);
    struct inbox_message cases[] = {
        {.type = 9},
        welcome_of(LIT("a")),
        rejoin_of(LIT("no signature")),
    };
    cases[1].welcome.blob = LIT("short");
    for (size_t i = 0; i < COUNT(cases); i++) {
        CHECK_UINT(inbox_seal(w.c, &w.random, buf_bytes(&w.sealing_public),
                              &cases[i], &item),
                   ERR_INVALID);
        CHECK_UINT(item.len, 0);
    }
}

static void survives_each_allocation_failure(void)
{
    CLEANUP(world_clear) struct world w = {0};
    struct inbox_message m = welcome_of(LIT("a"));
    CHECK_UINT(world_new(&w), OK);
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(buf_clear) struct buf item = buf_new(INBOX_ITEM_SIZE);
        mem_fail_after(n);
        err =
            inbox_seal(w.c, &w.random, buf_bytes(&w.sealing_public), &m, &item);
        CHECK(err == OK || (err == ERR_NOMEM && item.len == 0));
        CHECK(n < 200);
    }
}

static const struct test tests[] = {
    TEST(opens_what_was_sealed),
    TEST(all_items_have_one_size),
    TEST(damaged_items_do_not_open),
    TEST(rejoin_requests_are_signed_in_full),
    TEST(refuses_what_nobody_could_read),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
