/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One MLS client behind a pipe, so that any language can talk to it. A command
 * is a line: words parted by spaces, numbers in decimal, bytes in hex digits
 * (`-` for none). An answer is a line with one JSON object, which has "error"
 * when the command failed. A commit stays pending until `merge`, or until its
 * own bytes come back by `process`.
 */
#include "sotto/mls.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORDS_MAX     256U         /* of a line */
#define LINE_BYTES    (130U << 20) /* a message of 64 MiB in hex, and a bit */
#define KEPT_MAX      1024U        /* bytes of an identity, a PSK or its id */
#define PACKAGES_MAX  64U          /* private parts that wait for a Welcome */
#define PSKS_MAX      16U
#define LIFETIME_SECS (90ULL * 86400)
#define SKEW_SECS     3600U /* how far others' clocks may be behind */

struct kept {
    uint8_t data[KEPT_MAX];
    size_t len;
};

struct package {
    struct sotto_ref ref;
    struct sotto_buf private_part;
};

struct bridge {
    struct sotto_mls *mls; /* NULL: no client yet */
    uint16_t suite;
    struct kept identity;
    struct sotto_buf signature_private;
    struct sotto_buf signature_public;
    struct package package[PACKAGES_MAX];
    size_t packages; /* made so far: the newest takes the oldest's place */
    struct kept psk_id[PSKS_MAX];
    struct kept psk_key[PSKS_MAX];
    size_t psks;
    struct sotto_group *group; /* NULL: in none */
    uint64_t public_message;   /* settings: 0 or 1 */
    uint64_t tree_outside;
    uint64_t bucket;
    uint64_t grease;
};

struct words {
    char *word[WORDS_MAX];
    size_t count;
};

/* Like a writer, it fails for good, and is asked once at the end. */
struct answer {
    json_t *json;
    const char *detail; /* what was wrong with the words */
    bool failed;
};

typedef enum sotto_err run_fn(struct bridge *b, const struct words *w,
                              struct answer *a);

/* ---- Words in ---- */

static enum sotto_err wrong(struct answer *a, const char *detail)
{
    a->detail = detail;
    return SOTTO_ERR_USAGE;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes the i-th word in its own place, once. One that is not there, and
 * `-`, is empty. */
static enum sotto_err hex_word(struct answer *a, const struct words *w,
                               size_t i, struct sotto_bytes *out)
{
    *out = (struct sotto_bytes){0};
    if (i >= w->count || strcmp(w->word[i], "-") == 0)
        return SOTTO_OK;
    const char *from = w->word[i];
    uint8_t *to = (uint8_t *)w->word[i];
    size_t len = strlen(from);
    for (size_t k = 0; k + 1 < len; k += 2) {
        int high = digit(from[k]), low = digit(from[k + 1]);
        if (high < 0 || low < 0)
            return wrong(a, "not hex digits");
        to[k / 2] = (uint8_t)(high * 16 + low);
    }
    if (len % 2 != 0)
        return wrong(a, "an odd number of hex digits");
    *out = (struct sotto_bytes){to, len / 2};
    return SOTTO_OK;
}

static enum sotto_err number_word(struct answer *a, const struct words *w,
                                  size_t i, uint64_t max, uint64_t *out)
{
    char *end = NULL;
    if (i >= w->count || digit(w->word[i][0]) < 0) /* no sign */
        return wrong(a, "not a number");
    errno = 0;
    uint64_t value = strtoull(w->word[i], &end, 10);
    if (*end != '\0' || errno != 0)
        return wrong(a, "not a number");
    if (value > max)
        return wrong(a, "a number that is too large");
    *out = value;
    return SOTTO_OK;
}

static enum sotto_err keep(struct answer *a, struct sotto_bytes from,
                           struct kept *to)
{
    if (from.len > sizeof(to->data))
        return wrong(a, "too long to keep");
    if (from.len > 0)
        memcpy(to->data, from.data, from.len);
    to->len = from.len;
    return SOTTO_OK;
}

static struct sotto_bytes kept_bytes(const struct kept *k)
{
    return (struct sotto_bytes){k->data, k->len};
}

static struct sotto_bytes view(const struct sotto_buf *b)
{
    return (struct sotto_bytes){b->data, b->len};
}

/* ---- JSON out ---- */

static void put(struct answer *a, json_t *object, const char *key,
                json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        a->failed = true;
}

static json_t *hex(struct sotto_bytes b)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(2 * b.len + 1);
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < b.len; i++) {
        text[2 * i] = digits[b.data[i] >> 4U];
        text[2 * i + 1] = digits[b.data[i] & 15U];
    }
    json_t *value = json_stringn_nocheck(text, 2 * b.len);
    free(text);
    return value;
}

static void put_hex(struct answer *a, const char *key, struct sotto_bytes b)
{
    put(a, a->json, key, hex(b));
}

static void put_number(struct answer *a, const char *key, uint64_t value)
{
    put(a, a->json, key, json_integer((json_int_t)value));
}

/* Hands over: `buf` is freed. */
static void put_buf(struct answer *a, const char *key, struct sotto_buf *buf)
{
    put_hex(a, key, view(buf));
    sotto_buf_free(buf);
}

/* Where the group stands, which all members must agree about. */
static void put_state(struct answer *a, const struct sotto_group *g)
{
    put_number(a, "epoch", sotto_group_epoch(g));
    put(a, a->json, "active", json_boolean(sotto_group_active(g)));
    put_hex(a, "authenticator", sotto_group_epoch_authenticator(g));
    put_number(a, "leaf", sotto_group_own_leaf(g));
    put_number(a, "members", sotto_group_member_count(g));
}

/* ---- The client ---- */

static struct sotto_identity identity_of(const struct bridge *b)
{
    /* of others; nothing is asked of them */
    static const uint16_t x509 = SOTTO_CREDENTIAL_X509;
    static const uint16_t self_remove = SOTTO_PROPOSAL_SELF_REMOVE;
    uint64_t now = (uint64_t)time(NULL);
    return (struct sotto_identity){
        .suite = b->suite,
        .identity = kept_bytes(&b->identity),
        .signature_private = view(&b->signature_private),
        .signature_public = view(&b->signature_public),
        .credential_types = &x509,
        .credential_type_count = 1,
        .proposal_types = &self_remove,
        .proposal_type_count = 1,
        .grease = b->grease != 0,
        .not_before = now - SKEW_SECS,
        .not_after = now + LIFETIME_SECS,
    };
}

static void bridge_clear(struct bridge *b)
{
    sotto_group_free(&b->group);
    for (size_t i = 0; i < PACKAGES_MAX; i++)
        sotto_buf_free(&b->package[i].private_part);
    sotto_buf_free(&b->signature_private);
    sotto_buf_free(&b->signature_public);
    sotto_mls_free(&b->mls);
    memset(b, 0, sizeof(*b));
}

static enum sotto_err run_suites(struct bridge *b, const struct words *w,
                                 struct answer *a)
{
    (void)b, (void)w;
    json_t *list = json_array();
    struct sotto_suite suite = {0};
    put(a, a->json, "suites", list);
    for (size_t i = 0; sotto_suite_at(i, &suite) == SOTTO_OK; i++) {
        if (json_array_append_new(list, json_pack("{s:i, s:s}", "id", suite.id,
                                                  "name", suite.name)) != 0)
            a->failed = true;
    }
    return SOTTO_OK;
}

static enum sotto_err run_new(struct bridge *b, const struct words *w,
                              struct answer *a)
{
    uint64_t suite = 0;
    struct sotto_bytes identity;
    struct bridge fresh = {0};
    enum sotto_err err = number_word(a, w, 1, UINT16_MAX, &suite);
    if (err == SOTTO_OK)
        err = hex_word(a, w, 2, &identity);
    if (err == SOTTO_OK)
        err = keep(a, identity, &fresh.identity);
    if (err == SOTTO_OK)
        err = sotto_mls_create(sotto_random_system(), &fresh.mls);
    fresh.suite = (uint16_t)suite;
    if (err == SOTTO_OK)
        err = sotto_mls_signature_keygen(fresh.mls, fresh.suite,
                                         &fresh.signature_private,
                                         &fresh.signature_public);
    if (err != SOTTO_OK) {
        bridge_clear(&fresh);
        return err;
    }
    bridge_clear(b);
    *b = fresh;
    put_hex(a, "signature_key", view(&b->signature_public));
    return SOTTO_OK;
}

static enum sotto_err run_set(struct bridge *b, const struct words *w,
                              struct answer *a)
{
    const struct {
        const char *name;
        uint64_t *value;
        uint64_t max;
    } settings[] = {
        {"public", &b->public_message, 1},
        {"outside", &b->tree_outside, 1},
        {"bucket", &b->bucket, UINT16_MAX},
        {"grease", &b->grease, 1},
    };
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (strcmp(settings[i].name, w->word[1]) == 0)
            return number_word(a, w, 2, settings[i].max, settings[i].value);
    }
    return wrong(a, "no such setting");
}

static enum sotto_err run_keypackage(struct bridge *b, const struct words *w,
                                     struct answer *a)
{
    (void)w;
    struct sotto_identity id = identity_of(b);
    struct sotto_buf message = {0}, private_part = {0};
    struct package *p = &b->package[b->packages % PACKAGES_MAX];
    enum sotto_err err =
        sotto_key_package_create(b->mls, &id, &message, &private_part, &p->ref);
    if (err != SOTTO_OK)
        return err;
    sotto_buf_free(&p->private_part);
    p->private_part = private_part;
    b->packages++;
    put_buf(a, "key_package", &message);
    put_hex(a, "ref", (struct sotto_bytes){p->ref.data, p->ref.len});
    return SOTTO_OK;
}

static enum sotto_err run_psk(struct bridge *b, const struct words *w,
                              struct answer *a)
{
    struct sotto_psk psk = {0};
    if (b->psks == PSKS_MAX)
        return SOTTO_ERR_LIMIT;
    enum sotto_err err = hex_word(a, w, 1, &psk.id);
    if (err == SOTTO_OK)
        err = hex_word(a, w, 2, &psk.key);
    if (err == SOTTO_OK)
        err = keep(a, psk.id, &b->psk_id[b->psks]);
    if (err == SOTTO_OK)
        err = keep(a, psk.key, &b->psk_key[b->psks]);
    if (err == SOTTO_OK && b->group != NULL)
        err = sotto_group_offer_psk(b->group, psk);
    if (err == SOTTO_OK)
        b->psks++;
    return err;
}

/* ---- Into a group ---- */

/* Takes the group over, in the place of another. */
static enum sotto_err enter(struct bridge *b, struct sotto_group **group,
                            struct answer *a)
{
    for (size_t i = 0; i < b->psks; i++) {
        struct sotto_psk psk = {kept_bytes(&b->psk_id[i]),
                                kept_bytes(&b->psk_key[i])};
        enum sotto_err err = sotto_group_offer_psk(*group, psk);
        if (err != SOTTO_OK) {
            sotto_group_free(group);
            return err;
        }
    }
    sotto_group_free(&b->group);
    b->group = *group;
    put_hex(a, "group", sotto_group_id(b->group));
    put_state(a, b->group);
    return SOTTO_OK;
}

static enum sotto_err run_create(struct bridge *b, const struct words *w,
                                 struct answer *a)
{
    struct sotto_identity id = identity_of(b);
    struct sotto_extension_list none = {0};
    struct sotto_bytes group_id;
    struct sotto_group *group = NULL;
    enum sotto_err err = hex_word(a, w, 1, &group_id);
    if (err == SOTTO_OK)
        err = sotto_group_create(b->mls, &id, group_id, none, &group);
    return err == SOTTO_OK ? enter(b, &group, a) : err;
}

/* The private part that a Welcome is for. */
static enum sotto_err package_for(const struct bridge *b,
                                  struct sotto_bytes welcome,
                                  struct sotto_bytes *out)
{
    struct sotto_ref ref = {0};
    for (size_t i = 0;; i++) {
        enum sotto_err err = sotto_welcome_ref(welcome, i, &ref);
        if (err != SOTTO_OK)
            return err;
        for (size_t k = 0; k < PACKAGES_MAX; k++) {
            const struct package *p = &b->package[k];
            if (p->ref.len == ref.len && p->private_part.len > 0 &&
                memcmp(p->ref.data, ref.data, ref.len) == 0) {
                *out = view(&p->private_part);
                return SOTTO_OK;
            }
        }
    }
}

static enum sotto_err run_join(struct bridge *b, const struct words *w,
                               struct answer *a)
{
    struct sotto_psk psks[PSKS_MAX];
    struct sotto_join join = {.psks = {psks, b->psks}};
    struct sotto_group *group = NULL;
    for (size_t i = 0; i < b->psks; i++) {
        psks[i] = (struct sotto_psk){kept_bytes(&b->psk_id[i]),
                                     kept_bytes(&b->psk_key[i])};
    }
    const struct sotto_group *from = b->group; /* what the new one follows */
    if (from != NULL)
        join.groups = (struct sotto_group_list){&from, 1};
    enum sotto_err err = hex_word(a, w, 1, &join.welcome);
    if (err == SOTTO_OK)
        err = hex_word(a, w, 2, &join.ratchet_tree);
    if (err == SOTTO_OK)
        err = package_for(b, join.welcome, &join.key_package_private);
    if (err == SOTTO_OK)
        err = sotto_group_join(b->mls, &join, &group);
    return err == SOTTO_OK ? enter(b, &group, a) : err;
}

/* `external` and `resync`. */
static enum sotto_err run_external(struct bridge *b, const struct words *w,
                                   struct answer *a)
{
    struct sotto_identity id = identity_of(b);
    struct sotto_external_join join = {
        .identity = &id, .resync = strcmp(w->word[0], "resync") == 0};
    struct sotto_buf message = {0};
    struct sotto_group *group = NULL;
    enum sotto_err err = hex_word(a, w, 1, &join.group_info);
    if (err == SOTTO_OK)
        err = hex_word(a, w, 2, &join.ratchet_tree);
    if (err == SOTTO_OK)
        err = sotto_group_join_external(b->mls, &join, &message, &group);
    if (err == SOTTO_OK)
        err = enter(b, &group, a);
    put_buf(a, "commit", &message);
    return err;
}

/* Decodes all words from the `first` on. */
static enum sotto_err hex_words(struct answer *a, const struct words *w,
                                size_t first, struct sotto_bytes *out)
{
    enum sotto_err err = SOTTO_OK;
    for (size_t i = first; i < w->count && err == SOTTO_OK; i++)
        err = hex_word(a, w, i, &out[i - first]);
    return err;
}

/* `branch` and `follow`: makes a group that follows from the one that it is in,
 * and moves there. */
static enum sotto_err run_follow(struct bridge *b, const struct words *w,
                                 struct answer *a)
{
    bool branch = strcmp(w->word[0], "branch") == 0;
    size_t first = branch ? 2 : 1;
    struct sotto_bytes adds[WORDS_MAX];
    struct sotto_identity id = identity_of(b);
    struct sotto_link link = {.from = b->group,
                              .identity = &id,
                              .adds = adds,
                              .add_count = w->count - first,
                              .tree_outside = b->tree_outside != 0};
    struct sotto_commit_out out = {0};
    struct sotto_group *group = NULL;
    enum sotto_err err = hex_words(a, w, first, adds);
    if (err == SOTTO_OK && branch)
        err = hex_word(a, w, 1, &link.group_id);
    if (err == SOTTO_OK)
        err = branch ? sotto_group_branch(b->mls, &link, &out, &group)
                     : sotto_group_reinitialize(b->mls, &link, &out, &group);
    if (err == SOTTO_OK)
        err = enter(b, &group, a);
    put_buf(a, "welcome", &out.welcome);
    put_buf(a, "tree", &out.ratchet_tree);
    sotto_commit_out_free(&out);
    return err;
}

/* ---- Sending ---- */

static enum sotto_err commit(struct bridge *b, struct sotto_commit *ask,
                             struct answer *a)
{
    struct sotto_commit_out out = {0};
    ask->public_message = b->public_message != 0;
    ask->tree_outside = b->tree_outside != 0;
    ask->bucket = (size_t)b->bucket;
    ask->now = (uint64_t)time(NULL);
    enum sotto_err err = sotto_group_commit(b->group, ask, &out);
    if (err != SOTTO_OK)
        return err;
    put_buf(a, "commit", &out.message);
    put_buf(a, "welcome", &out.welcome);
    put_buf(a, "tree", &out.ratchet_tree);
    return SOTTO_OK;
}

static enum sotto_err run_add(struct bridge *b, const struct words *w,
                              struct answer *a)
{
    struct sotto_bytes adds[WORDS_MAX];
    struct sotto_commit ask = {.adds = adds, .add_count = w->count - 1};
    enum sotto_err err = hex_words(a, w, 1, adds);
    return err == SOTTO_OK ? commit(b, &ask, a) : err;
}

static enum sotto_err run_inject(struct bridge *b, const struct words *w,
                                 struct answer *a)
{
    struct sotto_bytes ids[WORDS_MAX];
    struct sotto_commit ask = {.psks = ids, .psk_count = w->count - 1};
    enum sotto_err err = hex_words(a, w, 1, ids);
    return err == SOTTO_OK ? commit(b, &ask, a) : err;
}

static enum sotto_err run_remove(struct bridge *b, const struct words *w,
                                 struct answer *a)
{
    uint32_t leaves[WORDS_MAX];
    struct sotto_commit ask = {.removes = leaves, .remove_count = w->count - 1};
    for (size_t i = 1; i < w->count; i++) {
        uint64_t leaf = 0;
        enum sotto_err err = number_word(a, w, i, UINT32_MAX, &leaf);
        if (err != SOTTO_OK)
            return err;
        leaves[i - 1] = (uint32_t)leaf;
    }
    return commit(b, &ask, a);
}

static enum sotto_err run_update(struct bridge *b, const struct words *w,
                                 struct answer *a)
{
    (void)w;
    struct sotto_commit ask = {0};
    return commit(b, &ask, a);
}

static enum sotto_err run_commit(struct bridge *b, const struct words *w,
                                 struct answer *a)
{
    (void)w;
    struct sotto_commit ask = {.use_pending = true};
    return commit(b, &ask, a);
}

static enum sotto_err run_reinit(struct bridge *b, const struct words *w,
                                 struct answer *a)
{
    struct sotto_reinit next = {.suite = b->suite};
    struct sotto_commit ask = {.reinit = &next};
    enum sotto_err err = hex_word(a, w, 1, &next.group_id);
    return err == SOTTO_OK ? commit(b, &ask, a) : err;
}

static enum sotto_err run_propose(struct bridge *b, const struct words *w,
                                  struct answer *a)
{
    struct sotto_proposal p = {.public_message = b->public_message != 0,
                               .bucket = (size_t)b->bucket};
    struct sotto_buf message = {0};
    enum sotto_err err = SOTTO_OK;
    uint64_t leaf = 0;
    if (strcmp(w->word[1], "add") == 0) {
        p.kind = SOTTO_PROPOSE_ADD;
        err = hex_word(a, w, 2, &p.key_package);
    } else if (strcmp(w->word[1], "update") == 0) {
        p.kind = SOTTO_PROPOSE_UPDATE;
    } else if (strcmp(w->word[1], "remove") == 0) {
        p.kind = SOTTO_PROPOSE_REMOVE;
        err = number_word(a, w, 2, UINT32_MAX, &leaf);
        p.leaf = (uint32_t)leaf;
    } else if (strcmp(w->word[1], "leave") == 0) {
        p.kind = SOTTO_PROPOSE_SELF_REMOVE;
        p.public_message = true;
    } else if (strcmp(w->word[1], "psk") == 0) {
        p.kind = SOTTO_PROPOSE_PSK;
        err = hex_word(a, w, 2, &p.psk_id);
    } else {
        return wrong(a, "no such proposal");
    }
    if (err == SOTTO_OK)
        err = sotto_group_propose(b->group, &p, &message);
    if (err == SOTTO_OK)
        put_buf(a, "proposal", &message);
    return err;
}

static enum sotto_err run_merge(struct bridge *b, const struct words *w,
                                struct answer *a)
{
    (void)w;
    enum sotto_err err = sotto_group_merge_pending(b->group);
    if (err == SOTTO_OK)
        put_state(a, b->group);
    return err;
}

static enum sotto_err run_drop(struct bridge *b, const struct words *w,
                               struct answer *a)
{
    (void)w;
    sotto_group_drop_pending(b->group);
    put_state(a, b->group);
    return SOTTO_OK;
}

static enum sotto_err run_send(struct bridge *b, const struct words *w,
                               struct answer *a)
{
    struct sotto_bytes text, data;
    struct sotto_buf message = {0};
    enum sotto_err err = hex_word(a, w, 1, &text);
    if (err == SOTTO_OK)
        err = hex_word(a, w, 2, &data);
    if (err == SOTTO_OK)
        err = sotto_group_protect(b->group, data, text, (size_t)b->bucket,
                                  &message);
    if (err == SOTTO_OK)
        put_buf(a, "message", &message);
    return err;
}

/* ---- Receiving ---- */

static const char *outcome_name(enum sotto_outcome outcome)
{
    static const struct {
        enum sotto_outcome outcome;
        const char *name;
    } names[] = {
        {SOTTO_APPLICATION, "application"},
        {SOTTO_PROPOSAL, "proposal"},
        {SOTTO_COMMIT, "commit"},
        {SOTTO_OWN_COMMIT, "own commit"},
        {SOTTO_OWN_MESSAGE, "own message"},
        {SOTTO_DUPLICATE, "duplicate"},
        {SOTTO_FUTURE_EPOCH, "future epoch"},
        {SOTTO_TOO_OLD, "too old"},
        {SOTTO_WRONG_GROUP, "wrong group"},
        {SOTTO_CANNOT_APPLY, "cannot apply"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].outcome == outcome)
            return names[i].name;
    }
    return "unknown";
}

static void put_changes(struct answer *a, const struct sotto_staged *staged)
{
    static const char *const kinds[] = {
        [SOTTO_CHANGE_ADD] = "add",
        [SOTTO_CHANGE_UPDATE] = "update",
        [SOTTO_CHANGE_REMOVE] = "remove",
        [SOTTO_CHANGE_PATH] = "path",
        [SOTTO_CHANGE_EXTENSIONS] = "extensions",
        [SOTTO_CHANGE_APP] = "app",
        [SOTTO_CHANGE_PSK] = "psk",
        [SOTTO_CHANGE_RESUMPTION] = "resumption",
        [SOTTO_CHANGE_REINIT] = "reinit",
        [SOTTO_CHANGE_EXTERNAL_INIT] = "external init",
        [SOTTO_CHANGE_APP_DATA_UPDATE] = "app data update",
        [SOTTO_CHANGE_APP_DATA_REMOVE] = "app data remove",
    };
    struct sotto_change c = {0};
    json_t *list = json_array();
    put(a, a->json, "changes", list);
    for (size_t i = 0; sotto_staged_change(staged, i, &c) == SOTTO_OK; i++) {
        bool known = (size_t)c.kind < sizeof(kinds) / sizeof(kinds[0]);
        if (json_array_append_new(list,
                                  json_pack("{s:s, s:I, s:I}", "kind",
                                            known ? kinds[c.kind] : "unknown",
                                            "by", (json_int_t)c.by, "leaf",
                                            (json_int_t)c.leaf)) != 0)
            a->failed = true;
    }
}

static enum sotto_err apply(struct bridge *b, struct sotto_result *r,
                            struct answer *a)
{
    enum sotto_err err = SOTTO_OK;
    if (r->staged != NULL)
        put_changes(a, r->staged);
    if (r->outcome == SOTTO_COMMIT)
        err = sotto_group_merge(b->group, &r->staged);
    if (r->outcome == SOTTO_OWN_COMMIT)
        err = sotto_group_merge_pending(b->group);
    if (err != SOTTO_OK)
        return err;
    put(a, a->json, "outcome", json_string(outcome_name(r->outcome)));
    put_number(a, "sender", r->sender);
    put_hex(a, "content", view(&r->content));
    put_hex(a, "authenticated_data", view(&r->authenticated_data));
    put_state(a, b->group);
    return SOTTO_OK;
}

static enum sotto_err run_process(struct bridge *b, const struct words *w,
                                  struct answer *a)
{
    struct sotto_bytes message;
    struct sotto_result result = {0};
    enum sotto_err err = hex_word(a, w, 1, &message);
    if (err == SOTTO_OK)
        err = sotto_group_process(b->group, message, &result);
    if (err == SOTTO_OK)
        err = apply(b, &result, a);
    sotto_result_free(&result);
    return err;
}

/* ---- Questions ---- */

static enum sotto_err run_auth(struct bridge *b, const struct words *w,
                               struct answer *a)
{
    (void)w;
    put_state(a, b->group);
    return SOTTO_OK;
}

static enum sotto_err run_export(struct bridge *b, const struct words *w,
                                 struct answer *a)
{
    struct sotto_bytes label, context;
    struct sotto_buf secret = {0};
    char text[KEPT_MAX + 1] = {0};
    uint64_t len = 0;
    enum sotto_err err = hex_word(a, w, 1, &label);
    if (err == SOTTO_OK)
        err = hex_word(a, w, 2, &context);
    if (err == SOTTO_OK)
        err = number_word(a, w, 3, UINT32_MAX, &len);
    if (err != SOTTO_OK)
        return err;
    if (label.len > KEPT_MAX)
        return wrong(a, "too long to keep");
    if (label.len > 0)
        memcpy(text, label.data, label.len);
    if (strlen(text) != label.len)
        return wrong(a, "a label has no zero byte");
    err = sotto_group_export(b->group, text, context, (size_t)len, &secret);
    if (err == SOTTO_OK)
        put_buf(a, "secret", &secret);
    return err;
}

static enum sotto_err run_info(struct bridge *b, const struct words *w,
                               struct answer *a)
{
    (void)w;
    struct sotto_buf info = {0};
    enum sotto_err err =
        sotto_group_info(b->group, b->tree_outside == 0, &info);
    if (err == SOTTO_OK)
        put_buf(a, "info", &info);
    return err;
}

static enum sotto_err run_tree(struct bridge *b, const struct words *w,
                               struct answer *a)
{
    (void)w;
    struct sotto_buf tree = {0};
    enum sotto_err err = sotto_group_ratchet_tree(b->group, &tree);
    if (err == SOTTO_OK)
        put_buf(a, "tree", &tree);
    return err;
}

static enum sotto_err run_members(struct bridge *b, const struct words *w,
                                  struct answer *a)
{
    (void)w;
    struct sotto_leaf leaf = {0};
    json_t *list = json_array();
    put(a, a->json, "list", list);
    for (uint32_t i = 0; i < sotto_group_leaf_count(b->group); i++) {
        if (sotto_group_member(b->group, i, &leaf) == SOTTO_OK &&
            json_array_append_new(list, json_pack("{s:I, s:o}", "leaf",
                                                  (json_int_t)i, "identity",
                                                  hex(leaf.identity))) != 0)
            a->failed = true;
    }
    return SOTTO_OK;
}

/* ---- The table of commands ---- */

enum need {
    NOTHING,
    CLIENT,
    GROUP
};

static const struct command {
    const char *name;
    const char *args;
    const char *help;
    size_t min; /* words after the name */
    size_t max;
    enum need need;
    run_fn *run;
} commands[] = {
    {"suites", "", "what the library has", 0, 0, NOTHING, run_suites},
    {"new", "SUITE IDENTITY", "begins afresh, as a client", 2, 2, NOTHING,
     run_new},
    {"set", "public|outside|grease|bucket N",
     "PublicMessages, trees outside, GREASE: 0 or 1; padding", 2, 2, CLIENT,
     run_set},
    {"keypackage", "", "makes one, and keeps its private part", 0, 0, CLIENT,
     run_keypackage},
    {"psk", "ID KEY", "offers an external PSK", 2, 2, CLIENT, run_psk},
    {"create", "GID", "makes a group, instead of the one it is in", 1, 1,
     CLIENT, run_create},
    {"join", "WELCOME [TREE]", "joins, with a KeyPackage that it made", 1, 2,
     CLIENT, run_join},
    {"external", "INFO [TREE]", "joins by an external commit", 1, 2, CLIENT,
     run_external},
    {"resync", "INFO [TREE]", "the same, in the place of its old leaf", 1, 2,
     CLIENT, run_external},
    {"reinit", "GID", "commits a ReInit, of the same suite", 1, 1, GROUP,
     run_reinit},
    {"follow", "KP...", "makes the group that a ReInit announced", 1,
     WORDS_MAX - 1, GROUP, run_follow},
    {"branch", "GID KP...", "makes a subgroup, and moves there", 2,
     WORDS_MAX - 1, GROUP, run_follow},
    {"add", "KP...", "commits Adds", 1, WORDS_MAX - 1, GROUP, run_add},
    {"update", "", "commits a new path", 0, 0, GROUP, run_update},
    {"remove", "LEAF...", "commits Removes", 1, WORDS_MAX - 1, GROUP,
     run_remove},
    {"inject", "ID...", "commits offered PSKs", 1, WORDS_MAX - 1, GROUP,
     run_inject},
    {"propose", "add KP|update|remove LEAF|psk ID|leave",
     "makes a proposal; it counts once it comes back", 1, 2, GROUP,
     run_propose},
    {"commit", "", "commits the proposals that came", 0, 0, GROUP, run_commit},
    {"merge", "", "enters the epoch of the own commit", 0, 0, GROUP, run_merge},
    {"drop", "", "forgets the own commit", 0, 0, GROUP, run_drop},
    {"process", "MSG", "takes what came, and merges commits", 1, 1, GROUP,
     run_process},
    {"send", "TEXT [DATA]", "encrypts, with authenticated data", 1, 2, GROUP,
     run_send},
    {"auth", "", "where the group stands", 0, 0, GROUP, run_auth},
    {"export", "LABEL CONTEXT LEN", "asks the exporter", 3, 3, GROUP,
     run_export},
    {"info", "", "makes a GroupInfo", 0, 0, GROUP, run_info},
    {"tree", "", "writes the ratchet tree", 0, 0, GROUP, run_tree},
    {"members", "", "lists leaves and identities", 0, 0, GROUP, run_members},
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static enum sotto_err run_words(struct bridge *b, const struct words *w,
                                struct answer *a)
{
    const struct command *c = w->count > 0 ? find_command(w->word[0]) : NULL;
    if (c == NULL)
        return wrong(a, "no such command");
    if (w->count - 1 < c->min || w->count - 1 > c->max)
        return wrong(a, *c->args != '\0' ? c->args : "it takes no words");
    if (c->need != NOTHING && b->mls == NULL)
        return wrong(a, "first comes: new SUITE IDENTITY");
    if (c->need == GROUP && b->group == NULL)
        return wrong(a, "it is in no group");
    return c->run(b, w, a);
}

/* ---- Lines ---- */

/* Splits at spaces; false when there are too many words. */
static bool split(char *line, struct words *w)
{
    char *at = line;
    for (w->count = 0; *(at += strspn(at, " \t\r")) != '\0';) {
        if (w->count == WORDS_MAX)
            return false;
        w->word[w->count++] = at;
        at += strcspn(at, " \t\r");
        if (*at != '\0')
            *at++ = '\0';
    }
    return true;
}

static bool say(json_t *json)
{
    bool good = json_dumpf(json, stdout, JSON_COMPACT) == 0;
    return putchar('\n') != EOF && fflush(stdout) == 0 && good;
}

/* Answers one line; false when nobody listens any more. */
static bool answer_line(struct bridge *b, char *line, size_t len)
{
    struct words w = {0};
    struct answer a = {.json = json_object()};
    enum sotto_err err = SOTTO_OK;
    if (strlen(line) != len)
        err = wrong(&a, "a zero byte");
    else if (!split(line, &w))
        err = wrong(&a, "too many words");
    else
        err = run_words(b, &w, &a);
    if (err == SOTTO_OK && a.failed)
        err = SOTTO_ERR_NOMEM;
    if (err != SOTTO_OK) {
        json_decref(a.json);
        a.json = json_pack("{s:s, s:s*}", "error", sotto_err_text(err),
                           "detail", a.detail);
    }
    bool heard = a.json != NULL && say(a.json);
    json_decref(a.json);
    return heard;
}

/* Reads a line without its end; -1 at the end of the input or of memory. What
 * is over LINE_BYTES is read and forgotten, and *over is set. */
static ssize_t read_line(char **line, size_t *size, bool *over)
{
    size_t len = 0;
    int c = 0;
    *over = false;
    while ((c = getchar_unlocked()) != EOF && c != '\n') {
        if (len + 1 >= *size && *size < LINE_BYTES) {
            size_t more = *size > 0 ? 2 * *size : 4096;
            if (more > LINE_BYTES)
                more = LINE_BYTES;
            char *grown = realloc(*line, more);
            if (grown == NULL)
                return -1;
            *line = grown;
            *size = more;
        }
        if (len + 1 < *size)
            (*line)[len++] = (char)c;
        else
            *over = true;
    }
    if (c == EOF && len == 0)
        return -1;
    if (*line == NULL)
        *line = calloc(1, *size = 4096);
    if (*line == NULL)
        return -1;
    (*line)[len] = '\0';
    return (ssize_t)len;
}

static void help(void)
{
    printf("usage: mls_bridge [--help]\n"
           "  reads commands, a line each; answers each with a line of JSON.\n"
           "  Bytes are hex digits, and `-` when there are none.\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const struct command *c = &commands[i];
        printf("  %-10s %-32s %s\n", c->name, c->args, c->help);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        help();
        return 0;
    }
    if (argc != 1 || sotto_mls_abi() != SOTTO_MLS_ABI) {
        (void)fprintf(stderr, argc != 1 ? "usage: mls_bridge [--help]\n"
                                        : "another version of the library\n");
        return 2;
    }
    struct bridge b = {0};
    char *line = NULL;
    size_t size = 0;
    ssize_t len = 0;
    bool over = false, heard = true;
    while (heard && (len = read_line(&line, &size, &over)) >= 0) {
        if (over)
            heard = printf("{\"error\":\"%s\"}\n",
                           sotto_err_text(SOTTO_ERR_LIMIT)) > 0 &&
                    fflush(stdout) == 0;
        else
            heard = answer_line(&b, line, (size_t)len);
    }
    free(line);
    bridge_clear(&b);
    return heard ? 0 : 1;
}
