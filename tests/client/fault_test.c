/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations fail at random in the clients of three people who talk. A call
 * that ran out of memory has changed nothing that lasts: it is made again, and
 * nothing is lost, doubled or passed over.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEOPLE 3U
#define ROUNDS 4U
#define SEEDS  8U

/* A command that is given again until there was memory for it. */
struct command {
    enum err (*run)(struct world *w, struct node *n, int64_t conversation,
                    const char *text);
    int64_t conversation;
    const char *text;
};

static enum err insist(struct world *w, struct node *n,
                       const struct command *command)
{
    enum err err = ERR_NOMEM;
    for (bool again = true; again;) {
        starve_begin(n);
        err = command->run(w, n, command->conversation, command->text);
        again = starve_end(w, n, err);
    }
    return err;
}

static enum err run_register(struct world *w, struct node *n, int64_t unused,
                             const char *handle)
{
    uint8_t recovery[CLIENT_RECOVERY_SIZE];
    struct client_registration r = {.address = ADDRESS, .handle = handle};
    (void)unused;
    return client_register(n->client, &r, recovery, w->now);
}

static enum err run_create(struct world *w, struct node *n, int64_t unused,
                           const char *name)
{
    int64_t id = 0;
    (void)unused;
    return client_group_create(n->client, name, w->now, &id);
}

static enum err run_add(struct world *w, struct node *n, int64_t conversation,
                        const char *handle)
{
    return client_group_add(n->client, conversation, handle, w->now);
}

static enum err run_send(struct world *w, struct node *n, int64_t conversation,
                         const char *text)
{
    int64_t id = 0;
    return client_send(n->client, conversation, bytes_str(text), w->now, &id);
}

static void set_hunger(struct world *w, uint32_t seed)
{
    for (size_t i = 0; i < PEOPLE; i++)
        w->nodes[i].hunger = seed == 0 ? 0 : seed * 8 + (uint32_t)i;
}

static enum err begin(struct world *w, int64_t ids[NODES])
{
    struct node *n = w->nodes;
    for (size_t i = 0; i < PEOPLE; i++)
        TRY(insist(w, &n[i], &(struct command){run_register, 0, names[i]}));
    TRY(world_run(w, 60000));
    TRY(insist(w, n, &(struct command){run_create, 0, "friends"}));
    TRY(world_run(w, 60000));
    TRY(client_find(n[0].client, "friends", &ids[0]));
    for (size_t i = 1; i < PEOPLE; i++)
        TRY(insist(w, n, &(struct command){run_add, ids[0], names[i]}));
    TRY(world_run(w, 600000));
    for (size_t i = 1; i < PEOPLE; i++)
        TRY(client_find(n[i].client, "friends", &ids[i]));
    return OK;
}

/* Everybody says a number, some of them offline for a while. */
static enum err talk(struct world *w, const int64_t ids[NODES])
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < PEOPLE; i++) {
            char text[16];
            (void)snprintf(text, sizeof text, "%u", round);
            TRY(insist(w, &w->nodes[i],
                       &(struct command){run_send, ids[i], text}));
        }
        w->nodes[round % PEOPLE].offline = true;
        node_cut(w, &w->nodes[round % PEOPLE]);
        TRY(world_run(w, 20000));
        w->nodes[round % PEOPLE].offline = false;
        TRY(world_run(w, 20000));
    }
    return OK;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

/* Nothing was passed over, and nobody blames the server. */
static void check_quiet(const struct node *n)
{
    static const enum client_event_kind bad[] = {
        CLIENT_REGISTER_FAILED, CLIENT_SERVER_BROKEN,  CLIENT_LOGIN_FAILED,
        CLIENT_SEND_FAILED,     CLIENT_COMMAND_FAILED, CLIENT_ENTRY_SKIPPED,
        CLIENT_LOG_MISMATCH,    CLIENT_STORE_OLD,      CLIENT_REJOIN,
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (n->events[bad[i]] > 0)
            printf("# %s: %s\n", client_event_name(bad[i]), n->skipped);
        CHECK_UINT(n->events[bad[i]], 0);
    }
}

/* All show the same log, with each text once. */
static void check_log(struct world *w, const int64_t ids[NODES])
{
    struct seen first = look(&w->nodes[0], ids[0]);
    for (size_t i = 0; i < PEOPLE; i++) {
        CHECK(shows(&w->nodes[i], ids[i], first.text));
        for (unsigned round = 0; round < ROUNDS; round++) {
            char what[32];
            (void)snprintf(what, sizeof what, "%s:%u;", names[i], round);
            CHECK_UINT(count(first.text, what), 1);
        }
    }
}

static void survives_lack_of_memory(uint32_t seed, unsigned *starved)
{
    CLEANUP(world_end) struct world w;
    int64_t ids[NODES] = {0};
    CHECK_UINT(world_begin(&w, PEOPLE), OK);
    set_hunger(&w, seed);
    CHECK_UINT(begin(&w, ids), OK);
    CHECK_UINT(talk(&w, ids), OK);
    set_hunger(&w, 0);
    CHECK_UINT(world_run(&w, 600000), OK);
    CHECK(agree(&w, ids, 0, PEOPLE));
    check_log(&w, ids);
    for (size_t i = 0; i < PEOPLE; i++) {
        check_quiet(&w.nodes[i]);
        *starved += w.nodes[i].starved;
    }
}

static void what_ran_out_of_memory_is_done_again(void)
{
    const char *seed = getenv("SEED");
    unsigned starved = 0;
    for (uint32_t s = 1; s <= SEEDS && seed == NULL; s++)
        survives_lack_of_memory(s, &starved);
    if (seed != NULL)
        survives_lack_of_memory((uint32_t)strtoul(seed, NULL, 10), &starved);
    printf("# %u calls ran out of memory\n", starved);
    CHECK(starved > 0);
}

static const struct test tests[] = {
    TEST(what_ran_out_of_memory_is_done_again),
};
TEST_MAIN(tests)
