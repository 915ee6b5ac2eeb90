/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every request, with each of its allocations failing once: it is answered with
 * busy, or not at all (its connection may close), and changes nothing; made
 * again, it succeeds as if it had been the first.
 */
#include "server/core_fixture.h"

#include "base/mem.h"
#include "proto/derive.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

#define TRIES_MAX 2000U
#define ANNA      1U /* her connection, on which she is known */
#define NOBODY    2U /* a connection of the other lane */

struct play {
    struct fixture f;
    struct fixture_account anna;
    bool registered;
    uint64_t number; /* that the last answer gave */
};

static void play_clear(struct play *p)
{
    fixture_account_clear(&p->anna);
    fixture_clear(&p->f);
}

/* Asks, and keeps the number in the answer. */
static enum status ask(struct play *p, uint32_t conn, const struct request *q)
{
    struct answer a;
    if (fixture_ask(&p->f, conn, q, &a) != OK)
        return STATUS_COUNT_;
    switch (q->method) {
    case METHOD_APPEND:
        p->number = a.append.seq;
        break;
    case METHOD_KP_PUBLISH:
        p->number = a.kp_count.single_use;
        break;
    case METHOD_BLOB_PUT:
        p->number = a.status == STATUS_STATE ? a.detail : a.blob_put.stored;
        break;
    default:
        break;
    }
    return (enum status)a.status;
}

static enum status run_register(struct play *p)
{
    enum status status = STATUS_COUNT_;
    if (fixture_register(&p->f, ANNA, "anna", (struct bytes){0}, &p->anna,
                         &status) != OK)
        return STATUS_COUNT_;
    p->registered = status == STATUS_OK;
    return status;
}

static enum status run_contact_set(struct play *p)
{
    uint8_t sum[CAP_SIZE];
    struct request q = {.method = METHOD_CONTACT_SET,
                        .contact_set = {BYTES_ARRAY(sum)}};
    if (cap_hash(p->f.crypto, BYTES_ARRAY(p->anna.contact_cap), sum) != OK)
        return STATUS_COUNT_;
    return ask(p, ANNA, &q);
}

static enum status run_publish(struct play *p)
{
    CLEANUP(buf_clear) struct buf list = buf_new(4096);
    struct writer w = writer_to(&list);
    writer_vec(&w, BYTES_LIT("key package 1"));
    writer_vec(&w, BYTES_LIT("key package 2"));
    if (writer_finish(&w) != OK)
        return STATUS_COUNT_;
    const struct request q = {
        .method = METHOD_KP_PUBLISH,
        .kp_publish = {buf_bytes(&list), BYTES_LIT("last resort")}};
    return ask(p, ANNA, &q);
}

static enum status run_take(struct play *p)
{
    const struct request q = {
        .method = METHOD_KP_TAKE,
        .kp_take = {.account_id = BYTES_ARRAY(p->anna.id),
                    .device_id = BYTES_ARRAY(p->anna.device),
                    .contact_cap = BYTES_ARRAY(p->anna.contact_cap),
                    .pow_subject = fixture_id(0)}};
    return ask(p, NOBODY, &q);
}

static enum status run_put_in(struct play *p)
{
    static uint8_t item[INBOX_ITEM_SIZE] = {1};
    const struct request q = {
        .method = METHOD_INBOX_APPEND,
        .inbox_append = {.account_id = BYTES_ARRAY(p->anna.id),
                         .device_id = BYTES_ARRAY(p->anna.device),
                         .contact_cap = BYTES_ARRAY(p->anna.contact_cap),
                         .item = BYTES_ARRAY(item)}};
    return ask(p, NOBODY, &q);
}

static enum status run_lookup(struct play *p)
{
    return ask(p, NOBODY,
               &(struct request){.method = METHOD_LOOKUP,
                                 .lookup = {BYTES_LIT("anna")}});
}

static enum status run_chain(struct play *p)
{
    return ask(
        p, NOBODY,
        &(struct request){.method = METHOD_CHAIN,
                          .chain = {.account_id = BYTES_ARRAY(p->anna.id)}});
}

static enum status run_inbox_read(struct play *p)
{
    return ask(
        p, ANNA,
        &(struct request){.method = METHOD_INBOX_READ, .inbox_read = {0, 100}});
}

static enum status run_inbox_ack(struct play *p)
{
    return ask(p, ANNA,
               &(struct request){.method = METHOD_INBOX_ACK, .inbox_ack = {1}});
}

static enum status run_create(struct play *p)
{
    return fixture_create(&p->f, NOBODY, 1, 1);
}

static enum status run_attach(struct play *p)
{
    return ask(p, NOBODY,
               &(struct request){.method = METHOD_ATTACH,
                                 .attach = {fixture_access(1, 1)}});
}

static enum status run_append(struct play *p)
{
    return fixture_append(&p->f, fixture_from(NOBODY, 1, 1), 0, 1, &p->number);
}

static enum status run_commit(struct play *p)
{
    return fixture_commit(&p->f, fixture_from(NOBODY, 1, 1), 0, 2,
                          fixture_adds(2), &p->number);
}

static enum status run_read(struct play *p)
{
    return ask(p, NOBODY,
               &(struct request){.method = METHOD_READ,
                                 .read = {.access = fixture_access(1, 1),
                                          .max_bytes = 1000}});
}

static enum status run_ack(struct play *p)
{
    return ask(p, NOBODY,
               &(struct request){.method = METHOD_ACK,
                                 .ack = {fixture_access(1, 1), 2}});
}

static enum status run_blob_put(struct play *p)
{
    const struct request q = {.method = METHOD_BLOB_PUT,
                              .blob_put = {.access = fixture_access(1, 1),
                                           .blob = fixture_id(9),
                                           .total = 4,
                                           .days = 1,
                                           .data = BYTES_LIT("blob")}};
    enum status status = ask(p, NOBODY, &q);
    /* It was stored, though the answer was lost. */
    return status == STATUS_STATE && p->number == 4 ? STATUS_OK : status;
}

static enum status run_blob_get(struct play *p)
{
    return ask(p, NOBODY,
               &(struct request){.method = METHOD_BLOB_GET,
                                 .blob_get = {fixture_id(9), 0, 100}});
}

/* In this order each of them succeeds; `number` is what the answer must give,
 * whether or not one was lost before it. */
static const struct {
    const char *name;
    enum status (*run)(struct play *p);
    uint64_t number;
} steps[] = {
    {"register", run_register, 0},
    {"contact_set", run_contact_set, 0},
    {"kp_publish", run_publish, 2},
    {"kp_take", run_take, 0},
    {"inbox_append", run_put_in, 0},
    {"lookup", run_lookup, 0},
    {"chain", run_chain, 0},
    {"inbox_read", run_inbox_read, 0},
    {"inbox_ack", run_inbox_ack, 0},
    {"channel_create", run_create, 0},
    {"attach", run_attach, 0},
    {"append", run_append, 1},
    {"append a commit", run_commit, 2},
    {"read", run_read, 0},
    {"ack", run_ack, 0},
    {"blob_put", run_blob_put, 4},
    {"blob_get", run_blob_get, 0},
};

/* A client without an answer makes a new connection. */
static bool come_back(struct play *p)
{
    enum status status = STATUS_OK;
    fixture_events_clear(&p->f);
    core_close(p->f.core, NOBODY);
    core_close(p->f.core, ANNA);
    return fixture_connect(&p->f, NOBODY, LANE_ANONYMOUS) == OK &&
           fixture_connect(&p->f, ANNA, LANE_IDENTIFIED) == OK &&
           (!p->registered ||
            (fixture_login(&p->f, ANNA, &p->anna, &status) == OK &&
             status == STATUS_OK));
}

static unsigned starved(struct play *p, size_t step)
{
    for (unsigned n = 0; n < TRIES_MAX; n++) {
        p->number = 0;
        mem_fail_after(n);
        enum status status = steps[step].run(p);
        mem_fail_after(UINT32_MAX);
        if (status == STATUS_OK)
            return n;
        if (status != STATUS_BUSY && status != STATUS_COUNT_) {
            printf("# %s, allocation %u: %s\n", steps[step].name, n,
                   status_text(status));
            return 0;
        }
        if ((status == STATUS_COUNT_ && !come_back(p)) ||
            fixture_check(&p->f) != OK)
            return 0;
    }
    return 0;
}

static void each_request_survives_each_allocation_failure(void)
{
    CLEANUP(play_clear) struct play p = {0};
    fixture_init(&p.f);
    CHECK_UINT(fixture_start(&p.f), OK);
    CHECK_UINT(fixture_account_make(&p.f, &p.anna), OK);
    CHECK_UINT(fixture_connect(&p.f, ANNA, LANE_IDENTIFIED), OK);
    CHECK_UINT(fixture_connect(&p.f, NOBODY, LANE_ANONYMOUS), OK);
    for (size_t i = 0; i < COUNT(steps); i++) {
        unsigned failures = starved(&p, i);
        printf("# %s: %u failures\n", steps[i].name, failures);
        CHECK(failures > 0);
        CHECK_UINT(p.number, steps[i].number);
    }
}

static const struct test tests[] = {
    TEST(each_request_survives_each_allocation_failure),
};

TEST_MAIN(tests)
