/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group of alice, bob and carol, in which alice, who made it, attacks; bob
 * and carol keep the rules; dave is registered, and no member.
 */
#pragma once

#include "attack.h"

#define ALICE   0U
#define BOB     1U
#define CAROL   2U
#define DAVE    3U
#define MEMBERS 3U

#define WHO "a path that changes who the committer is"

struct scene {
    struct world w;
    int64_t ids[NODES];
    struct attacker a;
    char said[1024]; /* what the log shows so far */
    unsigned skips;
    uint64_t epoch;
};

MUST_USE enum err scene_begin(struct scene *s);
void scene_end(struct scene *s);
struct sotto_bytes scene_key(struct scene *s, uint32_t leaf);
/* Bob and carol have passed over one more entry, for this cause, in the epoch
 * that they were in, and can talk. */
bool scene_skipped(struct scene *s, const char *cause);
/* The commit is taken by the server, and counts, or is passed over. */
bool scene_accepted(struct scene *s, struct plan *p);
bool scene_refused(struct scene *s, struct plan *p, const char *cause);
/* Plans to add dave, with his states; or the attacker's spare device. */
MUST_USE enum err plan_dave(struct scene *s, struct plan *p, bool list);
MUST_USE enum err plan_spare(struct plan *p, uint64_t version);
