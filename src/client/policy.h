/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which commits count (DESIGN, sections 3 and 5). The judgement is a function
 * of the log alone: of the group, of the chains that earlier commits carried
 * into this conversation, and of the commit; so all members come to the same
 * one. A commit with a fault is skipped by everybody.
 */
#pragma once

#include "client/state.h"

#include "identity/chain.h"
#include "proto/group_ext.h"

/* An account that a commit concerns. */
struct touched {
    struct touched *next;
    uint8_t account[ID_SIZE];
    struct chain *chain; /* as it will be; NULL: no member, no states given */
    bool member;         /* before the commit */
    bool carried;        /* the commit brings states of it */
    uint64_t highest;    /* version among its leaves after the commit */
    size_t leaves;       /* after the commit */
};

struct policy {
    const char *fault; /* NULL: the commit is good */
    struct touched *accounts;
    size_t adds;
    size_t removes;
    bool scheduled;             /* it does nothing but bring a fresh path */
    struct bytes committer;     /* borrowed; the signature key */
    struct joining_ref joining; /* borrowed; empty: none */
};

void policy_clear(struct policy *p);

/* Judges a staged commit. Fails only for want of memory or of the store. */
MUST_USE enum err policy_judge(struct client *c, struct conv *cv,
                               const struct sotto_staged *staged,
                               struct bytes authenticated_data,
                               struct policy *out);

/* Judges the tree that a Welcome brought, with the chains of the joining blob:
 * `accounts` holds them, as carried. Sets `fault`. */
MUST_USE enum err policy_judge_group(struct client *c,
                                     const struct sotto_group *group,
                                     struct policy *p);
/* Adds an account with its states to those of a policy. */
MUST_USE enum err policy_carry(struct client *c, struct policy *p,
                               struct bytes account, struct bytes states);
