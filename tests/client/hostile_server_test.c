/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that lies, on the way between the real core and the clients. Each
 * lie is told a few times, while two people talk; then the server keeps the
 * rules again. What was accepted is in both logs once, or whoever lacks it was
 * told; and each lie is noticed.
 */
#include "fixture.h"

#include "proto/entry.h"

#include <stdio.h>
#include <string.h>

#define ALICE 0U
#define BOB   1U

#define EVERYTHING 0xffffU

struct lie {
    const char *name;
    size_t to;       /* whom */
    uint16_t method; /* answers to it, or this event; 0: any answer;
                        EVERYTHING */
    void (*tell)(struct passing *p);
    unsigned times;
    enum client_event_kind noticed; /* by whom it was told to */
    bool at_connecting;             /* it has to begin anew for it */
    bool loses;                     /* who is lied to lacks a text, and knows */
};

struct teller {
    struct world *w;
    const struct lie *lie;
    unsigned left;
};

static uint16_t method_of(const struct passing *p)
{
    struct reader r = reader_of(buf_bytes(&p->message));
    return reader_u16(&r);
}

static void tamper(void *ctx, struct passing *p)
{
    struct teller *t = ctx;
    const struct lie *l = t->lie;
    bool event = l->method >= EVENT_INBOX_ITEM;
    if (t->left == 0 || p->node != &t->w->nodes[l->to] ||
        (l->method != EVERYTHING && event != (p->kind == FRAME_EVENT)) ||
        (l->method != EVERYTHING && l->method != 0 &&
         method_of(p) != l->method))
        return;
    struct buf before = buf_new(MESSAGE_MAX);
    if (buf_copy(&before, buf_bytes(&p->message)) != OK)
        return;
    uint32_t id = p->id;
    l->tell(p);
    /* What the lie left alone does not count. */
    if (p->copies != 1 || p->id != id ||
        !bytes_equal(buf_bytes(&before), buf_bytes(&p->message)))
        t->left--;
    buf_clear(&before);
}

/* --- lies --- */

static void rewrite(struct passing *p, void (*change)(struct answer *a))
{
    struct answer a = {0};
    struct buf out = buf_new(MESSAGE_MAX);
    if (answer_read(buf_bytes(&p->message), &a) == OK) {
        change(&a);
        if (answer_write(&out, &a) == OK) {
            buf_clear(&p->message);
            p->message = out;
            return;
        }
    }
    buf_clear(&out);
}

static void withhold(struct passing *p) { p->copies = 0; }
static void twice(struct passing *p) { p->copies = 2; }
static void other_id(struct passing *p) { p->id += 1000; }

static void other_method(struct passing *p)
{
    p->message.data[1] =
        (uint8_t)(method_of(p) == METHOD_PING ? METHOD_ATTACH : METHOD_PING);
}

static void cut_short(struct passing *p) { p->message.len /= 2; }

static void garbage(struct passing *p)
{
    memset(p->message.data + 2, 0xff, p->message.len - 2);
}

/* The last byte of a push is of the body, and of its AEAD tag. */
static void edit(struct passing *p)
{
    p->message.data[p->message.len - 1] ^= 1;
}

static void later_seq(struct passing *p)
{
    p->message.data[2 + ID_SIZE + 7] += 1; /* of an event `entry` */
}

static void oversized_list(struct passing *p)
{
    static const uint8_t length[] = {0xbf, 0xff, 0xff, 0xff};
    if (p->message.len > 3 + 16 + sizeof length)
        memcpy(p->message.data + 3 + 16, length, sizeof length);
}

static void ahead(struct answer *a)
{
    if (a->status == STATUS_OK && a->method == METHOD_READ)
        a->read.head += 7;
    else if (a->status == STATUS_OK && a->method == METHOD_ATTACH)
        a->attach.head += 7;
}
static void head_ahead(struct passing *p) { rewrite(p, ahead); }

static void behind_cursor(struct answer *a)
{
    if (a->status == STATUS_OK)
        a->attach.head = 0;
}
static void head_lost(struct passing *p) { rewrite(p, behind_cursor); }

static void acked_more(struct answer *a)
{
    if (a->status == STATUS_OK)
        a->attach.cursor = a->attach.head + 1;
}
static void cursor_ahead(struct passing *p) { rewrite(p, acked_more); }

static void no_entries(struct answer *a)
{
    a->read.entries = (struct bytes){0};
}
static void entries_gone(struct passing *p) { rewrite(p, no_entries); }

static void seq_far(struct answer *a)
{
    if (a->status == STATUS_OK)
        a->append.seq += 1000;
}

/* Numbers what is accepted wrongly, and does not show it. */
static void hide(struct passing *p, void (*change)(struct answer *a))
{
    if (method_of(p) == EVENT_ENTRY)
        p->copies = 0;
    else if (method_of(p) == METHOD_APPEND)
        rewrite(p, change);
}
static void far_seq(struct passing *p) { hide(p, seq_far); }

static void seq_none(struct answer *a)
{
    if (a->status == STATUS_OK)
        a->append.seq = 0;
}
static void no_seq(struct passing *p) { rewrite(p, seq_none); }

static void seq_old(struct answer *a)
{
    if (a->status == STATUS_OK)
        a->append.seq = 1;
}
static void old_seq(struct passing *p) { hide(p, seq_old); }

static void lose_append(struct passing *p)
{
    if (method_of(p) == EVENT_ENTRY || method_of(p) == METHOD_APPEND)
        p->copies = 0;
}

static void say_behind(struct answer *a, uint64_t detail)
{
    *a = (struct answer){
        .method = METHOD_APPEND, .status = STATUS_BEHIND, .detail = detail};
}
static void never_ahead(struct answer *a) { say_behind(a, 1); }
static void false_behind(struct passing *p) { rewrite(p, never_ahead); }
static void far_ahead(struct answer *a) { say_behind(a, 1000); }
static void behind_nothing(struct passing *p) { rewrite(p, far_ahead); }

static void refuse(struct answer *a)
{
    *a = (struct answer){.method = METHOD_APPEND, .status = STATUS_AUTH};
}
static void auth(struct passing *p) { rewrite(p, refuse); }

static const struct lie lies[] = {
    {"pushes withheld", BOB, EVENT_ENTRY, withhold, 1, 0, false, false},
    {"pushes doubled", BOB, EVENT_ENTRY, twice, 9, 0, false, false},
    {"a push numbered wrongly", BOB, EVENT_ENTRY, later_seq, 1,
     CLIENT_SERVER_BROKEN, false, false},
    {"answers doubled", BOB, 0, twice, 3, CLIENT_SERVER_BROKEN, false, false},
    {"answers to nobody", BOB, 0, other_id, 3, CLIENT_SERVER_BROKEN, false,
     false},
    {"answers to another question", BOB, 0, other_method, 3,
     CLIENT_SERVER_BROKEN, false, false},
    {"answers cut short", BOB, 0, cut_short, 3, CLIENT_SERVER_BROKEN, false,
     false},
    {"garbage", BOB, 0, garbage, 3, CLIENT_SERVER_BROKEN, false, false},
    {"garbage pushed", BOB, EVENT_ENTRY, garbage, 3, CLIENT_SERVER_BROKEN,
     false, false},
    {"an oversized list", BOB, METHOD_READ, oversized_list, 1,
     CLIENT_SERVER_BROKEN, true, false},
    {"a head too far", BOB, METHOD_ATTACH, head_ahead, 1, CLIENT_SERVER_BROKEN,
     true, false},
    {"a read head too far", BOB, METHOD_READ, head_ahead, 1,
     CLIENT_SERVER_BROKEN, true, false},
    {"a read without its entries", BOB, METHOD_READ, entries_gone, 1,
     CLIENT_SERVER_BROKEN, true, false},
    {"a cursor too far", BOB, METHOD_ATTACH, cursor_ahead, 1, CLIENT_STORE_OLD,
     true, true},
    {"an entry edited for its reader", BOB, EVENT_ENTRY, edit, 1,
     CLIENT_LOG_MISMATCH, false, true},
    {"an entry edited for its author", ALICE, EVENT_ENTRY, edit, 1,
     CLIENT_LOG_MISMATCH, false, false},
    {"accepted as no entry", ALICE, METHOD_APPEND, no_seq, 1,
     CLIENT_SERVER_BROKEN, false, false},
    {"accepted too far", ALICE, EVERYTHING, far_seq, 2, CLIENT_SERVER_BROKEN,
     false, false},
    {"accepted as an older entry", ALICE, EVERYTHING, old_seq, 2,
     CLIENT_LOG_MISMATCH, false, false},
    {"behind nothing new", ALICE, METHOD_APPEND, false_behind, 1,
     CLIENT_SERVER_BROKEN, false, false},
    {"behind what never comes", ALICE, METHOD_APPEND, behind_nothing, 1,
     CLIENT_SERVER_BROKEN, false, false},
    {"a capability denied", ALICE, METHOD_APPEND, auth, 2, 0, false, false},
};

/* --- two people, meanwhile --- */

static unsigned times(const char *log, const char *what)
{
    unsigned n = 0;
    for (const char *at = log; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

static bool has_each_once(struct node *n, int64_t id, size_t lacking)
{
    static const char *const said[] = {"alice:1;", "alice:2;", "bob:3;",
                                       "alice:4;", "bob:5;"};
    struct seen s = look(n, id);
    size_t lacks = 0;
    bool ok = s.unsent[0] == '\0' && s.failed == 0;
    for (size_t i = 0; i < COUNT(said); i++) {
        lacks += times(s.text, said[i]) == 0;
        ok = ok && times(s.text, said[i]) <= 1;
    }
    if (!ok || lacks > lacking)
        printf("# shows \"%s\", unsent \"%s\"\n", s.text, s.unsent);
    return ok && lacks <= lacking;
}

static bool lives_through(const struct lie *l)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[ALICE], *bob = &w.nodes[BOB];
    int64_t here = 0, there = 0;
    struct teller t = {&w, l, l->times};
    if (world_begin(&w, 2) != OK || join_all(&w) != OK ||
        client_direct(alice->client, "bob", w.now, &here) != OK ||
        say(&w, alice, here, "1") != OK || world_run(&w, 600000) != OK ||
        client_find(bob->client, "alice", &there) != OK)
        return false;
    w.tamper = tamper;
    w.tamper_ctx = &t;
    if (l->at_connecting)
        node_cut(&w, &w.nodes[l->to]);
    w.nodes[l->to].offline = l->at_connecting;
    bool ok = say(&w, alice, here, "2") == OK && world_run(&w, 20000) == OK;
    w.nodes[l->to].offline = false;
    ok = ok && say(&w, bob, there, "3") == OK && world_run(&w, 120000) == OK;
    ok = ok && t.left < l->times;
    t.left = 0;
    ok = ok && say(&w, alice, here, "4") == OK && world_run(&w, 120000) == OK &&
         say(&w, bob, there, "5") == OK && world_run(&w, 600000) == OK;
    ok = ok && has_each_once(alice, here, 0);
    ok = ok && has_each_once(bob, there, l->loses);
    const struct node *told = &w.nodes[l->to];
    if (l->noticed != 0 && told->events[l->noticed] == 0) {
        printf("# no event %s\n", client_event_name(l->noticed));
        ok = false;
    }
    return ok &&
           summary(alice, here).last.epoch == summary(bob, there).last.epoch;
}

static void a_lie_is_noticed_and_loses_nothing(void)
{
    size_t failed = 0;
    for (size_t i = 0; i < COUNT(lies); i++) {
        bool ok = lives_through(&lies[i]);
        if (!ok)
            printf("# failed: %s\n", lies[i].name);
        failed += !ok;
    }
    CHECK_UINT(failed, 0);
}

/* From its head alone, a server that was restored from an old copy and one that
 * lies look the same: nothing more is sent there. */
static void a_server_whose_log_is_shorter_is_left_alone(void)
{
    static const struct lie shorter = {"", BOB, METHOD_ATTACH, head_lost,
                                       1,  0,   true,          false};
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[ALICE], *bob = &w.nodes[BOB];
    struct teller t = {&w, &shorter, 1};
    int64_t here = 0, there = 0, message = 0;
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(client_direct(alice->client, "bob", w.now, &here), OK);
    CHECK_UINT(say(&w, alice, here, "1"), OK);
    CHECK_UINT(world_run(&w, 600000), OK);
    CHECK_UINT(client_find(bob->client, "alice", &there), OK);
    w.tamper = tamper;
    w.tamper_ctx = &t;
    node_cut(&w, bob);
    CHECK_UINT(world_run(&w, 60000), OK);
    CHECK_UINT(bob->events[CLIENT_SERVER_RESTORED], 1);
    CHECK_UINT(summary(bob, there).last.state, CLIENT_STOPPED);
    CHECK_UINT(client_send(bob->client, there, LIT("2"), w.now, &message),
               ERR_STATE);
    CHECK(shows(bob, there, "alice:1;"));
}

/* The answer to an append is lost, and so is the part of the log that has the
 * entry: the same key again gets the same number, and makes no second entry. */
static void a_retry_after_a_rejoin_makes_no_second_entry(void)
{
    static const struct lie deaf = {"", ALICE, EVERYTHING, lose_append,
                                    2,  0,     false,      false};
    static const struct lie old = {"", ALICE, METHOD_ATTACH, cursor_ahead,
                                   1,  0,     false,         false};
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[ALICE], *bob = &w.nodes[BOB];
    struct teller t = {&w, &deaf, 2};
    int64_t here = 0, there = 0;
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(client_direct(alice->client, "bob", w.now, &here), OK);
    CHECK_UINT(world_run(&w, 600000), OK);
    w.tamper = tamper;
    w.tamper_ctx = &t;
    CHECK_UINT(say(&w, alice, here, "1"), OK);
    CHECK_UINT(world_run(&w, 1000), OK);
    CHECK_UINT(t.left, 0);
    CHECK_UINT(bob->events[CLIENT_MESSAGE], 1);
    t = (struct teller){&w, &old, 1};
    node_cut(&w, alice);
    CHECK_UINT(world_run(&w, 600000), OK);
    CHECK_UINT(alice->events[CLIENT_REJOINED], 1);
    CHECK_UINT(alice->events[CLIENT_ACCEPTED], 1);
    CHECK_UINT(client_counters(bob->client).duplicates, 0);
    CHECK_UINT(client_find(bob->client, "alice", &there), OK);
    CHECK(shows(bob, there, "alice:1;"));
    CHECK(shows(alice, here, "alice:1;"));
}

static const struct test tests[] = {
    TEST(a_retry_after_a_rejoin_makes_no_second_entry),
    TEST(a_server_whose_log_is_shorter_is_left_alone),
    TEST(a_lie_is_noticed_and_loses_nothing),
};
TEST_MAIN(tests)
