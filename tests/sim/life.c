/* SPDX-License-Identifier: Apache-2.0 */
/* What the people of a world do, and what befalls them: rows of one table. */
#include "insider.h"

#include <stdio.h>
#include <string.h>

#define STEPS       30U
#define LIFE_LENGTH (20U * MINUTE)

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

static void leave(struct world *w, struct device *d)
{
    int64_t group = some_conversation(w, d, false);
    if (group != 0)
        said(w, d, client_group_leave(d->client, group, device_time(w, d)),
             "group leave");
}

static void offline(struct world *w, struct device *d)
{
    d->offline_until = w->now + world_random(w, 10 * MINUTE);
    for (unsigned i = 0; i < 2 * LANES_MAX; i++)
        device_cut(w, d);
}

static void server_fails(struct world *w, struct device *d)
{
    (void)d;
    if (w->server.core != NULL)
        server_crash(w);
}

static void old_copy(struct world *w, struct device *d)
{
    if (!d->backed_up)
        device_backup(w, d);
    else if (w->seed % RESTORED_SEEDS == 0 && !d->restored)
        device_restore(w, d);
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

static const struct {
    unsigned weight;
    void (*act)(struct world *w, struct device *d);
} acts[] = {
    {30, say},       {4, say_much},     {5, begin_direct}, {4, begin_group},
    {9, add},        {3, remove_one},   {2, leave},        {3, offline},
    {4, device_cut}, {3, device_crash}, {2, server_fails}, {2, old_copy},
    {2, disk_fills},
};

void life_plan(struct world *w)
{
    w->crash = 100 + (unsigned)world_random(w, 2000);
    w->focus = POINT_CRASHES + w->seed % (point_count() - POINT_CRASHES);
    insider_plan(w);
    for (unsigned i = 0; i < STEPS * w->device_count; i++)
        life_at(w, &w->devices[world_random(w, w->device_count)],
                w->now + world_random(w, LIFE_LENGTH));
    world_run(w, w->now + LIFE_LENGTH);
}

void life_step(struct world *w, struct device *d)
{
    unsigned total = 0;
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
        total += acts[i].weight;
    uint64_t pick = world_random(w, total);
    size_t i = 0;
    for (; pick >= acts[i].weight; i++)
        pick -= acts[i].weight;
    if (d->client == NULL || !d->registered)
        return;
    if (d == w->insider && world_chance(w, 3)) {
        insider_step(w, d);
        return;
    }
    acts[i].act(w, d);
    device_pump(w, d);
}
