/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on one channel, against a model of DESIGN.md, section 5,
 * that is nothing but arrays. Every answer must be the model's. A seed that
 * fails is printed; SEED=n runs it alone.
 */
#include "server/core_fixture.h"

#include "proto/entry.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBS    6U
#define STEPS   400U
#define SEEDS   12U
#define KEYS    40U
#define ENTRIES (STEPS + 1)

struct model_sub {
    bool there;
    bool ended;
    uint64_t start, cursor, end;
};

struct model {
    uint64_t head, handshake;
    struct model_sub subs[SUBS + 1]; /* by number, from 1 */
    uint64_t accepted[KEYS + 1];     /* by key: the entry's number */
    uint64_t gone;                   /* everything up to here was deleted */
};

struct run {
    struct fixture f;
    struct model m;
    uint64_t random; /* xorshift */
};

static uint64_t draw(struct run *r, uint64_t below)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return r->random % below;
}

static uint8_t draw_sub(struct run *r) { return (uint8_t)(1 + draw(r, SUBS)); }

static uint64_t limit_of(const struct model *m, const struct model_sub *s)
{
    return s->ended ? s->end : m->head;
}

static void trim(struct model *m)
{
    uint64_t low = m->head;
    for (size_t i = 1; i <= SUBS; i++) {
        const struct model_sub *s = &m->subs[i];
        if (s->there && (!s->ended || s->cursor < s->end) && s->cursor < low)
            low = s->cursor;
    }
    if (low > m->gone)
        m->gone = low;
}

/* --- the rules, as the model has them --- */

static enum status model_append(struct model *m, uint8_t sub, uint64_t after,
                                uint8_t key,
                                const struct fixture_change *commit,
                                uint64_t *out)
{
    struct model_sub *s = &m->subs[sub];
    *out = 0;
    if (!s->there)
        return STATUS_NOTFOUND;
    *out = m->accepted[key];
    if (*out > 0)
        return STATUS_OK;
    *out = s->end;
    if (s->ended)
        return STATUS_STATE;
    *out = m->handshake;
    if (after != m->handshake)
        return STATUS_BEHIND;
    *out = m->accepted[key] = ++m->head;
    if (commit == NULL)
        return STATUS_OK;
    m->handshake = m->head;
    if (commit->adds != 0) {
        struct model_sub *added = &m->subs[commit->adds];
        if (!added->there)
            *added = (struct model_sub){.start = m->head, .cursor = m->head};
        added->there = true;
        added->ended = false;
    }
    struct model_sub *ended = &m->subs[commit->ends];
    if (commit->ends != 0 && ended->there && !ended->ended) {
        ended->ended = true;
        ended->end = m->head;
    }
    if (commit->ends != 0)
        trim(m);
    return STATUS_OK;
}

static enum status model_ack(struct model *m, uint8_t sub, uint64_t upto)
{
    struct model_sub *s = &m->subs[sub];
    if (!s->there)
        return STATUS_NOTFOUND;
    if (upto > s->cursor && upto > limit_of(m, s))
        return STATUS_INVALID;
    if (upto > s->cursor) {
        s->cursor = upto;
        trim(m);
    }
    return STATUS_OK;
}

static enum status model_reopen(struct model *m, uint8_t sub, uint8_t target)
{
    if (!m->subs[sub].there)
        return STATUS_NOTFOUND;
    if (m->subs[sub].ended)
        return STATUS_STATE;
    if (!m->subs[target].there)
        return STATUS_NOTFOUND;
    m->subs[target].ended = false;
    return STATUS_OK;
}

/* --- each operation, on both --- */

static bool same(const char *what, uint64_t got, uint64_t want)
{
    if (got != want)
        printf("# %s: got %llu, want %llu\n", what, (unsigned long long)got,
               (unsigned long long)want);
    return got == want;
}

static bool step_append(struct run *r)
{
    CLEANUP(buf_clear) struct buf body = buf_new(1U << 16);
    uint8_t sub = draw_sub(r);
    uint8_t key = (uint8_t)(1 + draw(r, KEYS));
    bool commit = draw(r, 3) == 0;
    uint64_t after = draw(r, 4) > 0 ? r->m.handshake : draw(r, r->m.head + 2);
    struct fixture_change change = fixture_ends(draw(r, 2) ? draw_sub(r) : 0);
    uint8_t added = draw_sub(r);
    if (added != change.ends && draw(r, 2) > 0)
        change.adds = added;
    const struct fixture_change *does = commit ? &change : NULL;
    uint64_t want = 0;
    struct answer a;
    if (fixture_body(&r->f, does, &body) != OK)
        return false;
    const struct request q = {
        .method = METHOD_APPEND,
        .append = {.access = fixture_access(1, sub),
                   .after = after,
                   .kind = commit ? ENTRY_COMMIT : ENTRY_APPLICATION,
                   .idempotency_key = {fixture_id(key).data, IDEMPOTENCY_KEY},
                   .body = buf_bytes(&body)},
    };
    enum status status = model_append(&r->m, sub, after, key, does, &want);
    if (fixture_ask(&r->f, 1, &q, &a) != OK)
        return false;
    return same("append", a.status, status) &&
           same("its number", status == STATUS_OK ? a.append.seq : a.detail,
                want);
}

static bool step_ack(struct run *r)
{
    uint8_t sub = draw_sub(r);
    uint64_t upto = draw(r, 2) == 0 ? limit_of(&r->m, &r->m.subs[sub])
                                    : draw(r, r->m.head + 2);
    const struct request q = {
        .method = METHOD_ACK,
        .ack = {.access = fixture_access(1, sub), .upto = upto}};
    return same("ack", fixture_status(&r->f, 1, &q),
                model_ack(&r->m, sub, upto));
}

static bool step_reopen(struct run *r)
{
    uint8_t sub = draw_sub(r);
    uint8_t target = draw_sub(r);
    const struct request q = {.method = METHOD_REOPEN,
                              .reopen = {.access = fixture_access(1, sub),
                                         .target = fixture_id(target)}};
    return same("reopen", fixture_status(&r->f, 1, &q),
                model_reopen(&r->m, sub, target));
}

static bool step_attach(struct run *r)
{
    uint8_t sub = draw_sub(r);
    const struct model_sub *s = &r->m.subs[sub];
    const struct request q = {.method = METHOD_ATTACH,
                              .attach = {fixture_access(1, sub)}};
    struct answer a;
    if (fixture_ask(&r->f, 1, &q, &a) != OK)
        return false;
    if (!s->there)
        return same("attach", a.status, STATUS_NOTFOUND);
    if (s->ended && s->cursor >= s->end)
        return same("attach", a.status, STATUS_STATE);
    uint64_t limit = limit_of(&r->m, s);
    uint64_t handshake = r->m.handshake < limit ? r->m.handshake : limit;
    return same("attach", a.status, STATUS_OK) &&
           same("head", a.attach.head, limit) &&
           same("handshake", a.attach.handshake, handshake) &&
           same("cursor", a.attach.cursor, s->cursor) &&
           same("oldest", a.attach.oldest, r->m.gone + 1);
}

static bool step_read(struct run *r)
{
    uint8_t sub = draw_sub(r);
    uint64_t after = draw(r, r->m.head + 2);
    const struct model_sub *s = &r->m.subs[sub];
    const struct request q = {.method = METHOD_READ,
                              .read = {.access = fixture_access(1, sub),
                                       .after = after,
                                       .max_bytes = 1U << 20}};
    struct answer a;
    if (fixture_ask(&r->f, 1, &q, &a) != OK)
        return false;
    if (!s->there)
        return same("read", a.status, STATUS_NOTFOUND);
    if (s->ended && after >= s->end)
        return same("read", a.status, STATUS_STATE);
    if (!same("read", a.status, STATUS_OK))
        return false;
    uint64_t next = after > s->start ? after : s->start;
    next = next > r->m.gone ? next : r->m.gone;
    struct reader list = reader_of(a.read.entries);
    while (reader_more(&list)) {
        struct entry e;
        entry_read(&list, &e);
        if (!same("entry", e.seq, ++next))
            return false;
    }
    uint64_t limit = limit_of(&r->m, s);
    return next > limit || same("last entry", next, limit);
}

static bool restart(struct run *r)
{
    core_close(r->f.core, 1);
    fixture_events_clear(&r->f);
    return fixture_connect(&r->f, 1, LANE_ANONYMOUS) == OK;
}

static bool (*const kinds[])(struct run *r) = {
    step_append, step_append, step_append, step_append, step_ack,
    step_ack,    step_attach, step_read,   step_reopen,
};

static bool run_seed(uint64_t seed)
{
    static struct run r;
    r = (struct run){.random = seed * 0x9e3779b97f4a7c15U + 1};
    fixture_init(&r.f);
    r.f.core_config.limits.subscription_commits = UINT32_MAX;
    r.f.core_config.limits.channel_commits = UINT32_MAX;
    r.m.subs[1].there = true;
    bool good = fixture_start(&r.f) == OK &&
                fixture_connect(&r.f, 1, LANE_ANONYMOUS) == OK &&
                fixture_create(&r.f, 1, 1, 1) == STATUS_OK;
    for (unsigned i = 0; good && i < STEPS; i++) {
        good = kinds[draw(&r, COUNT(kinds))](&r);
        if (good && draw(&r, 50) == 0)
            good = restart(&r) && fixture_check(&r.f) == OK;
        if (!good)
            printf("# SEED=%llu, step %u\n", (unsigned long long)seed, i);
    }
    fixture_clear(&r.f);
    return good;
}

static void every_answer_is_the_models(void)
{
    const char *one = getenv("SEED");
    if (one != NULL) {
        CHECK(run_seed(strtoull(one, NULL, 10)));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        CHECK(run_seed(seed));
}

static const struct test tests[] = {TEST(every_answer_is_the_models)};
TEST_MAIN(tests)
