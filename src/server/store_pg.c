/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lanes. A lane's life:
 *
 *     DOWN -> CONNECTING -> SETTING_UP -> READY -> DOWN ...
 *
 * What goes to the server in READY, and what comes back in the same order:
 *
 *     make_weeks, sync                 where a partition may be missing
 *     fence, operation..., sync        a group
 *     (fence, operation, sync)...      after a failure: each alone
 *
 * A sync commits; its result comes after the commit, and only then the
 * operations are done.
 */
#include "server/store_pg_impl.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "sys/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define FENCED "SO001" /* as store_pg.sql raises it */
#define NO_PARTITION                                         \
    "23514" /* check_violation: a week was dropped behind us \
             */
#define WAIT_MS   1000
#define STATEMENT 512U
#define NO_WEEK   UINT64_MAX
#define WEEK_RULE "make_weeks"

static void lane_send(struct pg_lane *l);
static void lane_setup(struct pg_lane *l);

/* --- operations that are done --- */

static void collect_done(struct store_pg *s, const struct store_op *part)
{
    struct store_op *op = s->collect;
    assert(op != NULL);
    if (part->answer.status != STATUS_OK)
        op->answer = part->answer;
    if (--s->collect_parts > 0)
        return;
    s->collect = NULL;
    op->next = NULL;
    *s->done_end = op;
    s->done_end = &op->next;
}

static void op_done(struct pg_lane *l, struct store_op *op)
{
    struct store_pg *s = l->store;
    assert(op != NULL);
    op->next = NULL;
    if (op >= l->collects && op < l->collects + COLLECTS_MAX) {
        collect_done(s, op);
        return;
    }
    *s->done_end = op;
    s->done_end = &op->next;
}

static void set_busy(struct store_op *op)
{
    buf_clear(&op->data);
    op->fresh = false;
    op->answer = (struct answer){.method = op->request.method,
                                 .status = STATUS_BUSY,
                                 .detail = STORE_BUSY_MS};
}

static struct store_op *list_take(struct store_op **list,
                                  struct store_op ***end)
{
    struct store_op *op = *list;
    if (op == NULL)
        return NULL;
    *list = op->next;
    if (*list == NULL)
        *end = list;
    return op;
}

static void list_add(struct store_op ***end, struct store_op *op)
{
    op->next = NULL;
    **end = op;
    *end = &op->next;
}

static void list_refuse(struct pg_lane *l, struct store_op **list,
                        struct store_op ***end)
{
    struct store_op *op = NULL;
    while ((op = list_take(list, end)) != NULL) {
        set_busy(op);
        op_done(l, op);
    }
}

/* Nothing of the queue was sent. What was under way may be done when another
 * server has taken over: that one finds out, when it is asked again. */
static void lane_refuse(struct pg_lane *l)
{
    list_refuse(l, &l->queue, &l->queue_end);
    if (l->state == LANE_DOWN && l->store->fenced)
        list_refuse(l, &l->flight, &l->flight_end);
}

/* --- the connection --- */

static void lane_watch(struct pg_lane *l, uint32_t events)
{
    int fd = PQsocket(l->conn);
    struct epoll_event e = {.events = events, .data.ptr = l};
    if (fd < 0 || (l->watched_fd == fd && l->watched == events))
        return;
    if (epoll_ctl(l->store->epoll, EPOLL_CTL_MOD, fd, &e) != 0)
        (void)epoll_ctl(l->store->epoll, EPOLL_CTL_ADD, fd, &e);
    l->watched_fd = fd;
    l->watched = events;
}

/* The next attempt waits twice as long, until one succeeds. */
static void lane_down(struct pg_lane *l)
{
    if (l->conn != NULL)
        PQfinish(l->conn);
    l->conn = NULL;
    l->watched_fd = -1;
    l->state = LANE_DOWN;
    l->step = l->step_count = 0;
    l->week = NO_WEEK;
    l->again = l->again || l->flight != NULL;
    l->retry_ms = clock_mono_ms() + l->backoff_ms;
    l->backoff_ms =
        l->backoff_ms * 2 < BACKOFF_MAX_MS ? l->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void lane_lost(struct pg_lane *l, const char *what)
{
    (void)pg_problem(&l->store->problem, what, l->conn);
    lane_down(l);
}

static void lane_connect(struct pg_lane *l)
{
    struct store_pg *s = l->store;
    l->conn = PQconnectStartParams(s->keys, s->values, 0);
    if (l->conn == NULL || PQstatus(l->conn) == CONNECTION_BAD) {
        lane_lost(l, "cannot connect");
        return;
    }
    pg_quiet(l->conn);
    l->state = LANE_CONNECTING;
    l->deadline_ms = clock_mono_ms() + CONNECT_MS;
    lane_watch(l, EPOLLOUT);
}

static void lane_connecting(struct pg_lane *l)
{
    switch (PQconnectPoll(l->conn)) {
    case PGRES_POLLING_READING:
        l->watched_fd = -1; /* it may have another socket of that number */
        lane_watch(l, EPOLLIN);
        break;
    case PGRES_POLLING_WRITING:
        l->watched_fd = -1;
        lane_watch(l, EPOLLOUT);
        break;
    case PGRES_POLLING_OK:
        lane_setup(l);
        break;
    default:
        lane_lost(l, "cannot connect");
    }
}

/* --- sending --- */

static void owner_fill(uint8_t half[OWNER_SIZE / 2])
{
    struct random random = entropy_system();
    random_fill(&random, half, OWNER_SIZE / 2);
}

static void step_add(struct pg_lane *l, enum step step)
{
    assert(l->step_count < STEPS_MAX);
    l->steps[l->step_count++] = step;
}

static bool send_call(struct pg_lane *l, const char *name, struct params *p)
{
    return PQsendQueryPrepared(l->conn, name, (int)p->count, p->values,
                               p->lengths, p->formats, 1) == 1;
}

static bool send_sync(struct pg_lane *l)
{
    step_add(l, STEP_SYNC);
    return PQpipelineSync(l->conn) == 1;
}

static bool send_fence(struct pg_lane *l)
{
    struct params p = {0};
    if (l->store->beside)
        return true;
    put_number(&p, l->number);
    put_bytes(&p, BYTES_ARRAY(l->owner));
    step_add(l, STEP_FENCE);
    return send_call(l, "fence", &p);
}

/* In a transaction of its own: others then wait for it only a moment. */
static bool send_week(struct pg_lane *l, const struct store_op *op)
{
    struct params p = {0};
    uint64_t week = op->day / DAYS_PER_WEEK;
    if (op->rule != METHOD_APPEND || week == l->week || week == l->week + 1)
        return true;
    l->week = week;
    put_number(&p, week);
    step_add(l, STEP_SETUP);
    return send_call(l, WEEK_RULE, &p) && send_sync(l);
}

/* Gives false when the connection is gone; without memory for the parameters,
 * the operation fails alone, by a call that is refused. */
static bool send_op(struct pg_lane *l, struct store_op *op)
{
    const struct pg_rule *rule = pg_rule_of(op);
    CLEANUP(params_clear) struct params p = {0};
    rule->put(&p, l, op);
    assert(p.err != OK || p.count == rule->params);
    step_add(l, STEP_OP);
    if (p.err != OK)
        p.count = 0;
    return send_call(l, rule->name, &p);
}

static size_t size_of(const struct store_op *op)
{
    switch (op->rule) {
    case METHOD_APPEND:
        return op->request.append.body.len;
    case METHOD_BLOB_PUT:
        return op->request.blob_put.data.len;
    default:
        return 1024;
    }
}

/* Takes what fits into one group from the queue. */
static void flight_fill(struct pg_lane *l)
{
    size_t bytes = 0;
    for (size_t n = 0; n < FLIGHT_OPS && l->queue != NULL; n++) {
        bytes += size_of(l->queue);
        if (n > 0 && bytes > FLIGHT_BYTES)
            break;
        list_add(&l->flight_end, list_take(&l->queue, &l->queue_end));
    }
}

static void op_reset(struct store_op *op)
{
    buf_clear(&op->data);
    op->seq = 0;
    op->fresh = false;
    op->answer = (struct answer){.method = op->request.method};
}

/* Which objects the operations before have been about. */
#define SEEN_SLOTS (2 * (size_t)FLIGHT_OPS)
struct seen {
    struct bytes ids[SEEN_SLOTS];
};

/* Ids are random, so their last bytes are a hash. */
static bool seen_add(struct seen *s, struct bytes id)
{
    size_t slot =
        (size_t)id.data[ID_SIZE - 2] << 8 | (size_t)id.data[ID_SIZE - 3];
    for (;; slot++) {
        struct bytes *at = &s->ids[slot % SEEN_SLOTS];
        if (at->data == NULL) {
            *at = id;
            return true;
        }
        if (bytes_equal(*at, id))
            return false;
    }
}

static bool is_plain(const struct store_op *op, uint32_t day)
{
    return op->rule == METHOD_APPEND &&
           op->request.append.kind == ENTRY_APPLICATION && op->day == day;
}

/* Marks the appends that go in one call, before everything else: each is the
 * flight's first operation on its channel, so the order on a channel stays. */
static void flight_mark(struct pg_lane *l)
{
    struct seen seen = {0};
    l->batched = 0;
    for (struct store_op *op = l->flight; op != NULL; op = op->next) {
        op->touched = 0;
        if (l->alone || l->again || l->number >= CHANNEL_LANES)
            continue;
        if (op >= l->collects && op < l->collects + COLLECTS_MAX)
            continue; /* it comes after, and minds any order */
        bool first = seen_add(&seen, pg_channel_of(op));
        op->touched = first && is_plain(op, l->flight->day);
        l->batched += op->touched;
    }
    if (l->batched == 1) /* nothing is saved */
        for (struct store_op *op = l->flight; op != NULL; op = op->next)
            op->touched = 0;
    l->batched = l->batched > 1 ? l->batched : 0;
}

/* The next operation, from this one on, that is sent by itself. */
static struct store_op *single(struct store_op *op)
{
    while (op != NULL && op->touched != 0)
        op = op->next;
    return op;
}

static bool send_batch(struct pg_lane *l)
{
    CLEANUP(params_clear) struct params p = {0};
    if (l->batched == 0)
        return true;
    put_batch(&p, l);
    step_add(l, STEP_BATCH);
    if (p.err != OK)
        p.count = 0; /* refused: each is then tried alone */
    return send_call(l, BATCH_CALL, &p);
}

static bool send_flight(struct pg_lane *l)
{
    bool sent = true;
    for (struct store_op *op = l->flight; op != NULL && sent; op = op->next) {
        op_reset(op);
        sent = send_week(l, op);
    }
    if (sent && !l->alone)
        sent = send_fence(l) && send_batch(l);
    for (struct store_op *op = single(l->flight); op != NULL && sent;
         op = single(op->next)) {
        if (l->alone)
            sent = send_fence(l) && send_op(l, op) && send_sync(l);
        else
            sent = send_op(l, op);
    }
    return sent && (l->alone || send_sync(l));
}

/* Goes on writing; then waits for answers. */
static void lane_write(struct pg_lane *l)
{
    int left = PQflush(l->conn);
    if (left < 0)
        lane_lost(l, "the connection is lost");
    else
        lane_watch(l, EPOLLIN | (left > 0 ? (uint32_t)EPOLLOUT : 0));
}

static void flight_start(struct pg_lane *l)
{
    l->step = l->step_count = 0;
    l->failed = false;
    flight_mark(l);
    l->reading = single(l->flight);
    if (send_flight(l))
        lane_write(l);
    else
        lane_lost(l, "cannot send");
}

static void lane_send(struct pg_lane *l)
{
    if (l->state != LANE_READY || l->flight != NULL)
        return;
    l->alone = l->again = false;
    flight_fill(l);
    if (l->flight != NULL)
        flight_start(l);
}

/* --- setting up --- */

static void statement_write(char out[STATEMENT], const char *name,
                            size_t params)
{
    size_t used = (size_t)snprintf(out, STATEMENT, "SELECT * FROM %s(", name);
    for (size_t i = 1; i <= params && used < STATEMENT; i++)
        used += (size_t)snprintf(out + used, STATEMENT - used, "%s$%zu",
                                 i > 1 ? ", " : "", i);
    assert(used + 1 < STATEMENT);
    (void)snprintf(out + used, STATEMENT - used, ")");
}

static bool send_prepare(struct pg_lane *l, const char *name, size_t params)
{
    char text[STATEMENT];
    statement_write(text, name, params);
    step_add(l, STEP_SETUP);
    return PQsendPrepare(l->conn, name, text, 0, NULL) == 1;
}

/* Rules find rows by their keys. Statistics must never talk the planner into
 * reading a table instead: least of all those of a table that was just made. */
static const char planner_query[] =
    "SELECT set_config('enable_seqscan', 'off', false),"
    " set_config('jit', 'off', false),"
    " set_config('enable_hashjoin', 'off', false),"
    " set_config('enable_mergejoin', 'off', false),"
    " set_config('plan_cache_mode', 'force_generic_plan', false)";

static bool send_query(struct pg_lane *l, const char *text)
{
    step_add(l, STEP_SETUP);
    return PQsendQueryParams(l->conn, text, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

/* As another owner each time: what the last connection has sent, and the server
 * has not read yet, must not be done any more. */
static bool send_take_over(struct pg_lane *l)
{
    struct params p = {0};
    if (l->store->beside)
        return true;
    owner_fill(l->owner + OWNER_SIZE / 2);
    put_number(&p, l->number);
    put_bytes(&p, BYTES_ARRAY(l->owner));
    put_flag(&p, l->taken);
    step_add(l, STEP_SETUP);
    return send_call(l, "take_over", &p);
}

/* The server is checked each time: after a failover it is another one. */
static void lane_setup(struct pg_lane *l)
{
    l->state = LANE_SETTING_UP;
    l->deadline_ms = clock_mono_ms() + CONNECT_MS;
    l->step = l->step_count = 0;
    l->failed = false;
    bool sent =
        PQsetnonblocking(l->conn, 1) == 0 && PQenterPipelineMode(l->conn) == 1;
    sent =
        sent && send_query(l, pg_server_query) && send_query(l, planner_query);
    sent = sent && send_prepare(l, "fence", 2) &&
           send_prepare(l, "take_over", 3) && send_prepare(l, WEEK_RULE, 1) &&
           send_prepare(l, BATCH_CALL, BATCH_PARAMS);
    for (size_t i = 0; i < pg_rule_count && sent; i++)
        sent = send_prepare(l, pg_rules[i].name, pg_rules[i].params);
    if (sent && send_take_over(l) && send_sync(l))
        lane_write(l);
    else
        lane_lost(l, "cannot send");
}

static void lane_ready(struct pg_lane *l)
{
    l->state = LANE_READY;
    l->taken = true;
    l->backoff_ms = BACKOFF_MIN_MS;
    if (l->flight != NULL)
        flight_start(l);
    else
        lane_send(l);
}

/* --- receiving --- */

static void note_error(struct pg_lane *l, const PGresult *r)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    state = state != NULL ? state : "";
    l->failed = true;
    if (strcmp(state, FENCED) == 0)
        l->store->fenced = true;
    if (strcmp(state, NO_PARTITION) == 0)
        l->week = NO_WEEK;
    enum problem_kind kind =
        strncmp(state, "53", 2) == 0 ? PROBLEM_FULL : PROBLEM_SYSTEM;
    (void)problem_set(&l->store->problem, ERR_IO, kind, "PostgreSQL: %.150s",
                      text != NULL ? text : "it does not say why");
}

static void take_answer(struct pg_lane *l, PGresult *r)
{
    struct store_op *op = l->reading;
    const struct pg_rule *rule = pg_rule_of(op);
    enum err err = rule->take(l, op, r);
    if (err != OK) {
        set_busy(op);
        (void)problem_set(&l->store->problem, err, PROBLEM_SYSTEM,
                          "cannot take an answer of PostgreSQL: %s",
                          err_text(err));
    }
}

/* A transaction has ended. */
static void flight_landed(struct pg_lane *l)
{
    bool failed = l->failed;
    l->failed = false;
    if (failed && !l->alone) {
        l->alone = true;
        flight_start(l);
        return;
    }
    do {
        struct store_op *op = list_take(&l->flight, &l->flight_end);
        assert(op != NULL);
        if (failed)
            set_busy(op);
        op_done(l, op);
    } while (!l->alone && l->flight != NULL);
    if (l->flight == NULL)
        lane_send(l);
}

static void setup_landed(struct pg_lane *l)
{
    if (l->failed)
        lane_down(l);
    else
        lane_ready(l);
}

static void sync_taken(struct pg_lane *l)
{
    if (l->state == LANE_SETTING_UP)
        setup_landed(l);
    else if (l->steps[l->step - 2] != STEP_SETUP)
        flight_landed(l);
    else
        l->failed = false; /* of make_weeks: then an append fails too */
}

static void result_taken(struct pg_lane *l, PGresult *r)
{
    enum step step = l->steps[l->step];
    switch (PQresultStatus(r)) {
    case PGRES_TUPLES_OK:
        if (step == STEP_OP)
            take_answer(l, r);
        else if (step == STEP_BATCH)
            l->failed = take_batch(l, r) != OK;
        else if (step == STEP_SETUP && l->step == 0 &&
                 l->state == LANE_SETTING_UP)
            l->failed = pg_server_check(r, &l->store->problem) != OK;
        break;
    case PGRES_COMMAND_OK:
    case PGRES_PIPELINE_ABORTED:
        break;
    default:
        note_error(l, r);
    }
}

/* Between the results of two statements comes a NULL. */
static void step_taken(struct pg_lane *l)
{
    if (l->steps[l->step] == STEP_OP)
        l->reading = single(l->reading->next);
    l->step++;
}

static bool lane_expects(const struct pg_lane *l)
{
    return l->conn != NULL && l->step < l->step_count;
}

static void lane_take(struct pg_lane *l)
{
    unsigned nothing = 0; /* in a row */
    while (nothing < 2 && lane_expects(l) && PQisBusy(l->conn) == 0) {
        PGresult *r = PQgetResult(l->conn);
        nothing = r == NULL ? nothing + 1 : 0;
        if (r == NULL) {
            if (l->steps[l->step] != STEP_SYNC) /* else a commit has failed */
                step_taken(l);
        } else if (PQresultStatus(r) == PGRES_PIPELINE_SYNC) {
            PQclear(r);
            l->step++;
            sync_taken(l);
        } else {
            result_taken(l, r);
            PQclear(r);
        }
    }
}

static void lane_read(struct pg_lane *l)
{
    bool alive = PQconsumeInput(l->conn) == 1;
    lane_take(l);
    if (l->conn == NULL)
        return;
    if (!alive || PQstatus(l->conn) == CONNECTION_BAD)
        lane_lost(l, "the connection is lost");
    else
        lane_write(l);
}

static void lane_pump(struct pg_lane *l)
{
    switch (l->state) {
    case LANE_DOWN:
        break;
    case LANE_CONNECTING:
        lane_connecting(l);
        break;
    case LANE_SETTING_UP:
    case LANE_READY:
        lane_read(l);
        break;
    }
}

/* What time brings. A fenced store is another server's affair: it stays as it
 * is, and refuses. */
static void lane_tick(struct pg_lane *l, uint64_t now)
{
    bool late = now >= l->deadline_ms;
    if (l->state == LANE_DOWN && l->store->fenced)
        lane_refuse(l);
    else if (l->state == LANE_DOWN && now >= l->retry_ms)
        lane_connect(l);
    else if ((l->state == LANE_CONNECTING || l->state == LANE_SETTING_UP) &&
             late)
        lane_lost(l, "it does not answer");
}

/* --- the store as the core sees it --- */

static void pump(struct store_pg *s, int timeout_ms)
{
    struct epoll_event events[LANE_COUNT];
    uint64_t now = clock_mono_ms();
    for (size_t i = 0; i < LANE_COUNT; i++)
        lane_tick(&s->lanes[i], now);
    int count = epoll_wait(s->epoll, events, LANE_COUNT, timeout_ms);
    for (int i = 0; i < count; i++)
        lane_pump(events[i].data.ptr);
}

static void submit_to(struct pg_lane *l, struct store_op *op)
{
    op_reset(op);
    list_add(&l->queue_end, op);
}

static void collect_add(struct pg_lane *l, size_t slot, uint16_t rule)
{
    struct store_op *op = &l->collects[slot];
    *op = (struct store_op){.rule = rule,
                            .now = l->store->collect->now,
                            .day = l->store->collect->day};
    l->store->collect_parts++;
    submit_to(l, op);
}

static void collect(struct store_pg *s, struct store_op *op)
{
    op_reset(op);
    if (s->collect != NULL) { /* the last one is not over */
        list_add(&s->done_end, op);
        return;
    }
    s->collect = op;
    s->collections++;
    for (size_t i = 0; i < CHANNEL_LANES; i++)
        collect_add(&s->lanes[i], 0, PG_COLLECT_CHANNELS);
    collect_add(&s->lanes[LANE_ACCOUNTS], 0, PG_COLLECT_PACKAGES);
    collect_add(&s->lanes[LANE_ACCOUNTS], 1, PG_COLLECT_INBOXES);
    collect_add(&s->lanes[LANE_BLOBS], 0, PG_COLLECT_BLOBS);
    collect_add(&s->lanes[LANE_BLOBS], 1, PG_DROP_WEEKS);
    collect_add(&s->lanes[LANE_BLOBS], 2, PG_MEASURE);
}

static void submit(void *ctx, struct store_op *op)
{
    struct store_pg *s = ctx;
    if (op->rule == STORE_COLLECT)
        collect(s, op);
    else
        submit_to(&s->lanes[pg_lane_of(op)], op);
}

static void flush(void *ctx)
{
    struct store_pg *s = ctx;
    for (size_t i = 0; i < LANE_COUNT; i++) {
        struct pg_lane *l = &s->lanes[i];
        lane_tick(l, clock_mono_ms());
        lane_send(l);
        if (l->state != LANE_READY || s->fenced)
            lane_refuse(l);
    }
}

static struct store_op *poll(void *ctx)
{
    struct store_pg *s = ctx;
    if (s->done == NULL)
        pump(s, 0);
    return list_take(&s->done, &s->done_end);
}

static const struct problem *problem(void *ctx)
{
    const struct store_pg *s = ctx;
    return &s->problem;
}

static uint64_t size(void *ctx)
{
    const struct store_pg *s = ctx;
    return s->bytes;
}

/* Sleeps until something happens, or a lane is to be connected again. */
static void wait(void *ctx)
{
    struct store_pg *s = ctx;
    uint64_t now = clock_mono_ms();
    uint64_t until = now + WAIT_MS;
    for (size_t i = 0; i < LANE_COUNT; i++) {
        const struct pg_lane *l = &s->lanes[i];
        if (l->state == LANE_DOWN && !s->fenced && l->retry_ms < until)
            until = l->retry_ms;
    }
    if (s->done == NULL)
        pump(s, until > now ? (int)(until - now) : 0);
}

struct store store_pg_store(struct store_pg *s)
{
    return (struct store){.ctx = s,
                          .submit = submit,
                          .flush = flush,
                          .poll = poll,
                          .problem = problem,
                          .size = size,
                          .fd = s->epoll,
                          .wait = wait};
}

const struct store_pg_needs *store_pg_needs(const struct store_pg *s)
{
    return &s->needs;
}

/* --- opening --- */

static void lane_init(struct store_pg *s, unsigned number)
{
    struct pg_lane *l = &s->lanes[number];
    l->store = s;
    l->number = number;
    l->queue_end = &l->queue;
    l->flight_end = &l->flight;
    l->watched_fd = -1;
    l->backoff_ms = BACKOFF_MIN_MS;
    l->week = NO_WEEK;
    memcpy(l->owner, s->lanes[0].owner, OWNER_SIZE / 2);
    if (number < CHANNEL_LANES)
        l->walks[0].shard = (uint64_t)number * SHARDS / CHANNEL_LANES;
}

static bool lanes_are_ready(const struct store_pg *s)
{
    for (size_t i = 0; i < LANE_COUNT; i++)
        if (s->lanes[i].state != LANE_READY)
            return false;
    return true;
}

/* At the start, a lane that cannot be had is an error; later it is waited for.
 */
static enum err lanes_connect(struct store_pg *s)
{
    uint64_t end = clock_mono_ms() + CONNECT_MS;
    while (!lanes_are_ready(s)) {
        pump(s, (int)BACKOFF_MIN_MS);
        if (clock_mono_ms() >= end && s->problem.kind == PROBLEM_NONE)
            return problem_set(&s->problem, ERR_IO, PROBLEM_NETWORK,
                               "PostgreSQL does not answer");
        if (s->problem.kind != PROBLEM_NONE)
            return ERR_IO;
    }
    return OK;
}

static enum err open_all(struct store_pg *s,
                         const struct store_pg_config *config)
{
    CLEANUP(pg_conn_close) PGconn *conn = NULL;
    s->beside = config->beside;
    s->quotas = store_quotas_of(&config->quotas);
    s->done_end = &s->done;
    owner_fill(s->lanes[0].owner);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        lane_init(s, i);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0)
        return problem_system(&s->problem, "cannot watch the database");
    TRY(pg_connect(config->conninfo, &conn, &s->problem));
    TRY(pg_migrate(conn, config->existing, &s->problem));
    TRY(pg_remember(s, conn, &s->problem));
    return lanes_connect(s);
}

enum err store_pg_open(const struct store_pg_config *config,
                       struct problem *problem, struct store_pg **out)
{
    CLEANUP(store_pg_close) struct store_pg *s = mem_alloc(sizeof *s);
    if (s == NULL)
        return problem_set(problem, ERR_NOMEM, PROBLEM_SYSTEM, "no memory");
    s->epoll = -1;
    enum err err = open_all(s, config);
    if (err != OK) {
        if (problem != NULL)
            *problem = s->problem;
        return err;
    }
    *out = s;
    s = NULL; /* handed over */
    return OK;
}

/* Operations that are still here belong to the core, which frees them. */
void store_pg_close(struct store_pg **s)
{
    if (*s == NULL)
        return;
    for (size_t i = 0; i < LANE_COUNT; i++)
        PQfinish((*s)->lanes[i].conn);
    if ((*s)->epoll >= 0)
        (void)close((*s)->epoll);
    pg_forget(*s);
    mem_free(*s, sizeof **s);
    *s = NULL;
}

enum err store_pg_check(struct store_pg *s, struct problem *problem)
{
    CLEANUP(pg_conn_close) PGconn *conn = NULL;
    TRY(pg_connect_again(s, &conn, problem));
    return pg_verify(conn, problem);
}
