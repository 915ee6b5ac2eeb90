/* SPDX-License-Identifier: Apache-2.0 */
/* What the people of a world do, and what befalls them: rows of one table. */
#include "insider.h"

#include <stdio.h>
#include <string.h>

#define STEPS         30U
#define LIFE_LENGTH   (20U * MINUTE)
#define AWAY_LENGTH   (33ULL * DAY)
#define AWAY_STEPS    40U
#define FOCUS_CRASHES 10U

/* --- enrolling ----------------------------------------------------------- */

/* Everybody is let in at last, but some try with a handle that is taken or an
 * invite that the server does not know. */
static bool may_mislead(struct world *w, struct device *d, const char **handle)
{
    const struct device *first = &w->devices[0];
    d->misled = w->theme == THEME_ENROL && !w->calm && world_chance(w, 2);
    if (d->misled && d != first && first->registered && world_chance(w, 2))
        *handle = first->name;
    return d->misled && *handle == d->name;
}

static void enrol(struct world *w, struct device *d)
{
    uint8_t recovery[CLIENT_RECOVERY_SIZE];
    uint8_t invite[CORE_INVITE_SIZE] = {0};
    const char *handle = d->name;
    bool wrong_invite = may_mislead(w, d, &handle);
    if (w->theme == THEME_ENROL && !wrong_invite &&
        core_invite(w->server.core, w->now, invite) != OK) {
        if (w->server.crash_now)
            server_crash(w);
        return;
    }
    struct client_registration r = {
        .address = "server:7470",
        .handle = handle,
        .key_hash = BYTES_ARRAY(w->server.key_hash),
    };
    if (w->theme == THEME_ENROL)
        r.invite = BYTES_ARRAY(invite);
    enum err err = client_register(d->client, &r, recovery, device_time(w, d));
    world_trace(w, "%s: registers as %s: %s", d->name, handle, err_text(err));
    device_pump(w, d);
}

void life_enrol(struct world *w, struct device *d)
{
    struct client_status status;
    if (d->client != NULL && w->server.core != NULL &&
        client_status_get(d->client, &status) == OK) {
        d->registered = status.state == CLIENT_READY;
        if (status.state == CLIENT_NEW || status.state == CLIENT_REFUSED)
            enrol(w, d);
    }
    if (!d->registered)
        device_enrol_at(w, d, w->now + SECOND + world_random(w, 5 * SECOND));
}

static void offline(struct world *w, struct device *d)
{
    d->offline_until = w->now + world_random(w, 10 * MINUTE);
    for (unsigned i = 0; i < 2 * LANES_MAX; i++)
        device_cut(w, d);
}

/* --- what people do ------------------------------------------------------ */

struct choice {
    struct world *w;
    int64_t conversation; /* of those that fit, each as likely */
    unsigned seen;
    bool group;     /* only groups */
    bool direct_ok; /* or those of two as well */
};

static enum err choose(void *ctx, const struct client_conversation *c)
{
    struct choice *choice = ctx;
    bool fits = c->state == CLIENT_ACTIVE || c->state == CLIENT_CREATING;
    if (!fits || (c->direct && !choice->direct_ok))
        return OK;
    choice->seen++;
    if (world_chance(choice->w, choice->seen))
        choice->conversation = c->id;
    return OK;
}

static int64_t some_conversation(struct world *w, struct device *d,
                                 bool direct_ok)
{
    struct choice choice = {.w = w, .direct_ok = direct_ok};
    struct client_visitor v = {.conversation = choose, .ctx = &choice};
    return client_conversations(d->client, &v) == OK ? choice.conversation : 0;
}

static const struct device *other(struct world *w, const struct device *d)
{
    uint64_t step = 1 + world_random(w, w->device_count - 1);
    return &w->devices[(d->index + step) % w->device_count];
}

/* An error here is a wish that does not fit the moment; failures of the client
 * itself show in what the world checks at the end. */
static void said(struct world *w, struct device *d, enum err err,
                 const char *what)
{
    world_trace(w, "%s: %s: %s", d->name, what, err_text(err));
    if (err == ERR_INVALID || err == ERR_MALFORMED || err == ERR_AUTH)
        world_fail(w, "%s: %s: %s", d->name, what, err_text(err));
}

static void say(struct world *w, struct device *d)
{
    int64_t conversation = some_conversation(w, d, true);
    if (conversation == 0 || w->sent_count == SENT_MAX)
        return;
    struct sent *s = &w->sent[w->sent_count];
    (void)snprintf(s->text, sizeof(s->text), "text-%u", w->sent_count);
    if (client_accept(d->client, conversation) != OK)
        return;
    enum err err = client_send(d->client, conversation, bytes_str(s->text),
                               device_time(w, d), &s->message);
    said(w, d, err, s->text);
    /* A crash after the commit: it was taken, though nobody was told. */
    s->known = err == OK;
    s->device = d->index;
    s->conversation = conversation;
    w->sent_count++;
}

static void say_much(struct world *w, struct device *d)
{
    for (unsigned i = 0; i < 5 && d->client != NULL && !d->crash_now; i++)
        say(w, d);
}

static enum err find_unread(void *ctx, const struct client_message *m)
{
    struct choice *choice = ctx;
    choice->seen++;
    if (world_chance(choice->w, choice->seen))
        choice->conversation = m->id;
    return OK;
}

static void read_one(struct world *w, struct device *d)
{
    struct choice unread = {.w = w};
    struct client_visitor v = {.message = find_unread, .ctx = &unread};
    if (client_unread(d->client, &v) == OK && unread.seen > 0)
        said(w, d, client_mark_read(d->client, unread.conversation), "read");
}

/* A handle that nobody has. */
static void ask_for_nobody(struct world *w, struct device *d)
{
    int64_t conversation = some_conversation(w, d, false);
    enum err err = conversation != 0 && world_chance(w, 2)
                       ? client_group_add(d->client, conversation, "nobody",
                                          device_time(w, d))
                       : client_direct(d->client, "nobody", device_time(w, d),
                                       &conversation);
    said(w, d, err, "ask for nobody");
}

static void begin_direct(struct world *w, struct device *d)
{
    int64_t conversation = 0;
    said(w, d,
         client_direct(d->client, other(w, d)->name, device_time(w, d),
                       &conversation),
         "direct");
}

static void begin_group(struct world *w, struct device *d)
{
    int64_t conversation = 0;
    said(w, d,
         client_group_create(d->client, "group", device_time(w, d),
                             &conversation),
         "group create");
}

static void add(struct world *w, struct device *d)
{
    int64_t group = some_conversation(w, d, false);
    if (group != 0)
        said(w, d,
             client_group_add(d->client, group, other(w, d)->name,
                              device_time(w, d)),
             "group add");
}

static void remove_one(struct world *w, struct device *d)
{
    int64_t group = some_conversation(w, d, false);
    if (group != 0)
        said(w, d,
             client_group_remove(d->client, group, other(w, d)->name,
                                 device_time(w, d)),
             "group remove");
}

/* Somebody is removed and added again, and often hears of both at once. */
static void bring_back(struct world *w, struct device *d)
{
    int64_t group = some_conversation(w, d, false);
    unsigned index = other(w, d)->index;
    struct device *who = &w->devices[index];
    if (group == 0 || client_group_remove(d->client, group, who->name,
                                          device_time(w, d)) != OK)
        return;
    if (d->client == NULL || d->crash_now)
        return;
    said(w, d, client_group_add(d->client, group, who->name, device_time(w, d)),
         "bring back");
    if (world_chance(w, 2))
        offline(w, who);
}

static void leave(struct world *w, struct device *d)
{
    int64_t group = some_conversation(w, d, false);
    if (group != 0)
        said(w, d, client_group_leave(d->client, group, device_time(w, d)),
             "group leave");
}

static void server_fails(struct world *w, struct device *d)
{
    (void)d;
    if (w->server.core != NULL)
        server_crash(w);
}

static void disk_fills(struct world *w, struct device *d)
{
    (void)d;
    if (w->server.core == NULL)
        return;
    world_meet(w, POINT_DISK_FULL);
    w->full = !w->full;
    disk_set_full(w->server.disk, w->full);
}

/* How often, in all worlds and in those with one of the themes. */
#define THEMED_MAX 2U
static const struct {
    void (*act)(struct world *w, struct device *d);
    unsigned weight;
    struct {
        enum theme theme;
        unsigned weight;
    } themed[THEMED_MAX];
} acts[] = {
    {say, 30, {{0}}},
    {say_much, 4, {{THEME_NARROW, 12}}},
    {begin_direct, 5, {{THEME_CONTACT, 12}}},
    {begin_group, 4, {{THEME_CONTACT, 12}, {THEME_RETURN, 8}}},
    {add, 9, {{THEME_CONTACT, 20}, {THEME_RETURN, 20}}},
    {remove_one, 3, {{THEME_RETURN, 12}}},
    {bring_back, 2, {{THEME_RETURN, 20}}},
    {leave, 2, {{THEME_RETURN, 8}}},
    {read_one, 6, {{0}}},
    {ask_for_nobody, 2, {{0}}},
    {offline, 3, {{THEME_NARROW, 8}}},
    {device_cut, 4, {{THEME_LIAR, 12}}},
    {device_crash, 3, {{0}}},
    {server_fails, 2, {{0}}},
    {disk_fills, 2, {{0}}},
    {fault_slow, 1, {{THEME_SLOW, 12}}},
    {fault_void_contact, 0, {{THEME_CONTACT, 5}}},
    {fault_old_device, 0, {{THEME_OLD_DEVICE, 4}}},
    {fault_old_server, 0, {{THEME_OLD_SERVER, 4}}},
};

static unsigned weight_of(const struct world *w, size_t act)
{
    for (size_t i = 0; i < THEMED_MAX && w->theme != THEME_PLAIN; i++) {
        if (acts[act].themed[i].theme == w->theme)
            return acts[act].themed[i].weight;
    }
    return acts[act].weight;
}

void life_choose(struct world *w)
{
    w->crash = 100 + (unsigned)world_random(w, 2000);
    w->focus = transaction_of_seed(w->seed);
    w->focus_left = FOCUS_CRASHES;
    w->theme = transaction_theme(w->focus);
    if (w->theme == THEME_PLAIN)
        w->theme = (enum theme)world_random(w, THEMES);
    if (w->theme == THEME_INSIDER ||
        (w->theme < THEMES_WITH_INSIDERS && !world_chance(w, 3)))
        insider_plan(w);
}

static void plan_steps(struct world *w, unsigned count, uint64_t length)
{
    for (unsigned i = 0; i < count; i++)
        life_at(w, &w->devices[world_random(w, w->device_count)],
                w->now + world_random(w, length));
    world_run(w, w->now + length);
}

/* The others go on for a month; then it comes back. */
static void live_without(struct world *w, struct device *d)
{
    world_trace(w, "%s: is away", d->name);
    world_meet(w, POINT_AWAY);
    d->away = true;
    d->offline_until = w->now + AWAY_LENGTH;
    for (unsigned lane = 0; lane < 4 * LANES_MAX; lane++)
        device_cut(w, d);
    plan_steps(w, AWAY_STEPS, AWAY_LENGTH);
    plan_steps(w, STEPS, LIFE_LENGTH);
}

void life_live(struct world *w)
{
    plan_steps(w, STEPS * w->device_count, LIFE_LENGTH);
    if (w->theme == THEME_AWAY)
        live_without(w, &w->devices[world_random(w, w->device_count)]);
}

void life_step(struct world *w, struct device *d)
{
    unsigned total = 0;
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
        total += weight_of(w, i);
    uint64_t pick = world_random(w, total);
    size_t i = 0;
    for (; pick >= weight_of(w, i); i++)
        pick -= weight_of(w, i);
    if (d->client == NULL || !d->registered)
        return;
    if (d == w->insider && world_chance(w, 2)) {
        insider_step(w, d);
        return;
    }
    acts[i].act(w, d);
    device_pump(w, d);
}
