/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include "base/mem.h"
#include "crypto/hash.h"
#include "crypto/sign.h"
#include "insider.h"
#include "proto/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START                1800000000000U /* ms since 1970 */
#define SKEW_MAX             (3U * MINUTE)
#define CALM_DELAY           40U
#define NARROW_SUBSCRIPTIONS 3U
#define NARROW_BYTES         20000U
#define HAPPENINGS_MAX       500000U
#define ROUGH_DELAY          4000U
#define DEVICE_LOG_KIB       256U /* small, so that it goes into the file often */

enum what {
    TO_SERVER,
    TO_CLIENT,
    CONNECT,
    LANE_DOWN, /* the device learns that its connection has gone */
    CONN_GONE, /* the server learns it */
    TICK,
    FLUSH,
    DEVICE_START,
    SERVER_START,
    ENROL,
    LIFE,
};

/* Something that will happen. */
struct happening {
    uint64_t at;
    uint64_t order; /* among those of one moment */
    enum what what;
    unsigned device;
    size_t lane;
    uint32_t conn;
    uint8_t kind;
    uint32_t id;
    struct buf message;
};

/* The world has no memory faults: those are for the tests of each module. */
static void *need(void *block)
{
    if (block == NULL)
        abort();
    return block;
}

static void must(enum err err)
{
    if (err == OK)
        return;
    printf("# the world itself failed: %s\n", err_text(err));
    abort();
}

uint64_t world_random(struct world *w, uint64_t n)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random >> 11) % n;
}

bool world_chance(struct world *w, uint64_t n)
{
    return world_random(w, n) == 0;
}

void world_meet(struct world *w, enum point point) { w->points[point]++; }

void world_trace(const struct world *w, const char *format, ...)
{
    va_list args;
    if (!w->trace)
        return;
    printf("# %10.3f ", (double)(w->now - START) / SECOND);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void world_fail(struct world *w, const char *format, ...)
{
    va_list args;
    w->failed++;
    printf("# seed %llu: ", (unsigned long long)w->seed);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

/* --- What is to come ----------------------------------------------------- */

static bool sooner(const struct happening *a, const struct happening *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_up(struct world *w, size_t i)
{
    for (; i > 0 && sooner(w->heap[i], w->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        struct happening *h = w->heap[i];
        w->heap[i] = w->heap[(i - 1) / 2];
        w->heap[(i - 1) / 2] = h;
    }
}

static void heap_down(struct world *w)
{
    for (size_t i = 0, child; (child = 2 * i + 1) < w->heap_len; i = child) {
        if (child + 1 < w->heap_len &&
            sooner(w->heap[child + 1], w->heap[child]))
            child++;
        if (!sooner(w->heap[child], w->heap[i]))
            return;
        struct happening *h = w->heap[i];
        w->heap[i] = w->heap[child];
        w->heap[child] = h;
    }
}

static struct happening *plan(struct world *w, uint64_t at, enum what what)
{
    struct happening *h = need(calloc(1, sizeof(*h)));
    h->at = at > w->now ? at : w->now;
    h->order = w->next_order++;
    h->what = what;
    h->message = buf_new(SIZE_MAX);
    if (w->heap_len == w->heap_cap) {
        w->heap_cap = w->heap_cap > 0 ? 2 * w->heap_cap : 64;
        w->heap =
            need(realloc(w->heap, w->heap_cap * sizeof(struct happening *)));
    }
    w->heap[w->heap_len++] = h;
    heap_up(w, w->heap_len - 1);
    return h;
}

static struct happening *take(struct world *w)
{
    struct happening *h = w->heap[0];
    w->heap[0] = w->heap[--w->heap_len];
    heap_down(w);
    return h;
}

static void happening_free(struct happening *h)
{
    buf_clear(&h->message);
    free(h);
}

/* --- Crash points -------------------------------------------------------- */

static bool at_point(struct world *w, bool server, const char *name,
                     enum sql_point side, bool *crash)
{
    size_t point = point_of_crash(server, name, side);
    if (point == POINTS_MAX) {
        world_fail(w, "unknown transaction '%s': add it to points.c", name);
        return true;
    }
    bool focus = point_transaction(point) == w->focus && w->focus_left > 0;
    if (w->calm || w->crash == 0 || !world_chance(w, focus ? 2 : w->crash))
        return true;
    w->focus_left -= focus;
    w->points[point]++;
    world_trace(w, "crash %s commit of '%s'",
                side == SQL_BEFORE_COMMIT ? "before" : "after", name);
    *crash = true;
    return false;
}

static bool device_point(void *ctx, const char *name, enum sql_point side)
{
    struct device *d = ctx;
    bool go_on = at_point(d->world, false, name, side, &d->crash_now);
    if (d->crash_now)
        disk_cut(d->disk);
    return go_on;
}

static bool server_point(void *ctx, const char *name, enum sql_point side)
{
    struct world *w = ctx;
    bool go_on = at_point(w, true, name, side, &w->server.crash_now);
    if (w->server.crash_now)
        disk_cut(w->server.disk);
    return go_on;
}

/* --- The network --------------------------------------------------------- */

static uint64_t delay(struct world *w)
{
    uint64_t most = w->calm || !world_chance(w, 8) ? CALM_DELAY : ROUGH_DELAY;
    return 1 + world_random(w, most);
}

static struct link *link_of(struct world *w, uint32_t conn,
                            struct device **out_device, size_t *out_lane)
{
    for (unsigned i = 0; i < w->device_count; i++) {
        for (size_t lane = 0; lane < LANES_MAX; lane++) {
            struct link *l = &w->devices[i].links[lane];
            if (l->up && l->conn == conn) {
                *out_device = &w->devices[i];
                *out_lane = lane;
                return l;
            }
        }
    }
    return NULL;
}

/* Each end learns of it in its own time; what is under way gets lost. */
static void cut(struct world *w, struct device *d, size_t lane)
{
    struct link *l = &d->links[lane];
    if (!l->up)
        return;
    world_trace(w, "%s: lane %zu is cut", d->name, lane);
    world_meet(w, POINT_CUT);
    l->up = false;
    plan(w, w->now + delay(w), CONN_GONE)->conn = l->conn;
    struct happening *h = plan(w, w->now + delay(w), LANE_DOWN);
    h->device = d->index;
    h->lane = lane;
    h->conn = l->conn;
    l->connecting = true;
    l->leaving = true; /* until the device knows */
}

void device_cut(struct world *w, struct device *d)
{
    cut(w, d, world_random(w, LANES_MAX));
}

static void send(struct world *w, struct device *d, size_t lane,
                 const struct client_output *out)
{
    struct link *l = &d->links[lane];
    uint64_t at = w->now + delay(w);
    l->to_server = at > l->to_server ? at : l->to_server;
    struct happening *h = plan(w, l->to_server, TO_SERVER);
    h->conn = l->conn;
    h->kind = out->kind;
    h->id = out->id;
    must(buf_append(&h->message, buf_bytes(&out->message)));
    if (!w->calm && world_chance(w, 400))
        cut(w, d, lane);
}

static void reply(struct world *w, const struct core_output *out)
{
    struct device *d = NULL;
    size_t lane = 0;
    struct link *l = link_of(w, out->conn, &d, &lane);
    if (l == NULL)
        return;
    if (out->kind == FRAME_ANSWER && !out->close && out->id == l->unheard) {
        l->unheard = 0;
        return;
    }
    if (out->close) {
        cut(w, d, lane);
        return;
    }
    uint64_t at = w->now + delay(w);
    l->to_client = at > l->to_client ? at : l->to_client;
    struct happening *h = plan(w, l->to_client, TO_CLIENT);
    h->conn = l->conn;
    h->kind = out->kind;
    h->id = out->id;
    must(buf_append(&h->message, out->message));
    if (!w->calm && world_chance(w, 400))
        cut(w, d, lane);
}

/* --- Devices ------------------------------------------------------------- */

uint64_t device_time(const struct world *w, const struct device *d)
{
    return (uint64_t)((int64_t)w->now + d->skew);
}

void device_start(struct world *w, struct device *d)
{
    struct problem problem = {0};
    CLEANUP(secret_clear) struct secret key = {0};
    uint8_t raw[SQL_KEY_SIZE] = {(uint8_t)d->index};
    must(secret_set(&key, BYTES_ARRAY(raw)));
    /* Encryption changes nothing about order, so few runs pay for it. */
    struct sql_config config = {.path = "client.db",
                                .vfs = d->name,
                                .key = w->seed % 16 == 0 ? &key : NULL,
                                .log_kib = DEVICE_LOG_KIB,
                                .exclusive = true};
    enum err err = sql_open(&config, &problem, &d->db);
    if (err != OK) {
        world_fail(w, "%s: cannot open its store: %s", d->name, problem.detail);
        return;
    }
    struct sql_hook hook = {device_point, d};
    struct client_settings settings = {.crypto = w->crypto,
                                       .random = &w->source,
                                       .db = d->db,
                                       .key_packages = 3};
    sql_set_hook(d->db, hook);
    err = client_create(&settings, device_time(w, d), &d->client);
    if (err != OK && !d->crash_now)
        world_fail(w, "%s: cannot start: %s", d->name, err_text(err));
    world_trace(w, "%s: started", d->name);
    device_pump(w, d);
}

static void counters_add(struct client_counters *to, struct client_counters c)
{
    to->behind += c.behind;
    to->retried += c.retried;
    to->lost_races += c.lost_races;
    to->rejoins += c.rejoins;
    to->skipped += c.skipped;
    to->duplicates += c.duplicates;
}

void device_stop(struct world *w, struct device *d)
{
    if (d->client != NULL)
        counters_add(&d->counters, client_counters(d->client));
    client_free(&d->client);
    sql_close(&d->db);
    d->crash_now = false;
    for (size_t lane = 0; lane < LANES_MAX; lane++) {
        struct link *l = &d->links[lane];
        if (l->up)
            plan(w, w->now + delay(w), CONN_GONE)->conn = l->conn;
        *l = (struct link){0};
    }
}

void device_crash(struct world *w, struct device *d)
{
    world_trace(w, "%s: crashes", d->name);
    world_meet(w, POINT_DEVICE_CRASH);
    disk_cut(d->disk);
    device_stop(w, d);
    disk_restart(d->disk);
    d->down_until = w->now + SECOND + world_random(w, 2 * MINUTE);
    plan(w, d->down_until, DEVICE_START)->device = d->index;
}

/* What only certain faults may cause. */
static bool is_expected(const struct world *w, const struct device *d,
                        const struct client_event *e)
{
    bool old_server = w->server.restored;
    switch ((int)e->kind) {
    case CLIENT_REGISTER_FAILED:
        return d->misled;
    case CLIENT_SERVER_RESTORED:
        return old_server || w->theme == THEME_AWAY; /* for want of use */
    case CLIENT_STORE_OLD:
        return d->restored;
    case CLIENT_ENTRY_SKIPPED:
        return d->restored || (old_server && e->conversation == 0) ||
               (w->theme == THEME_LIAR &&
                strstr(e->detail, "key was used already") != NULL);
    case CLIENT_REJOIN:
        return old_server || strstr(e->detail, "cannot apply") == NULL;
    case CLIENT_SERVER_UNKNOWN:
    case CLIENT_SERVER_VERSION:
    case CLIENT_ACCOUNT_FROZEN:
    case CLIENT_LOGIN_FAILED:
        return false;
    case CLIENT_SERVER_BROKEN: /* as it says another thing than before */
    case CLIENT_LOG_MISMATCH:
        return w->theme == THEME_LIAR;
    default:
        return true;
    }
}

void device_restart(struct world *w, struct device *d)
{
    device_stop(w, d);
    device_start(w, d);
}

void device_vanish(struct world *w, struct device *d)
{
    world_trace(w, "%s: is never seen again", d->name);
    world_meet(w, POINT_VANISHED);
    device_stop(w, d);
    d->gone = true;
}

static void take_event(struct world *w, struct device *d,
                       const struct client_event *e)
{
    world_trace(w, "%s: %s conversation %lld message %lld %s", d->name,
                client_event_name(e->kind), (long long)e->conversation,
                (long long)e->message, e->detail);
    if (!insider_explains(w, d, e) && !is_expected(w, d, e))
        world_fail(w, "%s: %s %s", d->name, client_event_name(e->kind),
                   e->detail);
    if (e->kind == CLIENT_REJOIN && w->insider != NULL)
        world_cut_off(w, d, e->conversation);
    if (e->kind == CLIENT_REGISTER_FAILED)
        world_meet(w, POINT_NOT_REGISTERED);
    if (e->kind == CLIENT_REJOINED)
        world_meet(w, POINT_REJOINED);
}

static void connect_at(struct world *w, struct device *d, size_t lane,
                       uint64_t at)
{
    struct happening *h = plan(w, at, CONNECT);
    h->device = d->index;
    h->lane = lane;
    d->links[lane].connecting = true;
}

static void lanes_pump(struct world *w, struct device *d)
{
    for (size_t lane = 0; lane < client_lane_count(d->client); lane++) {
        struct client_lane wish = client_lane_at(d->client, lane);
        struct link *l = &d->links[lane];
        if (lane >= LANES_MAX) {
            world_fail(w, "%s: lane %zu is one too many", d->name, lane);
            return;
        }
        if (!wish.wanted && l->up)
            cut(w, d, lane);
        if (!wish.wanted || l->up || l->connecting)
            continue;
        connect_at(w, d, lane,
                   w->now + 1 +
                       world_random(w, wish.reconnect_ms + 3 * SECOND));
    }
}

void device_reconnect(struct world *w, struct device *d)
{
    for (size_t lane = 0; lane < LANES_MAX && d->client != NULL; lane++) {
        if (d->links[lane].connecting && !d->links[lane].leaving)
            connect_at(w, d, lane, w->now + 1);
    }
}

void device_pump(struct world *w, struct device *d)
{
    struct client_output out;
    struct client_event event;
    if (d->crash_now) {
        device_crash(w, d);
        return;
    }
    if (d->client == NULL)
        return;
    while (client_take_output(d->client, &out)) {
        if (!d->links[out.lane].up)
            world_trace(w, "%s: sends into a dead lane %zu", d->name, out.lane);
        else if (out.close)
            cut(w, d, out.lane);
        else
            send(w, d, out.lane, &out);
        buf_clear(&out.message);
    }
    while (client_take_event(d->client, &event))
        take_event(w, d, &event);
    lanes_pump(w, d);
    uint64_t deadline = client_deadline(d->client);
    if (deadline == UINT64_MAX)
        return;
    uint64_t at = (uint64_t)((int64_t)deadline - d->skew);
    if (at < w->now + 1)
        at = w->now + 1;
    if (d->next_tick <= w->now || at < d->next_tick) {
        d->next_tick = at;
        plan(w, at, TICK)->device = d->index;
    }
}

static void on_client_error(struct world *w, struct device *d, enum err err,
                            const char *call)
{
    if (err != OK && !d->crash_now)
        world_fail(w, "%s: %s: %s", d->name, call, err_text(err));
    device_pump(w, d);
}

static void device_connect(struct world *w, struct device *d, size_t lane)
{
    struct link *l = &d->links[lane];
    uint8_t exporter[CORE_EXPORTER_SIZE];
    if (!l->connecting || l->up || l->leaving)
        return; /* another attempt has come first */
    if (d->offline_until > w->now) {
        connect_at(w, d, lane, d->offline_until + world_random(w, 3 * SECOND));
        return;
    }
    l->connecting = false;
    if (w->server.core == NULL) {
        lanes_pump(w, d);
        return;
    }
    random_fill(&w->source, exporter, sizeof(exporter));
    l->up = true;
    l->conn = w->next_conn++;
    l->unheard = 0;
    l->to_server = l->to_client = w->now;
    must(core_open(w->server.core, l->conn, BYTES_ARRAY(exporter), d->index));
    on_client_error(w, d,
                    client_lane_up(d->client, lane, BYTES_ARRAY(exporter),
                                   device_time(w, d)),
                    "lane up");
}

/* --- The server ---------------------------------------------------------- */

/* A database outlives the server by itself, and its transactions are its own
 * affair: the server only crashes between its flushes (server_flush). */
static enum err server_open_pg(struct world *w, const char *conninfo,
                               const struct store_quotas *quotas,
                               struct problem *problem)
{
    struct server *s = &w->server;
    const struct store_pg_config config = {
        .conninfo = conninfo, .existing = s->made, .quotas = *quotas};
    if (!s->made)
        TRY(store_pg_erase(conninfo, problem));
    s->made = true;
    TRY(store_pg_open(&config, problem, &s->pg));
    s->store = store_pg_store(s->pg);
    return OK;
}

static enum err server_open_store(struct world *w,
                                  const struct store_sqlite_config *config,
                                  struct problem *problem)
{
    const char *pg = getenv("SOTTO_TEST_STORE");
    if (pg != NULL)
        return server_open_pg(w, pg, &config->quotas, problem);
    TRY(store_sqlite_open(config, problem, &w->server.sqlite));
    w->server.store = store_sqlite_store(w->server.sqlite);
    return OK;
}

static void server_close_store(struct server *s)
{
    store_sqlite_close(&s->sqlite);
    store_pg_close(&s->pg);
}

/* Until the store has done all: a simulation has no time in between. */
static void core_flush_all(struct world *w)
{
    struct server *s = &w->server;
    core_flush(s->core, w->now);
    while (core_is_waiting(s->core) && s->store.wait != NULL) {
        s->store.wait(s->store.ctx);
        core_flush(s->core, w->now);
    }
}

static void server_start(struct world *w)
{
    struct problem problem = {0};
    struct server *s = &w->server;
    struct store_sqlite_config config = {
        .dir = "server",
        .vfs = "server",
        .exclusive = true,
        .quotas = {.stranger_takes = UINT32_MAX, .stranger_items = UINT32_MAX},
        .hook = {server_point, w}};
    if (w->theme == THEME_NARROW) {
        config.quotas.subscriptions = NARROW_SUBSCRIPTIONS;
        config.quotas.channel_bytes = NARROW_BYTES;
    }
    enum err err = server_open_store(w, &config, &problem);
    if (s->crash_now) {
        server_crash(w);
        return;
    }
    if (err != OK) {
        world_fail(w, "server: cannot open its store: %s", problem.detail);
        return;
    }
    struct core_parts parts = {
        .crypto = w->crypto,
        .random = &w->source,
        .store = &s->store,
        .server_key = &w->server_key,
        .config = {.open_registration = w->theme != THEME_ENROL,
                   .pow_bits = 1,
                   .reconnect_delay_ms = 2 * SECOND,
                   .limits = {.subscription_appends = UINT32_MAX,
                              .subscription_commits = UINT32_MAX,
                              .subscription_bytes = UINT32_MAX,
                              .channel_appends = UINT32_MAX,
                              .channel_commits = UINT32_MAX,
                              .channel_bytes = UINT32_MAX,
                              .remote_requests = UINT32_MAX,
                              .remote_stranger_tasks = UINT32_MAX}},
    };
    must(core_create(&parts, &s->core));
    struct digest id;
    must(hash(w->crypto, HASH_SHA256, PARTS(core_public_key(s->core)), &id));
    memcpy(s->key_hash, id.data, sizeof s->key_hash);
    world_trace(w, "server: started");
}

void server_crash(struct world *w)
{
    struct server *s = &w->server;
    world_trace(w, "server: crashes");
    world_meet(w, POINT_SERVER_CRASH);
    disk_cut(s->disk);
    core_free(&s->core);
    server_close_store(s);
    disk_restart(s->disk);
    s->crash_now = false;
    s->flush_planned = false;
    for (unsigned i = 0; i < w->device_count; i++) {
        for (size_t lane = 0; lane < LANES_MAX; lane++)
            cut(w, &w->devices[i], lane);
    }
    w->full = false; /* its operator makes room before starting it */
    disk_set_full(s->disk, false);
    s->down_until = w->now + SECOND + world_random(w, MINUTE);
    plan(w, s->down_until, SERVER_START);
}

static void server_flush(struct world *w)
{
    struct server *s = &w->server;
    struct core_output out;
    s->flush_planned = false;
    if (s->core == NULL)
        return;
    if (s->pg == NULL || server_point(w, "channels", SQL_BEFORE_COMMIT))
        core_flush_all(w);
    if (s->pg != NULL && !s->crash_now) /* stored, and nobody was told */
        (void)server_point(w, "channels", SQL_AFTER_COMMIT);
    if (s->crash_now) {
        server_crash(w);
        return;
    }
    while (core_take(s->core, &out)) {
        reply(w, &out);
        core_output_clear(&out);
    }
}

/* Answers in the server's stead; true: the core shall not have the request. */
static bool lies(struct world *w, struct device *d, struct link *l,
                 const struct happening *h)
{
    CLEANUP(buf_clear) struct buf answer = buf_new(MESSAGE_MAX);
    bool taken = l->unheard == 0;
    if (h->kind != FRAME_REQUEST ||
        !fault_lie(w, d, buf_bytes(&h->message), &answer, &taken))
        return false;
    reply(w, &(struct core_output){.conn = h->conn,
                                   .kind = FRAME_ANSWER,
                                   .id = h->id,
                                   .message = buf_bytes(&answer)});
    if (taken)
        l->unheard = h->id;
    return !taken;
}

static void server_take(struct world *w, const struct happening *h)
{
    struct server *s = &w->server;
    struct device *d = NULL;
    size_t lane = 0;
    if (s->core == NULL)
        return;
    /* A cut connection may still deliver what was on its way. */
    struct link *l = link_of(w, h->conn, &d, &lane);
    if (l == NULL ? world_chance(w, 2) : lies(w, d, l, h))
        return;
    core_message(s->core, h->conn, h->kind, h->id, buf_bytes(&h->message),
                 w->now);
    if (!s->flush_planned) {
        s->flush_planned = true;
        plan(w, w->now + world_random(w, 5), FLUSH);
    }
}

/* --- Asking at once ------------------------------------------------------ */

static void ask(struct world *w, uint32_t conn, struct request *q,
                struct buf *room, struct answer *out)
{
    struct core_output o;
    CLEANUP(buf_clear) struct buf message = buf_new(MESSAGE_MAX);
    bool answered = false;
    must(request_write(&message, q));
    core_message(w->server.core, conn, FRAME_REQUEST, 1, buf_bytes(&message),
                 w->now);
    core_flush_all(w);
    while (core_take(w->server.core, &o)) {
        if (o.conn != conn) {
            reply(w, &o);
        } else if (o.kind == FRAME_ANSWER && !o.close) {
            must(buf_copy(room, o.message));
            answered = true;
        }
        core_output_clear(&o);
    }
    must(answered ? answer_read(buf_bytes(room), out) : ERR_STATE);
}

bool world_ask(struct world *w, struct request *q, struct buf *room,
               struct answer *out)
{
    uint8_t nonce[NONCE_SIZE] = {1};
    struct request hello = {
        .method = METHOD_HELLO,
        .hello = {PROTOCOL_VERSION, LANE_ANONYMOUS, BYTES_ARRAY(nonce)}};
    unsigned crash = w->crash;
    uint32_t conn = w->next_conn;
    if (w->server.core == NULL)
        return false;
    w->next_conn++;
    w->crash = 0; /* not while somebody waits for it */
    must(core_open(w->server.core, conn, (struct bytes){0}, DEVICES_MAX));
    ask(w, conn, &hello, room, out);
    ask(w, conn, q, room, out);
    core_close(w->server.core, conn);
    w->crash = crash;
    return true;
}

/* --- Time ---------------------------------------------------------------- */

static void client_take(struct world *w, const struct happening *h)
{
    struct device *d = NULL;
    size_t lane = 0;
    if (link_of(w, h->conn, &d, &lane) == NULL)
        return;
    on_client_error(w, d,
                    client_receive(d->client, lane, h->kind, h->id,
                                   buf_bytes(&h->message), device_time(w, d)),
                    "receive");
}

static void lane_down(struct world *w, struct device *d,
                      const struct happening *h)
{
    struct link *l = &d->links[h->lane];
    if (l->up || l->conn != h->conn || d->client == NULL)
        return;
    l->connecting = l->leaving = false;
    client_lane_down(d->client, h->lane, device_time(w, d));
    device_pump(w, d);
}

static void tick(struct world *w, struct device *d)
{
    if (d->client == NULL)
        return;
    if (client_deadline(d->client) <= device_time(w, d))
        on_client_error(w, d, client_tick(d->client, device_time(w, d)),
                        "tick");
    else
        device_pump(w, d);
}

static void happen(struct world *w, const struct happening *h)
{
    struct device *d = &w->devices[h->device];
    switch (h->what) {
    case TO_SERVER:
        server_take(w, h);
        break;
    case TO_CLIENT:
        client_take(w, h);
        break;
    case CONNECT:
        if (d->client != NULL)
            device_connect(w, d, h->lane);
        break;
    case LANE_DOWN:
        lane_down(w, d, h);
        break;
    case CONN_GONE:
        if (w->server.core != NULL)
            core_close(w->server.core, h->conn);
        break;
    case TICK:
        tick(w, d);
        break;
    case FLUSH:
        server_flush(w);
        break;
    case DEVICE_START:
        if (d->client == NULL && !d->gone)
            device_start(w, d);
        break;
    case SERVER_START:
        if (w->server.core == NULL)
            server_start(w);
        break;
    case ENROL:
        life_enrol(w, d);
        break;
    case LIFE:
        life_step(w, d);
        break;
    }
}

void world_run(struct world *w, uint64_t until)
{
    while (w->heap_len > 0 && w->heap[0]->at <= until && w->failed == 0) {
        struct happening *h = take(w);
        w->now = h->at;
        happen(w, h);
        happening_free(h);
        if (++w->happened == HAPPENINGS_MAX)
            world_fail(w, "somebody does the same again and again");
    }
    if (w->now < until)
        w->now = until;
}

void device_enrol_at(struct world *w, struct device *d, uint64_t at)
{
    plan(w, at, ENROL)->device = d->index;
}

void life_at(struct world *w, struct device *d, uint64_t at)
{
    plan(w, at, LIFE)->device = d->index;
}

/* --- Making -------------------------------------------------------------- */

enum err world_create(uint64_t seed, bool trace, uint64_t *points,
                      struct world **out)
{
    struct world *w = need(calloc(1, sizeof(*w)));
    w->seed = seed;
    w->trace = trace;
    w->points = points;
    w->began = w->now = START + seed % DAY;
    w->random = (seed + 1) * 0x9e3779b97f4a7c15U;
    w->next_conn = 1;
    w->heard.body = buf_new(MESSAGE_MAX);
    entropy_seed(&w->entropy, seed);
    w->source = entropy_of(&w->entropy);
    must(crypto_create(&w->crypto));
    secret_random(&w->server_key, 32, &w->source);
    must(disk_create("server", seed, &w->server.disk));
    w->device_count = 2 + (unsigned)world_random(w, DEVICES_MAX - 2);
    life_choose(w);
    server_start(w);
    for (unsigned i = 0; i < w->device_count; i++) {
        struct device *d = &w->devices[i];
        d->world = w;
        d->index = i;
        (void)snprintf(d->name, sizeof(d->name), "device%u", i);
        d->skew = (int64_t)world_random(w, 2 * SKEW_MAX) - (int64_t)SKEW_MAX;
        must(disk_create(d->name, seed + i + 1, &d->disk));
        device_start(w, d);
        device_enrol_at(w, d, w->now + 1 + world_random(w, 5 * SECOND));
    }
    *out = w;
    return OK;
}

void world_free(struct world **pw)
{
    struct world *w = *pw;
    if (w == NULL)
        return;
    for (unsigned i = 0; i < w->device_count; i++) {
        device_stop(w, &w->devices[i]);
        disk_free(&w->devices[i].disk);
    }
    core_free(&w->server.core);
    server_close_store(&w->server);
    disk_free(&w->server.disk);
    while (w->heap_len > 0)
        happening_free(take(w));
    free(w->heap);
    buf_clear(&w->heard.body);
    crypto_free(&w->crypto);
    secret_clear(&w->server_key);
    free(w);
    *pw = NULL;
}
