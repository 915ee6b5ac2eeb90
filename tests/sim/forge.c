/* SPDX-License-Identifier: Apache-2.0 */
/* What an insider sends: a row of one table makes each kind. */
#include "insider.h"

#include "mls/evil.h"
#include "proto/content.h"
#include "proto/entry.h"
#include "proto/envelope.h"
#include "proto/group_ext.h"

#include <stdio.h>
#include <string.h>

#define ENDS_MAX     16U
#define GARBAGE_SIZE 200U

static struct bytes from(struct sotto_bytes b)
{
    return (struct bytes){b.data, b.len};
}

static struct sotto_bytes lend(struct bytes b)
{
    return (struct sotto_bytes){b.data, b.len};
}

static bool one_in(const struct forge *f, uint64_t n)
{
    return world_chance(f->w, n);
}

static void fill(const struct forge *f, uint8_t *out, size_t len)
{
    random_fill(&f->w->source, out, len);
}

/* --- Members ------------------------------------------------------------- */

/* Somebody else, each as likely. */
static bool other_leaf(const struct forge *f, uint32_t *out)
{
    uint32_t own = sotto_group_own_leaf(f->group);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < sotto_group_leaf_count(f->group); i++) {
        struct sotto_leaf leaf = {0};
        if (i == own || sotto_group_member(f->group, i, &leaf) != SOTTO_OK)
            continue;
        seen++;
        if (world_chance(f->w, seen))
            *out = i;
    }
    return seen > 0;
}

void forge_subscription(const struct forge *f, struct sotto_bytes signature_key,
                        uint8_t out[ID_SIZE])
{
    CLEANUP(secret_clear) struct secret secret = {0};
    struct sotto_bytes data = {0};
    if (sotto_extension_find(sotto_group_extensions(f->group), EXT_SUBSCRIPTION,
                             &data) != SOTTO_OK ||
        group_subscription_read(from(data), &secret) != OK ||
        subscription_id(f->w->crypto, &secret, from(signature_key), out) != OK)
        world_fail(f->w, "a group without its subscription secret");
}

/* --- Commits ------------------------------------------------------------- */

/* The lists in the clear. */
struct lists {
    uint8_t add[ID_SIZE];
    uint8_t cap_hash[CAP_SIZE];
    bool adds;
    uint8_t ends[ENDS_MAX][ID_SIZE];
    size_t end_count;
};

static void lists_end(const struct forge *f, struct lists *l, uint32_t victim)
{
    struct sotto_leaf leaf = {0};
    if (l->end_count < ENDS_MAX &&
        sotto_group_member(f->group, victim, &leaf) == SOTTO_OK)
        forge_subscription(f, leaf.signature_key, l->ends[l->end_count++]);
}

static bool lists_write(const struct lists *l, struct buf *out)
{
    CLEANUP(buf_clear) struct buf adds = buf_new(COMMIT_DATA_MAX);
    CLEANUP(buf_clear) struct buf ends = buf_new(COMMIT_DATA_MAX);
    struct bytes ids[ENDS_MAX];
    struct writer w = writer_to(&adds);
    struct sub_add add = {BYTES_ARRAY(l->add), BYTES_ARRAY(l->cap_hash)};
    if (l->adds)
        sub_add_write(&w, &add);
    for (size_t i = 0; i < l->end_count; i++)
        ids[i] = BYTES_ARRAY(l->ends[i]);
    sub_ids_sort(ids, l->end_count);
    for (size_t i = 0; i < l->end_count; i++) {
        if (buf_append(&ends, ids[i]) != OK)
            return false;
    }
    struct commit_data data = {buf_bytes(&adds), buf_bytes(&ends)};
    return writer_finish(&w) == OK && commit_data_write(out, &data) == OK;
}

static bool commit(struct forge *f, struct sotto_commit *c,
                   const struct lists *lists)
{
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(buf_clear) struct buf data = buf_new(COMMIT_DATA_MAX);
    sotto_group_drop_pending(f->group);
    if (!lists_write(lists, &data))
        return false;
    c->authenticated_data = lend(buf_bytes(&data));
    enum sotto_err err = sotto_group_commit(f->group, c, &out);
    evil_next_commit(EVIL_NONE, 0);
    f->entry = ENTRY_COMMIT;
    return err == SOTTO_OK &&
           buf_copy(&f->body,
                    (struct bytes){out.message.data, out.message.len}) == OK;
}

static bool broken_for_all(struct forge *f)
{
    evil_next_commit(one_in(f, 2) ? EVIL_LEAF : EVIL_TAG, 0);
    return commit(f, &(struct sotto_commit){0}, &(struct lists){0});
}

static bool broken_subtree(struct forge *f)
{
    uint32_t leaf = 0;
    f->effect = EFFECT_APPLIED;
    /* Who is cut off is added again by those who are not: so nobody may lose
     * its place by other means. */
    if (f->pending || !other_leaf(f, &leaf))
        return false;
    f->victim = leaf;
    evil_next_commit(EVIL_SUBTREE, leaf);
    return commit(f, &(struct sotto_commit){0}, &(struct lists){0});
}

/* What all can see comes first, so nobody has to rejoin. */
static bool broken_twice(struct forge *f)
{
    struct lists lists = {0};
    uint32_t leaf = 0;
    if (!other_leaf(f, &leaf))
        return false;
    f->victim = leaf;
    lists_end(f, &lists, leaf);
    evil_next_commit(EVIL_SUBTREE, leaf);
    return commit(f, &(struct sotto_commit){0}, &lists);
}

/* Whom it removes cannot know that it does not count. */
static bool broken_removal(struct forge *f)
{
    struct lists lists = {0};
    uint32_t leaf = 0;
    if (!other_leaf(f, &leaf))
        return false;
    f->victim = leaf;
    lists_end(f, &lists, leaf);
    evil_next_commit(EVIL_TAG, 0);
    struct sotto_commit c = {.removes = &leaf, .remove_count = 1};
    return commit(f, &c, &lists);
}

static bool false_ends(struct forge *f)
{
    struct lists lists = {0};
    uint32_t leaf = 0;
    if (!other_leaf(f, &leaf))
        return false;
    f->victim = leaf;
    if (!f->w->vanishes && one_in(f, 3)) {
        for (leaf = 0; leaf < sotto_group_leaf_count(f->group); leaf++) {
            if (leaf != sotto_group_own_leaf(f->group))
                lists_end(f, &lists, leaf);
        }
    } else {
        lists_end(f, &lists, leaf);
    }
    return commit(f, &(struct sotto_commit){0}, &lists);
}

static bool false_adds(struct forge *f)
{
    struct lists lists = {.adds = true};
    struct sotto_leaf victim = {0};
    uint32_t leaf = 0;
    fill(f, lists.add, ID_SIZE);
    fill(f, lists.cap_hash, CAP_SIZE);
    if (one_in(f, 2) && other_leaf(f, &leaf) &&
        sotto_group_member(f->group, leaf, &victim) == SOTTO_OK)
        forge_subscription(f, victim.signature_key, lists.add);
    return commit(f, &(struct sotto_commit){0}, &lists);
}

static bool short_lists(struct forge *f)
{
    uint32_t leaf = 0;
    if (!other_leaf(f, &leaf))
        return false;
    struct sotto_commit c = {.removes = &leaf, .remove_count = 1};
    return commit(f, &c, &(struct lists){0});
}

/* A device that a member's account knows nothing of. */
static bool ghost_package(const struct forge *f, const struct sotto_leaf *as,
                          struct sotto_buf *out_package, struct sotto_buf *key)
{
    static const uint16_t extensions[] = {EXT_CHANNEL, EXT_SUBSCRIPTION,
                                          EXT_PROFILE, EXT_ACCOUNT};
    static const uint16_t proposals[] = {SOTTO_PROPOSAL_APP_EPHEMERAL};
    CLEANUP(sotto_buf_free) struct sotto_buf private = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf sign_private = {0};
    struct sotto_extension account = {.type = EXT_ACCOUNT};
    struct sotto_ref ref;
    if (sotto_extension_find(as->extensions, EXT_ACCOUNT, &account.data) !=
            SOTTO_OK ||
        sotto_mls_signature_keygen(f->mls, sotto_suite_default(), &sign_private,
                                   key) != SOTTO_OK)
        return false;
    struct sotto_identity id = {
        .suite = sotto_suite_default(),
        .identity = as->identity,
        .signature_private = {sign_private.data, sign_private.len},
        .signature_public = {key->data, key->len},
        .extensions = {&account, 1},
        .extension_types = extensions,
        .extension_type_count = sizeof extensions / sizeof extensions[0],
        .proposal_types = proposals,
        .proposal_type_count = sizeof proposals / sizeof proposals[0],
        .not_after = f->w->now,
    };
    return sotto_key_package_create(f->mls, &id, out_package, &private, &ref) ==
           SOTTO_OK;
}

static bool ghost(struct forge *f)
{
    CLEANUP(sotto_buf_free) struct sotto_buf package = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf key = {0};
    struct lists lists = {.adds = true};
    struct sotto_leaf as = {0};
    uint32_t leaf = sotto_group_own_leaf(f->group);
    if (one_in(f, 2) && !other_leaf(f, &leaf))
        return false;
    if (sotto_group_member(f->group, leaf, &as) != SOTTO_OK ||
        !ghost_package(f, &as, &package, &key))
        return false;
    forge_subscription(f, (struct sotto_bytes){key.data, key.len}, lists.add);
    fill(f, lists.cap_hash, CAP_SIZE);
    CLEANUP(buf_clear) struct buf joining = buf_new(GARBAGE_SIZE);
    struct joining_ref ref = {BYTES_ARRAY(lists.add),
                              BYTES_ARRAY(lists.cap_hash)};
    if (joining_ref_write(&joining, &ref) != OK)
        return false;
    struct sotto_app_proposal app = {COMPONENT_JOINING,
                                     lend(buf_bytes(&joining))};
    struct sotto_bytes add = {package.data, package.len};
    struct sotto_commit c = {.adds = &add,
                             .add_count = 1,
                             .app_proposals = &app,
                             .app_proposal_count = 1};
    return commit(f, &c, &lists);
}

static bool proposal(struct forge *f)
{
    CLEANUP(sotto_buf_free) struct sotto_buf out = {0};
    struct sotto_proposal p = {.kind = SOTTO_PROPOSE_REMOVE};
    f->entry = ENTRY_PROPOSAL;
    return other_leaf(f, &p.leaf) &&
           sotto_group_propose(f->group, &p, &out) == SOTTO_OK &&
           buf_copy(&f->body, (struct bytes){out.data, out.len}) == OK;
}

/* Names a proposal that only its author has. */
static bool reference(struct forge *f)
{
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    struct sotto_commit c = {.use_pending = true};
    return proposal(f) &&
           sotto_group_process(f->group, lend(buf_bytes(&f->body)), &result) ==
               SOTTO_OK &&
           commit(f, &c, &(struct lists){0});
}

/* Another subscription secret: nobody would know anybody's subscription. */
static bool extensions(struct forge *f)
{
    CLEANUP(buf_clear) struct buf data = buf_new(GARBAGE_SIZE);
    CLEANUP(secret_clear) struct secret secret = {0};
    struct sotto_extension items[SOTTO_EXTENSIONS_MAX];
    struct sotto_extension_list list = {.items = items};
    secret_random(&secret, SUBSCRIPTION_SECRET, &f->w->source);
    if (group_subscription_write(&data, &secret) != OK)
        return false;
    while (list.count < SOTTO_EXTENSIONS_MAX &&
           sotto_extension_at(sotto_group_extensions(f->group), list.count,
                              &items[list.count]) == SOTTO_OK) {
        if (items[list.count].type == EXT_SUBSCRIPTION)
            items[list.count].data = lend(buf_bytes(&data));
        list.count++;
    }
    return commit(f, &(struct sotto_commit){.extensions = &list},
                  &(struct lists){0});
}

static bool psk(struct forge *f)
{
    uint8_t id[ID_SIZE];
    fill(f, id, sizeof id);
    struct sotto_bytes name = lend(BYTES_ARRAY(id));
    struct sotto_psk offer = {.id = name, .key = name};
    struct sotto_commit c = {.psks = &name, .psk_count = 1};
    return sotto_group_offer_psk(f->group, offer) == SOTTO_OK &&
           commit(f, &c, &(struct lists){0});
}

static bool new_key(struct forge *f)
{
    CLEANUP(sotto_buf_free) struct sotto_buf private = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf public = {0};
    if (sotto_mls_signature_keygen(f->mls, sotto_suite_default(), &private,
                                   &public) != SOTTO_OK)
        return false;
    struct sotto_leaf_change change = {
        .signature_private = {private.data, private.len},
        .signature_public = {public.data, public.len}};
    return commit(f, &(struct sotto_commit){.leaf = &change},
                  &(struct lists){0});
}

static bool false_states(struct forge *f)
{
    static const uint16_t components[] = {COMPONENT_STATES, COMPONENT_JOINING,
                                          0xf5ff};
    CLEANUP(buf_clear) struct buf data = buf_new(4096);
    uint8_t raw[GARBAGE_SIZE];
    fill(f, raw, sizeof raw);
    struct account_states states = {{raw, ID_SIZE}, BYTES_ARRAY(raw)};
    if (account_states_write(&data, &states) != OK)
        return false;
    struct sotto_app_proposal app = {components[world_random(f->w, 3)],
                                     lend(buf_bytes(&data))};
    struct sotto_commit c = {.app_proposals = &app, .app_proposal_count = 1};
    return commit(f, &c, &(struct lists){0});
}

/* --- Messages and other entries ------------------------------------------ */

static bool protect(struct forge *f, struct bytes in_the_clear,
                    struct bytes plain)
{
    CLEANUP(sotto_buf_free) struct sotto_buf out = {0};
    f->entry = ENTRY_APPLICATION;
    return sotto_group_protect(f->group, lend(in_the_clear), lend(plain), 0,
                               &out) == SOTTO_OK &&
           buf_copy(&f->body, (struct bytes){out.data, out.len}) == OK;
}

/* The header of a PrivateMessage (RFC 9420, section 6.3), and then nothing that
 * could be opened. */
static bool garbage(struct forge *f)
{
    uint8_t raw[GARBAGE_SIZE];
    struct writer w = writer_to(&f->body);
    fill(f, raw, sizeof raw);
    f->entry = (uint8_t)(ENTRY_APPLICATION + world_random(f->w, 3));
    writer_u16(&w, 1);
    writer_u16(&w, 2);
    writer_vec(&w, BYTES_ARRAY(f->channel));
    writer_u64(&w, sotto_group_epoch(f->group) + world_random(f->w, 3) - 1);
    writer_u8(&w, f->entry);
    writer_vec(&w, (struct bytes){0});
    writer_vec(&w, (struct bytes){raw, world_random(f->w, 40)});
    writer_vec(&w, (struct bytes){raw, world_random(f->w, sizeof raw)});
    return writer_finish(&w) == OK;
}

static bool envelope(struct forge *f, struct envelope *e)
{
    CLEANUP(buf_clear) struct buf plain = buf_new(ENVELOPE_MAX);
    uint8_t id[CONTENT_ID_SIZE];
    fill(f, id, sizeof id);
    e->content_id = BYTES_ARRAY(id);
    return envelope_write(&plain, e) == OK &&
           protect(f, (struct bytes){0}, buf_bytes(&plain));
}

static bool form(struct forge *f)
{
    uint8_t raw[GARBAGE_SIZE];
    fill(f, raw, sizeof raw);
    if (one_in(f, 2)) /* no envelope of version 1 */
        return protect(f, (struct bytes){0},
                       (struct bytes){raw, raw[0] == 1 ? 0 : sizeof raw});
    struct envelope e = {.type = ENVELOPE_CONTENT,
                         .seq = f->cursor,
                         .log_hash = BYTES_ARRAY(f->log_hash),
                         .body = BYTES_ARRAY(raw)};
    raw[0] = 0xff; /* CBOR has no such beginning */
    return envelope(f, &e);
}

/* An alarm, but the text is there. */
static bool position(struct forge *f)
{
    CLEANUP(buf_clear) struct buf body = buf_new(CONTENT_MAX);
    static struct content content; /* large */
    uint8_t salt[CONTENT_SALT_SIZE];
    char text[TEXT_SIZE];
    fill(f, salt, sizeof salt);
    (void)snprintf(text, sizeof text, "insider-%u", f->w->attack_count);
    content_text(&content, BYTES_ARRAY(salt), bytes_str(text));
    if (content_write(&body, &content) != OK)
        return false;
    uint8_t other[ID_SIZE];
    fill(f, other, sizeof other);
    bool future = one_in(f, 2);
    struct envelope e = {.type = ENVELOPE_CONTENT,
                         .seq = f->cursor + (future ? 9 : 0),
                         .log_hash = BYTES_ARRAY(other),
                         .body = buf_bytes(&body)};
    return envelope(f, &e);
}

/* Some entry that it has heard before. */
static bool replay(struct forge *f)
{
    const struct heard *h = &f->w->heard;
    f->entry = h->kind;
    return h->body.len > 0 && memcmp(h->channel, f->channel, ID_SIZE) == 0 &&
           buf_copy(&f->body, buf_bytes(&h->body)) == OK;
}

static bool not_let_in(struct forge *f)
{
    f->effect = EFFECT_REFUSED;
    switch (world_random(f->w, 4)) {
    case 0:
        return protect(f, BYTES_LIT("data in the clear"), BYTES_LIT("text"));
    case 1: /* it must say what it knew */
        f->after++;
        return protect(f, (struct bytes){0}, BYTES_LIT("text"));
    case 2: /* a commit that moves nobody's epoch, if it got in */
        if (!broken_for_all(f))
            return false;
        f->entry = ENTRY_APPLICATION;
        return true;
    default:
        f->cap[0] ^= 1;
        return protect(f, (struct bytes){0}, BYTES_LIT("text"));
    }
}

bool forge_make(struct forge *f)
{
    static bool (*const makes[])(struct forge *) = {
        [POINT_BROKEN_FOR_ALL] = broken_for_all,
        [POINT_BROKEN_SUBTREE] = broken_subtree,
        [POINT_BROKEN_TWICE] = broken_twice,
        [POINT_BROKEN_REMOVAL] = broken_removal,
        [POINT_FALSE_ENDS] = false_ends,
        [POINT_FALSE_ADDS] = false_adds,
        [POINT_SHORT_LISTS] = short_lists,
        [POINT_GHOST] = ghost,
        [POINT_REFERENCE] = reference,
        [POINT_PROPOSAL] = proposal,
        [POINT_EXTENSIONS] = extensions,
        [POINT_PSK] = psk,
        [POINT_NEW_KEY] = new_key,
        [POINT_FALSE_STATES] = false_states,
        [POINT_GARBAGE] = garbage,
        [POINT_FORM] = form,
        [POINT_POSITION] = position,
        [POINT_REPLAY] = replay,
        [POINT_NOT_LET_IN] = not_let_in,
    };
    f->effect = EFFECT_SKIPPED;
    return makes[f->kind](f);
}
