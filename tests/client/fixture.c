/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const names[NODES] = {"alice", "bob", "carol", "dave"};

void world_end(struct world *w)
{
    for (size_t i = 0; i < NODES; i++) {
        client_free(&w->nodes[i].client);
        sql_close(&w->nodes[i].db);
    }
    core_free(&w->core);
    store_sqlite_close(&w->sqlite);
    secret_clear(&w->server_key);
    crypto_free(&w->crypto);
}

enum err node_start(struct world *w, struct node *n)
{
    struct client_settings settings = {.crypto = w->crypto,
                                       .random = &n->random,
                                       .db = n->db,
                                       .key_packages = 4};
    memset(n->conn, 0, sizeof n->conn);
    return client_create(&settings, w->now, &n->client);
}

/* The store as a crash at this commit leaves it. */
bool crash_hook(void *ctx, const char *name, enum sql_point point)
{
    struct node *n = ctx;
    (void)name;
    if (n->crash_in == 0 || (point == SQL_AFTER_COMMIT) != n->crash_after)
        return true;
    n->crash_in--;
    if (n->crash_in > 0)
        return true;
    n->crashed = true;
    return false;
}

static bool node_send(struct world *w, struct node *n);

void starve_begin(struct node *n)
{
    if (n->hunger == 0)
        return;
    n->hunger = n->hunger * 1664525U + 1013904223U;
    if (n->hunger >> 30 == 0) /* one call in four; most allocate little */
        mem_fail_after((n->hunger >> 8 & 0xffU) >> (n->hunger >> 16 & 7U));
}

bool starve_end(struct world *w, struct node *n, enum err err)
{
    mem_fail_after(1U << 30);
    if (n->hunger == 0 || err != ERR_NOMEM)
        return false;
    n->starved++;
    (void)node_send(w, n);
    node_cut(w, n);
    return true;
}

/* Passes an error on, unless it is one that was asked for: after a crash the
 * client begins again from what was durable. */
static enum err survive(struct world *w, struct node *n, enum err err)
{
    if (starve_end(w, n, err))
        return OK;
    if (!n->crashed)
        return err;
    n->crashed = false;
    node_cut(w, n);
    client_free(&n->client);
    sql_close(&n->db);
    TRY(sql_open(&(struct sql_config){.path = n->path}, NULL, &n->db));
    return node_start(w, n);
}

static enum err core_start(struct world *w)
{
    struct core_parts parts = {
        .crypto = w->crypto,
        .random = &w->random,
        .store = &w->store,
        .server_key = &w->server_key,
        .config = {.pow_bits = 1, .open_registration = true}};
    return core_create(&parts, &w->core);
}

enum err world_begin(struct world *w, size_t count)
{
    memset(w, 0, sizeof *w);
    w->now = START_MS;
    w->count = count;
    TRY(crypto_create(&w->crypto));
    entropy_seed(&w->entropy, 1);
    w->random = entropy_of(&w->entropy);
    secret_random(&w->server_key, 32, &w->random);
    TRY(store_sqlite_open(&(struct store_sqlite_config){0}, NULL, &w->sqlite));
    w->store = store_sqlite_store(w->sqlite);
    TRY(core_start(w));
    for (size_t i = 0; i < count; i++) {
        struct node *n = &w->nodes[i];
        entropy_seed(&n->entropy, 100 + i);
        n->random = entropy_of(&n->entropy);
        TRY(sql_open(&(struct sql_config){0}, NULL, &n->db));
        TRY(node_start(w, n));
    }
    return OK;
}

static enum err node_connect(struct world *w, struct node *n)
{
    static const uint8_t exporter[32] = {1};
    for (size_t i = 0; i < client_lane_count(n->client) && i < LANES; i++) {
        struct client_lane lane = client_lane_at(n->client, i);
        if (n->offline || n->conn[i] != 0 || !lane.wanted)
            continue;
        n->conn[i] = ++w->last_conn;
        TRY(core_open(w->core, n->conn[i], BYTES_ARRAY(exporter), n->conn[i]));
        starve_begin(n);
        enum err err =
            client_lane_up(n->client, i, BYTES_ARRAY(exporter), w->now);
        TRY(survive(w, n, err));
    }
    return OK;
}

void node_cut(struct world *w, struct node *n)
{
    for (size_t i = 0; i < LANES; i++) {
        if (n->conn[i] == 0)
            continue;
        core_close(w->core, n->conn[i]);
        n->conn[i] = 0;
        client_lane_down(n->client, i, w->now);
    }
}

static void node_events(struct world *w, struct node *n)
{
    struct client_event e;
    while (client_take_event(n->client, &e)) {
        n->events[e.kind]++;
        memcpy(n->told[e.kind], e.detail, sizeof n->told[e.kind]);
        if (e.kind == CLIENT_ENTRY_SKIPPED)
            memcpy(n->skipped, e.detail, sizeof n->skipped);
        if (w->trace || getenv("TRACE") != NULL)
            printf("# %s: %s %s\n", names[n - w->nodes],
                   client_event_name(e.kind), e.detail);
    }
}

static bool node_send(struct world *w, struct node *n)
{
    struct client_output out;
    bool any = false;
    while (client_take_output(n->client, &out)) {
        any = true;
        uint32_t conn = n->conn[out.lane];
        if (out.close && conn != 0) {
            core_close(w->core, conn);
            n->conn[out.lane] = 0;
        } else if (conn != 0) {
            core_message(w->core, conn, out.kind, out.id,
                         buf_bytes(&out.message), w->now);
        }
        buf_clear(&out.message);
    }
    return any;
}

enum err node_give(struct world *w, struct node *n, size_t lane,
                   const struct core_output *out)
{
    starve_begin(n);
    return survive(w, n,
                   client_receive(n->client, lane, out->kind, out->id,
                                  out->message, w->now));
}

/* Lets whoever watches change a message first. */
static enum err deliver_to(struct world *w, struct node *n, size_t lane,
                           const struct core_output *out)
{
    if (w->tamper == NULL)
        return node_give(w, n, lane, out);
    CLEANUP(buf_clear) struct buf message = buf_new(MESSAGE_MAX);
    TRY(buf_copy(&message, out->message));
    struct passing p = {n, out->kind, out->id, message, 1};
    message = (struct buf){0}; /* handed over */
    w->tamper(w->tamper_ctx, &p);
    struct core_output changed = *out;
    changed.kind = p.kind;
    changed.id = p.id;
    changed.message = buf_bytes(&p.message);
    enum err err = OK;
    for (unsigned i = 0; i < p.copies && err == OK && n->conn[lane] != 0; i++)
        err = node_give(w, n, lane, &changed);
    buf_clear(&p.message);
    return err;
}

static enum err deliver(struct world *w, const struct core_output *out)
{
    for (size_t i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        for (size_t l = 0; l < LANES; l++) {
            if (n->conn[l] != out->conn)
                continue;
            if (!out->close)
                return deliver_to(w, n, l, out);
            n->conn[l] = 0;
            client_lane_down(n->client, l, w->now);
            return OK;
        }
    }
    return OK;
}

enum err world_ask(struct world *w, uint32_t conn, const struct request *q,
                   struct buf *answer)
{
    CLEANUP(buf_clear) struct buf message = buf_new(MESSAGE_MAX);
    TRY(request_write(&message, q));
    core_message(w->core, conn, FRAME_REQUEST, 1, buf_bytes(&message), w->now);
    core_flush(w->core, w->now);
    struct core_output out;
    while (core_take(w->core, &out)) {
        enum err err = out.conn == conn && out.kind == FRAME_ANSWER
                           ? buf_copy(answer, out.message)
                           : deliver(w, &out);
        core_output_clear(&out);
        TRY(err);
    }
    return answer->len > 0 ? OK : ERR_STATE;
}

enum err world_round(struct world *w, bool *out_any)
{
    *out_any = false;
    for (size_t i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        unsigned starved = n->starved;
        TRY(node_connect(w, n));
        *out_any = node_send(w, n) || n->starved > starved || *out_any;
        node_events(w, n);
    }
    core_flush(w->core, w->now);
    struct core_output out;
    while (core_take(w->core, &out)) {
        *out_any = true;
        enum err err = deliver(w, &out);
        core_output_clear(&out);
        TRY(err);
    }
    return OK;
}

static uint64_t world_deadline(const struct world *w)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < w->count; i++) {
        uint64_t d = client_deadline(w->nodes[i].client);
        if (d < at)
            at = d;
    }
    return at;
}

/* Runs until all is quiet and `ms` have passed. */
enum err world_run(struct world *w, uint64_t ms)
{
    uint64_t end = w->now + ms;
    for (unsigned rounds = 0; rounds < 20000; rounds++) {
        bool any = false;
        TRY(world_round(w, &any));
        if (any)
            continue;
        uint64_t at = world_deadline(w);
        if (at > end) {
            w->now = end;
            return OK;
        }
        w->now = at > w->now ? at : w->now + 1;
        for (size_t i = 0; i < w->count; i++) {
            starve_begin(&w->nodes[i]);
            TRY(survive(w, &w->nodes[i],
                        client_tick(w->nodes[i].client, w->now)));
        }
    }
    return ERR_STATE; /* never quiet */
}

enum err join_all(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        uint8_t recovery[CLIENT_RECOVERY_SIZE];
        struct client_registration r = {.address = ADDRESS, .handle = names[i]};
        TRY(client_register(w->nodes[i].client, &r, recovery, w->now));
    }
    return world_run(w, 1000);
}

/* --- what a client shows --- */

static enum err see(void *ctx, const struct client_message *m)
{
    struct seen *s = ctx;
    if (m->kind == CLIENT_NOTICE) {
        s->notices++;
        return OK;
    }
    s->failed += m->failed;
    bool placed = m->seq > 0;
    char *to = placed ? s->text : s->unsent;
    size_t size = placed ? sizeof s->text : sizeof s->unsent;
    size_t used = strlen(to);
    snprintf(to + used, size - used, "%.*s:%.*s;", (int)m->sender.len,
             (const char *)m->sender.data, (int)m->text.len,
             (const char *)m->text.data);
    return OK;
}

struct seen look(struct node *n, int64_t conversation)
{
    struct seen s = {0};
    struct client_visitor v = {.message = see, .ctx = &s};
    if (client_log(n->client, conversation, &v) != OK)
        snprintf(s.text, sizeof s.text, "failed");
    return s;
}

bool shows(struct node *n, int64_t conversation, const char *want)
{
    struct seen s = look(n, conversation);
    if (strcmp(s.text, want) == 0)
        return true;
    printf("# shows \"%s\", not \"%s\"\n", s.text, want);
    return false;
}

static enum err summarise(void *ctx, const struct client_conversation *c)
{
    struct summary *s = ctx;
    s->last = *c;
    if (c->epoch_authenticator.len <= sizeof s->authenticator &&
        c->epoch_authenticator.len > 0)
        memcpy(s->authenticator, c->epoch_authenticator.data,
               c->epoch_authenticator.len);
    s->count++;
    return OK;
}

struct summary summary(struct node *n, int64_t id)
{
    struct summary s = {0};
    struct client_visitor v = {.conversation = summarise, .ctx = &s};
    enum err err = id == 0 ? client_conversations(n->client, &v)
                           : client_conversation_get(n->client, id, &v);
    if (err != OK)
        s.count = 0;
    return s;
}

/* Prints why a store refused. */
static enum err told(const struct node *n, enum err err)
{
    if (err == ERR_IO)
        printf("# store: %s\n", sql_problem(n->db)->detail);
    return err;
}

enum err say(struct world *w, struct node *n, int64_t id, const char *text)
{
    int64_t message = 0;
    return told(n,
                client_send(n->client, id, bytes_str(text), w->now, &message));
}

/* The client holds nothing that its store does not. */
enum err node_restart(struct world *w, struct node *n)
{
    node_cut(w, n);
    client_free(&n->client);
    return node_start(w, n);
}

enum err begin_group(struct world *w, size_t members, int64_t *out)
{
    assert(members <= NODES);
    TRY(client_group_create(w->nodes[0].client, "friends", w->now, out));
    for (size_t i = 1; i < members; i++)
        TRY(client_group_add(w->nodes[0].client, *out, names[i], w->now));
    return world_run(w, 20000);
}

bool agree(struct world *w, const int64_t ids[NODES], size_t first,
           size_t count)
{
    struct summary one = summary(&w->nodes[first], ids[first]);
    for (size_t i = first; i < count; i++) {
        struct summary s = summary(&w->nodes[i], ids[i]);
        if (s.last.epoch != one.last.epoch || s.last.state != CLIENT_ACTIVE ||
            !bytes_equal(BYTES_ARRAY(s.authenticator),
                         BYTES_ARRAY(one.authenticator))) {
            printf("# %s: state %d, epoch %llu, not %llu\n", names[i],
                   (int)s.last.state, (unsigned long long)s.last.epoch,
                   (unsigned long long)one.last.epoch);
            return false;
        }
    }
    return true;
}
