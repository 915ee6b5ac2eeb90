/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of the objects, the key schedule and the secret tree; those of the
 * ratchet tree are in mls_tree.c. */
#include "mls_low.h"

#include "crypto/sign.h"
#include "mls/label.h"
#include "mls/messages.h"
#include "mls/schedule.h"
#include "mls/secret_tree.h"
#include "mls/tree.h"

static bool secret_field(struct hex_arena *a, const json_t *o, const char *key,
                         struct secret *out)
{
    return secret_set(out, hex_field(a, o, key)) == OK;
}

static bool secret_is(struct hex_arena *a, const json_t *o, const char *key,
                      const struct secret *s)
{
    return bytes_equal(secret_expose(s), hex_field(a, o, key));
}

static struct bytes text_field(const json_t *o, const char *key)
{
    return bytes_str(json_string_value(json_object_get(o, key)));
}

/* crypto-basics */

static enum verdict run_derivations(struct crypto *c, const json_t *j,
                                    struct hex_arena *a, char why[WHY_SIZE])
{
    const struct suite *s = suite_field(j);
    CLEANUP(secret_clear) struct secret secret = {0};
    CLEANUP(secret_clear) struct secret out = {0};

    const json_t *o = json_object_get(j, "expand_with_label");
    struct kdf_label l = {text_field(o, "label"), hex_field(a, o, "context"),
                          int_field(o, "length")};
    WANT(secret_field(a, o, "secret", &secret));
    WANT(expand_with_label(c, s, &secret, &l, &out) == OK);
    WANT(secret_is(a, o, "out", &out));

    o = json_object_get(j, "derive_secret");
    WANT(secret_field(a, o, "secret", &secret));
    WANT(derive_secret(c, s, &secret,
                       json_string_value(json_object_get(o, "label")),
                       &out) == OK);
    WANT(secret_is(a, o, "out", &out));

    o = json_object_get(j, "derive_tree_secret");
    l = (struct kdf_label){.label = text_field(o, "label"),
                           .len = int_field(o, "length")};
    WANT(secret_field(a, o, "secret", &secret));
    WANT(derive_tree_secret(c, s, &secret, l,
                            (uint32_t)int_field(o, "generation"), &out) == OK);
    WANT(secret_is(a, o, "out", &out));
    return PASS;
}

static enum verdict run_signature(struct crypto *c, const json_t *j,
                                  struct hex_arena *a, char why[WHY_SIZE])
{
    const struct suite *s = suite_field(j);
    const json_t *o = json_object_get(j, "sign_with_label");
    const char *label = json_string_value(json_object_get(o, "label"));
    struct bytes key = hex_field(a, o, "pub");
    struct bytes content = hex_field(a, o, "content");
    CLEANUP(secret_clear) struct secret private_key = {0};
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGN_MAX);
    WANT(verify_with_label(c, s, key, label, content,
                           hex_field(a, o, "signature")) == OK);
    WANT(secret_field(a, o, "priv", &private_key));
    WANT(sign_with_label(c, s, &private_key, label, content, &signature) == OK);
    WANT(verify_with_label(c, s, key, label, content, buf_bytes(&signature)) ==
         OK);
    WANT(verify_with_label(c, s, key, "other", content,
                           buf_bytes(&signature)) == ERR_AUTH);
    return PASS;
}

static enum verdict run_encryption(struct crypto *c, const json_t *j,
                                   struct hex_arena *a, char why[WHY_SIZE])
{
    const struct suite *s = suite_field(j);
    const json_t *o = json_object_get(j, "encrypt_with_label");
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf plain = buf_new(1U << 16);
    CLEANUP(buf_clear) struct buf sealed = buf_new(1U << 16);
    struct bytes want = hex_field(a, o, "plaintext");
    struct seal_label l = {json_string_value(json_object_get(o, "label")),
                           hex_field(a, o, "context"), hex_field(a, o, "pub"),
                           NULL};
    struct hpke_ciphertext ct = {hex_field(a, o, "kem_output"),
                                 hex_field(a, o, "ciphertext")};
    WANT(secret_field(a, o, "priv", &key));
    WANT(decrypt_with_label(c, s, &key, &l, &ct, &plain) == OK);
    WANT(bytes_equal(buf_bytes(&plain), want));

    struct random rnd = entropy_system();
    struct writer w = writer_to(&sealed);
    WANT(encrypt_with_label(c, s, &rnd, &l, want, &w) == OK);
    struct reader r = reader_of(buf_bytes(&sealed));
    hpke_ciphertext_read(&r, &ct);
    WANT(reader_finish(&r) == OK);
    buf_truncate(&plain, 0);
    l.public_key = (struct bytes){0}; /* it can be computed */
    WANT(decrypt_with_label(c, s, &key, &l, &ct, &plain) == OK);
    WANT(bytes_equal(buf_bytes(&plain), want));
    return PASS;
}

static enum verdict run_crypto_basics(struct crypto *c, const json_t *j,
                                      char why[WHY_SIZE])
{
    CLEANUP(hex_arena_clear) struct hex_arena a = {0};
    const struct suite *s = suite_field(j);
    struct digest ref;
    WANT(s != NULL);
    const json_t *o = json_object_get(j, "ref_hash");
    WANT(ref_hash(c, s, json_string_value(json_object_get(o, "label")),
                  hex_field(&a, o, "value"), &ref) == OK);
    WANT(bytes_equal(digest_bytes(&ref), hex_field(&a, o, "out")));
    enum verdict v = run_derivations(c, j, &a, why);
    if (v == PASS)
        v = run_signature(c, j, &a, why);
    return v == PASS ? run_encryption(c, j, &a, why) : v;
}

/* deserialization */

static enum verdict run_deserialization(struct crypto *c, const json_t *j,
                                        char why[WHY_SIZE])
{
    (void)c;
    CLEANUP(hex_arena_clear) struct hex_arena a = {0};
    struct bytes header = hex_field(&a, j, "vlbytes_header");
    struct reader r = reader_of(header);
    uint8_t room[WIRE_HEADER_MAX];
    size_t len = reader_length(&r);
    WANT(reader_finish(&r) == OK);
    WANT(len == int_field(j, "length"));
    WANT(bytes_equal(wire_header(len, room), header));
    return PASS;
}

/* key-schedule */

static bool welcome_keys_fit(struct crypto *c, const struct suite *s,
                             const struct secret *welcome,
                             const struct secret *key,
                             const struct secret *nonce)
{
    CLEANUP(secret_clear) struct secret k = {0};
    CLEANUP(secret_clear) struct secret n = {0};
    struct kdf_label key_label = {.label = BYTES_LIT("key"), .len = s->nk};
    struct kdf_label nonce_label = {.label = BYTES_LIT("nonce"), .len = s->nn};
    return expand_with_label(c, s, welcome, &key_label, &k) == OK &&
           expand_with_label(c, s, welcome, &nonce_label, &n) == OK &&
           secret_equal(&k, key) && secret_equal(&n, nonce);
}

static enum verdict check_epoch(struct crypto *c, const struct suite *s,
                                const json_t *e, struct hex_arena *a,
                                const struct epoch_secrets *es,
                                char why[WHY_SIZE])
{
    WANT(secret_is(a, e, "sender_data_secret", &es->sender_data_secret));
    WANT(secret_is(a, e, "encryption_secret", &es->encryption_secret));
    WANT(secret_is(a, e, "exporter_secret", &es->exporter_secret));
    WANT(secret_is(a, e, "external_secret", &es->external_secret));
    WANT(secret_is(a, e, "confirmation_key", &es->confirmation_key));
    WANT(secret_is(a, e, "membership_key", &es->membership_key));
    WANT(secret_is(a, e, "resumption_psk", &es->resumption_psk));
    WANT(secret_is(a, e, "epoch_authenticator", &es->epoch_authenticator));
    WANT(secret_is(a, e, "init_secret", &es->init_secret));

    CLEANUP(secret_clear) struct secret external = {0};
    CLEANUP(buf_clear) struct buf external_pub = buf_new(s->npk);
    WANT(schedule_external(c, s, es, &external, &external_pub) == OK);
    WANT(
        bytes_equal(buf_bytes(&external_pub), hex_field(a, e, "external_pub")));

    const json_t *x = json_object_get(e, "exporter");
    CLEANUP(buf_clear) struct buf exported = buf_new(1U << 16);
    struct kdf_label l = {text_field(x, "label"), hex_field(a, x, "context"),
                          int_field(x, "length")};
    WANT(schedule_export(c, s, es, &l, &exported) == OK);
    WANT(bytes_equal(buf_bytes(&exported), hex_field(a, x, "secret")));
    return PASS;
}

static enum verdict run_epoch(struct crypto *c, const json_t *j, size_t i,
                              struct secret *init, char why[WHY_SIZE])
{
    CLEANUP(hex_arena_clear) struct hex_arena a = {0};
    CLEANUP(secret_clear) struct secret commit = {0};
    CLEANUP(secret_clear) struct secret psk = {0};
    CLEANUP(secret_clear) struct secret joiner = {0};
    CLEANUP(secret_clear) struct secret welcome = {0};
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret nonce = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets es = {0};
    CLEANUP(buf_clear) struct buf context = buf_new(1U << 16);
    const struct suite *s = suite_field(j);
    const json_t *e = json_array_get(json_object_get(j, "epochs"), i);

    struct group_context gc = {
        .version = MLS_VERSION_10,
        .cipher_suite = (uint16_t)s->id,
        .group_id = hex_field(&a, j, "group_id"),
        .epoch = i,
        .tree_hash = hex_field(&a, e, "tree_hash"),
        .confirmed_transcript_hash =
            hex_field(&a, e, "confirmed_transcript_hash"),
    };
    struct writer w = writer_to(&context);
    group_context_write(&w, &gc);
    WANT(writer_finish(&w) == OK);
    WANT(bytes_equal(buf_bytes(&context), hex_field(&a, e, "group_context")));

    WANT(secret_field(&a, e, "commit_secret", &commit));
    WANT(secret_field(&a, e, "psk_secret", &psk));
    WANT(schedule_joiner(c, s, init, &commit, buf_bytes(&context), &joiner) ==
         OK);
    WANT(secret_is(&a, e, "joiner_secret", &joiner));
    WANT(secret_field(&a, e, "welcome_secret", &welcome));
    WANT(schedule_welcome(c, s, &joiner, &psk, &key, &nonce) == OK);
    WANT(welcome_keys_fit(c, s, &welcome, &key, &nonce));
    WANT(schedule_epoch(c, s, &joiner, &psk, buf_bytes(&context), &es) == OK);
    enum verdict v = check_epoch(c, s, e, &a, &es, why);
    secret_take(init, &es.init_secret);
    return v;
}

static enum verdict run_key_schedule(struct crypto *c, const json_t *j,
                                     char why[WHY_SIZE])
{
    CLEANUP(hex_arena_clear) struct hex_arena a = {0};
    CLEANUP(secret_clear) struct secret init = {0};
    WANT(suite_field(j) != NULL);
    WANT(secret_field(&a, j, "initial_init_secret", &init));
    size_t count = json_array_size(json_object_get(j, "epochs"));
    WANT(count > 0);
    for (size_t i = 0; i < count; i++) {
        enum verdict v = run_epoch(c, j, i, &init, why);
        if (v != PASS)
            return v;
    }
    return PASS;
}

/* psk_secret */

static enum verdict run_psk_secret(struct crypto *c, const json_t *j,
                                   char why[WHY_SIZE])
{
    CLEANUP(hex_arena_clear) struct hex_arena a = {0};
    CLEANUP(secret_clear) struct secret out = {0};
    const struct suite *s = suite_field(j);
    const json_t *list = json_object_get(j, "psks");
    struct psk psks[MLS_PSKS_MAX];
    struct buf values[MLS_PSKS_MAX];
    size_t count = json_array_size(list);
    WANT(s != NULL && count <= MLS_PSKS_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *o = json_array_get(list, i);
        struct bytes value = hex_field(&a, o, "psk");
        values[i] = buf_new(1024);
        if (buf_append(&values[i], value) != OK)
            return FAIL;
        psks[i] = (struct psk){.id = {.type = PSK_EXTERNAL,
                                      .id = hex_field(&a, o, "psk_id"),
                                      .nonce = hex_field(&a, o, "psk_nonce")},
                               .value = &values[i]};
    }
    enum err err = schedule_psk(c, s, psks, count, &out);
    for (size_t i = 0; i < count; i++)
        buf_clear(&values[i]);
    WANT(err == OK);
    WANT(secret_is(&a, j, "psk_secret", &out));
    return PASS;
}

/* secret-tree */

static enum verdict check_keys(struct hex_arena *a, const json_t *o,
                               const struct message_key *handshake,
                               const struct message_key *application,
                               char why[WHY_SIZE])
{
    WANT(secret_is(a, o, "handshake_key", &handshake->key));
    WANT(secret_is(a, o, "handshake_nonce", &handshake->nonce));
    WANT(secret_is(a, o, "application_key", &application->key));
    WANT(secret_is(a, o, "application_nonce", &application->nonce));
    return PASS;
}

/* The keys of a leaf as another member gets them. */
static enum verdict run_receiver(struct crypto *c, struct secret_tree *st,
                                 const json_t *list, uint32_t leaf,
                                 char why[WHY_SIZE])
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        CLEANUP(hex_arena_clear) struct hex_arena a = {0};
        CLEANUP(message_key_clear) struct message_key h = {0};
        CLEANUP(message_key_clear) struct message_key m = {0};
        const json_t *o = json_array_get(list, i);
        uint32_t gen = (uint32_t)int_field(o, "generation");
        WANT(secret_tree_peek(c, st, leaf, RATCHET_HANDSHAKE, gen, &h) == OK);
        WANT(secret_tree_peek(c, st, leaf, RATCHET_APPLICATION, gen, &m) == OK);
        enum verdict v = check_keys(&a, o, &h, &m, why);
        if (v != PASS)
            return v;
        WANT(secret_tree_use(c, st, leaf, RATCHET_HANDSHAKE, gen) == OK);
        WANT(secret_tree_use(c, st, leaf, RATCHET_APPLICATION, gen) == OK);
        WANT(secret_tree_peek(c, st, leaf, RATCHET_HANDSHAKE, gen, &h) ==
             ERR_NOTFOUND);
    }
    return PASS;
}

/* Draws keys up to those of a generation. */
static enum err draw_to(struct crypto *c, struct secret_tree *st, uint32_t gen,
                        struct message_key *h, struct message_key *m)
{
    do {
        TRY(secret_tree_next(c, st, RATCHET_HANDSHAKE, h));
        TRY(secret_tree_next(c, st, RATCHET_APPLICATION, m));
    } while (h->generation < gen);
    return OK;
}

/* The same as the leaf itself gets them. */
static enum verdict run_sender(struct crypto *c, struct secret_tree *st,
                               const json_t *list, char why[WHY_SIZE])
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        CLEANUP(hex_arena_clear) struct hex_arena a = {0};
        CLEANUP(message_key_clear) struct message_key h = {0};
        CLEANUP(message_key_clear) struct message_key m = {0};
        const json_t *o = json_array_get(list, i);
        uint32_t gen = (uint32_t)int_field(o, "generation");
        WANT(draw_to(c, st, gen, &h, &m) == OK);
        WANT(h.generation == gen && m.generation == gen);
        enum verdict v = check_keys(&a, o, &h, &m, why);
        if (v != PASS)
            return v;
    }
    return PASS;
}

static enum verdict run_own(struct crypto *c, const json_t *j, uint32_t own,
                            char why[WHY_SIZE])
{
    CLEANUP(hex_arena_clear) struct hex_arena a = {0};
    CLEANUP(secret_tree_free) struct secret_tree *st = NULL;
    CLEANUP(secret_clear) struct secret encryption = {0};
    const struct suite *s = suite_field(j);
    const json_t *leaves = json_object_get(j, "leaves");
    WANT(secret_field(&a, j, "encryption_secret", &encryption));
    WANT(secret_tree_create(c, s, &encryption,
                            (uint32_t)json_array_size(leaves), own, &st) == OK);
    WANT(encryption.len == 0);
    enum verdict v = run_sender(c, st, json_array_get(leaves, own), why);
    for (uint32_t i = 0; v == PASS && i < json_array_size(leaves); i++)
        if (i != own)
            v = run_receiver(c, st, json_array_get(leaves, i), i, why);
    return v;
}

static enum verdict run_secret_tree(struct crypto *c, const json_t *j,
                                    char why[WHY_SIZE])
{
    CLEANUP(hex_arena_clear) struct hex_arena a = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets es = {0};
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret nonce = {0};
    const json_t *sd = json_object_get(j, "sender_data");
    WANT(suite_field(j) != NULL);
    WANT(secret_field(&a, sd, "sender_data_secret", &es.sender_data_secret));
    WANT(schedule_sender_data(c, suite_field(j), &es,
                              hex_field(&a, sd, "ciphertext"), &key,
                              &nonce) == OK);
    WANT(secret_is(&a, sd, "key", &key));
    WANT(secret_is(&a, sd, "nonce", &nonce));

    uint32_t count = (uint32_t)json_array_size(json_object_get(j, "leaves"));
    WANT(count > 0);
    enum verdict v = run_own(c, j, 0, why);
    return v == PASS && count > 1 ? run_own(c, j, count - 1, why) : v;
}

/* messages: what parses encodes back to the same bytes */

static void message_echo(struct reader *r, struct writer *w)
{
    struct mls_message m;
    mls_message_read(r, &m);
    mls_message_write(w, &m);
}

static void commit_echo(struct reader *r, struct writer *w)
{
    struct commit commit;
    commit_read(r, &commit);
    commit_write(w, &commit);
}

static void group_secrets_echo(struct reader *r, struct writer *w)
{
    CLEANUP(group_secrets_clear) struct group_secrets gs = {0};
    group_secrets_read(r, &gs);
    group_secrets_write(w, &gs);
}

static void proposal_echo(struct reader *r, struct writer *w)
{
    struct proposal p;
    proposal_read(r, &p);
    proposal_write(w, &p);
}

static void tree_echo(struct reader *r, struct writer *w)
{
    CLEANUP(tree_free) struct tree *t = NULL;
    enum err err = tree_read(suite_at(0), r->rest, &t);
    if (err != OK) {
        reader_fail(r, err);
        return;
    }
    (void)reader_vec(r);
    tree_write(w, t);
}

static const struct echo {
    const char *key;
    uint16_t proposal; /* the type to put before it */
    void (*run)(struct reader *r, struct writer *w);
} echoes[] = {
    {"mls_welcome", 0, message_echo},
    {"mls_group_info", 0, message_echo},
    {"mls_key_package", 0, message_echo},
    {"public_message_application", 0, message_echo},
    {"public_message_proposal", 0, message_echo},
    {"public_message_commit", 0, message_echo},
    {"private_message", 0, message_echo},
    {"ratchet_tree", 0, tree_echo},
    {"group_secrets", 0, group_secrets_echo},
    {"commit", 0, commit_echo},
    {"add_proposal", PROPOSAL_ADD, proposal_echo},
    {"update_proposal", PROPOSAL_UPDATE, proposal_echo},
    {"remove_proposal", PROPOSAL_REMOVE, proposal_echo},
    {"pre_shared_key_proposal", PROPOSAL_PSK, proposal_echo},
    {"re_init_proposal", PROPOSAL_REINIT, proposal_echo},
    {"external_init_proposal", PROPOSAL_EXTERNAL_INIT, proposal_echo},
    {"group_context_extensions_proposal", PROPOSAL_GROUP_CONTEXT_EXTENSIONS,
     proposal_echo},
};

static enum verdict run_echo(const json_t *j, const struct echo *e,
                             char why[WHY_SIZE])
{
    CLEANUP(hex_arena_clear) struct hex_arena a = {0};
    CLEANUP(buf_clear) struct buf in = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf out = buf_new(MLS_MESSAGE_MAX);
    struct writer input = writer_to(&in);
    struct bytes value = hex_field(&a, j, e->key);
    WANT(value.len > 0);
    if (e->proposal != 0)
        writer_u16(&input, e->proposal);
    writer_raw(&input, value);
    WANT(writer_finish(&input) == OK);
    struct reader r = reader_of(buf_bytes(&in));
    struct writer w = writer_to(&out);
    e->run(&r, &w);
    if (reader_finish(&r) != OK || writer_finish(&w) != OK ||
        !bytes_equal(buf_bytes(&in), buf_bytes(&out))) {
        (void)snprintf(why, WHY_SIZE, "%s", e->key);
        return FAIL;
    }
    return PASS;
}

static enum verdict run_messages(struct crypto *c, const json_t *j,
                                 char why[WHY_SIZE])
{
    (void)c;
    for (size_t i = 0; i < sizeof echoes / sizeof *echoes; i++) {
        enum verdict v = run_echo(j, &echoes[i], why);
        if (v != PASS)
            return v;
    }
    return PASS;
}

const struct vector_kind mls_low_kinds[] = {
    {"crypto-basics", "ref_hash", NULL, run_crypto_basics},
    {"deserialization", "vlbytes_header", NULL, run_deserialization},
    {"key-schedule", "initial_init_secret", NULL, run_key_schedule},
    {"psk_secret", "psk_secret", NULL, run_psk_secret},
    {"secret-tree", "sender_data", NULL, run_secret_tree},
    {"messages", "mls_welcome", NULL, run_messages},
    {"tree-math", "n_leaves", NULL, run_tree_math},
    {"tree-operations", "tree_before", NULL, run_tree_operations},
    {"tree-validation", "resolutions", NULL, run_tree_validation},
    {"treekem", "leaves_private", NULL, run_treekem},
    {NULL, NULL, NULL, NULL},
};
