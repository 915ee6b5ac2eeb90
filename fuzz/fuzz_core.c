/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session of some connections with the core over the real store. Whatever
 * they send, the store fits together afterwards, and each connection got the
 * entries of a channel with rising numbers.
 *
 * Input: steps of a byte that says what, a byte that says who, and a length
 * byte with so many bytes of content.
 */
#include "base/wire.h"
#include "proto/derive.h"
#include "proto/entry.h"
#include "server/core_fixture.h"

#include <assert.h>
#include <string.h>

#define CONNS     4U
#define STEPS_MAX 64U

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step {
    STEP_RAW,
    STEP_REQUEST,
    STEP_FLUSH,
    STEP_TIME,
    STEP_REOPEN
};

struct session {
    struct fixture f;
    struct fixture_account account; /* that of the last connection */
    uint64_t seen[CONNS + 1];       /* of channel 1 */
};

/* Events that came: numbers of entries rise. */
static void look(struct session *s)
{
    fixture_flush(&s->f, 0);
    for (uint32_t conn = 1; conn <= CONNS; conn++) {
        struct request e;
        for (size_t i = 0; fixture_event(&s->f, conn, EVENT_ENTRY, i, &e) == OK;
             i++) {
            uint64_t seq = e.entry_event.seq;
            assert(seq == 0 || seq > s->seen[conn]);
            s->seen[conn] = seq > 0 ? seq : s->seen[conn];
        }
        if (fixture_closed(&s->f, conn))
            core_close(s->f.core, conn);
    }
    fixture_events_clear(&s->f);
}

/* What a request is made of: small numbers, which meet each other. */
struct numbers {
    uint8_t sub, other, key;
    uint64_t number;
    struct buf body;
};

static void make_attach(struct session *s, struct numbers *p, struct request *q)
{
    (void)s;
    q->method = METHOD_ATTACH;
    q->attach = (struct attach_request){fixture_access(1, p->sub)};
}

static void make_read(struct session *s, struct numbers *p, struct request *q)
{
    (void)s;
    q->method = METHOD_READ;
    q->read = (struct read_request){fixture_access(1, p->sub), p->number, 500};
}

static void make_ack(struct session *s, struct numbers *p, struct request *q)
{
    (void)s;
    q->method = METHOD_ACK;
    q->ack = (struct ack_request){fixture_access(1, p->sub), p->number};
}

static void make_reopen(struct session *s, struct numbers *p, struct request *q)
{
    (void)s;
    q->method = METHOD_REOPEN;
    q->reopen = (struct reopen_request){fixture_access(1, p->sub),
                                        fixture_id(p->other)};
}

static void make_append(struct session *s, struct numbers *p,
                        const struct fixture_change *commit, struct request *q)
{
    enum err err = fixture_body(&s->f, commit, &p->body);
    assert(err == OK);
    q->method = METHOD_APPEND;
    q->append = (struct append_request){
        .access = fixture_access(1, p->sub),
        .after = p->number,
        .kind = commit != NULL ? ENTRY_COMMIT : ENTRY_APPLICATION,
        .idempotency_key = {fixture_id(p->key).data, IDEMPOTENCY_KEY},
        .body = buf_bytes(&p->body)};
}

static void make_commit(struct session *s, struct numbers *p, struct request *q)
{
    const struct fixture_change change =
        p->key % 2 == 0 ? fixture_adds(p->other) : fixture_ends(p->other);
    make_append(s, p, &change, q);
}

static void make_text(struct session *s, struct numbers *p, struct request *q)
{
    make_append(s, p, NULL, q);
}

static void make_blob_put(struct session *s, struct numbers *p,
                          struct request *q)
{
    (void)s;
    enum err err = buf_extend(&p->body, p->key);
    assert(err == OK);
    q->method = METHOD_BLOB_PUT;
    q->blob_put = (struct blob_put_request){.access = fixture_access(1, p->sub),
                                            .blob = fixture_id(p->other),
                                            .offset = p->number,
                                            .total = 300,
                                            .days = 1,
                                            .data = buf_bytes(&p->body)};
}

static void make_blob_get(struct session *s, struct numbers *p,
                          struct request *q)
{
    (void)s;
    q->method = METHOD_BLOB_GET;
    q->blob_get =
        (struct blob_get_request){fixture_id(p->other), p->number, p->key};
}

static void make_kp_publish(struct session *s, struct numbers *p,
                            struct request *q)
{
    (void)s;
    struct writer w = writer_to(&p->body);
    for (uint8_t i = 0; i < p->key % 8; i++)
        writer_vec(&w, fixture_id((uint8_t)(p->number + i)));
    enum err err = writer_finish(&w);
    assert(err == OK);
    q->method = METHOD_KP_PUBLISH;
    q->kp_publish.packages = buf_bytes(&p->body);
    if (p->other == 1)
        q->kp_publish.last_resort = fixture_id(p->sub);
}

static void make_kp_take(struct session *s, struct numbers *p,
                         struct request *q)
{
    q->method = METHOD_KP_TAKE;
    q->kp_take = (struct kp_take_request){
        .account_id = BYTES_ARRAY(s->account.id),
        .pow_subject = fixture_id(p->key),
    };
    if (p->other == 1)
        q->kp_take.device_id = BYTES_ARRAY(s->account.device);
    if (p->sub == 1)
        q->kp_take.contact_cap = BYTES_ARRAY(s->account.contact_cap);
    else
        (void)!fixture_work(&s->f, POW_KP_TAKE, q->kp_take.pow_subject,
                            &q->kp_take.pow);
}

static void make_inbox_append(struct session *s, struct numbers *p,
                              struct request *q)
{
    enum err err = buf_extend(&p->body, INBOX_ITEM_SIZE);
    assert(err == OK);
    p->body.data[0] = p->key;
    q->method = METHOD_INBOX_APPEND;
    q->inbox_append = (struct inbox_append_request){
        .account_id = BYTES_ARRAY(s->account.id),
        .device_id = BYTES_ARRAY(s->account.device),
        .contact_cap = BYTES_ARRAY(s->account.contact_cap),
        .item = buf_bytes(&p->body)};
}

static void make_inbox_read(struct session *s, struct numbers *p,
                            struct request *q)
{
    (void)s;
    q->method = METHOD_INBOX_READ;
    q->inbox_read = (struct inbox_read_request){p->number, p->key};
}

static void make_inbox_ack(struct session *s, struct numbers *p,
                           struct request *q)
{
    (void)s;
    q->method = METHOD_INBOX_ACK;
    q->inbox_ack = (struct inbox_ack_request){p->number};
}

static void make_contact_set(struct session *s, struct numbers *p,
                             struct request *q)
{
    (void)s;
    q->method = METHOD_CONTACT_SET;
    q->contact_set = (struct contact_set_request){fixture_id(p->key)};
}

static void make_chain(struct session *s, struct numbers *p, struct request *q)
{
    q->method = METHOD_CHAIN;
    q->chain = (struct chain_request){BYTES_ARRAY(s->account.id), p->number};
}

static void make_state_append(struct session *s, struct numbers *p,
                              struct request *q)
{
    (void)p;
    q->method = METHOD_STATE_APPEND;
    q->state_append =
        (struct state_append_request){buf_bytes(&s->account.state)};
}

static void (*const makers[])(struct session *s, struct numbers *p,
                              struct request *q) = {
    make_attach,     make_read,        make_ack,          make_reopen,
    make_commit,     make_text,        make_blob_put,     make_blob_get,
    make_kp_publish, make_kp_take,     make_inbox_append, make_inbox_read,
    make_inbox_ack,  make_contact_set, make_chain,        make_state_append,
};

/* A request that is well-formed. */
static void send_request(struct session *s, uint32_t conn, struct reader *r)
{
    size_t what = reader_u8(r) % (sizeof(makers) / sizeof(makers[0]));
    struct numbers p = {
        .sub = (uint8_t)(1 + reader_u8(r) % 3),
        .other = (uint8_t)(1 + reader_u8(r) % 3),
        .number = reader_u8(r),
        .key = reader_u8(r),
        .body = buf_new(1U << 16),
    };
    struct request q = {0};
    uint32_t id = 0;
    makers[what](s, &p, &q);
    enum err err = fixture_send(&s->f, conn, &q, &id);
    buf_clear(&p.body);
    assert(err == OK);
    assert(!PLANTED_BUG || what != 4 || p.key < 64);
}

static void step(struct session *s, struct reader *r)
{
    enum step what = (enum step)(reader_u8(r) % 5);
    uint32_t conn = 1 + reader_u8(r) % CONNS;
    struct bytes content = reader_raw(r, reader_u8(r));
    struct reader inner = reader_of(content);
    switch (what) {
    case STEP_RAW:
        core_message(s->f.core, conn, FRAME_REQUEST, 1, content, s->f.now);
        break;
    case STEP_REQUEST:
        send_request(s, conn, &inner);
        break;
    case STEP_FLUSH:
        look(s);
        break;
    case STEP_TIME:
        s->f.now += reader_u32(&inner);
        break;
    case STEP_REOPEN:
        core_close(s->f.core, conn);
        look(s); /* its number is free when nothing is queued */
        s->seen[conn] = 0;
        (void)!fixture_connect(&s->f, conn, LANE_ANONYMOUS);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct session s;
    struct reader r = reader_of((struct bytes){data, size});
    s = (struct session){0};
    fixture_init(&s.f);
    enum err started = fixture_start(&s.f);
    assert(started == OK);
    for (uint32_t conn = 1; conn <= CONNS; conn++) {
        enum lane lane = conn == CONNS ? LANE_IDENTIFIED : LANE_ANONYMOUS;
        enum err err = fixture_connect(&s.f, conn, lane);
        assert(err == OK);
    }
    enum status status = fixture_create(&s.f, 1, 1, 1);
    assert(status == STATUS_OK);
    enum err made = fixture_account_make(&s.f, &s.account);
    assert(made == OK);
    made = fixture_register(&s.f, CONNS, "somebody", (struct bytes){0},
                            &s.account, &status);
    assert(made == OK && status == STATUS_OK);
    for (unsigned i = 0; i < STEPS_MAX && reader_more(&r); i++)
        step(&s, &r);
    look(&s);
    enum err fits = store_sqlite_check(s.f.sqlite, NULL);
    assert(fits == OK);
    fixture_account_clear(&s.account);
    fixture_clear(&s.f);
    return 0;
}
