/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group lives behind the veil (veil.h): key schedule, secret tree, sender
 * data, padding, tags, PSKs, paths, Welcomes, external commits and stored
 * records, with every secret held for uninitialised by Valgrind.
 *
 * With the argument "leaks" it does what it must not do with secrets of a live
 * group, and fails unless Valgrind sees each.
 */
#include "veil.h"

#include "mls/group.h"
#include "mls/world.h"

#include "test.h"

#include <stdio.h>
#include <string.h>

#define MEMBERS  4U
#define JOINER   6U
#define BUCKET   512U
#define TEXT_MAX 100U

#define REQUIRE(cond)                                                        \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            return false;                                                    \
        }                                                                    \
    } while (0)

static bool hidden(const struct secret *s)
{
    return s->len > 0 && veil_covers(secret_expose(s));
}

/* No secret of the group is in plain sight, or the rest would show nothing. */
static bool all_hidden(const struct sotto_group *g)
{
    const struct epoch_secrets *es = &g->epoch.secrets;
    const struct secret *const secrets[] = {
        &es->sender_data_secret,  &es->exporter_secret, &es->external_secret,
        &es->confirmation_key,    &es->membership_key,  &es->resumption_psk,
        &es->epoch_authenticator, &es->init_secret,     &g->epoch.signature_key,
        &g->epoch.keys.key[0],
    };
    for (size_t i = 0; i < COUNT(secrets); i++)
        REQUIRE(hidden(secrets[i]));
    return true;
}

static bool agree(const struct world *w)
{
    uint8_t first[HASH_MAX];
    struct sotto_bytes a = sotto_group_epoch_authenticator(w->member[0].group);
    memcpy(first, a.data, a.len);
    veil_show(first, a.len);
    for (size_t i = 0; i < WORLD_MAX; i++) {
        const struct sotto_group *g = w->member[i].group;
        uint8_t other[HASH_MAX];
        if (g == NULL)
            continue;
        struct sotto_bytes b = sotto_group_epoch_authenticator(g);
        REQUIRE(all_hidden(g) && b.len == a.len);
        memcpy(other, b.data, b.len);
        veil_show(other, b.len);
        REQUIRE(memcmp(first, other, a.len) == 0);
    }
    return true;
}

static bool commits(struct world *w, size_t by, const struct sotto_commit *ask)
{
    REQUIRE(world_commit(w, by, ask, NULL, 0) == SOTTO_OK);
    return agree(w);
}

/* ---- What members do ---- */

static bool say(struct world *w, size_t by, struct sotto_buf *out)
{
    uint8_t text[TEXT_MAX] = {0};
    veil_hide(text, sizeof(text));
    sotto_buf_free(out);
    REQUIRE(sotto_group_protect(w->member[by].group, text_of("data"),
                                (struct sotto_bytes){text, sizeof(text)},
                                BUCKET, out) == SOTTO_OK);
    return true;
}

static bool hears(struct world *w, size_t i, const struct sotto_buf *message)
{
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    REQUIRE(sotto_group_process(w->member[i].group, view_of(message), &r) ==
            SOTTO_OK);
    REQUIRE(r.outcome == SOTTO_APPLICATION && r.content.len == TEXT_MAX);
    REQUIRE(veil_covers((struct bytes){r.content.data, r.content.len}));
    return true;
}

/* The second comes before the first, and both through a record. */
static bool talk(struct world *w)
{
    CLEANUP(sotto_buf_free) struct sotto_buf first = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf second = {0};
    REQUIRE(say(w, 1, &first) && say(w, 1, &second));
    REQUIRE(hears(w, 0, &second));
    REQUIRE(world_reload(w, 0) == SOTTO_OK && world_reload(w, 1) == SOTTO_OK);
    REQUIRE(hears(w, 0, &first));
    REQUIRE(say(w, 1, &first) && hears(w, 0, &first));
    return true;
}

/* A message whose tag is wrong, and one that was spent. */
static bool refuse(struct world *w)
{
    CLEANUP(sotto_buf_free) struct sotto_buf m = {0};
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    REQUIRE(say(w, 2, &m));
    m.data[m.len - 1] ^= 1;
    REQUIRE(sotto_group_process(w->member[0].group, view_of(&m), &r) ==
            SOTTO_ERR_AUTH);
    m.data[m.len - 1] ^= 1;
    REQUIRE(hears(w, 0, &m));
    REQUIRE(world_outcome(w, 0, &m) == SOTTO_DUPLICATE);
    return true;
}

static bool update_by_proposal(struct world *w)
{
    CLEANUP(sotto_buf_free) struct sotto_buf m = {0};
    struct sotto_proposal update = {.kind = SOTTO_PROPOSE_UPDATE,
                                    .public_message = true};
    struct sotto_commit ask = {.use_pending = true};
    REQUIRE(sotto_group_propose(w->member[2].group, &update, &m) == SOTTO_OK);
    for (size_t i = 0; i < MEMBERS; i++)
        REQUIRE(world_outcome(w, i, &m) == SOTTO_PROPOSAL);
    return commits(w, 1, &ask);
}

static bool use_psks(struct world *w)
{
    uint8_t key[48] = {0};
    veil_hide(key, sizeof(key));
    struct sotto_psk psk = {text_of("id"), {key, sizeof(key)}};
    struct sotto_resumption before = {
        .epoch = sotto_group_epoch(w->member[0].group) - 1};
    struct sotto_commit ask = {.psks = &psk.id,
                               .psk_count = 1,
                               .resumptions = &before,
                               .resumption_count = 1};
    for (size_t i = 0; i < MEMBERS; i++)
        REQUIRE(sotto_group_offer_psk(w->member[i].group, psk) == SOTTO_OK);
    return commits(w, 1, &ask);
}

static bool export_one(struct world *w)
{
    CLEANUP(sotto_buf_free) struct sotto_buf out = {0};
    REQUIRE(sotto_group_export(w->member[1].group, "label", text_of("context"),
                               80, &out) == SOTTO_OK);
    return veil_covers((struct bytes){out.data, out.len});
}

static bool join_from_outside(struct world *w)
{
    CLEANUP(sotto_buf_free) struct sotto_buf info = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf m = {0};
    struct sotto_group *joined = NULL;
    struct sotto_identity id = world_identity(w, JOINER);
    REQUIRE(sotto_group_info(w->member[0].group, true, &info) == SOTTO_OK);
    struct sotto_external_join join = {.identity = &id,
                                       .group_info = view_of(&info)};
    REQUIRE(sotto_group_join_external(w->mls, &join, &m, &joined) == SOTTO_OK);
    enum sotto_err err = world_spread(w, view_of(&m));
    w->member[JOINER].group = joined;
    REQUIRE(err == SOTTO_OK);
    return agree(w);
}

static bool open_world(struct world *w, uint16_t suite)
{
    REQUIRE(world_open(w, suite, 1) == SOTTO_OK);
    REQUIRE(world_found(w, 0) == SOTTO_OK);
    REQUIRE(world_add(w, 0, 1, MEMBERS) == SOTTO_OK);
    return agree(w);
}

static bool live(uint16_t suite)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_commit fresh = {0};
    struct sotto_commit public = {.public_message = true};
    struct sotto_commit remove = {.removes = (uint32_t[]){3},
                                  .remove_count = 1};
    REQUIRE(open_world(&w, suite));
    REQUIRE(commits(&w, 1, &fresh) && commits(&w, 2, &public));
    REQUIRE(talk(&w) && refuse(&w));
    REQUIRE(update_by_proposal(&w));
    REQUIRE(use_psks(&w) && export_one(&w));
    REQUIRE(commits(&w, 0, &remove));
    REQUIRE(join_from_outside(&w));
    return commits(&w, JOINER, &fresh);
}

/* ---- What they must not do ---- */

static volatile unsigned sink;

static void leak_by_branch(const struct epoch_secrets *es)
{
    if ((es->init_secret.data[0] & 1) != 0)
        sink++;
}

static void leak_by_index(const struct epoch_secrets *es)
{
    static const uint8_t table[256] = {1, 2, 3};
    sink += *(const volatile uint8_t *)&table[es->membership_key.data[0]];
}

static void leak_by_comparison(const struct epoch_secrets *es)
{
    if (bytes_equal(secret_expose(&es->confirmation_key), LIT("a key")) ||
        bytes_equal(secret_expose(&es->confirmation_key),
                    secret_expose(&es->sender_data_secret)))
        sink++;
}

static bool leaks_are_seen(void)
{
    static void (*const leaks[])(const struct epoch_secrets *es) = {
        leak_by_branch, leak_by_index, leak_by_comparison};
    CLEANUP(world_close) struct world w = {0};
    REQUIRE(open_world(&w, 1));
    for (size_t i = 0; i < COUNT(leaks); i++) {
        unsigned long before = VALGRIND_COUNT_ERRORS;
        leaks[i](&w.member[1].group->epoch.secrets);
        REQUIRE(VALGRIND_COUNT_ERRORS > before);
    }
    return true;
}

int main(int argc, char **argv)
{
    if (!RUNNING_ON_VALGRIND) {
        (void)puts("to be run by Valgrind");
        return 1;
    }
    bool good = argc > 1 && strcmp(argv[1], "leaks") == 0
                    ? leaks_are_seen()
                    : live(1) && live(sotto_suite_default());
    return good && veil_failures() == 0 ? 0 : 1;
}
