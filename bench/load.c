/* SPDX-License-Identifier: Apache-2.0 */
#include "load.h"

#include "account.h"
#include "report.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include "proto/derive.h"
#include "proto/entry.h"
#include "sys/clock.h"
#include "sys/loop.h"
#include "sys/stream.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define BODY_SIZE      1024U
#define BODY_MAX       2048U
#define AT_ONCE        16U /* connections that are being set up */
#define PATIENCE_S     300.0
#define LATENCIES_MAX  (1U << 21)
#define POW_TRIES      1024U
#define POW_BITS       1U
#define ID_TEXT        "bench %s %u"
#define CLIENT_MESSAGE (1U << 20)

struct client {
    struct load *load;
    struct stream *stream;
    struct deframer deframer;
    unsigned number;
    size_t step; /* in `steps`: which answer it waits for */
    bool ready;
    unsigned waiting;                /* for so many answers to appends */
    unsigned appends;                /* ever: names the next */
    unsigned left;                   /* in this run */
    double sent[LOAD_IN_FLIGHT_MAX]; /* when, by request id; 0: not under way */
    uint8_t channel[ID_SIZE];
    uint8_t sub[ID_SIZE];
    uint8_t cap[CAP_SIZE];
};

struct load {
    struct load_plan plan;
    struct crypto *crypto;
    struct loop *loop;
    struct streams *streams;
    struct stream_target target;
    struct client *clients;
    unsigned started;
    unsigned ready;
    unsigned waiting;
    bool running;
    unsigned turn; /* whose append is next, at a rate */
    double due;    /* how many were, in this run */
    double *latency;
    size_t appends;
    size_t pushed;
    struct buf body;    /* of every append */
    struct buf request; /* shared: on its way to a stream */
    struct buf frames;
    enum err err; /* the first failure, which ends all */
    struct problem problem;
};

static void fail(struct load *l, enum err err, const char *what)
{
    if (l->err != OK)
        return;
    l->err = err;
    (void)problem_set(&l->problem, err, PROBLEM_SYSTEM, "%s: %s", what,
                      err_text(err));
}

/* ---- Requests ---- */

static enum err send_bytes(struct client *c, uint32_t id)
{
    struct load *l = c->load;
    const struct message m = {FRAME_REQUEST, id, buf_bytes(&l->request)};
    l->frames.len = 0;
    TRY(frame_write(&l->frames, &m));
    return stream_send(c->stream, buf_bytes(&l->frames));
}

static enum err send_request(struct client *c, const struct request *q)
{
    c->load->request.len = 0;
    TRY(request_write(&c->load->request, q));
    return send_bytes(c, 0);
}

static struct access access_of(const struct client *c)
{
    return (struct access){BYTES_ARRAY(c->channel), BYTES_ARRAY(c->sub),
                           BYTES_ARRAY(c->cap)};
}

static const uint8_t client_nonce[NONCE_SIZE] = {1};

static enum err send_hello(struct client *c, const struct answer *a)
{
    bool identified = c->load->plan.identified;
    const struct request q = {
        .method = METHOD_HELLO,
        .hello = {.version = PROTOCOL_VERSION,
                  .lane = identified ? LANE_IDENTIFIED : LANE_ANONYMOUS,
                  .client_nonce = BYTES_ARRAY(client_nonce)}};
    (void)a;
    return send_request(c, &q);
}

static enum err send_register(struct client *c, const struct answer *a)
{
    uint8_t exporter[TLS_EXPORTER_SIZE];
    TRY(stream_exporter(c->stream, exporter));
    const struct session s = {.lane = LANE_IDENTIFIED,
                              .server_key = a->hello.server_key,
                              .client_nonce = BYTES_ARRAY(client_nonce),
                              .server_nonce = a->hello.server_nonce,
                              .exporter = BYTES_ARRAY(exporter)};
    c->load->request.len = 0;
    TRY(account_request(c->load->crypto, &s, c->number, &c->load->request));
    return send_bytes(c, 0);
}

static enum err send_create(struct client *c, const struct answer *a)
{
    struct crypto *crypto = c->load->crypto;
    const struct pow_task task = {POW_CHANNEL_CREATE, BYTES_ARRAY(c->channel),
                                  POW_BITS};
    struct request q = {.method = METHOD_CHANNEL_CREATE};
    uint8_t hash[CAP_SIZE];
    bool found = false;
    (void)a;
    q.channel_create.channel = BYTES_ARRAY(c->channel);
    q.channel_create.sub = BYTES_ARRAY(c->sub);
    q.channel_create.cap_hash = BYTES_ARRAY(hash);
    q.channel_create.pow.day =
        (uint32_t)(clock_wall_ms() / 1000 / SECONDS_OF_DAY);
    TRY(cap_hash(crypto, BYTES_ARRAY(c->cap), hash));
    TRY(pow_solve(crypto, &task, POW_TRIES, &q.channel_create.pow, &found));
    return found ? send_request(c, &q) : ERR_NOTFOUND;
}

static enum err send_attach(struct client *c, const struct answer *a)
{
    const struct request q = {.method = METHOD_ATTACH,
                              .attach = {access_of(c)}};
    (void)a;
    return send_request(c, &q);
}

static uint32_t free_id(const struct client *c)
{
    uint32_t id = 0;
    while (id < LOAD_IN_FLIGHT_MAX - 1 && c->sent[id] > 0)
        id++;
    return id;
}

static enum err send_append(struct client *c)
{
    struct load *l = c->load;
    uint8_t key[IDEMPOTENCY_KEY] = {0};
    uint32_t id = free_id(c);
    memcpy(key, &c->number, sizeof c->number);
    memcpy(key + sizeof c->number, &c->appends, sizeof c->appends);
    const struct request q = {.method = METHOD_APPEND,
                              .append = {.access = access_of(c),
                                         .kind = l->plan.ephemeral
                                                     ? ENTRY_EPHEMERAL
                                                     : ENTRY_APPLICATION,
                                         .idempotency_key = BYTES_ARRAY(key),
                                         .body = buf_bytes(&l->body)}};
    l->request.len = 0;
    TRY(request_write(&l->request, &q));
    TRY(send_bytes(c, id));
    c->appends++;
    c->left--;
    c->sent[id] = report_clock();
    c->waiting++;
    l->waiting++;
    return OK;
}

/* ---- From the first byte to ready ---- */

/* The same channel is made by each client that uses it: again is no error. */
static const struct step {
    enum err (*send)(struct client *c, const struct answer *last);
    bool anonymous;
    bool identified;
    bool only_attached;
} steps[] = {
    {send_hello, true, true, false},
    {send_register, false, true, false},
    {send_create, true, false, false},
    {send_attach, true, false, true},
};
#define STEPS (sizeof steps / sizeof steps[0])

static bool takes_step(const struct load_plan *plan, const struct step *s)
{
    return (plan->identified ? s->identified : s->anonymous) &&
           (plan->attach || !s->only_attached);
}

static void start_next(struct load *l);

static void go_on(struct client *c, const struct answer *last)
{
    struct load *l = c->load;
    while (c->step < STEPS && !takes_step(&l->plan, &steps[c->step]))
        c->step++;
    if (c->step < STEPS) {
        enum err err = steps[c->step].send(c, last);
        if (err != OK)
            fail(l, err, "cannot send");
        return;
    }
    c->ready = true;
    l->ready++;
    start_next(l);
}

static void on_up(void *ctx) { go_on(ctx, NULL); }

static void keep_sending(struct client *c)
{
    struct load *l = c->load;
    while (l->err == OK && l->running && l->plan.rate == 0 && c->left > 0 &&
           c->waiting < l->plan.in_flight) {
        enum err err = send_append(c);
        if (err != OK)
            fail(l, err, "cannot append");
    }
}

static void on_appended(struct client *c, uint32_t id)
{
    struct load *l = c->load;
    if (id >= LOAD_IN_FLIGHT_MAX || c->sent[id] == 0) {
        fail(l, ERR_MALFORMED, "an answer to nothing");
        return;
    }
    if (l->appends == LATENCIES_MAX) {
        fail(l, ERR_LIMIT, "too many appends in one run");
        return;
    }
    l->latency[l->appends++] = report_clock() - c->sent[id];
    c->sent[id] = 0;
    c->waiting--;
    l->waiting--;
    keep_sending(c);
}

static enum err on_answer(struct client *c, const struct message *m)
{
    struct answer a;
    TRY(answer_read(m->bytes, &a));
    if (a.status != STATUS_OK) {
        fail(c->load, ERR_INVALID, status_text((enum status)a.status));
        return OK;
    }
    if (c->ready) {
        on_appended(c, m->id);
    } else {
        c->step++;
        go_on(c, &a);
    }
    return OK;
}

static enum err on_data(void *ctx, struct bytes bytes)
{
    struct client *c = ctx;
    for (bool ready = true; ready;) {
        struct message m;
        TRY(deframer_next(&c->deframer, &bytes, &m, &ready));
        if (ready && m.kind == FRAME_ANSWER)
            TRY(on_answer(c, &m));
        else if (ready)
            c->load->pushed++;
    }
    return OK;
}

static void on_down(void *ctx, const struct problem *why)
{
    struct client *c = ctx;
    fail(c->load, ERR_IO,
         why->detail[0] != '\0' ? why->detail : "the server has closed");
}

static const struct stream_user user = {on_up, on_data, NULL, on_down};

/* ---- Opening ---- */

/* Each id is a hash: as random as real ones. */
static enum err id_make(struct crypto *c, const char *what, unsigned number,
                        uint8_t out[ID_SIZE])
{
    char text[64];
    (void)snprintf(text, sizeof text, ID_TEXT, what, number);
    return cap_hash(c, bytes_str(text), out);
}

static enum err client_start(struct load *l, unsigned i)
{
    struct client *c = &l->clients[i];
    unsigned channel = l->plan.first + i % l->plan.channels;
    *c = (struct client){.load = l,
                         .number = l->plan.first + i,
                         .deframer = deframer_new(CLIENT_MESSAGE)};
    TRY(id_make(l->crypto, "channel", channel, c->channel));
    TRY(id_make(l->crypto, "sub", channel, c->sub));
    TRY(id_make(l->crypto, "cap", channel, c->cap));
    return stream_connect(l->streams, &l->target, &user, c, &c->stream);
}

static void start_next(struct load *l)
{
    while (l->started < l->plan.clients && l->started < l->ready + AT_ONCE) {
        enum err err = client_start(l, l->started);
        if (err != OK) {
            fail(l, err, "cannot connect");
            return;
        }
        l->started++;
    }
}

/* What the server reads of a message: its header. The rest are zeros. */
static enum err body_make(struct buf *out)
{
    struct writer w = writer_to(out);
    writer_u16(&w, 1); /* mls10 */
    writer_u16(&w, 2); /* mls_private_message */
    writer_vec(&w, BYTES_LIT("group"));
    writer_u64(&w, 1); /* epoch */
    writer_u8(&w, ENTRY_APPLICATION);
    writer_vec(&w, (struct bytes){0});
    writer_vec(&w, BYTES_LIT("sender data"));
    static const uint8_t zeros[BODY_SIZE];
    /* the vector's own header takes two bytes */
    writer_vec(&w, (struct bytes){zeros, BODY_SIZE - out->len - 2});
    return writer_finish(&w);
}

static enum err load_set_up(struct load *l, struct problem *p)
{
    struct tls_context *context = NULL;
    TRY(crypto_create(&l->crypto));
    TRY(loop_create(&l->loop, p));
    TRY(streams_create(l->loop, &l->streams));
    TRY(tls_client_create(&context, p));
    l->target = (struct stream_target){
        .context = context,
        .peer = {.trust = TLS_TRUST_CALLER, .host = "localhost"}};
    TRY(net_resolve(&l->plan.server, &l->target.addresses, p));
    l->clients = mem_alloc(l->plan.clients * sizeof *l->clients);
    l->latency = mem_alloc(LATENCIES_MAX * sizeof *l->latency);
    if (l->clients == NULL || l->latency == NULL)
        return ERR_NOMEM;
    TRY(body_make(&l->body));
    assert(l->body.len == BODY_SIZE);
    return OK;
}

static enum err round_once(struct load *l, double end, struct problem *p)
{
    if (l->err == OK && report_clock() > end)
        fail(l, ERR_NOTFOUND, "the server takes too long");
    if (l->err != OK) {
        *p = l->problem;
        return l->err;
    }
    return loop_round(l->loop, l->plan.rate > 0 ? 1 : 100);
}

enum err load_open(const struct load_plan *plan, struct load **out,
                   struct problem *p)
{
    CLEANUP(load_close) struct load *l = mem_alloc(sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    l->plan = *plan;
    if (l->plan.in_flight == 0)
        l->plan.in_flight = 1;
    if (l->plan.senders == 0)
        l->plan.senders = plan->clients;
    assert(l->plan.in_flight <= LOAD_IN_FLIGHT_MAX);
    l->body = buf_new(BODY_MAX);
    l->request = buf_new(MESSAGE_MAX);
    l->frames = buf_new(frame_size(MESSAGE_MAX));
    TRY(load_set_up(l, p));
    start_next(l);
    double end = report_clock() + PATIENCE_S;
    while (l->ready < plan->clients)
        TRY(round_once(l, end, p));
    *out = l;
    l = NULL; /* handed over */
    return OK;
}

void load_close(struct load **load)
{
    struct load *l = *load;
    if (l == NULL)
        return;
    for (unsigned i = 0; l->clients != NULL && i < l->started; i++) {
        stream_free(&l->clients[i].stream);
        deframer_clear(&l->clients[i].deframer);
    }
    streams_free(&l->streams);
    tls_context_free(&l->target.context);
    loop_free(&l->loop);
    crypto_free(&l->crypto);
    mem_free(l->clients, l->plan.clients * sizeof *l->clients);
    mem_drop(l->latency);
    buf_clear(&l->body);
    buf_clear(&l->request);
    buf_clear(&l->frames);
    mem_free(l, sizeof *l);
    *load = NULL;
}

/* ---- Running ---- */

/* Sends what is due by now, whatever the answers to the last; what is late by
 * our own fault counts from when it was due. */
static void send_due(struct load *l, double start)
{
    assert(l->plan.rate > 0 && l->plan.senders > 0);
    double pause = 1.0 / l->plan.rate;
    while (l->err == OK && report_clock() >= start + l->due * pause) {
        struct client *c = &l->clients[l->turn++ % l->plan.senders];
        double due = start + l->due++ * pause;
        if (c->waiting >= LOAD_IN_FLIGHT_MAX || c->left == 0)
            continue; /* it cannot keep up */
        uint32_t id = free_id(c);
        enum err err = send_append(c);
        if (err != OK)
            fail(l, err, "cannot append");
        c->sent[id] = due;
    }
}

enum err load_run(struct load *load, double seconds, unsigned each,
                  struct load_result *out, struct problem *p)
{
    double start = report_clock();
    load->appends = load->pushed = 0;
    load->running = true;
    for (unsigned i = 0; i < load->plan.senders; i++) {
        load->clients[i].left = each > 0 ? each : UINT_MAX;
        keep_sending(&load->clients[i]);
    }
    load->due = 0;
    while (load->waiting > 0 || (load->plan.rate > 0 && load->running)) {
        load->running = report_clock() < start + seconds;
        if (load->running && load->plan.rate > 0)
            send_due(load, start);
        TRY(round_once(load, start + seconds + PATIENCE_S, p));
    }
    load->running = false;
    *out = (struct load_result){.appends = load->appends,
                                .pushed = load->pushed,
                                .seconds = report_clock() - start,
                                .latency = load->latency};
    return OK;
}

enum err load_rest(struct load *load, double seconds, struct problem *p)
{
    double end = report_clock() + seconds;
    while (report_clock() < end)
        TRY(round_once(load, end + PATIENCE_S, p));
    return OK;
}
