/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of framing, transcripts, Welcome, and whole passive clients. */
#include "mls_vectors.h"

#include "crypto/aead.h"
#include "crypto/entropy.h"
#include "crypto/hash.h"
#include "crypto/sign.h"
#include "mls/group.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIELD_MAX ((size_t)16 * 1024 * 1024)

/* ---- Helpers ---- */

static enum verdict fail(char why[WHY_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static enum verdict fail(char why[WHY_SIZE], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, WHY_SIZE, format, args);
    va_end(args);
    return FAIL;
}

/* One case and what is decoded of it. `bad`: a field does not fit. */
struct fields {
    const json_t *test;
    struct hex_arena arena;
    bool bad;
};

static void fields_clear(struct fields *f) { hex_arena_clear(&f->arena); }

static struct bytes decode(struct fields *f, const json_t *value)
{
    return hex_value(&f->arena, value);
}

static struct bytes hex(struct fields *f, const char *key)
{
    return hex_field(&f->arena, f->test, key);
}

static void secret_hex(struct fields *f, const char *key, struct secret *out)
{
    if (secret_set(out, hex(f, key)) != OK)
        f->bad = true;
}

/* A private key. The vectors have scalars of P-521 without leading zeros; RFC
 * 9420, section 5.1.1 has them, and so do we. */
static void key_hex(struct fields *f, const char *key, size_t size,
                    struct secret *out)
{
    struct bytes b = hex(f, key);
    uint8_t padded[SECRET_MAX] = {0};
    if (b.len > size || size > SECRET_MAX) {
        f->bad = true;
        return;
    }
    if (b.len > 0)
        memcpy(padded + size - b.len, b.data, b.len);
    if (secret_set(out, (struct bytes){padded, size}) != OK)
        f->bad = true;
}

/* ---- message-protection ---- */

struct protection {
    struct crypto *c;
    const struct suite *suite;
    struct epoch_secrets secrets;
    struct secret encryption_secret;
    struct secret signature_key;
    struct bytes signature_public;
    struct buf context;
    struct bytes group_id;
    uint64_t epoch;
};

static void protection_clear(struct protection *p)
{
    epoch_secrets_clear(&p->secrets);
    secret_clear(&p->encryption_secret);
    secret_clear(&p->signature_key);
    buf_clear(&p->context);
}

/* Two members; the sender of all messages is leaf 1. */
static enum err ratchets_of(const struct protection *p, uint32_t own,
                            struct secret_tree **out)
{
    CLEANUP(secret_clear) struct secret encryption_secret = {0};
    secret_copy(&encryption_secret, &p->encryption_secret);
    return secret_tree_create(p->c, p->suite, &encryption_secret, 2, own, out);
}

static enum err open_public(const struct protection *p,
                            const struct public_message *m,
                            struct authenticated_content *ac)
{
    *ac = (struct authenticated_content){WIRE_PUBLIC_MESSAGE, m->content,
                                         m->auth};
    return framing_check_tag(p->c, p->suite, &p->secrets.membership_key, m,
                             buf_bytes(&p->context));
}

static enum err open_private(const struct protection *p,
                             const struct private_message *m, struct buf *plain,
                             struct authenticated_content *ac)
{
    CLEANUP(secret_tree_free) struct secret_tree *st = NULL;
    CLEANUP(message_key_clear) struct message_key key = {0};
    struct sender_data sender = {0};
    enum ratchet_type type = m->type == CONTENT_APPLICATION
                                 ? RATCHET_APPLICATION
                                 : RATCHET_HANDSHAKE;

    TRY(ratchets_of(p, 0, &st));
    TRY(framing_open_sender(p->c, p->suite, &p->secrets, m, &sender));
    TRY(secret_tree_peek(p->c, st, sender.leaf_index, type, sender.generation,
                         &key));
    struct private_open open = {m, &sender, &key};
    return framing_open_private(p->c, p->suite, &open, plain, ac);
}

/* Opens an MLSMessage and compares its body. */
static enum err open_message(const struct protection *p, struct bytes message,
                             struct bytes want)
{
    CLEANUP(buf_clear) struct buf plain = buf_new(FIELD_MAX);
    struct mls_message m = {0};
    struct authenticated_content ac = {0};

    struct reader r = reader_of(message);
    mls_message_read(&r, &m);
    TRY(reader_finish(&r));
    if (m.wire_format == WIRE_PUBLIC_MESSAGE)
        TRY(open_public(p, &m.public_message, &ac));
    else
        TRY(open_private(p, &m.private_message, &plain, &ac));
    TRY(framing_verify(p->c, p->suite, p->signature_public, &ac,
                       buf_bytes(&p->context)));
    return bytes_equal(ac.content.body, want) ? OK : ERR_INVALID;
}

static enum err make_message(const struct protection *p, enum wire_format wf,
                             enum content_type type, struct bytes body,
                             struct buf *out)
{
    CLEANUP(secret_tree_free) struct secret_tree *st = NULL;
    CLEANUP(message_key_clear) struct message_key key = {0};
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGN_MAX);
    struct random rnd = entropy_system();
    struct authenticated_content ac = {
        .wire_format = wf,
        .content = {.group_id = p->group_id,
                    .epoch = p->epoch,
                    .sender = {SENDER_MEMBER, 1},
                    .type = type,
                    .body = body},
        .auth = {.confirmation_tag = type == CONTENT_COMMIT
                                         ? BYTES_LIT("any tag")
                                         : (struct bytes){0}}};

    TRY(framing_sign(p->c, p->suite, &p->signature_key, &ac,
                     buf_bytes(&p->context), &signature));
    ac.auth.signature = buf_bytes(&signature);
    if (wf == WIRE_PUBLIC_MESSAGE)
        return framing_write_public(p->c, p->suite, &p->secrets.membership_key,
                                    &ac, buf_bytes(&p->context), out);
    TRY(ratchets_of(p, 1, &st));
    TRY(secret_tree_next(p->c, st,
                         type == CONTENT_APPLICATION ? RATCHET_APPLICATION
                                                     : RATCHET_HANDSHAKE,
                         &key));
    struct private_seal seal = {&ac, &p->secrets, &key, 64};
    return framing_write_private(p->c, p->suite, &rnd, &seal, out);
}

static enum err round_trip(const struct protection *p, enum wire_format wf,
                           enum content_type type, struct bytes body)
{
    CLEANUP(buf_clear) struct buf message = buf_new(FIELD_MAX);
    TRY(make_message(p, wf, type, body, &message));
    return open_message(p, buf_bytes(&message), body);
}

static enum err protection_context(struct fields *f, struct protection *p)
{
    p->group_id = hex(f, "group_id");
    p->epoch = (uint64_t)json_integer_value(json_object_get(f->test, "epoch"));
    struct group_context gc = {.version = MLS_VERSION_10,
                               .cipher_suite = (uint16_t)p->suite->id,
                               .group_id = p->group_id,
                               .epoch = p->epoch,
                               .tree_hash = hex(f, "tree_hash"),
                               .confirmed_transcript_hash =
                                   hex(f, "confirmed_transcript_hash")};
    p->context = buf_new(FIELD_MAX);
    struct writer w = writer_to(&p->context);
    group_context_write(&w, &gc);
    return writer_finish(&w);
}

static enum verdict run_protection(struct crypto *c, const json_t *test,
                                   char why[WHY_SIZE])
{
    static const struct {
        enum content_type type;
        const char *name, *private_name, *public_name;
    } rows[] = {
        {CONTENT_PROPOSAL, "proposal", "proposal_priv", "proposal_pub"},
        {CONTENT_COMMIT, "commit", "commit_priv", "commit_pub"},
        {CONTENT_APPLICATION, "application", "application_priv", NULL},
    };
    CLEANUP(fields_clear) struct fields f = {.test = test};
    CLEANUP(protection_clear) struct protection p = {.c = c};

    p.suite = suite_field(test);
    if (p.suite == NULL)
        return fail(why, "unknown cipher suite");
    secret_hex(&f, "encryption_secret", &p.encryption_secret);
    secret_hex(&f, "sender_data_secret", &p.secrets.sender_data_secret);
    secret_hex(&f, "membership_key", &p.secrets.membership_key);
    key_hex(&f, "signature_priv", p.suite->sign_nsk, &p.signature_key);
    p.signature_public = hex(&f, "signature_pub");
    if (protection_context(&f, &p) != OK || f.bad)
        return fail(why, "fields");

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bytes body = hex(&f, rows[i].name);
        if (open_message(&p, hex(&f, rows[i].private_name), body) != OK)
            return fail(why, "%s", rows[i].private_name);
        if (round_trip(&p, WIRE_PRIVATE_MESSAGE, rows[i].type, body) != OK)
            return fail(why, "%s, made by us, private", rows[i].name);
        if (rows[i].public_name == NULL)
            continue;
        if (open_message(&p, hex(&f, rows[i].public_name), body) != OK)
            return fail(why, "%s", rows[i].public_name);
        if (round_trip(&p, WIRE_PUBLIC_MESSAGE, rows[i].type, body) != OK)
            return fail(why, "%s, made by us, public", rows[i].name);
    }
    return PASS;
}

/* ---- transcript-hashes ---- */

static enum verdict run_transcript(struct crypto *c, const json_t *test,
                                   char why[WHY_SIZE])
{
    CLEANUP(fields_clear) struct fields f = {.test = test};
    CLEANUP(secret_clear) struct secret key = {0};
    const struct suite *s = suite_field(test);
    struct authenticated_content ac = {0};
    struct digest confirmed = {0};
    struct digest interim = {0};

    if (s == NULL)
        return fail(why, "unknown cipher suite");
    secret_hex(&f, "confirmation_key", &key);
    struct reader r = reader_of(hex(&f, "authenticated_content"));
    authenticated_content_read(&r, &ac);
    if (f.bad || reader_finish(&r) != OK)
        return fail(why, "authenticated_content");
    if (transcript_confirmed(c, s, hex(&f, "interim_transcript_hash_before"),
                             &ac, &confirmed) != OK ||
        !bytes_equal(digest_bytes(&confirmed),
                     hex(&f, "confirmed_transcript_hash_after")))
        return fail(why, "confirmed_transcript_hash_after");
    if (schedule_mac_verify(c, s, &key, digest_bytes(&confirmed),
                            ac.auth.confirmation_tag) != OK)
        return fail(why, "confirmation tag");
    if (transcript_interim(c, s, digest_bytes(&confirmed),
                           ac.auth.confirmation_tag, &interim) != OK ||
        !bytes_equal(digest_bytes(&interim),
                     hex(&f, "interim_transcript_hash_after")))
        return fail(why, "interim_transcript_hash_after");
    return PASS;
}

/* ---- welcome ---- */

static enum err read_message(struct bytes encoded, enum wire_format wf,
                             struct mls_message *out)
{
    struct reader r = reader_of(encoded);
    mls_message_read(&r, out);
    TRY(reader_finish(&r));
    return out->wire_format == wf ? OK : ERR_INVALID;
}

static enum err welcome_secrets(struct crypto *c, const struct suite *s,
                                struct fields *f, const struct welcome *w,
                                struct group_secrets *out, struct buf *plain)
{
    CLEANUP(secret_clear) struct secret init_key = {0};
    struct mls_message kp = {0};
    struct digest ref = {0};
    struct encrypted_group_secrets egs = {0};

    key_hex(f, "init_priv", s->nsk, &init_key);
    TRY(read_message(hex(f, "key_package"), WIRE_KEY_PACKAGE, &kp));
    TRY(key_package_ref(c, s, kp.key_package.raw, &ref));
    TRY(welcome_find(w, digest_bytes(&ref), &egs));
    struct seal_label label = {"Welcome", w->encrypted_group_info,
                               kp.key_package.init_key, NULL};
    TRY(decrypt_with_label(c, s, &init_key, &label, &egs.secrets, plain));
    struct reader r = reader_of(buf_bytes(plain));
    group_secrets_read(&r, out);
    return reader_finish(&r);
}

static enum err welcome_info(struct crypto *c, const struct suite *s,
                             const struct welcome *w,
                             const struct group_secrets *gs, struct buf *plain,
                             struct group_info *out)
{
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret nonce = {0};
    TRY(schedule_welcome(c, s, &gs->joiner_secret, NULL, &key, &nonce));
    struct aead aead = {s->aead, &key, secret_expose(&nonce), {0}};
    TRY(aead_open(c, &aead, w->encrypted_group_info, plain));
    struct reader r = reader_of(buf_bytes(plain));
    group_info_read(&r, out);
    return reader_finish(&r);
}

static enum err welcome_confirm(struct crypto *c, const struct suite *s,
                                const struct group_info *info,
                                const struct group_secrets *gs)
{
    CLEANUP(epoch_secrets_clear) struct epoch_secrets es = {0};
    TRY(schedule_epoch(c, s, &gs->joiner_secret, NULL, info->context.raw, &es));
    return schedule_mac_verify(c, s, &es.confirmation_key,
                               info->context.confirmed_transcript_hash,
                               info->confirmation_tag);
}

static enum verdict run_welcome(struct crypto *c, const json_t *test,
                                char why[WHY_SIZE])
{
    CLEANUP(fields_clear) struct fields f = {.test = test};
    CLEANUP(group_secrets_clear) struct group_secrets gs = {0};
    CLEANUP(buf_clear) struct buf secrets_plain = buf_new(FIELD_MAX);
    CLEANUP(buf_clear) struct buf info_plain = buf_new(FIELD_MAX);
    const struct suite *s = suite_field(test);
    struct mls_message m = {0};
    struct group_info info = {0};

    if (s == NULL)
        return fail(why, "unknown cipher suite");
    if (read_message(hex(&f, "welcome"), WIRE_WELCOME, &m) != OK)
        return fail(why, "welcome");
    if (welcome_secrets(c, s, &f, &m.welcome, &gs, &secrets_plain) != OK)
        return fail(why, "group secrets");
    if (welcome_info(c, s, &m.welcome, &gs, &info_plain, &info) != OK)
        return fail(why, "group info");
    if (verify_with_label(c, s, hex(&f, "signer_pub"), "GroupInfoTBS",
                          info.signed_part, info.signature) != OK)
        return fail(why, "signature of the group info");
    if (welcome_confirm(c, s, &info, &gs) != OK)
        return fail(why, "confirmation tag");
    return f.bad ? fail(why, "fields") : PASS;
}

/* ---- passive-client ---- */

struct client {
    struct sotto_mls mls;
    struct sotto_group *group;
    struct sotto_psk psks[16];
    size_t psk_count;
};

static void client_clear(struct client *cl) { sotto_group_free(&cl->group); }

/* The private part of the KeyPackage, as sotto_key_package_create gives it. */
static enum err private_part(struct fields *f, struct buf *out)
{
    CLEANUP(key_package_private_clear)
    struct key_package_private p = {.encoded = buf_new(FIELD_MAX)};
    struct mls_message m = {0};

    TRY(read_message(hex(f, "key_package"), WIRE_KEY_PACKAGE, &m));
    TRY(buf_copy(&p.encoded, m.key_package.raw));
    const struct suite *s = suite_find(m.key_package.cipher_suite);
    if (s == NULL)
        return ERR_NOTFOUND;
    key_hex(f, "init_priv", s->nsk, &p.init_key);
    key_hex(f, "encryption_priv", s->nsk, &p.encryption_key);
    key_hex(f, "signature_priv", s->sign_nsk, &p.signature_key);
    struct writer w = writer_to(out);
    key_package_private_write(&w, &p);
    return writer_finish(&w);
}

static void read_psks(struct fields *f, struct client *cl)
{
    const json_t *list = json_object_get(f->test, "external_psks");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *psk = json_array_get(list, i);
        if (cl->psk_count == sizeof(cl->psks) / sizeof(cl->psks[0])) {
            f->bad = true;
            return;
        }
        cl->psks[cl->psk_count++] = (struct sotto_psk){
            bytes_out(decode(f, json_object_get(psk, "psk_id"))),
            bytes_out(decode(f, json_object_get(psk, "psk")))};
    }
}

static enum sotto_err client_join(struct fields *f, struct client *cl)
{
    CLEANUP(buf_clear) struct buf part = buf_new(FIELD_MAX);
    read_psks(f, cl);
    if (private_part(f, &part) != OK || f->bad)
        return SOTTO_ERR_USAGE;
    struct sotto_join join = {.welcome = bytes_out(hex(f, "welcome")),
                              .key_package_private =
                                  bytes_out(buf_bytes(&part)),
                              .ratchet_tree = bytes_out(hex(f, "ratchet_tree")),
                              .psks = {cl->psks, cl->psk_count}};
    enum sotto_err err = sotto_group_join(&cl->mls, &join, &cl->group);
    for (size_t i = 0; err == SOTTO_OK && i < cl->psk_count; i++)
        err = sotto_group_offer_psk(cl->group, cl->psks[i]);
    return err;
}

static bool same_epoch(const struct client *cl, struct bytes authenticator)
{
    return bytes_equal(bytes_in(sotto_group_epoch_authenticator(cl->group)),
                       authenticator);
}

static enum verdict take(struct client *cl, struct bytes message,
                         enum sotto_outcome want, char why[WHY_SIZE])
{
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    enum sotto_err err =
        sotto_group_process(cl->group, bytes_out(message), &result);
    if (err != SOTTO_OK)
        return fail(why, "epoch %" PRIu64 ": %s", sotto_group_epoch(cl->group),
                    sotto_err_text(err));
    if (result.outcome != want)
        return fail(why, "epoch %" PRIu64 ": outcome %d",
                    sotto_group_epoch(cl->group), (int)result.outcome);
    if (want == SOTTO_COMMIT &&
        sotto_group_merge(cl->group, &result.staged) != SOTTO_OK)
        return fail(why, "merge");
    return PASS;
}

static enum verdict run_epoch(struct client *cl, const json_t *epoch,
                              char why[WHY_SIZE])
{
    CLEANUP(fields_clear) struct fields f = {.test = epoch};
    const json_t *proposals = json_object_get(epoch, "proposals");

    for (size_t i = 0; i < json_array_size(proposals); i++)
        if (take(cl, decode(&f, json_array_get(proposals, i)), SOTTO_PROPOSAL,
                 why) != PASS)
            return FAIL;
    if (take(cl, hex(&f, "commit"), SOTTO_COMMIT, why) != PASS)
        return FAIL;
    if (f.bad || !same_epoch(cl, hex(&f, "epoch_authenticator")))
        return fail(why, "epoch authenticator of epoch %" PRIu64,
                    sotto_group_epoch(cl->group));
    return PASS;
}

static enum verdict run_passive(struct crypto *c, const json_t *test,
                                char why[WHY_SIZE])
{
    CLEANUP(fields_clear) struct fields f = {.test = test};
    CLEANUP(client_clear)
    struct client cl = {.mls = {.crypto = c, .random = entropy_system()}};
    const json_t *epochs = json_object_get(test, "epochs");

    enum sotto_err err = client_join(&f, &cl);
    if (err != SOTTO_OK)
        return fail(why, "join: %s", sotto_err_text(err));
    if (!same_epoch(&cl, hex(&f, "initial_epoch_authenticator")))
        return fail(why, "initial epoch authenticator");
    for (size_t i = 0; i < json_array_size(epochs); i++)
        if (run_epoch(&cl, json_array_get(epochs, i), why) != PASS)
            return FAIL;
    return PASS;
}

const struct vector_kind mls_high_kinds[] = {
    {"message-protection", "proposal_priv", NULL, run_protection},
    {"transcript-hashes", "confirmed_transcript_hash_after", NULL,
     run_transcript},
    {"welcome", "signer_pub", NULL, run_welcome},
    {"passive-client", "initial_epoch_authenticator", NULL, run_passive},
    {NULL, NULL, NULL, NULL},
};
