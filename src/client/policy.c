/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy.h"

#include "base/mem.h"
#include "client/groups.h"
#include "client/people.h"
#include "proto/entry.h"

#include <string.h>

void policy_clear(struct policy *p)
{
    for (struct touched *t = p->accounts, *next; t != NULL; t = next) {
        next = t->next;
        chain_free(&t->chain);
        mem_free(t, sizeof *t);
    }
    *p = (struct policy){0};
}

static void fault(struct policy *p, const char *what)
{
    if (p->fault == NULL)
        p->fault = what;
}

/* Only a lack of memory or a failing store is an error; the rest is the
 * commit's fault. */
static enum err judge(struct policy *p, enum err err, const char *what)
{
    if (err == OK || err == ERR_NOMEM || err == ERR_IO)
        return err;
    fault(p, what);
    return OK;
}

static struct touched *touched_find(const struct policy *p,
                                    struct bytes account)
{
    struct touched *t = p->accounts;
    while (t != NULL && !bytes_equal(ID_BYTES(t->account), account))
        t = t->next;
    return t;
}

static enum err touched_add(struct policy *p, struct bytes account,
                            struct touched **out)
{
    struct touched *t = mem_alloc(sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    memcpy(t->account, account.data, sizeof t->account);
    t->next = p->accounts;
    p->accounts = t;
    *out = t;
    return OK;
}

/* Finds or loads what the conversation knows of an account. */
static enum err touch(struct client *c, const struct conv *cv, struct policy *p,
                      struct bytes account, struct touched **out)
{
    struct touched *t = touched_find(p, account);
    if (t == NULL) {
        TRY(touched_add(p, account, &t));
        enum err err = member_chain(c, cv->id, account, &t->chain);
        t->member = err == OK;
        if (err != OK && err != ERR_NOTFOUND)
            return err;
    }
    *out = t;
    return OK;
}

/* --- states that a commit carries --- */

static enum err extend(struct client *c, struct policy *p, struct touched *t,
                       struct bytes states)
{
    if (t->carried) {
        fault(p, "states of one account twice");
        return OK;
    }
    t->carried = true;
    if (t->chain == NULL)
        TRY(chain_create(ID_BYTES(t->account), &t->chain));
    enum chain_outcome outcome = CHAIN_KNOWN;
    enum err err = chain_extend(c->crypto, t->chain, states, &outcome);
    if (err == OK && outcome != CHAIN_EXTENDED && outcome != CHAIN_RESOLVED)
        fault(p, "states that do not continue an account");
    return judge(p, err, "states that break the rules of their chain");
}

enum err policy_carry(struct client *c, struct policy *p, struct bytes account,
                      struct bytes states)
{
    struct touched *t = touched_find(p, account);
    if (t == NULL)
        TRY(touched_add(p, account, &t));
    return extend(c, p, t, states);
}

static enum err judge_app(struct client *c, const struct conv *cv,
                          struct policy *p, const struct sotto_change *change)
{
    struct bytes data = from_sotto(change->data);
    if (change->component == COMPONENT_JOINING) {
        if (p->joining.blob.len > 0)
            fault(p, "two joining blobs");
        return judge(p, joining_ref_read(data, &p->joining),
                     "a broken joining reference");
    }
    struct account_states states = {0};
    if (change->component != COMPONENT_STATES ||
        account_states_read(data, &states) != OK) {
        fault(p, "unknown application data");
        return OK;
    }
    struct touched *t = NULL;
    TRY(touch(c, cv, p, states.account_id, &t));
    return extend(c, p, t, states.states);
}

/* --- single changes --- */

static enum err touch_leaf(struct client *c, const struct conv *cv,
                           struct policy *p, const struct sotto_leaf *leaf)
{
    struct leaf_claim claim = {0};
    if (leaf_claim_read(leaf, &claim) != OK) {
        fault(p, "a leaf without an account");
        return OK;
    }
    struct touched *t = NULL;
    return touch(c, cv, p, claim.account, &t);
}

/* A leaf never changes its account or its key, and its version never falls. */
static enum err judge_path(struct client *c, const struct conv *cv,
                           struct policy *p, const struct sotto_change *change)
{
    struct leaf_claim before = {0}, after = {0};
    if (leaf_claim_read(&change->before, &before) != OK ||
        leaf_claim_read(&change->after, &after) != OK ||
        !bytes_equal(before.account, after.account) ||
        !bytes_equal(before.signature_key, after.signature_key) ||
        after.version < before.version)
        fault(p, "a path that changes who the committer is");
    p->committer = after.signature_key;
    return touch_leaf(c, cv, p, &change->after);
}

static struct bytes extension_data(struct bytes extensions, uint16_t type)
{
    struct sotto_bytes data = {0};
    if (sotto_extension_find(to_sotto(extensions), type, &data) != SOTTO_OK)
        return (struct bytes){0};
    return from_sotto(data);
}

/* Only the name of a group changes for now. */
static void judge_extensions(struct policy *p, const struct sotto_group *group,
                             const struct sotto_change *change)
{
    struct bytes old = from_sotto(sotto_group_extensions(group));
    struct bytes new = from_sotto(change->data);
    struct group_profile before = {0}, after = {0};
    struct sotto_extension e = {0};
    const size_t own = 3; /* channel, subscription, profile */
    if (!bytes_equal(extension_data(old, EXT_CHANNEL),
                     extension_data(new, EXT_CHANNEL)) ||
        !bytes_equal(extension_data(old, EXT_SUBSCRIPTION),
                     extension_data(new, EXT_SUBSCRIPTION)) ||
        group_profile_read(extension_data(old, EXT_PROFILE), &before) != OK ||
        group_profile_read(extension_data(new, EXT_PROFILE), &after) != OK ||
        before.kind != after.kind ||
        sotto_extension_at(to_sotto(new), own, &e) == SOTTO_OK)
        fault(p, "a change of what a conversation is");
}

static enum err judge_change(struct client *c, struct conv *cv,
                             struct policy *p,
                             const struct sotto_change *change)
{
    if (change->by_reference)
        fault(p, "a proposal by reference");
    switch (change->kind) {
    case SOTTO_CHANGE_ADD:
        p->adds++;
        return touch_leaf(c, cv, p, &change->after);
    case SOTTO_CHANGE_REMOVE:
        p->removes++;
        return touch_leaf(c, cv, p, &change->before);
    case SOTTO_CHANGE_PATH:
        return judge_path(c, cv, p, change);
    case SOTTO_CHANGE_EXTENSIONS:
        p->scheduled = false;
        judge_extensions(p, cv->group, change);
        return OK;
    case SOTTO_CHANGE_APP:
        return judge_app(c, cv, p, change);
    case SOTTO_CHANGE_UPDATE:
    case SOTTO_CHANGE_PSK:
    case SOTTO_CHANGE_RESUMPTION:
    case SOTTO_CHANGE_REINIT:
    case SOTTO_CHANGE_EXTERNAL_INIT:
    case SOTTO_CHANGE_APP_DATA_UPDATE:
    case SOTTO_CHANGE_APP_DATA_REMOVE:
        break;
    }
    fault(p, "a kind of proposal that conversations do not use");
    return OK;
}

/* --- subscriptions --- */

static bool adds_contain(struct bytes adds, struct bytes sub, size_t *count)
{
    bool found = false;
    struct reader r = reader_of(adds);
    for (*count = 0; reader_more(&r); ++*count) {
        struct sub_add add = {0};
        sub_add_read(&r, &add);
        found = found || bytes_equal(add.sub, sub);
    }
    return found;
}

static bool ends_contain(struct bytes ends, struct bytes sub)
{
    struct reader r = reader_of(ends);
    while (reader_more(&r)) {
        if (bytes_equal(reader_raw(&r, ID_SIZE), sub))
            return true;
    }
    return false;
}

/*
 * The lists in the clear must be those of the leaves: a subscription for each
 * leaf that is added, and the end of that of each leaf that is removed, but for
 * one that the same commit adds again (which then gets a new capability). Both
 * lists hold each id once, so equal counts and one inclusion are equality.
 */
static enum err judge_subscriptions(struct client *c, struct conv *cv,
                                    struct policy *p,
                                    const struct sotto_staged *staged,
                                    struct bytes authenticated_data)
{
    struct commit_data lists = {0};
    if (commit_data_read(authenticated_data, &lists) != OK) {
        fault(p, "broken lists of subscriptions");
        return OK;
    }
    struct bytes extensions = from_sotto(sotto_group_extensions(cv->group));
    struct sotto_change change = {0};
    size_t added = 0, ended = 0, listed = 0;
    (void)adds_contain(lists.adds, (struct bytes){0}, &listed);
    for (size_t i = 0; sotto_staged_change(staged, i, &change) == SOTTO_OK;
         i++) {
        bool add = change.kind == SOTTO_CHANGE_ADD;
        if (!add && change.kind != SOTTO_CHANGE_REMOVE)
            continue;
        const struct sotto_leaf *leaf = add ? &change.after : &change.before;
        uint8_t sub[ID_SIZE];
        TRY(leaf_subscription(c, extensions, from_sotto(leaf->signature_key),
                              sub));
        bool in_adds = adds_contain(lists.adds, ID_BYTES(sub), &listed);
        bool in_ends = ends_contain(lists.ends, ID_BYTES(sub));
        if (add ? !in_adds : in_adds == in_ends)
            fault(p, "lists of subscriptions that do not fit its changes");
        added += add;
        ended += !add && in_ends;
    }
    if (added != listed || ended != lists.ends.len / ID_SIZE)
        fault(p, "lists of subscriptions that do not fit its changes");
    return OK;
}

/* --- the leaf rule, over the tree as it will be --- */

static void judge_leaf(struct policy *p, const struct sotto_leaf *leaf,
                       bool all)
{
    struct leaf_claim claim = {0};
    if (leaf_claim_read(leaf, &claim) != OK) {
        fault(p, "a leaf without an account");
        return;
    }
    struct touched *t = touched_find(p, claim.account);
    if (t == NULL) {
        if (all)
            fault(p, "a leaf of an account without states");
        return;
    }
    t->leaves++;
    if (claim.version > t->highest)
        t->highest = claim.version;
    const struct device *device = NULL;
    if (t->chain == NULL || chain_newest(t->chain) == NULL ||
        chain_leaf_check(t->chain, claim.version, claim.hash,
                         claim.signature_key, &device) != OK)
        fault(p, "a leaf that its account does not list");
    else if (state_device_of_key(chain_newest(t->chain), claim.signature_key) ==
             NULL)
        fault(p, "a leaf that its account no longer lists");
}

/* An account's state in a conversation is the highest among its leaves. */
static void judge_accounts(struct policy *p)
{
    for (const struct touched *t = p->accounts; t != NULL; t = t->next) {
        if (t->leaves == 0 && (t->carried || !t->member))
            fault(p, "states of an account without a device here");
        else if (t->leaves > 0 && chain_version(t->chain) != t->highest)
            fault(p, "states that no leaf names");
    }
}

static enum err judge_direct(struct client *c, const struct conv *cv,
                             struct policy *p)
{
    size_t count = 0;
    TRY(member_count(c, cv->id, &count));
    for (const struct touched *t = p->accounts; t != NULL; t = t->next) {
        count += !t->member && t->leaves > 0;
        count -= t->member && t->leaves == 0;
    }
    if (cv->direct && count > 2)
        fault(p, "a third person in a conversation of two");
    return OK;
}

enum err policy_judge(struct client *c, struct conv *cv,
                      const struct sotto_staged *staged,
                      struct bytes authenticated_data, struct policy *out)
{
    *out = (struct policy){.scheduled = true};
    struct sotto_change change = {0};
    for (size_t i = 0; sotto_staged_change(staged, i, &change) == SOTTO_OK; i++)
        TRY(judge_change(c, cv, out, &change));
    if (out->adds > 0 && out->joining.blob.len == 0)
        fault(out, "a device is added without a joining blob");
    TRY(judge_subscriptions(c, cv, out, staged, authenticated_data));
    if (out->fault != NULL)
        return OK;
    for (uint32_t i = 0; i < sotto_staged_leaf_count(staged); i++) {
        struct sotto_leaf leaf = {0};
        if (sotto_staged_member(staged, i, &leaf) == SOTTO_OK)
            judge_leaf(out, &leaf, false);
    }
    if (out->fault == NULL)
        judge_accounts(out);
    out->scheduled = out->scheduled && out->adds == 0 && out->removes == 0;
    return out->fault == NULL ? judge_direct(c, cv, out) : OK;
}

enum err policy_judge_group(struct client *c, const struct sotto_group *group,
                            struct policy *p)
{
    (void)c;
    for (uint32_t i = 0; i < sotto_group_leaf_count(group); i++) {
        struct sotto_leaf leaf = {0};
        if (sotto_group_member(group, i, &leaf) == SOTTO_OK)
            judge_leaf(p, &leaf, true);
    }
    if (p->fault == NULL)
        judge_accounts(p);
    return OK;
}
