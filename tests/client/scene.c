/* SPDX-License-Identifier: Apache-2.0 */
#include "scene.h"

#include <stdio.h>
#include <string.h>

void scene_end(struct scene *s)
{
    attacker_end(&s->a);
    world_end(&s->w);
}

enum err scene_begin(struct scene *s)
{
    memset(s, 0, sizeof *s);
    TRY(world_begin(&s->w, NODES));
    TRY(join_all(&s->w));
    TRY(begin_group(&s->w, MEMBERS, &s->ids[ALICE]));
    TRY(world_run(&s->w, 600000));
    for (size_t i = BOB; i < MEMBERS; i++)
        TRY(client_find(s->w.nodes[i].client, "friends", &s->ids[i]));
    s->epoch = summary(&s->w.nodes[BOB], s->ids[BOB]).last.epoch;
    return attacker_begin(&s->w, &s->w.nodes[ALICE], s->ids[ALICE], &s->a);
}

struct sotto_bytes scene_key(struct scene *s, uint32_t leaf)
{
    struct sotto_leaf l = {0};
    if (sotto_group_member(s->a.group, leaf, &l) != SOTTO_OK)
        return (struct sotto_bytes){0};
    return l.signature_key;
}

bool scene_skipped(struct scene *s, const char *cause)
{
    s->skips++;
    bool ok =
        world_run(&s->w, 60000) == OK && agree(&s->w, s->ids, BOB, MEMBERS);
    for (size_t i = BOB; i < MEMBERS; i++) {
        const struct node *n = &s->w.nodes[i];
        if (n->events[CLIENT_ENTRY_SKIPPED] != s->skips ||
            strcmp(n->skipped, cause) != 0)
            printf("# %s: skipped %u, \"%s\", not \"%s\"\n", names[i],
                   n->events[CLIENT_ENTRY_SKIPPED], n->skipped, cause);
        ok = ok && n->events[CLIENT_ENTRY_SKIPPED] == s->skips &&
             strcmp(n->skipped, cause) == 0 && n->events[CLIENT_REJOIN] == 0 &&
             summary(&s->w.nodes[i], s->ids[i]).last.epoch == s->epoch;
    }
    size_t by = s->skips % 2 == 0 ? BOB : CAROL;
    char text[16];
    snprintf(text, sizeof text, "%u", s->skips);
    size_t used = strlen(s->said);
    snprintf(s->said + used, sizeof s->said - used, "%s:%s;", names[by], text);
    ok = ok && say(&s->w, &s->w.nodes[by], s->ids[by], text) == OK &&
         world_run(&s->w, 60000) == OK;
    for (size_t i = BOB; i < MEMBERS; i++)
        ok = ok && shows(&s->w.nodes[i], s->ids[i], s->said);
    return ok;
}

bool scene_accepted(struct scene *s, struct plan *p)
{
    uint8_t status = 0;
    s->epoch++;
    return plan_commit(p, true, &status) == OK && status == STATUS_OK &&
           world_run(&s->w, 60000) == OK &&
           agree(&s->w, s->ids, BOB, MEMBERS) &&
           summary(&s->w.nodes[BOB], s->ids[BOB]).last.epoch == s->epoch;
}

bool scene_refused(struct scene *s, struct plan *p, const char *cause)
{
    uint8_t status = 0;
    return plan_commit(p, false, &status) == OK && status == STATUS_OK &&
           scene_skipped(s, cause);
}

enum err plan_dave(struct scene *s, struct plan *p, bool list)
{
    CLEANUP(buf_clear) struct buf package = buf_new(KEY_PACKAGE_MAX);
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(node_package(&s->w.nodes[DAVE], &package));
    TRY(node_chain(&s->w, &s->w.nodes[DAVE], &chain));
    TRY(plan_add(p, buf_bytes(&package), list));
    return plan_states(p, chain, 1);
}

enum err plan_spare(struct plan *p, uint64_t version)
{
    struct bytes package = {0};
    TRY(plan_package(p, version, &package));
    TRY(plan_add(p, package, true));
    return plan_joining(p);
}
