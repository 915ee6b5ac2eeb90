/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a commit of the intents that are ready. What it must be is what
 * policy.c checks at the others: every added leaf is a listed device of an
 * account whose states the conversation has or the commit carries, and the
 * lists in the clear name exactly the subscriptions of what it adds and
 * removes.
 */
#include "client/commit.h"

#include "base/mem.h"
#include "client/apply.h"
#include "client/groups.h"
#include "client/people.h"
#include "client/pump.h"
#include "proto/entry.h"
#include "proto/joining.h"

#include <string.h>

#define ADDS_MAX        128U
#define REMOVES_MAX     256U
#define INTENTS_AT_ONCE 64U
#define SCHEDULED_MS    (5ULL * MINUTE_MS) /* between scheduled commits */
#define STATES_MAX      (8U << 20)
#define PLAIN_MAX       (JOINING_MAX - 64U)

struct draft_add {
    struct buf package; /* MLSMessage */
    struct sotto_key_package info;
    struct leaf_claim claim;
    uint8_t sub[ID_SIZE];
    uint8_t cap[CAP_SIZE];
    uint8_t cap_hash[CAP_SIZE];
};

struct draft {
    struct draft_add adds[ADDS_MAX];
    size_t add_count;
    uint32_t removes[REMOVES_MAX];
    size_t remove_count;
    int64_t intents[INTENTS_AT_ONCE];
    size_t intent_count;
    int64_t settled[INTENTS_AT_ONCE]; /* nothing is left to do for them */
    size_t settled_count;
    struct buf states[ADDS_MAX]; /* proposals that carry states */
    size_t states_count;
    struct buf joining; /* proposal that names the blob */
};

static void draft_free(struct draft **d)
{
    if (*d == NULL)
        return;
    for (size_t i = 0; i < ADDS_MAX; i++) {
        buf_clear(&(*d)->adds[i].package);
        buf_clear(&(*d)->states[i]);
    }
    buf_clear(&(*d)->joining);
    mem_free(*d, sizeof **d);
    *d = NULL;
}

/* --- gathering --- */

static bool leaf_of(const struct sotto_group *group, struct bytes key,
                    uint32_t *out)
{
    return sotto_group_find_member(group, to_sotto(key), out) == SOTTO_OK;
}

static bool draft_removes(const struct draft *d, uint32_t leaf)
{
    for (size_t i = 0; i < d->remove_count; i++) {
        if (d->removes[i] == leaf)
            return true;
    }
    return false;
}

static bool draft_adds_key(const struct draft *d, struct bytes key)
{
    for (size_t i = 0; i < d->add_count; i++) {
        if (bytes_equal(d->adds[i].claim.signature_key, key))
            return true;
    }
    return false;
}

static enum err remove_leaf(struct draft *d, uint32_t leaf)
{
    if (draft_removes(d, leaf))
        return OK;
    if (d->remove_count >= REMOVES_MAX)
        return ERR_LIMIT;
    d->removes[d->remove_count++] = leaf;
    return OK;
}

static enum err remove_account(struct draft *d, const struct sotto_group *group,
                               struct bytes account)
{
    for (uint32_t i = 0; i < sotto_group_leaf_count(group); i++) {
        struct sotto_leaf leaf = {0};
        if (sotto_group_member(group, i, &leaf) == SOTTO_OK &&
            i != sotto_group_own_leaf(group) &&
            bytes_equal(from_sotto(leaf.identity), account))
            TRY(remove_leaf(d, i));
    }
    return OK;
}

/* Is this a KeyPackage that the others will accept? Its lifetime is for the
 * adder alone to judge. */
static enum err package_check(struct client *c, const struct intent *i,
                              struct draft_add *add)
{
    TRY(err_of_sotto(sotto_key_package_inspect(
        c->mls, to_sotto(buf_bytes(&add->package)), &add->info)));
    TRY(leaf_claim_read(&add->info.leaf, &add->claim));
    uint64_t now = c->now / SECOND_MS;
    if (add->info.suite != sotto_suite_default() ||
        !bytes_equal(add->claim.account, ID_BYTES(i->account)) ||
        add->info.leaf.not_before > now + SECONDS_OF_DAY ||
        add->info.leaf.not_after < now)
        return ERR_INVALID;
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(account_chain(c, ID_BYTES(i->account), &chain));
    const struct device *device = NULL;
    if (chain_frozen(chain) || add->claim.version != chain_version(chain))
        return ERR_STATE;
    return chain_leaf_check(chain, add->claim.version, add->claim.hash,
                            add->claim.signature_key, &device);
}

/* Adds one KeyPackage; one that is no good is left out. */
static enum err add_package(struct client *c, struct conv *cv, struct draft *d,
                            const struct intent *i, struct bytes package)
{
    if (d->add_count >= ADDS_MAX)
        return ERR_LIMIT;
    struct draft_add *add = &d->adds[d->add_count];
    buf_clear(&add->package);
    add->package = buf_new(KEY_PACKAGE_MAX);
    TRY(buf_copy(&add->package, package));
    enum err err = package_check(c, i, add);
    if (err == ERR_NOMEM || err == ERR_IO)
        return err;
    if (err != OK)
        return OK;
    uint32_t leaf = 0;
    bool there = leaf_of(cv->group, add->claim.signature_key, &leaf);
    if (draft_adds_key(d, add->claim.signature_key) ||
        (there &&
         (i->kind != INTENT_REJOIN || leaf == sotto_group_own_leaf(cv->group))))
        return OK;
    if (there)
        TRY(remove_leaf(d, leaf));
    struct bytes extensions = from_sotto(sotto_group_extensions(cv->group));
    TRY(leaf_subscription(c, extensions, add->claim.signature_key, add->sub));
    random_fill(c->random, add->cap, sizeof add->cap);
    TRY(cap_hash(c->crypto, ID_BYTES(add->cap), add->cap_hash));
    d->add_count++;
    return OK;
}

static enum err add_taken(struct client *c, struct conv *cv, struct draft *d,
                          const struct intent *i)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT body FROM taken WHERE intent = ?");
    sql_put_u64(&q, (uint64_t)i->id);
    while (sql_next(&q))
        TRY(add_package(c, cv, d, i, sql_bytes(&q, 0)));
    return sql_finish(&q);
}

static enum err take_intent(struct client *c, struct conv *cv, struct draft *d,
                            const struct intent *i)
{
    bool settled = false;
    TRY(intent_settled(c, cv, i, &settled));
    if (settled) {
        d->settled[d->settled_count++] = i->id;
        return OK;
    }
    size_t before = d->add_count;
    if (i->kind == INTENT_REMOVE)
        TRY(remove_account(d, cv->group, ID_BYTES(i->account)));
    else
        TRY(add_taken(c, cv, d, i));
    if (i->kind != INTENT_REMOVE && d->add_count == before) {
        d->settled[d->settled_count++] = i->id; /* no good KeyPackage */
        return conv_notice(c, cv,
                           &(struct notice){.kind = CLIENT_COMMAND_FAILED,
                                            .account = ID_BYTES(i->account),
                                            .detail = "its key packages are "
                                                      "not valid"});
    }
    d->intents[d->intent_count++] = i->id;
    return OK;
}

static enum err gather(struct client *c, struct conv *cv, struct draft *d)
{
    CLEANUP(intent_walk_end) struct intent_walk walk = {0};
    TRY(intent_walk_begin(c, cv->id, &walk));
    struct intent i = {0};
    enum err err = OK;
    while (d->intent_count < INTENTS_AT_ONCE &&
           d->settled_count < INTENTS_AT_ONCE && d->add_count < ADDS_MAX / 2 &&
           intent_walk_next(&walk, &i, &err)) {
        if (i.state == INTENT_IS_READY && client_due(c, i.not_before))
            TRY(take_intent(c, cv, d, &i));
    }
    return err;
}

/* --- what the commit says --- */

/* Carries the states of an account that this conversation lacks. */
static enum err carry(struct client *c, struct conv *cv, struct draft *d,
                      struct bytes account)
{
    CLEANUP(chain_free) struct chain *known = NULL;
    CLEANUP(chain_free) struct chain *chain = NULL;
    enum err err = member_chain(c, cv->id, account, &known);
    if (err != OK && err != ERR_NOTFOUND)
        return err;
    TRY(account_chain(c, account, &chain));
    uint64_t from = known == NULL ? 1 : chain_version(known) + 1;
    if (from > chain_version(chain))
        return OK;
    CLEANUP(buf_clear) struct buf states = buf_new(STATES_MAX);
    TRY(chain_list(chain, from, &states));
    struct buf *out = &d->states[d->states_count];
    *out = buf_new(STATES_MAX);
    TRY(account_states_write(
        out, &(struct account_states){account, buf_bytes(&states)}));
    d->states_count++;
    return OK;
}

static enum err carry_all(struct client *c, struct conv *cv, struct draft *d)
{
    for (size_t i = 0; i < d->add_count; i++) {
        bool done = false;
        for (size_t k = 0; k < i; k++)
            done = done || bytes_equal(d->adds[k].claim.account,
                                       d->adds[i].claim.account);
        if (!done)
            TRY(carry(c, cv, d, d->adds[i].claim.account));
    }
    return OK;
}

/* The lists in the clear; a leaf that is removed and added again keeps its
 * subscription and only gets a new capability. */
static enum err subscription_lists(struct client *c, struct conv *cv,
                                   const struct draft *d, struct buf *out)
{
    struct sub_add adds[ADDS_MAX];
    uint8_t ids[REMOVES_MAX][ID_SIZE];
    struct bytes ends[REMOVES_MAX];
    size_t end_count = 0;
    struct bytes extensions = from_sotto(sotto_group_extensions(cv->group));
    for (size_t i = 0; i < d->add_count; i++)
        adds[i] = (struct sub_add){ID_BYTES(d->adds[i].sub),
                                   ID_BYTES(d->adds[i].cap_hash)};
    for (size_t i = 0; i < d->remove_count; i++) {
        struct sotto_leaf leaf = {0};
        TRY(err_of_sotto(sotto_group_member(cv->group, d->removes[i], &leaf)));
        if (draft_adds_key(d, from_sotto(leaf.signature_key)))
            continue;
        TRY(leaf_subscription(c, extensions, from_sotto(leaf.signature_key),
                              ids[end_count]));
        ends[end_count] = ID_BYTES(ids[end_count]);
        end_count++;
    }
    sub_adds_sort(adds, d->add_count);
    sub_ids_sort(ends, end_count);
    CLEANUP(buf_clear) struct buf add_list = buf_new(COMMIT_DATA_MAX);
    CLEANUP(buf_clear) struct buf end_list = buf_new(COMMIT_DATA_MAX);
    struct writer w = writer_to(&add_list);
    for (size_t i = 0; i < d->add_count; i++)
        sub_add_write(&w, &adds[i]);
    TRY(writer_finish(&w));
    for (size_t i = 0; i < end_count; i++)
        TRY(buf_append(&end_list, ends[i]));
    return commit_data_write(
        out, &(struct commit_data){buf_bytes(&add_list), buf_bytes(&end_list)});
}

static enum err commit_make(struct client *c, struct conv *cv,
                            const struct draft *d, struct sotto_commit_out *out)
{
    CLEANUP(buf_clear) struct buf lists = buf_new(COMMIT_DATA_MAX);
    TRY(subscription_lists(c, cv, d, &lists));
    struct sotto_bytes packages[ADDS_MAX];
    struct sotto_app_proposal apps[ADDS_MAX + 1];
    size_t app_count = 0;
    for (size_t i = 0; i < d->add_count; i++)
        packages[i] = to_sotto(buf_bytes(&d->adds[i].package));
    for (size_t i = 0; i < d->states_count; i++)
        apps[app_count++] = (struct sotto_app_proposal){
            COMPONENT_STATES, to_sotto(buf_bytes(&d->states[i]))};
    if (d->joining.len > 0)
        apps[app_count++] = (struct sotto_app_proposal){
            COMPONENT_JOINING, to_sotto(buf_bytes(&d->joining))};
    struct sotto_commit commit = {
        .adds = packages,
        .add_count = d->add_count,
        .removes = d->removes,
        .remove_count = d->remove_count,
        .app_proposals = apps,
        .app_proposal_count = app_count,
        .authenticated_data = to_sotto(buf_bytes(&lists)),
    };
    return err_of_sotto(sotto_group_commit(cv->group, &commit, out));
}

/* --- the joining blob --- */

static enum err blob_member(struct client *c, struct conv *cv,
                            struct bytes account, struct writer *w)
{
    CLEANUP(chain_free) struct chain *chain = NULL;
    enum err err = member_chain(c, cv->id, account, &chain);
    if (err == ERR_NOTFOUND)
        err = account_chain(c, account, &chain); /* who is being added */
    TRY(err);
    CLEANUP(buf_clear) struct buf states = buf_new(STATES_MAX);
    TRY(chain_list(chain, 1, &states));
    struct person p = {0};
    err = person_get(c, account, &p);
    if (err != OK && err != ERR_NOTFOUND)
        return err;
    struct joining_member m = {.states = buf_bytes(&states)};
    if (bytes_equal(account, ID_BYTES(c->profile.account)))
        m.contact_cap = ID_BYTES(c->profile.contact_cap);
    else if (p.has_cap)
        m.contact_cap = ID_BYTES(p.contact_cap);
    joining_member_write(w, &m);
    return OK;
}

/* Every account that will be there, once. */
static enum err blob_members(struct client *c, struct conv *cv, struct buf *out)
{
    const struct sotto_staged *staged = sotto_group_pending(cv->group);
    struct writer w = writer_to(out);
    uint32_t count = sotto_staged_leaf_count(staged);
    for (uint32_t i = 0; i < count; i++) {
        struct sotto_leaf leaf = {0}, other = {0};
        if (sotto_staged_member(staged, i, &leaf) != SOTTO_OK)
            continue;
        bool done = false;
        for (uint32_t k = 0; k < i && !done; k++)
            done = sotto_staged_member(staged, k, &other) == SOTTO_OK &&
                   bytes_equal(from_sotto(other.identity),
                               from_sotto(leaf.identity));
        if (!done)
            TRY(blob_member(c, cv, from_sotto(leaf.identity), &w));
    }
    return writer_finish(&w);
}

static enum err blob_caps(struct client *c, struct conv *cv,
                          const struct draft *d, struct buf *out)
{
    struct writer w = writer_to(out);
    for (size_t i = 0; i < d->add_count; i++) {
        const struct draft_add *add = &d->adds[i];
        CLEANUP(chain_free) struct chain *chain = NULL;
        TRY(account_chain(c, add->claim.account, &chain));
        const struct device *device =
            state_device_of_key(chain_newest(chain), add->claim.signature_key);
        if (device == NULL)
            return ERR_INVALID;
        struct cap_context context = {ID_BYTES(cv->channel),
                                      ID_BYTES(add->sub)};
        CLEANUP(buf_clear) struct buf sealed = buf_new(4096);
        TRY(cap_seal(c->crypto, c->random, device->sealing_key, &context,
                     ID_BYTES(add->cap), &sealed));
        joining_cap_write(
            &w, &(struct joining_cap){ID_BYTES(add->sub), buf_bytes(&sealed)});
    }
    return writer_finish(&w);
}

static enum err blob_make(struct client *c, struct conv *cv,
                          const struct draft *d, struct bytes welcome,
                          struct pending *p)
{
    CLEANUP(buf_clear) struct buf members = buf_new(PLAIN_MAX);
    CLEANUP(buf_clear) struct buf caps = buf_new(PLAIN_MAX);
    CLEANUP(buf_clear) struct buf plain = buf_new(PLAIN_MAX);
    CLEANUP(secret_clear) struct secret key = {0};
    TRY(blob_members(c, cv, &members));
    TRY(blob_caps(c, cv, d, &caps));
    TRY(joining_write(&plain,
                      &(struct joining){.channel = ID_BYTES(cv->channel),
                                        .welcome = welcome,
                                        .members = buf_bytes(&members),
                                        .caps = buf_bytes(&caps)}));
    TRY(secret_set(&key, ID_BYTES(p->blob_key)));
    return joining_seal(c->crypto, &key, ID_BYTES(p->blob_id),
                        buf_bytes(&plain), &p->blob);
}

/* --- building --- */

static enum err pending_intent_insert(struct client *c, const struct conv *cv,
                                      int64_t intent)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "INSERT INTO pending_intent (intent, conversation)"
                         " VALUES (?, ?)");
    sql_put_u64(&q, (uint64_t)intent);
    sql_put_u64(&q, (uint64_t)cv->id);
    return sql_run(&q);
}

static enum err build(struct client *c, struct conv *cv, struct draft *d)
{
    CLEANUP(pending_clear)
    struct pending p = {.commit = buf_new(ENTRY_MAX),
                        .blob = buf_new(JOINING_MAX)};
    random_fill(c->random, p.key, sizeof p.key);
    random_fill(c->random, p.blob_id, sizeof p.blob_id);
    random_fill(c->random, p.blob_key, sizeof p.blob_key);
    TRY(carry_all(c, cv, d));
    if (d->add_count > 0) {
        d->joining = buf_new(256);
        TRY(joining_ref_write(
            &d->joining,
            &(struct joining_ref){ID_BYTES(p.blob_id), ID_BYTES(p.blob_key)}));
    }
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    TRY(commit_make(c, cv, d, &out));
    TRY(buf_copy(&p.commit, from_sotto_buf(&out.message)));
    TRY(sha256(c, PARTS(buf_bytes(&p.commit)), p.hash));
    p.epoch = sotto_group_epoch(cv->group);
    p.state = PENDING_APPEND;
    if (d->add_count > 0) {
        p.state = PENDING_BLOB;
        TRY(blob_make(c, cv, d, from_sotto_buf(&out.welcome), &p));
    }
    TRY(pending_insert(c, cv, &p));
    for (size_t i = 0; i < d->intent_count; i++)
        TRY(pending_intent_insert(c, cv, d->intents[i]));
    return conv_group_save(c, cv);
}

/* Is a fresh path due, and nobody else's too recent? */
static bool path_due(struct client *c, const struct conv *cv)
{
    if (cv->path_at == 0 || !client_due(c, cv->path_at))
        return false;
    return cv->scheduled == 0 ||
           client_due(c, cv->scheduled * SECOND_MS + SCHEDULED_MS);
}

/* Is there anything to look at? Saves a transaction each time there is not. */
static enum err anything_ready(struct client *c, struct conv *cv, bool *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT min(not_before) FROM intent WHERE"
                         " conversation = ? AND state = 3");
    sql_put_u64(&q, (uint64_t)cv->id);
    TRY(sql_one(&q));
    bool ready = !sql_is_null(&q, 0) && client_due(c, sql_u64(&q, 0));
    *out = path_due(c, cv) || ready;
    return OK;
}

/* The library or a limit refuses what the intents want: they have failed. */
static enum err build_failed(struct client *c, struct conv *cv,
                             const struct draft *d, enum err why)
{
    if (why == ERR_NOMEM || why == ERR_IO)
        return why;
    TRY(store_reload(c));
    const struct intent_ids failed = {d->intents, d->intent_count};
    TRY(commit_drop(c, cv, &failed,
                    &(struct notice){.kind = CLIENT_COMMAND_FAILED,
                                     .detail = err_text(why)}));
    return ERR_NOTFOUND;
}

static enum err build_step(struct client *c, struct conv *cv, struct draft *d)
{
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "build commit", &step));
    TRY(gather(c, cv, d));
    for (size_t i = 0; i < d->settled_count; i++)
        TRY(intent_delete(c, d->settled[i]));
    TRY(intent_end_if_alone(c, cv));
    bool work = cv->state == CLIENT_ACTIVE &&
                (d->add_count > 0 || d->remove_count > 0 || path_due(c, cv));
    if (work)
        TRY(build(c, cv, d));
    TRY(step_commit(&step));
    return work ? OK : ERR_NOTFOUND;
}

enum err commit_build(struct client *c, struct conv *cv)
{
    bool ready = false;
    TRY(anything_ready(c, cv, &ready));
    if (!ready)
        return ERR_NOTFOUND;
    struct sotto_group *group = NULL;
    TRY(conv_group(c, cv, &group));
    CLEANUP(draft_free) struct draft *d = mem_alloc(sizeof *d);
    if (d == NULL)
        return ERR_NOMEM;
    enum err err = build_step(c, cv, d);
    if (err == OK || err == ERR_NOTFOUND)
        return err;
    return build_failed(c, cv, d, err);
}
