/* SPDX-License-Identifier: Apache-2.0 */
#include "client/state.h"

#include "base/mem.h"
#include "client/pump.h"
#include "client/schema.h"

#include <stdio.h>
#include <string.h>

_Static_assert((enum err)SOTTO_OK == OK &&
                   (enum err)SOTTO_ERR_NOMEM == ERR_NOMEM &&
                   (enum err)SOTTO_ERR_IO == ERR_IO,
               "the library's codes are ours");

enum err err_of_sotto(enum sotto_err err)
{
    /* A usage error would be our own mistake. */
    return err == SOTTO_ERR_USAGE ? ERR_INVALID : (enum err)err;
}

struct sotto_bytes to_sotto(struct bytes b)
{
    return (struct sotto_bytes){b.data, b.len};
}

struct bytes from_sotto(struct sotto_bytes b)
{
    return (struct bytes){b.data, b.len};
}

struct bytes from_sotto_buf(const struct sotto_buf *b)
{
    return (struct bytes){b->data, b->len};
}

enum err sha256(struct client *c, struct parts parts, uint8_t out[HASH256_SIZE])
{
    struct digest d = {0};
    TRY(hash(c->crypto, HASH_SHA256, parts, &d));
    memcpy(out, d.data, HASH256_SIZE);
    return OK;
}

/* --- life --- */

enum err client_create(const struct client_settings *settings, uint64_t now,
                       struct client **out)
{
    CLEANUP(client_free) struct client *c = mem_alloc(sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->crypto = settings->crypto;
    c->random = settings->random;
    c->db = settings->db;
    c->key_packages =
        settings->key_packages > 0 ? settings->key_packages : KEY_PACKAGES;
    c->outputs_end = &c->outputs;
    c->events_end = &c->events;
    c->now = now;
    struct sotto_random random = {c->random->fill, c->random->ctx};
    TRY(err_of_sotto(sotto_mls_create(random, &c->mls)));
    TRY(schema_migrate(c->db));
    TRY(store_load(c));
    TRY(pump(c));
    *out = c;
    c = NULL; /* handed over */
    return OK;
}

void client_free(struct client **c)
{
    if (*c == NULL)
        return;
    store_unload(*c);
    sotto_mls_free(&(*c)->mls);
    mem_free(*c, sizeof **c);
    *c = NULL;
}

/* --- queues --- */

static const char *const event_names[CLIENT_EVENT_KINDS] = {
    [CLIENT_REGISTERED] = "registered",
    [CLIENT_REGISTER_FAILED] = "register-failed",
    [CLIENT_SERVER_UNKNOWN] = "server-unknown",
    [CLIENT_SERVER_VERSION] = "server-version",
    [CLIENT_SERVER_BROKEN] = "server-broken",
    [CLIENT_LOGIN_FAILED] = "login-failed",
    [CLIENT_MESSAGE] = "message",
    [CLIENT_ACCEPTED] = "accepted",
    [CLIENT_SEND_FAILED] = "send-failed",
    [CLIENT_CONVERSATION] = "conversation",
    [CLIENT_MEMBER_JOINED] = "member-joined",
    [CLIENT_MEMBER_LEFT] = "member-left",
    [CLIENT_COMMAND_FAILED] = "command-failed",
    [CLIENT_ENTRY_SKIPPED] = "entry-skipped",
    [CLIENT_LOG_MISMATCH] = "log-mismatch",
    [CLIENT_SERVER_RESTORED] = "server-restored",
    [CLIENT_STORE_OLD] = "store-old",
    [CLIENT_REJOIN] = "rejoin",
    [CLIENT_REJOINED] = "rejoined",
    [CLIENT_ACCOUNT_FROZEN] = "account-frozen",
};

const char *client_event_name(enum client_event_kind kind)
{
    return kind < CLIENT_EVENT_KINDS ? event_names[kind] : "unknown";
}

enum err client_emit(struct client *c, const struct client_event *e)
{
    struct event_node *n = mem_alloc(sizeof *n);
    if (n == NULL)
        return ERR_NOMEM;
    n->event = *e;
    *c->events_end = n;
    c->events_end = &n->next;
    return OK;
}

enum err client_note(struct client *c, enum client_event_kind kind,
                     const char *detail)
{
    struct client_event e = {.kind = kind};
    (void)snprintf(e.detail, sizeof e.detail, "%s", detail);
    return client_emit(c, &e);
}

enum err lane_note(struct client *c, const struct lane_state *l,
                   enum client_event_kind kind, const char *what)
{
    struct client_event e = {.kind = kind};
    (void)snprintf(e.detail, sizeof e.detail, "%.64s %s", l->server->address,
                   what);
    return client_emit(c, &e);
}

bool client_take_event(struct client *c, struct client_event *out)
{
    struct event_node *n = c->events;
    if (n == NULL)
        return false;
    c->events = n->next;
    if (c->events == NULL)
        c->events_end = &c->events;
    *out = n->event;
    mem_free(n, sizeof *n);
    return true;
}

static enum err output_push(struct client *c, const struct client_output *o)
{
    struct output_node *n = mem_alloc(sizeof *n);
    if (n == NULL)
        return ERR_NOMEM;
    n->output = *o;
    *c->outputs_end = n;
    c->outputs_end = &n->next;
    return OK;
}

enum err client_output_add(struct client *c, struct lane_state *l, uint32_t id,
                           struct buf *message)
{
    struct client_output o = {.lane = l->number,
                              .kind = FRAME_REQUEST,
                              .id = id,
                              .message = *message};
    TRY(output_push(c, &o));
    *message = (struct buf){0}; /* handed over */
    return OK;
}

bool client_take_output(struct client *c, struct client_output *out)
{
    struct output_node *n = c->outputs;
    if (n == NULL)
        return false;
    c->outputs = n->next;
    if (c->outputs == NULL)
        c->outputs_end = &c->outputs;
    *out = n->output;
    mem_free(n, sizeof *n);
    return true;
}

bool client_due(struct client *c, uint64_t at)
{
    if (at <= c->now)
        return true;
    if (at < c->deadline)
        c->deadline = at;
    return false;
}

uint64_t client_jitter(struct client *c, uint64_t span)
{
    uint8_t raw[8];
    random_fill(c->random, raw, sizeof raw);
    uint64_t v = 0;
    for (size_t i = 0; i < sizeof raw; i++)
        v = v << 8 | raw[i];
    return span == 0 ? 0 : v % span;
}

uint64_t client_deadline(const struct client *c) { return c->deadline; }

struct client_counters client_counters(const struct client *c)
{
    return c->counters;
}

/* --- lanes --- */

size_t client_lane_count(const struct client *c) { return c->lane_count; }

static struct lane_state *lane_at(const struct client *c, size_t number)
{
    struct lane_state *l = c->lanes;
    while (l != NULL && l->number != number)
        l = l->next;
    return l;
}

struct client_lane client_lane_at(const struct client *c, size_t lane)
{
    const struct lane_state *l = lane_at(c, lane);
    if (l == NULL)
        return (struct client_lane){0};
    const struct server *s = l->server;
    return (struct client_lane){
        .address = s->address,
        .kind = l->kind,
        .trust = s->has_key ? CLIENT_TRUST_KEY : s->trust,
        .fingerprint = ID_BYTES(s->fingerprint),
        .wanted = c->profile.state == PROFILE_READY ||
                  c->profile.state == PROFILE_REGISTERING,
        .ready = l->phase == LANE_READY,
        .reconnect_ms = l->reconnect_ms,
    };
}

static void lane_reset(struct client *c, struct lane_state *l)
{
    l->phase = LANE_DOWN;
    for (struct call *k = l->calls, *next; k != NULL; k = next) {
        next = k->next;
        mem_free(k, sizeof *k);
    }
    l->calls = NULL;
    if (c->work.lane == l)
        c->work.lane = NULL;
    for (struct conv *cv = c->convs; cv != NULL; cv = cv->next) {
        if (l->kind == CLIENT_ANONYMOUS && cv->server == l->server)
            cv->attached = false;
    }
}

void lane_close(struct client *c, struct lane_state *l)
{
    lane_reset(c, l);
    /* Without memory for it the lane stays silent and its owner's timeout
     * ends it. */
    enum err err = output_push(
        c, &(struct client_output){.lane = l->number, .close = true});
    (void)err;
}

/* Fails a call into the machine: what was under way on the lane is not known
 * any more, so it begins again. */
static enum err lane_failed(struct client *c, struct lane_state *l,
                            enum err err)
{
    if (err != OK && l->phase != LANE_DOWN)
        lane_close(c, l);
    return err;
}

static enum err begin_input(struct client *c, uint64_t now)
{
    c->now = now;
    return store_reload(c);
}

enum err client_lane_up(struct client *c, size_t lane, struct bytes exporter,
                        uint64_t now)
{
    struct lane_state *l = lane_at(c, lane);
    if (l == NULL || (exporter.len != 0 && exporter.len != sizeof l->exporter))
        return ERR_INVALID;
    lane_reset(c, l);
    TRY(begin_input(c, now));
    if (exporter.len > 0)
        memcpy(l->exporter, exporter.data, exporter.len);
    l->exporter_len = exporter.len;
    return lane_failed(c, l, call_hello(c, l));
}

void client_lane_down(struct client *c, size_t lane, uint64_t now)
{
    struct lane_state *l = lane_at(c, lane);
    c->now = now;
    if (l != NULL)
        lane_reset(c, l);
}

enum err client_receive(struct client *c, size_t lane, uint8_t kind,
                        uint32_t id, struct bytes message, uint64_t now)
{
    struct lane_state *l = lane_at(c, lane);
    if (l == NULL || l->phase == LANE_DOWN)
        return OK; /* the end of a connection that we gave up */
    TRY(begin_input(c, now));
    enum err err = call_receive(c, l, kind, id, message);
    if (err == ERR_MALFORMED || err == ERR_INVALID || err == ERR_LIMIT) {
        lane_close(c, l);
        TRY(lane_note(c, l, CLIENT_SERVER_BROKEN,
                      "does not keep to the protocol: the connection was "
                      "closed"));
        err = OK;
    }
    TRY(lane_failed(c, l, err));
    pump_due(c);
    return OK;
}

enum err client_tick(struct client *c, uint64_t now)
{
    TRY(begin_input(c, now));
    return pump(c);
}
