/* SPDX-License-Identifier: Apache-2.0 */
/* The channel rules of DESIGN.md, section 5, by their numbers. */
#include "server/core_fixture.h"

#include "base/mem.h"
#include "proto/entry.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX ((size_t)64 << 20)

/* One channel (1) with its creator's subscription (1) on connection 1. */
static bool set_up(struct fixture *f)
{
    return fixture_start(f) == OK &&
           fixture_connect(f, 1, LANE_ANONYMOUS) == OK &&
           fixture_connect(f, 2, LANE_ANONYMOUS) == OK &&
           fixture_create(f, 1, 1, 1) == STATUS_OK;
}

/* The creator, and the member that its commits add. */
static struct fixture_from one(void) { return fixture_from(1, 1, 1); }
static struct fixture_from two(void) { return fixture_from(2, 1, 2); }

static struct request attach_of(uint8_t channel, uint8_t sub)
{
    return (struct request){
        .method = METHOD_ATTACH,
        .attach = {.access = fixture_access(channel, sub)},
    };
}

static struct request read_of(uint8_t sub, uint64_t after, uint32_t max)
{
    return (struct request){
        .method = METHOD_READ,
        .read = {.access = fixture_access(1, sub),
                 .after = after,
                 .max_bytes = max},
    };
}

static struct request ack_of(uint8_t sub, uint64_t upto)
{
    return (struct request){
        .method = METHOD_ACK,
        .ack = {.access = fixture_access(1, sub), .upto = upto},
    };
}

/* Reads and counts the entries; checks that they are without gaps. */
static size_t read_count(struct fixture *f, uint8_t sub, uint64_t after,
                         uint32_t max, uint64_t *out_first)
{
    struct answer a;
    struct entry e = {0};
    size_t count = 0;
    const struct request q = read_of(sub, after, max);
    if (fixture_ask(f, 1, &q, &a) != OK || a.status != STATUS_OK)
        return SIZE_MAX;
    struct reader r = reader_of(a.read.entries);
    while (reader_more(&r)) {
        uint64_t before = e.seq;
        entry_read(&r, &e);
        if (count++ == 0)
            *out_first = e.seq;
        else if (e.seq != before + 1)
            return SIZE_MAX;
    }
    return count;
}

static void rule_1_takes_only_what_knows_the_newest_handshake(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    uint64_t got = 0;
    const struct {
        uint64_t after;
        bool commit;
        enum status status;
        uint64_t detail; /* the entry's number, or the handshake's */
    } steps[] = {
        {1, false, STATUS_BEHIND, 0}, /* a future that is not */
        {0, false, STATUS_OK, 1},     /* the first */
        {0, false, STATUS_OK, 2},     /* entries do not move it */
        {0, true, STATUS_OK, 3},      /* a commit does */
        {0, false, STATUS_BEHIND, 3},
        {0, true, STATUS_BEHIND, 3}, /* the race is lost */
        {2, false, STATUS_BEHIND, 3},
        {4, false, STATUS_BEHIND, 3},
        {3, true, STATUS_OK, 4},
        {3, false, STATUS_BEHIND, 4},
        {4, false, STATUS_OK, 5},
    };
    for (size_t i = 0; i < COUNT(steps); i++) {
        uint8_t key = (uint8_t)(i + 1);
        enum status status =
            steps[i].commit
                ? fixture_commit(&f, one(), steps[i].after, key, fixture_same(),
                                 &got)
                : fixture_append(&f, one(), steps[i].after, key, &got);
        CHECK_UINT(status, steps[i].status);
        CHECK_UINT(got, steps[i].detail);
    }
}

static void rule_2_commit_adds_a_subscription(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    uint64_t seq = 0;
    uint64_t first = 0;
    struct answer a;
    const struct request attach = attach_of(1, 2);
    CHECK_UINT(fixture_status(&f, 2, &attach), STATUS_NOTFOUND);
    CHECK_UINT(fixture_append(&f, one(), 0, 1, NULL), STATUS_OK);
    CHECK_UINT(fixture_commit(&f, one(), 0, 2, fixture_adds(2), &seq),
               STATUS_OK);
    CHECK_UINT(fixture_ask(&f, 2, &attach, &a), OK);
    CHECK_UINT(a.status, STATUS_OK);
    CHECK_UINT(a.attach.head, 2);
    CHECK_UINT(a.attach.handshake, 2);
    CHECK_UINT(a.attach.cursor, 2); /* it begins after its commit */
    CHECK_UINT(fixture_append(&f, two(), 2, 3, NULL), STATUS_OK);
    CHECK_UINT(read_count(&f, 2, 0, 1000, &first), 1);
    CHECK_UINT(first, 3); /* and reads nothing from before */
}

static void rule_2_refused_commit_adds_nobody(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    const struct request attach = attach_of(1, 2);
    CHECK_UINT(fixture_commit(&f, one(), 7, 2, fixture_adds(2), NULL),
               STATUS_BEHIND);
    CHECK_UINT(fixture_status(&f, 2, &attach), STATUS_NOTFOUND);
}

static void rule_2_ended_subscription_reads_up_to_its_end(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    uint64_t first = 0;
    uint64_t got = 0;
    struct answer a;
    const struct request attach = attach_of(1, 2);
    CHECK_UINT(fixture_commit(&f, one(), 0, 1, fixture_adds(2), NULL),
               STATUS_OK);
    CHECK_UINT(fixture_append(&f, one(), 1, 2, NULL), STATUS_OK);
    CHECK_UINT(fixture_commit(&f, one(), 1, 3, fixture_ends(2), NULL),
               STATUS_OK);
    CHECK_UINT(fixture_append(&f, one(), 3, 4, NULL), STATUS_OK);

    CHECK_UINT(fixture_ask(&f, 2, &attach, &a), OK);
    CHECK_UINT(a.status, STATUS_OK);
    CHECK_UINT(a.attach.head, 3);
    CHECK_UINT(read_count(&f, 2, 1, 10000, &first), 2);
    const struct request more = read_of(2, 3, 1000);
    CHECK_UINT(fixture_ask(&f, 2, &more, &a), OK);
    CHECK_UINT(a.status, STATUS_STATE);
    CHECK_UINT(a.detail, 3);
    CHECK_UINT(fixture_append(&f, two(), 3, 5, &got), STATUS_STATE);
    const struct request too_far = ack_of(2, 4);
    CHECK_UINT(fixture_status(&f, 2, &too_far), STATUS_INVALID);
    const struct request last = ack_of(2, 3);
    CHECK_UINT(fixture_status(&f, 2, &last), STATUS_OK);
    CHECK_UINT(fixture_status(&f, 2, &attach), STATUS_STATE);
}

static void rule_2_ended_subscription_gets_its_commit_and_no_more(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    const struct request attach = attach_of(1, 2);
    CHECK_UINT(fixture_commit(&f, one(), 0, 1, fixture_adds(2), NULL),
               STATUS_OK);
    CHECK_UINT(fixture_status(&f, 2, &attach), STATUS_OK);
    CHECK_UINT(fixture_commit(&f, one(), 1, 2, fixture_ends(2), NULL),
               STATUS_OK);
    CHECK_UINT(fixture_append(&f, one(), 2, 3, NULL), STATUS_OK);
    struct request event;
    CHECK_UINT(fixture_events(&f, 2, EVENT_ENTRY), 1);
    CHECK_UINT(fixture_event(&f, 2, EVENT_ENTRY, 0, &event), OK);
    CHECK_UINT(event.entry_event.seq, 2);
}

static void rule_2_any_member_reopens(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    struct request reopen = {.method = METHOD_REOPEN};
    reopen.reopen.access = fixture_access(1, 1);
    reopen.reopen.target = fixture_id(2);
    CHECK_UINT(fixture_status(&f, 1, &reopen), STATUS_NOTFOUND);
    CHECK_UINT(fixture_commit(&f, one(), 0, 1, fixture_adds(2), NULL),
               STATUS_OK);
    CHECK_UINT(fixture_commit(&f, one(), 1, 2, fixture_ends(2), NULL),
               STATUS_OK);
    CHECK_UINT(fixture_append(&f, two(), 2, 3, NULL), STATUS_STATE);
    struct request own = reopen;
    own.reopen.access = fixture_access(1, 2); /* not by itself */
    CHECK_UINT(fixture_status(&f, 2, &own), STATUS_STATE);
    CHECK_UINT(fixture_status(&f, 1, &reopen), STATUS_OK);
    CHECK_UINT(fixture_status(&f, 1, &reopen), STATUS_OK); /* again */
    CHECK_UINT(fixture_append(&f, two(), 2, 3, NULL), STATUS_OK);
}

/* Subscription 1 adds 2 again, with the capability of 3: so does a commit that
 * lets a device rejoin, and so does a false list. */
static enum err add_again(struct fixture *f, uint64_t after, struct answer *out)
{
    CLEANUP(buf_clear) struct buf list = buf_new(1000);
    CLEANUP(buf_clear) struct buf data = buf_new(4096);
    CLEANUP(buf_clear) struct buf body = buf_new(4096);
    uint8_t hash[CAP_SIZE];
    TRY(fixture_cap_hash(f, 3, hash));
    struct writer w = writer_to(&list);
    const struct sub_add add = {fixture_id(2), BYTES_ARRAY(hash)};
    sub_add_write(&w, &add);
    TRY(writer_finish(&w));
    const struct commit_data commit = {.adds = buf_bytes(&list)};
    TRY(commit_data_write(&data, &commit));
    w = writer_to(&body);
    writer_u16(&w, 1);
    writer_u16(&w, 2);
    writer_vec(&w, LIT("group"));
    writer_u64(&w, 1);
    writer_u8(&w, ENTRY_COMMIT);
    writer_vec(&w, buf_bytes(&data));
    writer_vec(&w, LIT("s"));
    writer_vec(&w, LIT("c"));
    TRY(writer_finish(&w));
    const struct request q = {
        .method = METHOD_APPEND,
        .append = {.access = fixture_access(1, 1),
                   .after = after,
                   .kind = ENTRY_COMMIT,
                   .idempotency_key = {fixture_id((uint8_t)(9 + after)).data,
                                       IDEMPOTENCY_KEY},
                   .body = buf_bytes(&body)},
    };
    return fixture_ask(f, 1, &q, out);
}

/* Entries 1, which adds 2, and 2, which adds it again, and 3; 1 has read all.
 */
static bool added_again(struct fixture *f)
{
    struct answer a;
    const struct request mine = ack_of(1, 3);
    fixture_init(f);
    return set_up(f) &&
           fixture_commit(f, one(), 0, 1, fixture_adds(2), NULL) == STATUS_OK &&
           add_again(f, 1, &a) == OK && a.status == STATUS_OK &&
           fixture_append(f, one(), 2, 4, NULL) == STATUS_OK &&
           fixture_status(f, 1, &mine) == STATUS_OK;
}

/* Attaches subscription 2 with the capability of another. */
static enum status attach_with(struct fixture *f, uint8_t cap,
                               struct attach_answer *out)
{
    struct answer a;
    struct request q = attach_of(1, 2);
    q.attach.access.cap = fixture_access(1, cap).cap;
    if (fixture_ask(f, 2, &q, &a) != OK)
        return STATUS_COUNT_;
    *out = a.attach;
    return (enum status)a.status;
}

static enum status ack_with(struct fixture *f, uint8_t cap, uint64_t upto)
{
    struct request q = ack_of(2, upto);
    q.ack.access.cap = fixture_access(1, cap).cap;
    return fixture_status(f, 2, &q);
}

static void rule_2_added_again_has_both_capabilities(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    struct attach_answer at = {0};
    CHECK(added_again(&f));
    CHECK_UINT(attach_with(&f, 2, &at), STATUS_OK);
    CHECK_UINT(at.cursor, 1);
    CHECK_UINT(attach_with(&f, 3, &at), STATUS_OK);
    CHECK_UINT(at.cursor, 2);
    CHECK_UINT(attach_with(&f, 4, &at), STATUS_AUTH);
}

/* The one who drew the second capability knows it. */
static void rule_2_falsely_added_again_loses_nothing(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    struct attach_answer at = {0};
    CHECK(added_again(&f));
    CHECK_UINT(ack_with(&f, 3, 3), STATUS_OK);
    CHECK_UINT(attach_with(&f, 2, &at), STATUS_OK);
    CHECK_UINT(at.cursor, 1);
    CHECK_UINT(at.oldest, 2); /* nothing went that 2 has not read */
    CHECK_UINT(attach_with(&f, 3, &at), STATUS_OK);
    CHECK_UINT(at.cursor, 3);
    struct request reopen = {.method = METHOD_REOPEN};
    reopen.reopen.access = fixture_access(1, 2);
    reopen.reopen.access.cap = fixture_access(1, 3).cap;
    reopen.reopen.target = fixture_id(2);
    CHECK_UINT(fixture_status(&f, 2, &reopen), STATUS_OK); /* changes nothing */
    CHECK_UINT(attach_with(&f, 2, &at), STATUS_OK);
    CHECK_UINT(ack_with(&f, 2, 2), STATUS_OK); /* it has gone past the commit */
    CHECK_UINT(attach_with(&f, 3, &at), STATUS_AUTH);
    CHECK_UINT(attach_with(&f, 2, &at), STATUS_OK);
    CHECK_UINT(at.oldest, 3);
    CHECK_UINT(fixture_check(&f), OK);
}

/* An old commit, sent again by another member. */
static void rule_2_capability_added_twice_changes_nothing(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    struct attach_answer at = {0};
    struct answer a;
    CHECK(added_again(&f));
    CHECK_UINT(add_again(&f, 2, &a), OK);
    CHECK_UINT(a.status, STATUS_OK);
    CHECK_UINT(attach_with(&f, 3, &at), STATUS_OK);
    CHECK_UINT(at.cursor, 2);
    CHECK_UINT(
        fixture_commit(&f, one(), a.append.seq, 6, fixture_adds(2), NULL),
        STATUS_OK);
    CHECK_UINT(attach_with(&f, 2, &at), STATUS_OK);
    CHECK_UINT(attach_with(&f, 3, &at), STATUS_OK);
    CHECK_UINT(at.cursor, 2);
    CHECK_UINT(fixture_check(&f), OK);
}

static void rule_2_older_capability_gives_itself_up(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    struct attach_answer at = {0};
    CHECK(added_again(&f));
    CHECK_UINT(ack_with(&f, 3, 3), STATUS_OK);
    struct request reopen = {.method = METHOD_REOPEN};
    reopen.reopen.access = fixture_access(1, 2);
    reopen.reopen.target = fixture_id(2);
    CHECK_UINT(fixture_status(&f, 2, &reopen), STATUS_OK);
    CHECK_UINT(attach_with(&f, 2, &at), STATUS_AUTH);
    CHECK_UINT(attach_with(&f, 3, &at), STATUS_OK);
    CHECK_UINT(at.cursor, 3);
    CHECK_UINT(at.oldest, 4); /* nothing waits for the older one */
    CHECK_UINT(fixture_check(&f), OK);
}

/* A device that joined again, and was removed before it had said so. */
static void rule_2_older_capability_gives_itself_up_at_the_end(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    struct attach_answer at = {0};
    CHECK(added_again(&f));
    CHECK_UINT(fixture_commit(&f, one(), 2, 5, fixture_ends(2), NULL),
               STATUS_OK);
    struct request reopen = {.method = METHOD_REOPEN};
    reopen.reopen.access = fixture_access(1, 2);
    reopen.reopen.target = fixture_id(2);
    CHECK_UINT(fixture_status(&f, 2, &reopen), STATUS_OK);
    CHECK_UINT(attach_with(&f, 3, &at), STATUS_OK);
    CHECK_UINT(at.cursor, 2);
    CHECK_UINT(ack_with(&f, 3, 4), STATUS_OK);
    CHECK_UINT(attach_with(&f, 3, &at), STATUS_STATE); /* it is still over */
    const struct request mine = ack_of(1, 4), attach = attach_of(1, 1);
    struct answer a;
    CHECK_UINT(fixture_status(&f, 1, &mine), STATUS_OK);
    CHECK_UINT(fixture_ask(&f, 1, &attach, &a), OK);
    CHECK_UINT(a.attach.oldest, 5); /* nothing waits for it */
    CHECK_UINT(fixture_check(&f), OK);
}

static void rule_4_entry_goes_when_all_have_it(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    uint64_t first = 0;
    CHECK_UINT(fixture_commit(&f, one(), 0, 1, fixture_adds(2), NULL),
               STATUS_OK);
    for (uint8_t key = 2; key < 7; key++)
        CHECK_UINT(fixture_append(&f, one(), 1, key, NULL), STATUS_OK);
    const struct {
        uint8_t sub;
        uint64_t upto;
        uint64_t cursor; /* of that subscription, after it */
        uint64_t oldest;
    } acks[] = {
        {1, 4, 4, 2},               /* 2 needs what comes after its commit */
        {2, 3, 3, 4}, {2, 2, 3, 4}, /* a cursor does not go back */
        {2, 6, 6, 5}, {1, 6, 6, 7}, /* nothing is left */
    };
    for (size_t i = 0; i < COUNT(acks); i++) {
        struct answer a;
        const struct request ack = ack_of(acks[i].sub, acks[i].upto);
        const struct request attach = attach_of(1, acks[i].sub);
        CHECK_UINT(fixture_status(&f, 1, &ack), STATUS_OK);
        CHECK_UINT(fixture_ask(&f, 1, &attach, &a), OK);
        CHECK_UINT(a.attach.cursor, acks[i].cursor);
        CHECK_UINT(a.attach.oldest, acks[i].oldest);
    }
    CHECK_UINT(read_count(&f, 1, 0, 1000, &first), 0);
    CHECK_UINT(fixture_check(&f), OK);
}

static void rule_4_ended_subscription_holds_only_what_it_may_read(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    struct answer a;
    const struct request attach = attach_of(1, 1);
    CHECK_UINT(fixture_commit(&f, one(), 0, 1, fixture_adds(2), NULL),
               STATUS_OK);
    CHECK_UINT(fixture_commit(&f, one(), 1, 2, fixture_ends(2), NULL),
               STATUS_OK);
    CHECK_UINT(fixture_append(&f, one(), 2, 3, NULL), STATUS_OK);
    const struct request mine = ack_of(1, 3);
    CHECK_UINT(fixture_status(&f, 1, &mine), STATUS_OK);
    CHECK_UINT(fixture_ask(&f, 1, &attach, &a), OK);
    CHECK_UINT(a.attach.oldest, 2); /* it has not read its end */
    const struct request its = ack_of(2, 2);
    CHECK_UINT(fixture_status(&f, 1, &its), STATUS_OK);
    CHECK_UINT(fixture_ask(&f, 1, &attach, &a), OK);
    CHECK_UINT(a.attach.oldest, 4);
}

static void rule_4_pushes_at_once_in_order(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    const struct request mine = attach_of(1, 1);
    const struct request its = attach_of(1, 2);
    CHECK_UINT(fixture_commit(&f, one(), 0, 1, fixture_adds(2), NULL),
               STATUS_OK);
    CHECK_UINT(fixture_status(&f, 1, &mine), STATUS_OK);
    CHECK_UINT(fixture_status(&f, 2, &its), STATUS_OK);
    for (uint8_t key = 2; key < 7; key++)
        CHECK_UINT(fixture_append(&f, one(), 1, key, NULL), STATUS_OK);
    for (uint32_t conn = 1; conn <= 2; conn++) {
        for (size_t i = 0; i < 5; i++) {
            struct request e;
            CHECK_UINT(fixture_event(&f, conn, EVENT_ENTRY, i, &e), OK);
            CHECK_UINT(e.entry_event.seq, i + 2);
            CHECK_UINT(e.entry_event.time, FIXTURE_NOW / 1000);
            CHECK_UINT(e.entry_event.kind, ENTRY_APPLICATION);
            CHECK_BYTES(e.entry_event.channel, fixture_id(1));
        }
    }
    CHECK_UINT(f.event_count, 10); /* once for each who is attached */
}

static void rule_4_nothing_leaves_before_it_is_durable(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(buf_clear) struct buf body = buf_new(4096);
    fixture_init(&f);
    CHECK(set_up(&f));
    struct core_output out;
    uint32_t id = 0;
    const struct request attach = attach_of(1, 1);
    CHECK_UINT(fixture_status(&f, 1, &attach), STATUS_OK);
    CHECK_UINT(fixture_body(&f, NULL, &body), OK);
    const struct request q = {
        .method = METHOD_APPEND,
        .append = {.access = fixture_access(1, 1),
                   .kind = ENTRY_APPLICATION,
                   .idempotency_key = {fixture_id(9).data, IDEMPOTENCY_KEY},
                   .body = buf_bytes(&body)},
    };
    CHECK_UINT(fixture_send(&f, 1, &q, &id), OK);
    CHECK(!core_take(f.core, &out));
    fixture_flush(&f, id);
    CHECK(f.answer.bytes.len > 0);
    CHECK_UINT(fixture_events(&f, 1, EVENT_ENTRY), 1);
}

static void rule_5_same_key_makes_one_entry(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    uint64_t got = 0;
    uint64_t first = 0;
    const struct request attach = attach_of(1, 1);
    CHECK_UINT(fixture_status(&f, 1, &attach), STATUS_OK);
    CHECK_UINT(fixture_append(&f, one(), 0, 7, &got), STATUS_OK);
    CHECK_UINT(got, 1);
    CHECK_UINT(fixture_commit(&f, one(), 0, 8, fixture_adds(2), &got),
               STATUS_OK);
    /* the answer was lost, a commit came between: the same key again, with
     * `after` old and new, from anywhere */
    for (uint64_t after = 0; after < 3; after++) {
        CHECK_UINT(fixture_append(&f, fixture_from(2, 1, 1), after, 7, &got),
                   STATUS_OK);
        CHECK_UINT(got, 1);
    }
    CHECK_UINT(fixture_commit(&f, one(), 0, 8, fixture_adds(2), &got),
               STATUS_OK);
    CHECK_UINT(got, 2);
    CHECK_UINT(read_count(&f, 1, 0, 1000, &first), 2);
    CHECK_UINT(fixture_events(&f, 1, EVENT_ENTRY), 2); /* pushed once, too */
}

static void rule_5_key_outlives_its_entry(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    uint64_t got = 0;
    const struct request ack = ack_of(1, 1);
    CHECK_UINT(fixture_append(&f, one(), 0, 7, &got), STATUS_OK);
    CHECK_UINT(fixture_status(&f, 1, &ack), STATUS_OK);
    CHECK_UINT(fixture_append(&f, one(), 0, 7, &got), STATUS_OK);
    CHECK_UINT(got, 1);
}

/* However many came since, and whatever has gone. */
static void rule_5_each_of_many_keys_makes_one_entry(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    uint64_t got = 0;
    for (uint8_t key = 1; key <= 100; key++) {
        f.now += 60000; /* no limit of a minute matters */
        CHECK_UINT(fixture_append(&f, one(), 0, key, &got), STATUS_OK);
        CHECK_UINT(got, key);
        if (key % 7 == 0) {
            const struct request ack = ack_of(1, key - 3);
            CHECK_UINT(fixture_status(&f, 1, &ack), STATUS_OK);
        }
        for (uint8_t old = 1; old <= key; old++) {
            CHECK_UINT(fixture_append(&f, one(), 0, old, &got), STATUS_OK);
            CHECK_UINT(got, old);
        }
    }
}

static void rule_5_refusals_are_not_remembered(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    f.core_config.limits.subscription_appends = 3;
    CHECK(set_up(&f));
    uint64_t got = 0;
    CHECK_UINT(fixture_append(&f, one(), 5, 7, &got), STATUS_BEHIND);
    CHECK_UINT(fixture_append(&f, one(), 0, 7, &got), STATUS_OK);
    CHECK_UINT(fixture_append(&f, one(), 0, 8, &got), STATUS_OK);
    CHECK_UINT(fixture_append(&f, one(), 0, 9, &got), STATUS_BUSY);
    f.now += 60000;
    CHECK_UINT(fixture_append(&f, one(), 0, 9, &got), STATUS_OK);
    CHECK_UINT(got, 3);
}

static void rule_6_ephemeral_goes_to_who_is_there_and_stays_nowhere(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    struct answer a;
    uint64_t first = 0;
    const struct request mine = attach_of(1, 1);
    struct request q = {
        .method = METHOD_APPEND,
        .append = {.access = fixture_access(1, 1),
                   .kind = ENTRY_EPHEMERAL,
                   .after = 99, /* is not looked at */
                   .idempotency_key = {fixture_id(9).data, IDEMPOTENCY_KEY},
                   .body = LIT("typing")},
    };
    CHECK_UINT(fixture_status(&f, 1, &mine), STATUS_OK);
    /* from the attached connection and from another one; twice the key */
    for (uint32_t conn = 1; conn <= 2; conn++) {
        CHECK_UINT(fixture_ask(&f, conn, &q, &a), OK);
        CHECK_UINT(a.status, STATUS_OK);
        CHECK_UINT(a.append.seq, 0);
    }
    CHECK_UINT(fixture_events(&f, 1, EVENT_ENTRY), 1); /* not its own */
    CHECK_UINT(fixture_events(&f, 2, EVENT_ENTRY), 0);
    struct request event;
    CHECK_UINT(fixture_event(&f, 1, EVENT_ENTRY, 0, &event), OK);
    CHECK_UINT(event.entry_event.seq, 0);
    CHECK_BYTES(event.entry_event.body, LIT("typing"));
    CHECK_UINT(read_count(&f, 1, 0, 1000, &first), 0);
    q.append.access.cap = fixture_access(1, 5).cap;
    CHECK_UINT(fixture_status(&f, 1, &q), STATUS_AUTH);
}

static void rule_7_each_limit_holds(void)
{
    const struct {
        struct core_limits limits;
        struct store_quotas quotas;
        bool commit;
        enum status status; /* of the third append */
    } cases[] = {
        {.limits = {.subscription_appends = 2}, .status = STATUS_BUSY},
        {.limits = {.subscription_commits = 2},
         .commit = true,
         .status = STATUS_BUSY},
        {.limits = {.subscription_bytes = 120}, .status = STATUS_BUSY},
        {.limits = {.channel_appends = 2}, .status = STATUS_BUSY},
        {.limits = {.channel_commits = 2},
         .commit = true,
         .status = STATUS_BUSY},
        {.limits = {.channel_bytes = 80}, .status = STATUS_BUSY},
        {.quotas = {.channel_bytes = 120}, .status = STATUS_LIMIT},
        {.quotas = {.subscriptions = 3},
         .commit = true,
         .status = STATUS_LIMIT},
        {.status = STATUS_OK},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(fixture_clear) struct fixture f;
        fixture_init(&f);
        f.core_config.limits = cases[i].limits;
        f.store_config.quotas = cases[i].quotas;
        CHECK(set_up(&f));
        uint64_t got = 0;
        for (uint8_t n = 1; n <= 3; n++) {
            uint64_t after = cases[i].commit ? n - 1U : 0;
            enum status status =
                cases[i].commit
                    ? fixture_commit(&f, one(), after, n,
                                     fixture_adds((uint8_t)(n + 1)), &got)
                    : fixture_append(&f, one(), after, n, &got);
            CHECK_UINT(status, n < 3 ? STATUS_OK : cases[i].status);
        }
        CHECK_UINT(core_stats(f.core).refused, cases[i].status == STATUS_BUSY);
    }
}

/* A wrong capability counts against itself. */
static void rule_7_limits_cannot_be_used_up_by_strangers(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(buf_clear) struct buf body = buf_new(4096);
    fixture_init(&f);
    f.core_config.limits.subscription_appends = 2;
    f.core_config.limits.channel_appends = 2;
    CHECK(set_up(&f));
    CHECK_UINT(fixture_body(&f, NULL, &body), OK);
    struct request q = {
        .method = METHOD_APPEND,
        .append = {.access = fixture_access(1, 1),
                   .kind = ENTRY_APPLICATION,
                   .idempotency_key = {fixture_id(9).data, IDEMPOTENCY_KEY},
                   .body = buf_bytes(&body)},
    };
    q.append.access.cap = fixture_access(1, 5).cap;
    CHECK_UINT(fixture_status(&f, 2, &q), STATUS_AUTH);
    CHECK_UINT(fixture_status(&f, 2, &q), STATUS_AUTH);
    CHECK_UINT(fixture_status(&f, 2, &q), STATUS_BUSY);
    CHECK_UINT(fixture_append(&f, one(), 0, 1, NULL), STATUS_OK);
}

static enum status attach_status(struct fixture *f, uint8_t sub)
{
    const struct request attach = attach_of(1, sub);
    return fixture_status(f, 1, &attach);
}

static void days_pass(struct fixture *f, unsigned days)
{
    f->now += (uint64_t)days * FIXTURE_DAY_MS;
    fixture_flush(f, 0);
}

static void rule_2_older_capability_lapses_when_unused(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    struct attach_answer at = {0};
    const struct request attach = attach_of(1, 1);
    CHECK(added_again(&f));
    for (unsigned i = 0; i < 4; i++) { /* the others go on */
        days_pass(&f, 10);
        CHECK_UINT(fixture_status(&f, 1, &attach), STATUS_OK);
        CHECK_UINT(attach_with(&f, 3, &at), STATUS_OK);
    }
    CHECK_UINT(attach_with(&f, 2, &at), STATUS_AUTH);
    CHECK_UINT(attach_with(&f, 3, &at), STATUS_OK);
    CHECK_UINT(fixture_check(&f), OK);
}

static void rule_7_collects_what_is_unused(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    uint64_t first = 0;
    uint64_t got = 0;
    CHECK_UINT(fixture_commit(&f, one(), 0, 1, fixture_adds(2), NULL),
               STATUS_OK);
    CHECK_UINT(fixture_create(&f, 1, 3, 1), STATUS_OK);
    CHECK_UINT(fixture_append(&f, fixture_from(1, 3, 1), 0, 1, NULL),
               STATUS_OK);
    CHECK_UINT(fixture_create(&f, 1, 4, 1), STATUS_OK);
    days_pass(&f, 29);
    CHECK_UINT(fixture_append(&f, fixture_from(1, 4, 1), 0, 1, NULL),
               STATUS_OK);
    CHECK_UINT(attach_status(&f, 1), STATUS_OK);
    CHECK_UINT(read_count(&f, 1, 0, 1000, &first), 1);
    days_pass(&f, 2);
    /* the entry is too old; subscription 2 has never come; nobody has attached
     * to channel 3 */
    CHECK_UINT(read_count(&f, 1, 0, 1000, &first), 0);
    CHECK_UINT(attach_status(&f, 2), STATUS_NOTFOUND);
    CHECK_UINT(attach_status(&f, 1), STATUS_OK);
    CHECK_UINT(fixture_append(&f, fixture_from(1, 3, 1), 0, 1, &got),
               STATUS_NOTFOUND);
    /* who stays attached only appends: that is use, too */
    CHECK_UINT(fixture_append(&f, fixture_from(1, 4, 1), 0, 2, &got),
               STATUS_OK);
    /* and the key is forgotten with its time */
    CHECK_UINT(fixture_commit(&f, one(), 0, 1, fixture_same(), &got),
               STATUS_BEHIND);
    CHECK_UINT(fixture_check(&f), OK);
}

static void each_request_needs_the_right(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    struct request cases[] = {
        attach_of(1, 1),
        read_of(1, 0, 10),
        ack_of(1, 0),
        {.method = METHOD_REOPEN,
         .reopen = {.access = fixture_access(1, 1), .target = fixture_id(1)}},
        {.method = METHOD_BLOB_PUT,
         .blob_put = {.access = fixture_access(1, 1),
                      .blob = fixture_id(9),
                      .total = 4,
                      .days = 1,
                      .data = LIT("blob")}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        /* `access` is the first member of each of them */
        struct access *access = &cases[i].attach.access;
        CHECK_UINT(fixture_status(&f, 1, &cases[i]), STATUS_OK);
        *access = fixture_access(1, 1);
        access->cap = fixture_access(1, 2).cap;
        CHECK_UINT(fixture_status(&f, 1, &cases[i]), STATUS_AUTH);
        *access = fixture_access(1, 2);
        CHECK_UINT(fixture_status(&f, 1, &cases[i]), STATUS_NOTFOUND);
        *access = fixture_access(2, 1);
        CHECK_UINT(fixture_status(&f, 1, &cases[i]), STATUS_NOTFOUND);
    }
}

static void rejects_entries_that_are_not_what_they_say(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(buf_clear) struct buf body = buf_new(4096);
    fixture_init(&f);
    CHECK(set_up(&f));
    CHECK_UINT(fixture_body(&f, NULL, &body), OK);
    struct request q = {
        .method = METHOD_APPEND,
        .append = {.access = fixture_access(1, 1),
                   .kind = ENTRY_COMMIT,
                   .idempotency_key = {fixture_id(9).data, IDEMPOTENCY_KEY},
                   .body = buf_bytes(&body)},
    };
    CHECK_UINT(fixture_status(&f, 1, &q), STATUS_INVALID);
    q.append.kind = ENTRY_APPLICATION;
    q.append.body.len--;
    CHECK_UINT(fixture_status(&f, 1, &q), STATUS_MALFORMED);
}

static void create_is_repeatable_and_exclusive(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    CHECK_UINT(fixture_create(&f, 2, 1, 1), STATUS_OK); /* a lost answer */
    CHECK_UINT(fixture_create(&f, 2, 1, 2), STATUS_EXISTS);
}

static void read_gives_at_least_one_entry_and_stops_at_the_limit(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    uint64_t first = 0;
    CLEANUP(buf_clear) struct buf body = buf_new(4096);
    CHECK_UINT(fixture_body(&f, NULL, &body), OK);
    uint32_t size = (uint32_t)body.len;
    for (uint8_t key = 1; key < 6; key++)
        CHECK_UINT(fixture_append(&f, one(), 0, key, NULL), STATUS_OK);
    CHECK_UINT(read_count(&f, 1, 0, 0, &first), 1);
    CHECK_UINT(read_count(&f, 1, 0, 2 * size, &first), 2);
    CHECK_UINT(read_count(&f, 1, 0, 3 * size - 1, &first), 2);
    CHECK_UINT(read_count(&f, 1, 3, UINT32_MAX, &first), 2);
    CHECK_UINT(first, 4);
    CHECK_UINT(read_count(&f, 1, UINT64_MAX, 100, &first), 0);
}

/* Whoever does not keep up is told to read, once, and gets pushes again after
 * it attaches. */
static void slow_consumer_is_told_to_pull(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    const struct request attach = attach_of(1, 1);
    CHECK_UINT(fixture_status(&f, 1, &attach), STATUS_OK);
    core_slow(f.core, 1);
    for (uint8_t key = 1; key < 6; key++)
        CHECK_UINT(fixture_append(&f, fixture_from(2, 1, 1), 0, key, NULL),
                   STATUS_OK);
    CHECK_UINT(fixture_events(&f, 1, EVENT_ENTRY), 0);
    CHECK_UINT(fixture_events(&f, 1, EVENT_HEAD), 1);
    CHECK_UINT(fixture_status(&f, 1, &attach), STATUS_OK);
    CHECK_UINT(fixture_append(&f, fixture_from(2, 1, 1), 0, 6, NULL),
               STATUS_OK);
    CHECK_UINT(fixture_events(&f, 1, EVENT_ENTRY), 1);
}

/* Ends with nothing or with everything, whatever allocation fails. */
static void commit_survives_each_allocation_failure(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK(set_up(&f));
    const struct request attach = attach_of(1, 1);
    enum status status = STATUS_BUSY;
    uint64_t got = 0;
    CHECK_UINT(fixture_status(&f, 1, &attach), STATUS_OK);
    for (unsigned n = 0; status != STATUS_OK && n < 200; n++) {
        mem_fail_after(n);
        status = fixture_commit(&f, fixture_from(2, 1, 1), 0, 7,
                                fixture_adds(2), &got);
        mem_fail_after(1U << 30);
        CHECK(status == STATUS_OK || status == STATUS_BUSY ||
              status == STATUS_COUNT_);
        if (fixture_closed(&f, 2)) { /* no memory for its answer */
            core_close(f.core, 2);
            fixture_events_clear(&f);
            CHECK_UINT(fixture_connect(&f, 2, LANE_ANONYMOUS), OK);
        }
        CHECK_UINT(fixture_check(&f), OK);
    }
    CHECK_UINT(status, STATUS_OK);
    CHECK_UINT(got, 1);
    uint64_t first = 0;
    CHECK_UINT(read_count(&f, 1, 0, 1000, &first), 1);
}

/* An entry of this size. */
static enum status append_large(struct fixture *f, uint32_t conn, size_t size)
{
    CLEANUP(buf_clear) struct buf body = buf_new(size + 1000);
    CLEANUP(buf_clear) struct buf text = buf_new(size);
    if (buf_extend(&text, size) != OK)
        return STATUS_COUNT_;
    if (fixture_private(&body, ENTRY_APPLICATION, (struct bytes){0},
                        buf_bytes(&text)) != OK)
        return STATUS_COUNT_;
    const struct request q = {
        .method = METHOD_APPEND,
        .append = {.access = fixture_access(1, 1),
                   .kind = ENTRY_APPLICATION,
                   .idempotency_key = {fixture_id(1).data, IDEMPOTENCY_KEY},
                   .body = buf_bytes(&body)}};
    return fixture_status(f, conn, &q);
}

/* A client that asks for much at once gets it piece by piece: SQLite stops by
 * itself, what PostgreSQL has done is taken as far as there is room. */
static void the_answers_of_a_flush_are_bounded(void)
{
    enum {
        READS = 24,
        SIZE = 8U << 20
    };
    const bool pg = getenv("SOTTO_TEST_STORE") != NULL;
    const size_t most = (pg ? OUTPUT_MAX : FLUSH_DATA_MAX) + SIZE + 1000;
    CLEANUP(fixture_clear) struct fixture f;
    struct core_output out;
    unsigned answers = 0;
    uint32_t first = 0;
    uint32_t id = 0;
    fixture_init(&f);
    f.core_config.output_max = pg ? OUTPUT_MAX : SIZE_MAX;
    f.core_config.limits.subscription_reads = UINT32_MAX;
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(fixture_connect(&f, 1, LANE_ANONYMOUS), OK);
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK_UINT(append_large(&f, 1, SIZE), STATUS_OK);
    const struct request read = {
        .method = METHOD_READ,
        .read = {.access = fixture_access(1, 1), .max_bytes = 1}};
    for (unsigned i = 0; i < READS; i++)
        CHECK_UINT(fixture_send(&f, 1, &read, i == 0 ? &first : &id), OK);
    while (core_is_waiting(f.core)) {
        size_t bytes = 0;
        if (f.store.wait != NULL && !core_has_more(f.core))
            f.store.wait(f.store.ctx);
        core_flush(f.core, f.now);
        for (; core_take(f.core, &out); core_output_clear(&out)) {
            bytes += out.message.len;
            CHECK_UINT(out.id, first + answers);
            answers++;
        }
        CHECK(bytes <= most);
    }
    CHECK_UINT(answers, READS);
}

static const struct test tests[] = {
    TEST(the_answers_of_a_flush_are_bounded),
    TEST(rule_1_takes_only_what_knows_the_newest_handshake),
    TEST(rule_2_commit_adds_a_subscription),
    TEST(rule_2_refused_commit_adds_nobody),
    TEST(rule_2_ended_subscription_reads_up_to_its_end),
    TEST(rule_2_ended_subscription_gets_its_commit_and_no_more),
    TEST(rule_2_any_member_reopens),
    TEST(rule_2_added_again_has_both_capabilities),
    TEST(rule_2_falsely_added_again_loses_nothing),
    TEST(rule_2_capability_added_twice_changes_nothing),
    TEST(rule_2_older_capability_gives_itself_up),
    TEST(rule_2_older_capability_gives_itself_up_at_the_end),
    TEST(rule_2_older_capability_lapses_when_unused),
    TEST(rule_4_entry_goes_when_all_have_it),
    TEST(rule_4_ended_subscription_holds_only_what_it_may_read),
    TEST(rule_4_pushes_at_once_in_order),
    TEST(rule_4_nothing_leaves_before_it_is_durable),
    TEST(rule_5_same_key_makes_one_entry),
    TEST(rule_5_key_outlives_its_entry),
    TEST(rule_5_each_of_many_keys_makes_one_entry),
    TEST(rule_5_refusals_are_not_remembered),
    TEST(rule_6_ephemeral_goes_to_who_is_there_and_stays_nowhere),
    TEST(rule_7_each_limit_holds),
    TEST(rule_7_limits_cannot_be_used_up_by_strangers),
    TEST(rule_7_collects_what_is_unused),
    TEST(each_request_needs_the_right),
    TEST(rejects_entries_that_are_not_what_they_say),
    TEST(create_is_repeatable_and_exclusive),
    TEST(read_gives_at_least_one_entry_and_stops_at_the_limit),
    TEST(slow_consumer_is_told_to_pull),
    TEST(commit_survives_each_allocation_failure),
};
TEST_MAIN(tests)
