/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structs of RFC 9420 that are not messages: credentials, leaves,
 * KeyPackages, commit paths, GroupInfo, Welcome. What a reader fills
 * borrows from its input; the caller keeps that alive.
 *
 * A list (`x<V>` of structs) is kept as the bytes of its content. Its elements
 * were checked when the struct was read, so one walks it without fear:
 *
 *     struct reader r = reader_of(kp.extensions);
 *     while (reader_more(&r))
 *         extension_read(&r, &e);
 *
 * `raw` is a whole encoding and `signed_part` what stands before the
 * signature: both as they came, set by the readers and ignored by the writers.
 */
#pragma once

#include "base/secret.h"
#include "base/wire.h"
#include "mls/sizes.h"

/* Reads a list of at most `max` structs by checking each of them. */
struct bytes list_read(struct reader *r, size_t max,
                       void (*element)(struct reader *r));
/* Reads 0 or 1: the header of an optional<T> (section 2.1.1), or a flag. */
bool bool_read(struct reader *r);
/* A secret as one vector: in messages that are sealed, and in stored state. */
void secret_read(struct reader *r, struct secret *s);
void secret_write(struct writer *w, const struct secret *s);

/* RFC 9420, section 17.3, and draft-ietf-mls-extensions */
enum extension_type {
    EXTENSION_APPLICATION_ID = 0x0001,
    EXTENSION_RATCHET_TREE = 0x0002,
    EXTENSION_REQUIRED_CAPABILITIES = 0x0003,
    EXTENSION_EXTERNAL_PUB = 0x0004,
    EXTENSION_EXTERNAL_SENDERS = 0x0005,
    EXTENSION_APP_DATA_DICTIONARY = 0x0006,
    EXTENSION_LAST_RESORT = 0x000a,
};

struct extension {
    uint16_t type; /* any, known or not */
    struct bytes data;
};

void extension_read(struct reader *r, struct extension *e);
void extension_write(struct writer *w, const struct extension *e);
/* Reads `Extension extensions<V>`; fails on a type that comes twice. */
struct bytes extensions_read(struct reader *r);
/* Returns whether `list` has `type`, and its data. `data` may be NULL. */
bool extensions_find(struct bytes list, uint16_t type, struct bytes *data);

/* Lists of 16-bit code points. */
struct bytes u16_list_read(struct reader *r);
bool u16_list_has(struct bytes list, uint16_t v);
/* Whether a code point is one of those that must be ignored (section 13.5), and
 * one of the 15 by a random byte. */
bool grease_is(uint16_t v);
uint16_t grease_of(uint8_t random);

/* RFC 9420, section 11.1; the content of the extension */
struct required_capabilities {
    struct bytes extensions, proposals, credentials; /* lists of uint16 */
};
void required_capabilities_read(struct reader *r,
                                struct required_capabilities *rc);
void required_capabilities_write(struct writer *w,
                                 const struct required_capabilities *rc);

enum credential_type {
    CREDENTIAL_BASIC = 1,
    CREDENTIAL_X509 = 2
};

struct credential {
    uint16_t type;
    struct bytes body; /* identity; or the list of certificates, opaque<V>;
                        * of an unknown type: its one vector */
};
void credential_read(struct reader *r, struct credential *c);
void credential_write(struct writer *w, const struct credential *c);

struct capabilities { /* lists of uint16 */
    struct bytes versions, cipher_suites, extensions, proposals, credentials;
};
void capabilities_read(struct reader *r, struct capabilities *c);
void capabilities_write(struct writer *w, const struct capabilities *c);

enum leaf_source {
    LEAF_KEY_PACKAGE = 1,
    LEAF_UPDATE = 2,
    LEAF_COMMIT = 3,
};

/* RFC 9420, section 7.2 */
struct leaf_node {
    struct bytes encryption_key, signature_key;
    struct credential credential;
    struct capabilities capabilities;
    enum leaf_source source;
    uint64_t not_before, not_after; /* lifetime; LEAF_KEY_PACKAGE only */
    struct bytes parent_hash;       /* LEAF_COMMIT only */
    struct bytes extensions;
    struct bytes signature;
    struct bytes signed_part, raw;
};
void leaf_node_read(struct reader *r, struct leaf_node *leaf);
void leaf_node_write(struct writer *w, const struct leaf_node *leaf);
/* Writes all but the signature. */
void leaf_node_write_unsigned(struct writer *w, const struct leaf_node *leaf);
/* Writes LeafNodeTBS; group id and index count for update and commit only. */
void leaf_node_write_tbs(struct writer *w, const struct leaf_node *leaf,
                         struct bytes group_id, uint32_t leaf_index);

/* RFC 9420, section 7.1 */
struct parent_node {
    struct bytes encryption_key;
    struct bytes parent_hash;
    struct bytes unmerged_leaves; /* list of uint32, strictly ascending */
};
void parent_node_read(struct reader *r, struct parent_node *parent);

/* RFC 9420, section 10 */
struct key_package {
    uint16_t version, cipher_suite;
    struct bytes init_key;
    struct leaf_node leaf;
    struct bytes extensions;
    struct bytes signature;
    struct bytes signed_part, raw;
};
void key_package_read(struct reader *r, struct key_package *kp);
void key_package_write(struct writer *w, const struct key_package *kp);
void key_package_write_unsigned(struct writer *w, const struct key_package *kp);

/* RFC 9420, section 7.6 */
struct hpke_ciphertext {
    struct bytes kem_output, ciphertext;
};
void hpke_ciphertext_read(struct reader *r, struct hpke_ciphertext *c);
void hpke_ciphertext_write(struct writer *w, const struct hpke_ciphertext *c);

struct update_path_node {
    struct bytes encryption_key;
    struct bytes ciphertexts; /* list of HPKECiphertext */
};
void update_path_node_read(struct reader *r, struct update_path_node *n);

struct update_path {
    struct leaf_node leaf;
    struct bytes nodes; /* list of UpdatePathNode */
    struct bytes raw;
};
void update_path_read(struct reader *r, struct update_path *path);
void update_path_write(struct writer *w, const struct update_path *path);

/* RFC 9420, section 8.1 */
struct group_context {
    uint16_t version, cipher_suite;
    struct bytes group_id;
    uint64_t epoch;
    struct bytes tree_hash, confirmed_transcript_hash;
    struct bytes extensions;
    struct bytes raw;
};
void group_context_read(struct reader *r, struct group_context *gc);
void group_context_write(struct writer *w, const struct group_context *gc);

/* RFC 9420, section 12.4.3 */
struct group_info {
    struct group_context context;
    struct bytes extensions;
    struct bytes confirmation_tag;
    uint32_t signer; /* leaf index */
    struct bytes signature;
    struct bytes signed_part, raw;
};
void group_info_read(struct reader *r, struct group_info *gi);
void group_info_write(struct writer *w, const struct group_info *gi);
void group_info_write_unsigned(struct writer *w, const struct group_info *gi);

/* RFC 9420, section 12.4.3.1. Holds secrets: clear it. */
struct group_secrets {
    struct secret joiner_secret;
    bool has_path_secret;
    struct secret path_secret;
    struct bytes psks; /* list of PreSharedKeyID */
};
void group_secrets_read(struct reader *r, struct group_secrets *gs);
void group_secrets_write(struct writer *w, const struct group_secrets *gs);
void group_secrets_clear(struct group_secrets *gs);

struct encrypted_group_secrets {
    struct bytes new_member; /* KeyPackageRef */
    struct hpke_ciphertext secrets;
};
void encrypted_group_secrets_read(struct reader *r,
                                  struct encrypted_group_secrets *egs);
void encrypted_group_secrets_write(struct writer *w,
                                   const struct encrypted_group_secrets *egs);

struct welcome {
    uint16_t cipher_suite;
    struct bytes secrets; /* list of EncryptedGroupSecrets */
    struct bytes encrypted_group_info;
    struct bytes raw;
};
void welcome_read(struct reader *r, struct welcome *w);
void welcome_write(struct writer *w, const struct welcome *wel);
/* Finds the secrets for one KeyPackage; ERR_NOTFOUND when not for it. */
MUST_USE enum err welcome_find(const struct welcome *w, struct bytes ref,
                               struct encrypted_group_secrets *out);

/* RFC 9420, section 12.1.8.1; elements of the external_senders extension */
struct external_sender {
    struct bytes signature_key;
    struct credential credential;
};
void external_sender_read(struct reader *r, struct external_sender *s);
void external_sender_write(struct writer *w, const struct external_sender *s);
/* Reads the i-th sender from the extension's data; ERR_NOTFOUND past the last.
 */
MUST_USE enum err external_sender_at(struct bytes data, uint32_t i,
                                     struct external_sender *out);
