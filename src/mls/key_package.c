/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/key_package.h"

#include "crypto/kem.h"
#include "mls/app_data.h"
#include "mls/messages.h"

#define PRIVATE_VERSION 1U /* of the stored form */
#define LIST_MAX        ((size_t)64 * 1024)
#define KEY_PACKAGE_MAX (2 * MLS_LEAF_MAX)
#define GREASE_DATA_MAX 32U

void leaf_parts_clear(struct leaf_parts *p)
{
    buf_clear(&p->versions);
    buf_clear(&p->suites);
    buf_clear(&p->extension_types);
    buf_clear(&p->proposals);
    buf_clear(&p->credentials);
    buf_clear(&p->extensions);
    buf_clear(&p->chain);
    *p = (struct leaf_parts){0};
}

enum err extension_list_encode(struct sotto_extension_list list,
                               struct buf *out)
{
    if (list.count > MLS_EXTENSIONS_MAX)
        return ERR_LIMIT;
    struct writer w = writer_to(out);
    for (size_t i = 0; i < list.count; i++) {
        for (size_t k = 0; k < i; k++)
            if (list.items[k].type == list.items[i].type)
                return ERR_INVALID;
        struct extension e = {list.items[i].type, bytes_in(list.items[i].data)};
        extension_write(&w, &e);
    }
    return writer_finish(&w);
}

/* ---- GREASE (section 13.5) ---- */

static uint16_t grease_draw(const struct random *rnd)
{
    uint8_t byte = 0;
    random_fill(rnd, &byte, 1);
    return grease_of(byte);
}

void grease_write(struct writer *w, const struct random *rnd, uint16_t type)
{
    uint8_t data[1 + GREASE_DATA_MAX];
    random_fill(rnd, data, sizeof(data));
    size_t len = data[0] % (GREASE_DATA_MAX + 1);
    extension_write(w, &(struct extension){type, {data + 1, len}});
}

/* Begins a list of capabilities with a type that nobody has. */
static enum err grease_begin(const struct random *rnd, struct buf *list)
{
    struct writer w = writer_to(list);
    writer_u16(&w, grease_draw(rnd));
    return writer_finish(&w);
}

static enum err grease_capabilities(const struct random *rnd,
                                    struct leaf_parts *p)
{
    TRY(grease_begin(rnd, &p->suites));
    TRY(grease_begin(rnd, &p->extension_types));
    TRY(grease_begin(rnd, &p->proposals));
    return grease_begin(rnd, &p->credentials);
}

/* Of the type that the leaf's capabilities begin with: "extensions included in
 * the `extensions` or `leaf_node.extensions` fields MUST be included in the
 * `leaf_node.capabilities` field" (section 10). */
static enum err grease_extension(const struct random *rnd, struct bytes types,
                                 struct buf *extensions)
{
    struct reader r = reader_of(types);
    struct writer w = writer_to(extensions);
    uint16_t type = reader_u16(&r);
    if (!extensions_find(buf_bytes(extensions), type, NULL))
        grease_write(&w, rnd, type);
    return writer_finish(&w);
}

/* What replaces the extensions of a leaf keeps their GREASE. */
static enum err grease_keep(struct bytes before, struct buf *out)
{
    struct reader r = reader_of(before);
    struct writer w = writer_to(out);
    while (reader_more(&r)) {
        struct extension e = {0};
        extension_read(&r, &e);
        if (grease_is(e.type) && !extensions_find(buf_bytes(out), e.type, NULL))
            extension_write(&w, &e);
    }
    return writer_finish(&w);
}

/* Adds a type to a list of capabilities, unless it is there or implied. */
static void type_add(struct writer *w, uint16_t type,
                     bool (*is_default)(uint16_t type))
{
    if (!is_default(type) && !u16_list_has(buf_bytes(w->out), type))
        writer_u16(w, type);
}

static enum err extension_types_encode(const struct sotto_identity *id,
                                       struct buf *out)
{
    struct writer w = writer_to(out);
    for (size_t i = 0; i < id->extensions.count; i++)
        type_add(&w, id->extensions.items[i].type, extension_type_default);
    for (size_t i = 0; i < id->extension_type_count; i++)
        type_add(&w, id->extension_types[i], extension_type_default);
    for (size_t i = 0; i < id->key_package_extensions.count; i++)
        type_add(&w, id->key_package_extensions.items[i].type,
                 extension_type_default);
    if (id->last_resort)
        type_add(&w, EXTENSION_LAST_RESORT, extension_type_default);
    return writer_finish(&w);
}

static enum err proposal_types_encode(const struct sotto_identity *id,
                                      struct buf *out)
{
    struct writer w = writer_to(out);
    for (size_t i = 0; i < id->proposal_type_count; i++)
        type_add(&w, id->proposal_types[i], proposal_type_default);
    return writer_finish(&w);
}

static bool credential_type_default(uint16_t type)
{
    return type == CREDENTIAL_BASIC;
}

/* Another's X.509 credential is welcome to who can check it. */
static enum err credential_types_encode(const struct sotto_mls *mls,
                                        const struct sotto_identity *id,
                                        struct buf *out)
{
    struct writer w = writer_to(out);
    writer_u16(&w, CREDENTIAL_BASIC);
    if (id->certificate_count > 0 || mls->credential_check.check != NULL)
        writer_u16(&w, CREDENTIAL_X509);
    for (size_t i = 0; i < id->credential_type_count; i++)
        type_add(&w, id->credential_types[i], credential_type_default);
    return writer_finish(&w);
}

static enum err suites_encode(struct buf *out)
{
    struct writer w = writer_to(out);
    for (size_t i = 0; suite_at(i) != NULL; i++)
        writer_u16(&w, (uint16_t)suite_at(i)->id);
    return writer_finish(&w);
}

static enum err versions_encode(struct buf *out)
{
    struct writer w = writer_to(out);
    writer_u16(&w, MLS_VERSION_10);
    return writer_finish(&w);
}

/* RFC 9420, section 5.3 */
static enum err chain_encode(const struct sotto_bytes *certificates,
                             size_t count, struct buf *out)
{
    if (count > MLS_CERTIFICATES_MAX)
        return ERR_LIMIT;
    struct writer w = writer_to(out);
    for (size_t i = 0; i < count; i++)
        writer_vec(&w, bytes_in(certificates[i]));
    return writer_finish(&w);
}

static struct leaf_parts leaf_parts_new(void)
{
    return (struct leaf_parts){
        .versions = buf_new(LIST_MAX),
        .suites = buf_new(LIST_MAX),
        .extension_types = buf_new(LIST_MAX),
        .proposals = buf_new(LIST_MAX),
        .credentials = buf_new(LIST_MAX),
        .extensions = buf_new(MLS_LEAF_MAX),
        .chain = buf_new(MLS_LEAF_MAX),
    };
}

enum err leaf_parts_make(const struct sotto_mls *mls,
                         const struct sotto_identity *id,
                         struct leaf_parts *out)
{
    CLEANUP(leaf_parts_clear) struct leaf_parts p = leaf_parts_new();

    if (id->grease)
        TRY(grease_capabilities(&mls->random, &p));
    TRY(versions_encode(&p.versions));
    TRY(suites_encode(&p.suites));
    TRY(extension_types_encode(id, &p.extension_types));
    TRY(proposal_types_encode(id, &p.proposals));
    TRY(credential_types_encode(mls, id, &p.credentials));
    TRY(extension_list_encode(id->extensions, &p.extensions));
    TRY(chain_encode(id->certificates, id->certificate_count, &p.chain));
    if (id->grease)
        TRY(grease_extension(&mls->random, buf_bytes(&p.extension_types),
                             &p.extensions));

    p.leaf = (struct leaf_node){
        .signature_key = bytes_in(id->signature_public),
        .credential = {CREDENTIAL_BASIC, bytes_in(id->identity)},
        .capabilities = {buf_bytes(&p.versions), buf_bytes(&p.suites),
                         buf_bytes(&p.extension_types), buf_bytes(&p.proposals),
                         buf_bytes(&p.credentials)},
        .extensions = buf_bytes(&p.extensions),
    };
    if (id->certificate_count > 0)
        p.leaf.credential =
            (struct credential){CREDENTIAL_X509, buf_bytes(&p.chain)};
    *out = p;
    p = (struct leaf_parts){0}; /* handed over */
    return OK;
}

enum err leaf_change(const struct sotto_leaf_change *change,
                     struct leaf_node *leaf, struct leaf_parts *parts,
                     struct secret *key)
{
    *parts = leaf_parts_new();
    if (change == NULL)
        return OK;
    if (change->signature_private.len > 0) {
        TRY(secret_set(key, bytes_in(change->signature_private)));
        leaf->signature_key = bytes_in(change->signature_public);
    }
    if (change->extensions != NULL) {
        TRY(extension_list_encode(*change->extensions, &parts->extensions));
        TRY(grease_keep(leaf->extensions, &parts->extensions));
        leaf->extensions = buf_bytes(&parts->extensions);
    }
    if (change->certificate_count > 0) {
        TRY(chain_encode(change->certificates, change->certificate_count,
                         &parts->chain));
        leaf->credential =
            (struct credential){CREDENTIAL_X509, buf_bytes(&parts->chain)};
    }
    return OK;
}

enum err leaf_sign(struct crypto *c, const struct suite *s,
                   const struct secret *key, const struct leaf_node *leaf,
                   const struct leaf_place *place, struct buf *out)
{
    CLEANUP(buf_clear) struct buf tbs = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(s->sign_max);

    struct leaf_node signed_leaf = *leaf;
    signed_leaf.signed_part = (struct bytes){0}; /* that of an older leaf */
    struct writer w = writer_to(&tbs);
    leaf_node_write_tbs(&w, &signed_leaf, place->group_id, place->index);
    TRY(writer_finish(&w));
    TRY(sign_with_label(c, s, key, "LeafNodeTBS", buf_bytes(&tbs), &signature));

    signed_leaf.signature = buf_bytes(&signature);
    w = writer_to(out);
    leaf_node_write(&w, &signed_leaf);
    return writer_finish(&w);
}

void key_package_private_clear(struct key_package_private *p)
{
    buf_clear(&p->encoded);
    secret_clear(&p->init_key);
    secret_clear(&p->encryption_key);
    secret_clear(&p->signature_key);
    *p = (struct key_package_private){0};
}

static struct key_package_private private_new(const struct suite *s)
{
    return (struct key_package_private){.suite = s,
                                        .encoded = buf_new(KEY_PACKAGE_MAX)};
}

/* Moves a whole value; `from` holds nothing afterwards. */
static void private_move(struct key_package_private *from,
                         struct key_package_private *to)
{
    *to = *from;
    from->encoded = buf_new(0);
}

static enum err private_parse(struct key_package_private *p)
{
    struct reader r = reader_of(buf_bytes(&p->encoded));
    key_package_read(&r, &p->key_package);
    return reader_finish(&r);
}

/* Signs the KeyPackage and encodes it (section 10). */
static enum err key_package_sign(struct crypto *c, const struct suite *s,
                                 const struct secret *key,
                                 struct key_package *kp, struct buf *out)
{
    CLEANUP(buf_clear) struct buf tbs = buf_new(KEY_PACKAGE_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(s->sign_max);

    struct writer w = writer_to(&tbs);
    key_package_write_unsigned(&w, kp);
    TRY(writer_finish(&w));
    TRY(sign_with_label(c, s, key, "KeyPackageTBS", buf_bytes(&tbs),
                        &signature));
    kp->signature = buf_bytes(&signature);
    w = writer_to(out);
    key_package_write(&w, kp);
    return writer_finish(&w);
}

static enum err leaf_of_identity(struct sotto_mls *mls,
                                 const struct sotto_identity *id,
                                 struct key_package_private *p, struct buf *out)
{
    CLEANUP(leaf_parts_clear) struct leaf_parts parts = {0};
    CLEANUP(buf_clear) struct buf public_key = buf_new(KEM_PUBLIC_MAX);

    TRY(leaf_parts_make(mls, id, &parts));
    TRY(kem_generate(mls->crypto, p->suite->kem, &mls->random,
                     &p->encryption_key, &public_key));
    struct leaf_node *leaf = &parts.leaf;
    leaf->encryption_key = buf_bytes(&public_key);
    leaf->source = LEAF_KEY_PACKAGE;
    leaf->not_before = id->not_before;
    leaf->not_after = id->not_after;
    return leaf_sign(mls->crypto, p->suite, &p->signature_key, leaf,
                     &(struct leaf_place){0}, out);
}

enum err key_package_make(struct sotto_mls *mls,
                          const struct sotto_identity *id,
                          struct key_package_private *out)
{
    const struct suite *s = suite_find(id->suite);
    if (s == NULL)
        return ERR_NOTFOUND;
    if (id->not_before > id->not_after)
        return ERR_INVALID;
    CLEANUP(key_package_private_clear)
    struct key_package_private p = private_new(s);
    CLEANUP(buf_clear) struct buf leaf = buf_new(MLS_LEAF_MAX);
    CLEANUP(buf_clear) struct buf init_public = buf_new(KEM_PUBLIC_MAX);
    CLEANUP(buf_clear) struct buf extensions = buf_new(MLS_LEAF_MAX);
    struct key_package kp = {.version = MLS_VERSION_10,
                             .cipher_suite = (uint16_t)s->id};

    TRY(secret_set(&p.signature_key, bytes_in(id->signature_private)));
    TRY(leaf_of_identity(mls, id, &p, &leaf));
    TRY(kem_generate(mls->crypto, s->kem, &mls->random, &p.init_key,
                     &init_public));
    TRY(extension_list_encode(id->key_package_extensions, &extensions));
    struct writer w = writer_to(&extensions);
    if (id->last_resort &&
        !extensions_find(buf_bytes(&extensions), EXTENSION_LAST_RESORT, NULL))
        extension_write(&w, &(struct extension){.type = EXTENSION_LAST_RESORT});
    TRY(writer_finish(&w));

    struct reader r = reader_of(buf_bytes(&leaf));
    leaf_node_read(&r, &kp.leaf);
    TRY(reader_finish(&r));
    if (id->grease)
        TRY(grease_extension(&mls->random, kp.leaf.capabilities.extensions,
                             &extensions));
    kp.init_key = buf_bytes(&init_public);
    kp.extensions = buf_bytes(&extensions);
    TRY(key_package_sign(mls->crypto, s, &p.signature_key, &kp, &p.encoded));
    TRY(private_parse(&p));
    TRY(key_package_check(mls, s, &p.key_package));
    private_move(&p, out);
    return OK;
}

void key_package_private_write(struct writer *w,
                               const struct key_package_private *p)
{
    writer_u16(w, PRIVATE_VERSION);
    writer_vec(w, buf_bytes(&p->encoded));
    writer_vec(w, secret_expose(&p->init_key));
    writer_vec(w, secret_expose(&p->encryption_key));
    writer_vec(w, secret_expose(&p->signature_key));
}

enum err key_package_private_read(struct bytes encoded,
                                  struct key_package_private *out)
{
    CLEANUP(key_package_private_clear)
    struct key_package_private p = private_new(NULL);

    struct reader r = reader_of(encoded);
    uint16_t version = reader_u16(&r);
    if (r.err == OK && version != PRIVATE_VERSION)
        return ERR_INVALID;
    struct bytes key_package = reader_vec(&r);
    struct bytes init_key = reader_vec(&r);
    struct bytes encryption_key = reader_vec(&r);
    struct bytes signature_key = reader_vec(&r);
    TRY(reader_finish(&r));

    TRY(buf_copy(&p.encoded, key_package));
    TRY(secret_set(&p.init_key, init_key));
    TRY(secret_set(&p.encryption_key, encryption_key));
    TRY(secret_set(&p.signature_key, signature_key));
    TRY(private_parse(&p));
    p.suite = suite_find(p.key_package.cipher_suite);
    if (p.suite == NULL)
        return ERR_INVALID;
    private_move(&p, out);
    return OK;
}

bool key_package_last_resort(const struct key_package *kp)
{
    struct bytes data = {0};
    return extensions_find(kp->extensions, EXTENSION_LAST_RESORT, NULL) ||
           app_data_find_in(kp->extensions, COMPONENT_LAST_RESORT_KEY_PACKAGE,
                            &data);
}

enum err key_package_message_read(struct bytes message, struct key_package *out)
{
    struct mls_message m = {0};
    struct reader r = reader_of(message);
    mls_message_read(&r, &m);
    TRY(reader_finish(&r));
    if (m.wire_format != WIRE_KEY_PACKAGE)
        return ERR_INVALID;
    *out = m.key_package;
    return OK;
}
