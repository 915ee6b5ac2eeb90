/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/secret_tree.h"

#include "base/mem.h"
#include "mls/tree_math.h"
#include "test.h"

#include <limits.h>
#include <string.h>

/* The same epoch as two members hold it: a tree for each. */
struct pair {
    struct crypto *c;
    const struct suite *s;
    struct secret_tree *tx, *rx;
};

static void pair_clear(struct pair *p)
{
    secret_tree_free(&p->tx);
    secret_tree_free(&p->rx);
    crypto_free(&p->c);
}

static void epoch_secret(const struct suite *s, struct secret *out)
{
    memset(out->data, 7, s->nh);
    out->len = s->nh;
}

static enum err pair_make(struct pair *p, uint32_t leaves, uint32_t from,
                          uint32_t to)
{
    CLEANUP(secret_clear) struct secret secret = {0};
    p->s = suite_find(SUITE_X25519_AES128);
    if (p->c == NULL)
        TRY(crypto_create(&p->c));
    secret_tree_free(&p->tx);
    secret_tree_free(&p->rx);
    epoch_secret(p->s, &secret);
    TRY(secret_tree_create(p->c, p->s, &secret, leaves, from, &p->tx));
    if (secret.len != 0) /* it must be used up */
        return ERR_STATE;
    epoch_secret(p->s, &secret);
    return secret_tree_create(p->c, p->s, &secret, leaves, to, &p->rx);
}

/* What a receiver gets: ERR_STATE when it is another key than `want`. */
static enum err get(struct pair *p, uint32_t leaf, enum ratchet_type type,
                    const struct message_key *want)
{
    CLEANUP(message_key_clear) struct message_key got = {0};
    TRY(secret_tree_peek(p->c, p->rx, leaf, type, want->generation, &got));
    if (!secret_equal(&got.key, &want->key) ||
        !secret_equal(&got.nonce, &want->nonce) ||
        got.generation != want->generation)
        return ERR_STATE;
    return secret_tree_use(p->c, p->rx, leaf, type, want->generation);
}

static void one_of_each(struct pair *p, uint32_t from)
{
    CLEANUP(message_key_clear) struct message_key mk = {0};
    CHECK_UINT(secret_tree_next(p->c, p->tx, RATCHET_HANDSHAKE, &mk), OK);
    CHECK_UINT(get(p, from, RATCHET_HANDSHAKE, &mk), OK);
    CHECK_UINT(secret_tree_next(p->c, p->tx, RATCHET_APPLICATION, &mk), OK);
    CHECK_UINT(get(p, from, RATCHET_APPLICATION, &mk), OK);
}

static void both_sides_have_the_same_keys(void)
{
    static const uint32_t widths[] = {2, 4, 16, 32, 128};
    for (size_t i = 0; i < COUNT(widths); i++) {
        for (uint32_t from = 0; from < widths[i]; from += 1 + widths[i] / 8) {
            CLEANUP(pair_clear) struct pair p = {0};
            uint32_t to = (from + 1) % widths[i];
            CHECK_UINT(pair_make(&p, widths[i], from, to), OK);
            for (int n = 0; n < 3; n++)
                one_of_each(&p, from);
        }
    }
}

static void a_key_is_used_once(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    struct message_key a = {0};
    struct message_key b = {0};
    CHECK_UINT(pair_make(&p, 4, 1, 2), OK);
    CHECK_UINT(secret_tree_next(p.c, p.tx, RATCHET_APPLICATION, &a), OK);
    CHECK_UINT(secret_tree_next(p.c, p.tx, RATCHET_APPLICATION, &b), OK);
    CHECK_UINT(a.generation, 0);
    CHECK_UINT(b.generation, 1);
    CHECK(!secret_equal(&a.key, &b.key));
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &a), OK);
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &a), ERR_NOTFOUND);
    CHECK_UINT(secret_tree_use(p.c, p.rx, 1, RATCHET_APPLICATION, 0),
               ERR_NOTFOUND);
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &b), OK);
}

static void a_peek_uses_up_nothing(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    struct message_key mk = {0};
    struct message_key far = {0};
    CHECK_UINT(pair_make(&p, 4, 1, 2), OK);
    CHECK_UINT(secret_tree_next(p.c, p.tx, RATCHET_APPLICATION, &mk), OK);
    secret_tree_clean(p.rx);
    CHECK_UINT(secret_tree_peek(p.c, p.rx, 1, RATCHET_APPLICATION, 900, &far),
               OK);
    CHECK(!secret_tree_chunk_dirty(p.rx, 0));
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &mk), OK);
    CHECK(secret_tree_chunk_dirty(p.rx, 0));
}

static void keeps_the_newest_skipped_keys(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    struct message_key mk[3 * RATCHET_SKIPPED_MAX];
    memset(mk, 0, sizeof mk);
    CHECK_UINT(pair_make(&p, 4, 1, 2), OK);
    for (size_t i = 0; i < COUNT(mk); i++)
        CHECK_UINT(secret_tree_next(p.c, p.tx, RATCHET_APPLICATION, &mk[i]),
                   OK);
    size_t last = COUNT(mk) - 1;
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &mk[10]), OK);
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &mk[3]), OK);
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &mk[3]), ERR_NOTFOUND);
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &mk[20]), OK);
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &mk[2]), OK); /* still */
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &mk[last]), OK);
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &mk[4]), ERR_NOTFOUND);
    size_t oldest = last - RATCHET_SKIPPED_MAX;
    CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &mk[oldest - 1]), ERR_NOTFOUND);
    for (size_t i = last - 1; i >= oldest; i--)
        CHECK_UINT(get(&p, 1, RATCHET_APPLICATION, &mk[i]), OK);
}

static void refuses_to_run_far_ahead(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    struct message_key mk = {0};
    const uint32_t far = RATCHET_FORWARD_MAX;
    CHECK_UINT(pair_make(&p, 4, 1, 2), OK);
    CHECK_UINT(
        secret_tree_peek(p.c, p.rx, 1, RATCHET_APPLICATION, far + 1, &mk),
        ERR_LIMIT);
    CHECK_UINT(secret_tree_use(p.c, p.rx, 1, RATCHET_APPLICATION, far + 1),
               ERR_LIMIT);
    CHECK_UINT(
        secret_tree_peek(p.c, p.rx, 1, RATCHET_APPLICATION, UINT32_MAX, &mk),
        ERR_LIMIT);
    CHECK_UINT(secret_tree_peek(p.c, p.rx, 1, RATCHET_APPLICATION, far, &mk),
               OK);
}

static void own_keys_are_looked_at_until_they_are_given_out(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    CLEANUP(message_key_clear) struct message_key seen = {0};
    CLEANUP(message_key_clear) struct message_key given = {0};
    CHECK_UINT(pair_make(&p, 4, 1, 2), OK);
    CHECK_UINT(secret_tree_peek(p.c, p.rx, 2, RATCHET_HANDSHAKE, 0, &seen), OK);
    CHECK_UINT(secret_tree_use(p.c, p.rx, 2, RATCHET_HANDSHAKE, 0),
               ERR_INVALID);
    CHECK_UINT(secret_tree_next(p.c, p.rx, RATCHET_HANDSHAKE, &given), OK);
    CHECK(secret_equal(&seen.key, &given.key));
    CHECK_UINT(secret_tree_peek(p.c, p.rx, 2, RATCHET_HANDSHAKE, 0, &seen),
               ERR_NOTFOUND);
    CHECK_UINT(secret_tree_peek(p.c, p.rx, 4, RATCHET_HANDSHAKE, 0, &seen),
               ERR_INVALID);
}

static void rejects_trees_that_cannot_be(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    struct secret secret = {0};
    struct secret_tree *st = NULL;
    const struct {
        uint32_t leaves, own;
    } cases[] = {{0, 0}, {3, 0}, {4, 4}, {2 * MLS_LEAVES_MAX, 0}};
    CHECK_UINT(pair_make(&p, 4, 1, 2), OK);
    epoch_secret(p.s, &secret);
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_UINT(secret_tree_create(p.c, p.s, &secret, cases[i].leaves,
                                      cases[i].own, &st),
                   ERR_INVALID);
    CHECK(secret.len > 0); /* it is used up by success only */
}

static enum err send_record(const struct secret_tree *st, struct buf *out)
{
    struct writer w = writer_to(out);
    secret_tree_send_write(&w, st);
    return writer_finish(&w);
}

static enum err chunk_record(const struct secret_tree *st, uint32_t chunk,
                             struct buf *out)
{
    struct writer w = writer_to(out);
    secret_tree_chunk_write(&w, st, chunk);
    return writer_finish(&w);
}

/* Replaces a tree by what its records say. */
static enum err reload(struct pair *p, struct secret_tree **st)
{
    CLEANUP(secret_tree_free) struct secret_tree *loaded = NULL;
    CLEANUP(buf_clear) struct buf send = buf_new(SECRET_TREE_RECORD_MAX);
    TRY(send_record(*st, &send));
    TRY(secret_tree_load(p->s, buf_bytes(&send), &loaded));
    for (uint32_t i = 0; i < secret_tree_chunks(*st); i++) {
        CLEANUP(buf_clear) struct buf one = buf_new(SECRET_TREE_RECORD_MAX);
        CLEANUP(buf_clear) struct buf two = buf_new(SECRET_TREE_RECORD_MAX);
        TRY(chunk_record(*st, i, &one));
        TRY(secret_tree_load_chunk(loaded, i, buf_bytes(&one)));
        TRY(chunk_record(loaded, i, &two));
        if (!bytes_equal(buf_bytes(&one), buf_bytes(&two)))
            return ERR_STATE;
    }
    secret_tree_free(st);
    *st = loaded;
    loaded = NULL; /* handed over */
    return OK;
}

static void goes_on_from_its_records(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    struct message_key mk[20];
    memset(mk, 0, sizeof mk);
    CHECK_UINT(pair_make(&p, 64, 17, 63), OK);
    for (size_t i = 0; i < COUNT(mk); i++) {
        CHECK_UINT(secret_tree_next(p.c, p.tx, RATCHET_APPLICATION, &mk[i]),
                   OK);
        CHECK_UINT(reload(&p, &p.tx), OK);
    }
    static const size_t order[] = {0, 5, 2, 19, 1, 18};
    for (size_t i = 0; i < COUNT(order); i++) {
        CHECK_UINT(get(&p, 17, RATCHET_APPLICATION, &mk[order[i]]), OK);
        CHECK_UINT(reload(&p, &p.rx), OK);
        CHECK_UINT(get(&p, 17, RATCHET_APPLICATION, &mk[order[i]]),
                   ERR_NOTFOUND);
    }
}

static void a_message_rewrites_one_small_record(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    CLEANUP(buf_clear) struct buf send = buf_new(SECRET_TREE_RECORD_MAX);
    CLEANUP(buf_clear) struct buf chunk = buf_new(SECRET_TREE_RECORD_MAX);
    struct message_key mk = {0};
    CHECK_UINT(pair_make(&p, 2048, 1000, 3), OK);
    CHECK_UINT(secret_tree_chunks(p.tx), 128);
    CHECK(secret_tree_send_dirty(p.tx) && secret_tree_chunk_dirty(p.tx, 99));
    secret_tree_clean(p.tx);
    secret_tree_clean(p.rx);
    CHECK_UINT(secret_tree_next(p.c, p.tx, RATCHET_APPLICATION, &mk), OK);
    CHECK(secret_tree_send_dirty(p.tx));
    CHECK_UINT(get(&p, 1000, RATCHET_APPLICATION, &mk), OK);
    CHECK(!secret_tree_send_dirty(p.rx));
    for (uint32_t i = 0; i < 128; i++) {
        CHECK(!secret_tree_chunk_dirty(p.tx, i));
        CHECK_UINT(secret_tree_chunk_dirty(p.rx, i),
                   i == secret_tree_chunk_of(1000));
    }
    CHECK_UINT(send_record(p.tx, &send), OK);
    CHECK_UINT(chunk_record(p.rx, secret_tree_chunk_of(1000), &chunk), OK);
    CHECK(send.len < 128);
    CHECK(chunk.len < 512);
}

static bool holds(const struct buf *record, struct bytes secret)
{
    return memmem(record->data, record->len, secret.data, secret.len) != NULL;
}

/* Whether an open chunk still knows a secret from which that of a leaf could be
 * derived again. */
static bool leads_to(const struct buf *record, uint32_t leaf)
{
    struct reader r = reader_of(buf_bytes(record));
    bool found = false;
    (void)reader_u16(&r); /* the format, and that it is open */
    struct bytes after = reader_enter(&r);
    while (reader_more(&r)) {
        uint32_t node = reader_u8(&r);
        (void)reader_vec(&r);
        found =
            found || node_in_subtree(node_of_leaf(leaf % CHUNK_LEAVES), node);
    }
    reader_leave(&r, after);
    return found || r.err != OK;
}

/* RFC 9420, section 9.2 */
static void used_secrets_are_gone(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    CLEANUP(buf_clear) struct buf before = buf_new(SECRET_TREE_RECORD_MAX);
    CLEANUP(buf_clear) struct buf heard = buf_new(SECRET_TREE_RECORD_MAX);
    CLEANUP(buf_clear) struct buf after = buf_new(SECRET_TREE_RECORD_MAX);
    CLEANUP(buf_clear) struct buf own = buf_new(SECRET_TREE_RECORD_MAX);
    struct message_key mk = {0};
    CHECK_UINT(pair_make(&p, 64, 17, 63), OK);
    CHECK_UINT(chunk_record(p.rx, 1, &before), OK);
    struct bytes root = {before.data + before.len - p.s->nh, p.s->nh};
    CHECK_UINT(secret_tree_use(p.c, p.rx, 17, RATCHET_HANDSHAKE, 0), OK);
    CHECK_UINT(chunk_record(p.rx, 1, &heard), OK);
    CHECK(!holds(&heard, root));
    CHECK(leads_to(&heard, 18) && !leads_to(&heard, 17));
    CHECK_UINT(chunk_record(p.rx, 3, &own), OK);
    CHECK(leads_to(&own, 62) && !leads_to(&own, 63));
    /* The application ratchet is written last; its head goes with its use. */
    struct bytes head = {heard.data + heard.len - 1 - p.s->nh, p.s->nh};
    CHECK_UINT(secret_tree_peek(p.c, p.rx, 17, RATCHET_APPLICATION, 0, &mk),
               OK);
    CHECK_UINT(secret_tree_use(p.c, p.rx, 17, RATCHET_APPLICATION, 0), OK);
    CHECK_UINT(chunk_record(p.rx, 1, &after), OK);
    CHECK(!holds(&after, head));
    CHECK(!holds(&after, (struct bytes){mk.key.data, mk.key.len}));
}

static void asks_for_chunks_that_are_not_loaded(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    CLEANUP(secret_tree_free) struct secret_tree *st = NULL;
    CLEANUP(buf_clear) struct buf send = buf_new(SECRET_TREE_RECORD_MAX);
    CLEANUP(buf_clear) struct buf chunk = buf_new(SECRET_TREE_RECORD_MAX);
    struct message_key mk = {0};
    CHECK_UINT(pair_make(&p, 64, 17, 63), OK);
    CHECK_UINT(send_record(p.rx, &send), OK);
    CHECK_UINT(chunk_record(p.rx, 1, &chunk), OK);
    CHECK_UINT(secret_tree_load(p.s, buf_bytes(&send), &st), OK);
    CHECK_UINT(secret_tree_peek(p.c, st, 17, RATCHET_HANDSHAKE, 0, &mk),
               ERR_STATE);
    CHECK(!secret_tree_chunk_loaded(st, 1));
    CHECK_UINT(secret_tree_load_chunk(st, 1, buf_bytes(&chunk)), OK);
    CHECK(secret_tree_chunk_loaded(st, 1));
    CHECK_UINT(secret_tree_load_chunk(st, 1, buf_bytes(&chunk)), ERR_STATE);
    CHECK_UINT(secret_tree_load_chunk(st, 4, buf_bytes(&chunk)), ERR_STATE);
    CHECK_UINT(secret_tree_peek(p.c, st, 17, RATCHET_HANDSHAKE, 0, &mk), OK);
}

static void rejects_records_that_are_cut_or_changed(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    CLEANUP(buf_clear) struct buf send = buf_new(SECRET_TREE_RECORD_MAX);
    CLEANUP(buf_clear) struct buf chunk = buf_new(SECRET_TREE_RECORD_MAX);
    struct secret_tree *st = NULL;
    CHECK_UINT(pair_make(&p, 16, 1, 2), OK);
    CHECK_UINT(secret_tree_use(p.c, p.rx, 1, RATCHET_APPLICATION, 3), OK);
    CHECK_UINT(send_record(p.rx, &send), OK);
    CHECK_UINT(chunk_record(p.rx, 0, &chunk), OK);
    for (size_t n = 0; n < send.len; n++)
        CHECK(secret_tree_load(p.s, (struct bytes){send.data, n}, &st) != OK);
    CLEANUP(secret_tree_free) struct secret_tree *loaded = NULL;
    CHECK_UINT(secret_tree_load(p.s, buf_bytes(&send), &loaded), OK);
    for (size_t n = 0; n < chunk.len; n++)
        CHECK_UINT(
            secret_tree_load_chunk(loaded, 0, (struct bytes){chunk.data, n}),
            ERR_MALFORMED);
    for (size_t i = 0; i < 2; i++) { /* the format, the kind */
        chunk.data[i] ^= 0x40;
        CHECK_UINT(secret_tree_load_chunk(loaded, 0, buf_bytes(&chunk)),
                   i == 0 ? ERR_INVALID : ERR_MALFORMED);
        chunk.data[i] ^= 0x40;
    }
    CHECK_UINT(secret_tree_load_chunk(loaded, 0, LIT("\x01\x02\x02\x1f\x00")),
               ERR_MALFORMED); /* a node outside */
    CHECK_UINT(secret_tree_load_chunk(loaded, 0, LIT("\x01\x02\x00\x01\x10")),
               ERR_MALFORMED); /* a leaf outside */
    CHECK_UINT(secret_tree_load_chunk(loaded, 0, buf_bytes(&chunk)), OK);
}

/* Two messages out of order, in and out of a record. */
static enum err exercise(struct pair *p)
{
    struct message_key a = {0};
    struct message_key b = {0};
    TRY(pair_make(p, 64, 17, 63));
    TRY(secret_tree_next(p->c, p->tx, RATCHET_APPLICATION, &a));
    TRY(secret_tree_next(p->c, p->tx, RATCHET_APPLICATION, &b));
    TRY(get(p, 17, RATCHET_APPLICATION, &b));
    TRY(reload(p, &p->rx));
    return get(p, 17, RATCHET_APPLICATION, &a);
}

static void survives_each_allocation_failure(void)
{
    enum err err = ERR_NOMEM;
    unsigned n = 0;
    CLEANUP(pair_clear) struct pair p = {0};
    CHECK_UINT(pair_make(&p, 4, 1, 2), OK);
    for (; err != OK; n++) {
        mem_fail_after(n);
        err = exercise(&p);
        CHECK(err == OK || err == ERR_NOMEM);
    }
    mem_fail_after(UINT_MAX); /* none */
    CHECK(n > 10);
}

/* A use that fails has moved nothing. */
static void a_failed_use_changes_nothing(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    CLEANUP(buf_clear) struct buf before = buf_new(SECRET_TREE_RECORD_MAX);
    CLEANUP(buf_clear) struct buf after = buf_new(SECRET_TREE_RECORD_MAX);
    CHECK_UINT(pair_make(&p, 16, 1, 2), OK);
    CHECK_UINT(secret_tree_use(p.c, p.rx, 1, RATCHET_APPLICATION, 2), OK);
    CHECK_UINT(chunk_record(p.rx, 0, &before), OK);
    mem_fail_after(0);
    CHECK_UINT(secret_tree_use(p.c, p.rx, 1, RATCHET_APPLICATION, 9),
               ERR_NOMEM);
    mem_fail_after(UINT_MAX);
    CHECK_UINT(chunk_record(p.rx, 0, &after), OK);
    CHECK_BYTES(buf_bytes(&after), buf_bytes(&before));
}

static const struct test tests[] = {
    TEST(both_sides_have_the_same_keys),
    TEST(a_key_is_used_once),
    TEST(a_peek_uses_up_nothing),
    TEST(keeps_the_newest_skipped_keys),
    TEST(refuses_to_run_far_ahead),
    TEST(own_keys_are_looked_at_until_they_are_given_out),
    TEST(rejects_trees_that_cannot_be),
    TEST(goes_on_from_its_records),
    TEST(a_message_rewrites_one_small_record),
    TEST(used_secrets_are_gone),
    TEST(asks_for_chunks_that_are_not_loaded),
    TEST(rejects_records_that_are_cut_or_changed),
    TEST(survives_each_allocation_failure),
    TEST(a_failed_use_changes_nothing),
};

TEST_MAIN(tests)
