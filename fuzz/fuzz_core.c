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
#include "proto/entry.h"
#include "server/core_fixture.h"

#include <assert.h>
#include <string.h>

#define CONNS     4U
#define STEPS_MAX 64U

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
    uint64_t seen[CONNS + 1]; /* of channel 1 */
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

/* A request that is well-formed, of small numbers that meet each other. */
static void send_request(struct session *s, uint32_t conn, struct reader *r)
{
    CLEANUP(buf_clear) struct buf body = buf_new(1U << 16);
    struct request q = {.method = METHOD_CHANNEL_CREATE};
    uint8_t what = reader_u8(r) % 6;
    uint8_t sub = (uint8_t)(1 + reader_u8(r) % 3);
    uint8_t other = (uint8_t)(1 + reader_u8(r) % 3);
    uint64_t number = reader_u8(r);
    uint8_t key = reader_u8(r);
    uint32_t id = 0;
    if (what == 0)
        q = (struct request){.method = METHOD_ATTACH,
                             .attach = {fixture_access(1, sub)}};
    if (what == 1)
        q = (struct request){.method = METHOD_READ,
                             .read = {fixture_access(1, sub), number, 500}};
    if (what == 2)
        q = (struct request){.method = METHOD_ACK,
                             .ack = {fixture_access(1, sub), number}};
    if (what == 3)
        q = (struct request){
            .method = METHOD_REOPEN,
            .reopen = {fixture_access(1, sub), fixture_id(other)}};
    if (what > 3) {
        bool commit = what == 4;
        uint8_t kind = commit ? ENTRY_COMMIT : ENTRY_APPLICATION;
        const struct fixture_change change =
            key % 2 == 0 ? fixture_adds(other) : fixture_ends(other);
        if (fixture_body(&s->f, commit ? &change : NULL, &body) != OK)
            return;
        q = (struct request){
            .method = METHOD_APPEND,
            .append = {.access = fixture_access(1, sub),
                       .after = number,
                       .kind = kind,
                       .idempotency_key = {fixture_id(key).data,
                                           IDEMPOTENCY_KEY},
                       .body = buf_bytes(&body)},
        };
    }
    if (fixture_send(&s->f, conn, &q, &id) != OK)
        return;
#ifdef PLANTED_BUG
    assert(what != 4 || number != 1 || key < 200);
#endif
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
    if (fixture_start(&s.f) != OK)
        return 0;
    for (uint32_t conn = 1; conn <= CONNS; conn++) {
        enum lane lane = conn == CONNS ? LANE_IDENTIFIED : LANE_ANONYMOUS;
        enum err err = fixture_connect(&s.f, conn, lane);
        assert(err == OK);
    }
    enum status status = fixture_create(&s.f, 1, 1, 1);
    assert(status == STATUS_OK);
    for (unsigned i = 0; i < STEPS_MAX && reader_more(&r); i++)
        step(&s, &r);
    look(&s);
    enum err fits = store_sqlite_check(s.f.sqlite, NULL);
    assert(fits == OK);
    fixture_clear(&s.f);
    return 0;
}
