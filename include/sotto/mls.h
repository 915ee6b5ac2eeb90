/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libsotto-mls: Messaging Layer Security (RFC 9420) for C.
 *
 * The library does no I/O: it takes bytes and a random source, and gives bytes
 * and outcomes. A group is a state machine; sotto_group_process() is its one
 * entry for received messages, and a commit is first *staged* (look at what it
 * changes), then merged or dropped. A call that fails leaves its group as it
 * was, but for a spent message key, which never comes back.
 *
 * Ownership: `struct sotto_bytes` borrows, `struct sotto_buf` owns and is freed
 * with sotto_buf_free(), which wipes. Views that an object lends stay valid
 * until the object next changes or is freed. Out-parameters are untouched on
 * failure. Each `_free` takes the variable's address, accepts a zeroed or NULL
 * variable and leaves it zeroed.
 *
 * A buffer given as an out-parameter is overwritten, not freed: give an empty
 * one.
 *
 * Errors: beside those that a function names, each may answer
 * SOTTO_ERR_NOMEM, and SOTTO_ERR_USAGE for a NULL that it needs or a length
 * without data; what reads bytes from others, SOTTO_ERR_MALFORMED. Larger than
 * these is SOTTO_ERR_LIMIT: a message or record of 64 MiB, a leaf of 64 KiB,
 * 131,072 leaves, 64 extensions in a list, 64 PSKs in a commit, 4,096 proposals
 * in an epoch and 256 more by new members.
 *
 * Threads: a context and everything made with it belong to one thread at a
 * time. Times are seconds since 1970, as uint64_t. Leaves are named by their
 * index (RFC 9420, section 4.1.2), which never moves while a member stays.
 */
#ifndef SOTTO_MLS_H
#define SOTTO_MLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SOTTO_API      __attribute__((visibility("default")))
#define SOTTO_MUST_USE __attribute__((warn_unused_result))

/* Raised when an existing program would have to be compiled again. */
#define SOTTO_MLS_ABI 1U
/* The SOTTO_MLS_ABI that the library was built with; compare it at start. */
SOTTO_API uint32_t sotto_mls_abi(void);

/* ---- Results, bytes, memory ------------------------------------------- */

/* What the caller can do about a failure. */
enum sotto_err {
    SOTTO_OK = 0,
    SOTTO_ERR_NOMEM,     /* no memory; state unchanged, try again */
    SOTTO_ERR_LIMIT,     /* larger than the library accepts */
    SOTTO_ERR_MALFORMED, /* does not parse: skip it */
    SOTTO_ERR_INVALID,   /* parses, but breaks a rule: skip it, count it */
    SOTTO_ERR_AUTH,      /* signature, MAC or AEAD is wrong: skip it, alarm */
    SOTTO_ERR_STATE,     /* right, but not now (see the function) */
    SOTTO_ERR_NOTFOUND,
    SOTTO_ERR_EXISTS,
    SOTTO_ERR_IO,          /* the store refused */
    SOTTO_ERR_USAGE = 100, /* the caller's mistake */
};

/* A short English name of `err`, such as "malformed"; a static string. */
SOTTO_API const char *sotto_err_text(enum sotto_err err);

/* A borrowed, read-only run of bytes; `data` may be NULL when `len` is 0. */
struct sotto_bytes {
    const uint8_t *data;
    size_t len;
};

/* An owned run of bytes. Start with {0}; only the library grows it. */
struct sotto_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

/* Wipes and frees what the library gave; {0} again afterwards. */
SOTTO_API void sotto_buf_free(struct sotto_buf *buf);

/* A source of random bytes, unpredictable to others. It cannot fail: one that
 * is broken has to end the process. */
struct sotto_random {
    void (*fill)(void *ctx, uint8_t *out, size_t len);
    void *ctx;
};

/* The operating system's random source. */
SOTTO_API struct sotto_random sotto_random_system(void);

/* Replaces malloc and free for the whole process, but for what OpenSSL and
 * libsodium take for themselves: `alloc` returns `size` bytes, aligned as
 * malloc's, or NULL; `release` takes a block in which nothing secret is left.
 * To be called at most once, before anything else: later it answers
 * SOTTO_ERR_USAGE. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_set_allocator(void *(*alloc)(size_t size), void (*release)(void *block));

/* ---- Context ----------------------------------------------------------- */

/* Algorithms and reused contexts, and the random source that every call on
 * this context and its groups draws from. It must outlive its groups. */
struct sotto_mls;

/* Makes a context. SOTTO_ERR_IO: the crypto libraries do not start. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_mls_create(struct sotto_random random, struct sotto_mls **out);
/* Frees a context, after all that was made with it. */
SOTTO_API void sotto_mls_free(struct sotto_mls **mls);

/* Credential types (RFC 9420, section 17.5). */
#define SOTTO_CREDENTIAL_BASIC 1U
#define SOTTO_CREDENTIAL_X509  2U

/* A credential and the signature key that it has to vouch for. */
struct sotto_credential {
    uint16_t suite; /* whose signature algorithm the key is for */
    uint16_t type;
    /* Basic: the identity. X.509: the chain, see sotto_certificate_at(). */
    struct sotto_bytes identity;
    struct sotto_bytes signature_key;
};

/*
 * The caller's Authentication Service (RFC 9420, section 5.3.1). It is asked
 * about each credential that is new in a group, after its signature was
 * verified and before anything depends on it: of KeyPackages, one's own too, of
 * all members at joining, of updates and commits that change a credential or
 * its key, of external senders. `before` is what a member replaces, else NULL:
 * the new one has to be a valid successor. SOTTO_OK accepts; SOTTO_ERR_NOMEM
 * and SOTTO_ERR_IO end the call, which may be tried again; SOTTO_ERR_AUTH and
 * SOTTO_ERR_INVALID (any other) refuse. Members of a group have to come to the
 * same answers, or the group splits. It must not call the library with the
 * context or its groups.
 */
struct sotto_credential_check {
    enum sotto_err (*check)(void *ctx,
                            const struct sotto_credential *credential,
                            const struct sotto_credential *before);
    void *ctx;
};
/* Sets the check; {0}, as at first, leaves credentials to the caller, who looks
 * at members and staged commits. KeyPackages say that their owner takes X.509
 * credentials if there is a check, or their own credential is one. */
SOTTO_API void
sotto_mls_set_credential_check(struct sotto_mls *mls,
                               struct sotto_credential_check check);

/* Lends the i-th certificate, DER, of an X.509 credential's `identity`, which
 * begins with the end entity's; SOTTO_ERR_NOTFOUND past the last. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_certificate_at(struct sotto_bytes identity, size_t i,
                     struct sotto_bytes *out);

/* Whom to trust, for the check below. The caller keeps it, its anchors and the
 * time current; revocation is not looked at. */
struct sotto_x509_trust {
    const struct sotto_bytes
        *anchors; /* certificates: DER, or PEM of several */
    size_t anchor_count;
    uint64_t now;
};

/* Checks an X.509 credential (RFC 9420, section 5.3; RFC 5280): its key is that
 * of the end entity, and a path of at most 16 certificates leads to an anchor
 * that is valid now. With a `name`, the end entity must have it as a DNS name
 * or, if it has an '@', as an e-mail address; a wildcard is nobody's name, and
 * nobody has one with a NUL in it or a dot before it. SOTTO_ERR_AUTH: no such
 * path.
 * SOTTO_ERR_INVALID: another key or name, or no X.509 credential. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_x509_verify(const struct sotto_x509_trust *trust,
                  const struct sotto_credential *credential,
                  struct sotto_bytes name);

/* The same as a check for sotto_mls_set_credential_check(), with a struct
 * sotto_x509_trust as its `ctx`: any name, but a successor has the subject and
 * the alternative names of the one before. Which name belongs to whom is for
 * the caller, who can call the function above from a check of its own. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_x509_check(void *ctx, const struct sotto_credential *credential,
                 const struct sotto_credential *before);

#define SOTTO_WORKERS_MAX 64U

/*
 * Threads of the caller for what takes long and can be shared out: the
 * signatures of a tree at joining, and of many KeyPackages that one commit
 * adds. `run` calls part(arg, i) once for each i < count, on any threads and in
 * any order, and returns when all have returned. It must not call the library;
 * an allocator set with sotto_set_allocator() has to be one for threads. All
 * else, the credential check too, stays on the thread of the call.
 */
struct sotto_workers {
    void (*run)(void *ctx, void (*part)(void *arg, size_t i), void *arg,
                size_t count);
    void *ctx;
    size_t count; /* parts to make of a job; 0, as at first: one thread */
};
/* Sets them. SOTTO_ERR_LIMIT: more than SOTTO_WORKERS_MAX. A join where not
 * every part was run answers SOTTO_ERR_IO. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_mls_set_workers(struct sotto_mls *mls, struct sotto_workers workers);

/* Cipher suites (RFC 9420, section 17.1; the hybrids of
 * draft-ietf-mls-pq-ciphersuites are in the same list, under code points that
 * are provisional). */
struct sotto_suite {
    uint16_t id;
    const char *name; /* as in the IANA registry or the draft */
    bool hybrid;      /* secrecy also against quantum computers */
};

/* Describes the i-th suite of the library; SOTTO_ERR_NOTFOUND past the last. */
SOTTO_API SOTTO_MUST_USE enum sotto_err sotto_suite_at(size_t i,
                                                       struct sotto_suite *out);

/* The suite a new conversation should use: MLKEM768X25519, AES-256-GCM,
 * SHA-384, Ed25519. */
SOTTO_API uint16_t sotto_suite_default(void);

/* Makes a signature key pair, in the formats of RFC 9420, section 5.1.1 (for
 * Ed25519 the private key is the 32-byte seed). */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_mls_signature_keygen(struct sotto_mls *mls, uint16_t suite,
                           struct sotto_buf *out_private,
                           struct sotto_buf *out_public);

/* ---- Leaves, extensions, key packages ---------------------------------- */

struct sotto_extension {
    uint16_t type;
    struct sotto_bytes data;
};

/* At most SOTTO_EXTENSIONS_MAX, no type twice. */
struct sotto_extension_list {
    const struct sotto_extension *items;
    size_t count;
};
#define SOTTO_EXTENSIONS_MAX 64U

/* What a client says about itself. Capabilities are computed: all suites of
 * the library, the credential types (basic, and X.509 as said above), the
 * types of both lists of extensions, and the lists below. A type used in a
 * GroupContext, or a proposal type beyond those of RFC 9420, must be listed by
 * every member (RFC 9420, section 7.2). */
struct sotto_identity {
    uint16_t suite;
    struct sotto_bytes identity; /* of the basic credential (section 5.3) */
    /* Instead of `identity`, an X.509 chain: DER, the end entity first, whose
     * key is the signature key. */
    const struct sotto_bytes *certificates;
    size_t certificate_count;
    struct sotto_bytes signature_private;
    struct sotto_bytes signature_public;
    struct sotto_extension_list extensions; /* of the leaf */
    struct sotto_extension_list key_package_extensions;
    const uint16_t *extension_types; /* also supported */
    size_t extension_type_count;
    const uint16_t *proposal_types; /* SOTTO_PROPOSAL_APP_EPHEMERAL, … */
    size_t proposal_type_count;
    const uint16_t *credential_types; /* that the caller can judge in others */
    size_t credential_type_count;
    uint64_t not_before; /* lifetime of the KeyPackage */
    uint64_t not_after;
    bool last_resort; /* marks the KeyPackage as one that may be used twice */
    /* Adds random GREASE values (RFC 9420, section 13.5) to capabilities, and
     * to the extensions of leaf, KeyPackage and, as long as the leaf has some,
     * GroupInfo. The RFC says that one should, and peers have to take it; off
     * unless asked for, since one that knows no GREASE may not. */
    bool grease;
};

/* Proposal types to list as capabilities. */
/* of draft-ietf-mls-extensions */
#define SOTTO_PROPOSAL_APP_DATA_UPDATE 0x0008U
#define SOTTO_PROPOSAL_APP_EPHEMERAL   0x0009U
#define SOTTO_PROPOSAL_SELF_REMOVE     0x000aU

/* What a leaf lists that its owner supports (RFC 9420, section 7.2): lists of
 * 16-bit code points, GREASE included. */
struct sotto_capabilities {
    struct sotto_bytes versions, suites, extensions, proposals, credentials;
};
/* Whether such a list has a code point; false for GREASE. The default extension
 * and proposal types of RFC 9420 are supported without being listed. */
SOTTO_API bool sotto_capability_has(struct sotto_bytes list, uint16_t type);

/* A leaf as others see it. The views belong to where the leaf came from. */
struct sotto_leaf {
    uint16_t credential_type;
    struct sotto_bytes identity; /* as in struct sotto_credential */
    struct sotto_bytes signature_key;
    struct sotto_bytes encryption_key;
    struct sotto_bytes extensions; /* encoded: see sotto_extension_find() */
    struct sotto_capabilities capabilities;
    uint64_t not_before; /* 0 and 0: made by an update or commit */
    uint64_t not_after;
};

/* Finds the data of one extension in an encoded list (the `extensions` of a
 * leaf, sotto_group_extensions(), …); SOTTO_ERR_NOTFOUND when it has none. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_extension_find(struct sotto_bytes extensions, uint16_t type,
                     struct sotto_bytes *out);
/* Reads the i-th extension; SOTTO_ERR_NOTFOUND past the last. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_extension_at(struct sotto_bytes extensions, size_t i,
                   struct sotto_extension *out);

/* A KeyPackageRef (RFC 9420, section 5.2). */
struct sotto_ref {
    uint8_t data[64];
    size_t len;
};

/* Makes a KeyPackage: `out_message` (an MLSMessage) to publish, `out_private`
 * to keep secret under `out_ref` until a Welcome names it. The private part
 * holds all that joining needs, the signature key included; erase it after
 * joining, unless the package is a last resort. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_key_package_create(struct sotto_mls *mls, const struct sotto_identity *id,
                         struct sotto_buf *out_message,
                         struct sotto_buf *out_private,
                         struct sotto_ref *out_ref);

struct sotto_key_package {
    uint16_t suite;
    bool last_resort;
    struct sotto_leaf leaf;
    struct sotto_bytes extensions; /* of the KeyPackage, encoded */
    struct sotto_ref ref;
};

/* Parses and verifies a KeyPackage (RFC 9420, section 10.1), except its
 * lifetime, which is for the caller to judge. `out` borrows from `message`. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_key_package_inspect(struct sotto_mls *mls, struct sotto_bytes message,
                          struct sotto_key_package *out);

/* ---- Groups ------------------------------------------------------------ */

struct sotto_group;

/* Makes a group with one member, `id`, in epoch 0 (RFC 9420, section 11). */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_create(struct sotto_mls *mls, const struct sotto_identity *id,
                   struct sotto_bytes group_id,
                   struct sotto_extension_list extensions,
                   struct sotto_group **out);
/* Wipes and frees; what is not saved is lost. */
SOTTO_API void sotto_group_free(struct sotto_group **group);

/* Reads the KeyPackageRef of the i-th new member that a Welcome (MLSMessage) is
 * for; SOTTO_ERR_NOTFOUND past the last. The joiner looks each up in its own
 * store of private parts. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_welcome_ref(struct sotto_bytes welcome, size_t i, struct sotto_ref *out);

struct sotto_psk {
    struct sotto_bytes id; /* of an external PSK (RFC 9420, section 8.4) */
    struct sotto_bytes key;
};

struct sotto_psk_list {
    const struct sotto_psk *items;
    size_t count;
};

/* Names a resumption PSK (RFC 9420, section 8.6): what the members of an epoch
 * had in common. A group keeps that of its epoch and those of the last
 * SOTTO_RESUMPTION_MAX epochs before it, stored with it. */
struct sotto_resumption {
    struct sotto_bytes group_id; /* empty: of the same group */
    uint64_t epoch;
};
#define SOTTO_RESUMPTION_MAX 16U

/* Groups to find resumption PSKs in; borrowed for one call. */
struct sotto_group_list {
    const struct sotto_group *const *items;
    size_t count;
};

struct sotto_join {
    struct sotto_bytes welcome;             /* MLSMessage */
    struct sotto_bytes key_package_private; /* the matching one */
    struct sotto_bytes ratchet_tree;        /* when not in the Welcome */
    struct sotto_psk_list psks;             /* any that may be needed */
    struct sotto_group_list groups; /* the same, for resumption PSKs, and to
                                       compare with what follows from them */
    bool members_unchecked;         /* as in struct sotto_link */
    uint64_t now; /* refuses a group with a leaf outside its lifetime (section
                     7.3); 0: no check, and members that were idle since they
                     were added keep nobody out */
};

/* Joins by a Welcome (RFC 9420, section 12.4.3.1), with every check of the
 * tree. That no other group of the caller has the same id is for the caller.
 * SOTTO_ERR_NOTFOUND: the Welcome is not for this KeyPackage, or needs a PSK, a
 * tree or a group that is not given. A Welcome to the group that a ReInit in
 * `groups` announced is refused unless it is bound to that group. Who is in the
 * group is for the caller to judge, before it uses the group. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_join(struct sotto_mls *mls, const struct sotto_join *join,
                 struct sotto_group **out);

/* What the cleartext of a GroupInfo says (RFC 9420, section 12.4.3). */
struct sotto_group_info_view {
    uint16_t suite;
    struct sotto_bytes group_id;
    uint64_t epoch;
    struct sotto_bytes group_extensions; /* of the GroupContext, encoded */
    struct sotto_bytes extensions;       /* of the GroupInfo, encoded */
    struct sotto_bytes ratchet_tree;     /* empty: it is to be had elsewhere */
    struct sotto_bytes external_pub;     /* empty: no external commits */
    uint32_t signer;                     /* leaf */
};
/* Reads a GroupInfo (MLSMessage), of any suite. Nothing is verified: that takes
 * the tree, and is done when one joins. The views are into `message`. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_info_inspect(struct sotto_bytes message,
                         struct sotto_group_info_view *out);

struct sotto_external_join {
    const struct sotto_identity *identity; /* of the group's suite */
    struct sotto_bytes group_info;         /* of sotto_group_info() */
    struct sotto_bytes ratchet_tree;       /* when not in the GroupInfo */
    bool resync; /* takes the place of one's old leaf: that with the same
                    signature key, or */
    const uint32_t *old_leaf;   /* this one; NULL: look for the key */
    struct sotto_psk_list psks; /* to use in the commit, each */
    const struct sotto_resumption *resumptions; /* the same, */
    size_t resumption_count;
    struct sotto_group_list groups; /* found in these */
    const struct sotto_app_proposal *app_proposals;
    size_t app_proposal_count;
    const struct sotto_app_data_update *app_data;
    size_t app_data_count;
    const struct sotto_bytes *self_removes; /* PublicMessages of this epoch, of
                                               members that leave: such a
                                               proposal of each */
    size_t self_remove_count;
    struct sotto_bytes authenticated_data;
    uint64_t now; /* as in struct sotto_join */
};

/* Joins by an external commit (RFC 9420, section 12.4.3.2), with every check of
 * the tree. `out` is a group of the epoch that the commit begins, whose members
 * may be looked at before `out_message` (a PublicMessage) is sent; the group
 * counts once the others have taken that. If another commit came before it,
 * free the group and join again with a newer GroupInfo. SOTTO_ERR_NOTFOUND: no
 * tree, no external key, no leaf to take the place of, or no such PSK.
 * SOTTO_ERR_INVALID: the others would refuse it. */
SOTTO_API SOTTO_MUST_USE enum sotto_err sotto_group_join_external(
    struct sotto_mls *mls, const struct sotto_external_join *join,
    struct sotto_buf *out_message, struct sotto_group **out);

/* False once a commit that removed this member, or a ReInit, was merged: the
 * group can then only be looked at, joined from (see sotto_group_reinitialize()
 * and sotto_join.groups) and freed. */
SOTTO_API bool sotto_group_active(const struct sotto_group *group);

/* The GroupContext's cipher suite (RFC 9420, section 8.1). */
SOTTO_API uint16_t sotto_group_suite(const struct sotto_group *group);
/* Its epoch: one more with each commit that was merged. */
SOTTO_API uint64_t sotto_group_epoch(const struct sotto_group *group);
/* Its group_id, as the founder gave it. */
SOTTO_API struct sotto_bytes sotto_group_id(const struct sotto_group *group);
/* Equal at all members of an epoch and only there; as long as the suite's hash
 * (RFC 9420, section 8.7). */
SOTTO_API struct sotto_bytes
sotto_group_epoch_authenticator(const struct sotto_group *group);
/* The GroupContext's extensions, encoded: see sotto_extension_find(). */
SOTTO_API struct sotto_bytes
sotto_group_extensions(const struct sotto_group *group);

/* The leaf of this member. */
SOTTO_API uint32_t sotto_group_own_leaf(const struct sotto_group *group);
/* Leaves that are not blank. */
SOTTO_API uint32_t sotto_group_member_count(const struct sotto_group *group);
/* Leaves of the tree, blank ones included: indices are below it. */
SOTTO_API uint32_t sotto_group_leaf_count(const struct sotto_group *group);
/* Describes a member; SOTTO_ERR_NOTFOUND: a blank leaf, or none. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_member(const struct sotto_group *group, uint32_t leaf,
                   struct sotto_leaf *out);
/* Finds the one member with that signature key; SOTTO_ERR_NOTFOUND: none. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_find_member(const struct sotto_group *group,
                        struct sotto_bytes signature_key, uint32_t *out_leaf);

/* The MLS exporter (RFC 9420, section 8.5); `len` bytes, at most 255 hashes. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_export(struct sotto_group *group, const char *label,
                   struct sotto_bytes context, size_t len,
                   struct sotto_buf *out);

/* A signed GroupInfo of this epoch (MLSMessage), with the ratchet tree in it or
 * not (RFC 9420, section 12.4.3). */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_info(struct sotto_group *group, bool with_tree,
                 struct sotto_buf *out);
/* The tree alone (RFC 9420, section 12.4.3.3). */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_ratchet_tree(const struct sotto_group *group,
                         struct sotto_buf *out);

/* Offers an external PSK, in case a commit names it. Kept in memory only. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_offer_psk(struct sotto_group *group, struct sotto_psk psk);
/* Offers the resumption PSK of an epoch of another group, in case a commit
 * names it; SOTTO_ERR_NOTFOUND when `from` does not keep it. Kept in memory
 * only. Those of the group itself need no offer. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_offer_resumption(struct sotto_group *group,
                             const struct sotto_group *from, uint64_t epoch);

/* Kinds of senders (RFC 9420, section 6). */
enum sotto_sender {
    SOTTO_SENDER_MEMBER = 1,          /* named by its leaf */
    SOTTO_SENDER_EXTERNAL,            /* by its place in external_senders */
    SOTTO_SENDER_NEW_MEMBER_PROPOSAL, /* asks to be added: anybody can, so it
                                         is for the caller to judge */
    SOTTO_SENDER_NEW_MEMBER_COMMIT,   /* joins by its own commit: anybody with
                                         a GroupInfo can; its new leaf */
};

/* ---- Sending ----------------------------------------------------------- */

/* Encrypts an application message (a PrivateMessage). `authenticated_data` is
 * signed but travels in the clear. The plaintext is padded so that content and
 * padding fill a multiple of `bucket` bytes (0: no padding). The key is spent:
 * save the group before the message leaves the machine. */
SOTTO_API SOTTO_MUST_USE enum sotto_err sotto_group_protect(
    struct sotto_group *group, struct sotto_bytes authenticated_data,
    struct sotto_bytes plaintext, size_t bucket, struct sotto_buf *out);

/* An application proposal: AppEphemeral of draft-ietf-mls-extensions. It
 * changes nothing; it is agreed data of the commit that carries it. */
struct sotto_app_proposal {
    uint16_t component;
    struct sotto_bytes data;
};

/* An AppDataUpdate of draft-ietf-mls-extensions (see sotto/mls_components.h):
 * it changes the data of a component in the GroupContext, without a path. A
 * commit has several updates of a component, or removes it once, where it has
 * data. All members list SOTTO_PROPOSAL_APP_DATA_UPDATE and
 * SOTTO_EXTENSION_APP_DATA_DICTIONARY; where the group requires the former (RFC
 * 9420, section 11.1), nothing else changes the dictionary, and new
 * GroupContext extensions repeat it as it is. */
struct sotto_app_data_update {
    uint16_t component;
    bool remove;
    struct sotto_bytes update; /* sotto_component_logic says what it means */
};

/* A replacement of one's own leaf's data; what is empty stays. */
struct sotto_leaf_change {
    const struct sotto_extension_list *extensions;
    struct sotto_bytes signature_private; /* both or none */
    struct sotto_bytes signature_public;
    const struct sotto_bytes *certificates; /* a new X.509 chain */
    size_t certificate_count;
};

/* What a group is to be replaced with (RFC 9420, section 12.1.5). */
struct sotto_reinit {
    struct sotto_bytes group_id;
    uint16_t suite;
    struct sotto_extension_list extensions;
};

/* What a commit does. All zero: a new path and nothing else (section 12.4). */
struct sotto_commit {
    const struct sotto_bytes *adds; /* KeyPackages (MLSMessage) */
    size_t add_count;
    const uint32_t *removes; /* leaves; never one's own */
    size_t remove_count;
    const struct sotto_extension_list *extensions; /* of the GroupContext:
                                                      all of them; NULL: keep */
    const struct sotto_app_proposal *app_proposals;
    size_t app_proposal_count;
    const struct sotto_app_data_update *app_data;
    size_t app_data_count;
    const struct sotto_bytes *psks; /* ids of offered external PSKs */
    size_t psk_count;
    const struct sotto_resumption *resumptions; /* PSKs too */
    size_t resumption_count;
    bool use_pending;             /* by reference: what
                                     process() gave as proposals, but
                                     for those of new members (anybody
                                     can make one) and a ReInit */
    const struct sotto_ref *refs; /* by reference: these */
    size_t ref_count;
    const struct sotto_reinit *reinit;    /* ends the group: nothing else goes
                                             with it */
    bool no_path;                         /* leave the path out where section
                                             12.4 allows it (adds only) */
    const struct sotto_leaf_change *leaf; /* NULL: only fresh keys */
    struct sotto_bytes authenticated_data;
    uint64_t now;        /* refuses KeyPackages outside their lifetime,
                            and leaves out such proposals (section 7.3);
                            0: no check */
    bool public_message; /* default: PrivateMessage */
    bool tree_outside;   /* default: the tree is in the Welcome */
    size_t bucket;       /* pads a PrivateMessage as in protect() */
};

struct sotto_commit_out {
    struct sotto_buf message;      /* MLSMessage for the group */
    struct sotto_buf welcome;      /* MLSMessage; empty when nobody is added */
    struct sotto_buf ratchet_tree; /* of the new epoch, when tree_outside */
};
/* Wipes and frees all three. */
SOTTO_API void sotto_commit_out_free(struct sotto_commit_out *out);

/* Makes a commit and keeps it in the group as its one *pending commit*, which
 * is saved with the group. The epoch does not change: process() recognises the
 * pending commit when its bytes come back. It dies silently when another
 * commit is merged. SOTTO_ERR_STATE: there is a pending commit already, or the
 * group is not active. SOTTO_ERR_INVALID: the others would refuse it. A
 * PrivateMessage spends a key: save the group before sending. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_commit(struct sotto_group *group, const struct sotto_commit *commit,
                   struct sotto_commit_out *out);
/* Whether there is a pending commit. */
SOTTO_API bool sotto_group_has_pending(const struct sotto_group *group);
/* Enters the epoch of the pending commit; SOTTO_ERR_STATE when there is none.
 */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_merge_pending(struct sotto_group *group);
/* Forgets the pending commit, as when the server refused it. */
SOTTO_API void sotto_group_drop_pending(struct sotto_group *group);

enum sotto_proposal_kind {
    SOTTO_PROPOSE_ADD,
    SOTTO_PROPOSE_UPDATE, /* of oneself: fresh key, and `change` */
    SOTTO_PROPOSE_REMOVE,
    SOTTO_PROPOSE_EXTENSIONS,
    SOTTO_PROPOSE_APP,
    SOTTO_PROPOSE_PSK,
    SOTTO_PROPOSE_RESUMPTION,
    SOTTO_PROPOSE_REINIT,
    SOTTO_PROPOSE_SELF_REMOVE, /* to leave, at the next commit of another; as
                                  a PublicMessage, where all members support
                                  SOTTO_PROPOSAL_SELF_REMOVE */
    SOTTO_PROPOSE_APP_DATA,
};

struct sotto_proposal {
    enum sotto_proposal_kind kind;
    struct sotto_bytes key_package;         /* add */
    uint64_t now;                           /* add: as in struct sotto_commit */
    const struct sotto_leaf_change *change; /* update; may be NULL */
    uint32_t leaf;                          /* remove */
    struct sotto_extension_list extensions;
    struct sotto_app_proposal app;
    struct sotto_app_data_update app_data;
    struct sotto_bytes psk_id;
    struct sotto_resumption resumption;
    const struct sotto_reinit *reinit;
    struct sotto_bytes authenticated_data;
    bool public_message;
    size_t bucket;
};

/* How many proposals of this epoch, one's own that came back included and those
 * of new members left out, a commit could take up. A member "MUST send a Commit
 * message before sending application data" when a valid one is among them (RFC
 * 9420, section 12.4); that is for the caller, since only a commit shows which
 * are valid. */
SOTTO_API size_t sotto_group_proposal_count(const struct sotto_group *group);

/* Makes a standalone proposal (RFC 9420, section 12.1). It counts once its
 * bytes come back and process() gives them as a proposal; commits of others may
 * name it before. SOTTO_ERR_EXISTS: a second SelfRemove in one epoch. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_propose(struct sotto_group *group,
                    const struct sotto_proposal *proposal,
                    struct sotto_buf *out);

/*
 * Proposals from outside the group (RFC 9420, section 12.1.8), as
 * PublicMessages. An *external sender* is one that the group lists in its
 * external_senders extension; a *new member* proposes that itself be added, and
 * anybody can: process() gives such a proposal, and only a commit that names it
 * (sotto_commit.refs) takes it in.
 */
#define SOTTO_EXTENSION_EXTERNAL_SENDERS 0x0005U

/* Encodes the data of an external_senders extension (RFC 9420, section
 * 12.1.8.1), which does not hold the suites: they are the group's. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_external_senders_encode(const struct sotto_credential *senders,
                              size_t count, struct sotto_buf *out);
/* Reads the i-th sender in it, with suite 0; SOTTO_ERR_NOTFOUND past the last.
 * The views are into `data`. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_external_sender_at(struct sotto_bytes data, uint32_t i,
                         struct sotto_credential *out);

struct sotto_outsider {
    uint16_t suite; /* of the group, as are the next two */
    struct sotto_bytes group_id;
    uint64_t epoch;
    enum sotto_sender
        kind;       /* SOTTO_SENDER_EXTERNAL, or …_NEW_MEMBER_PROPOSAL */
    uint32_t index; /* in external_senders */
    struct sotto_bytes signature_private; /* of the external sender, or of the
                                             KeyPackage that it adds */
};

/* Makes a proposal from outside. Of the kinds, an external sender may use add,
 * remove, extensions, app, app data, PSK, resumption (that names its group) and
 * reinit; a
 * new member, add. What depends on the group's state is not checked, since the
 * author need not know it. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_outsider_propose(struct sotto_mls *mls, const struct sotto_outsider *from,
                       const struct sotto_proposal *proposal,
                       struct sotto_buf *out);

/* ---- Receiving --------------------------------------------------------- */

/*
 * What a message was. Everything but an error of process() is one of these.
 *
 * Members that apply one log in one order must agree on which commits count,
 * so the checks are ordered by who can make them:
 *
 *   1. What *everybody* sees: encoding, AEAD, signature, membership tag,
 *      proposals, the new leaf, the shape of the path, parent and tree hashes.
 *      A failure is an error, the same for all: skip the message.
 *   2. What only *this device* sees: its path secret does not decrypt or does
 *      not lead to the public keys of the path; a PSK that it does not have.
 *      The outcome is SOTTO_CANNOT_APPLY (RFC 9420, section 16.12): others may
 *      have moved on, so rejoin. The group stays as it was; if messages of
 *      its epoch by several members follow, the commit failed for all. What it
 *      would change can be looked at: a commit that breaks the caller's own
 *      rules is to be skipped here as it is by the others.
 *   3. What everybody sees *who passed 2*: the confirmation tag. With equal
 *      public keys all hold the same commit secret, so a wrong tag is an error,
 *      the same for all.
 *
 * A member that a commit removes cannot check 2 and 3 and gets SOTTO_COMMIT.
 */
enum sotto_outcome {
    SOTTO_APPLICATION = 1, /* content, authenticated_data, sender */
    SOTTO_PROPOSAL,        /* kept for commits of this epoch */
    SOTTO_COMMIT,          /* staged: look, then merge or drop it */
    SOTTO_OWN_COMMIT,      /* the pending commit: sotto_group_merge_pending() */
    SOTTO_OWN_MESSAGE,     /* signed by this leaf with a key that this state has
                              not used: the state is an old copy (or an echo
                              of a PublicMessage) */
    SOTTO_DUPLICATE,       /* its key was used already, or is too old to be
                              kept: also an echo of what this leaf sent */
    SOTTO_FUTURE_EPOCH,    /* something before it is missing */
    SOTTO_TOO_OLD,         /* of an epoch that is over: its keys are gone */
    SOTTO_WRONG_GROUP,
    SOTTO_CANNOT_APPLY, /* valid to others, as far as one can see */
};

struct sotto_staged;

struct sotto_result {
    enum sotto_outcome outcome;
    uint64_t epoch;                      /* of the message */
    enum sotto_sender sender_kind;       /* 0: not known */
    uint32_t sender;                     /* leaf, mostly: see sotto_sender */
    struct sotto_ref ref;                /* ProposalRef, with SOTTO_PROPOSAL */
    struct sotto_buf authenticated_data; /* of what was authenticated */
    struct sotto_buf content;            /* application data, or an encoded
                                            Proposal */
    struct sotto_staged *staged;         /* with SOTTO_COMMIT, and to look at
                                            with SOTTO_CANNOT_APPLY */
};
/* Wipes and frees the buffers and the staged commit, if it is still there. */
SOTTO_API void sotto_result_free(struct sotto_result *result);

/* Processes a PublicMessage or PrivateMessage (MLSMessage). An error is about
 * the message, never about this device: MALFORMED, INVALID, AUTH and LIMIT are
 * the same for all members (see above), so skip it; NOMEM and IO say nothing
 * about the message: try again; STATE: the group is not active. When a key was
 * spent, also on a message that proved invalid, the group has unsaved state. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_process(struct sotto_group *group, struct sotto_bytes message,
                    struct sotto_result *out);

/* What the cleartext of a message says, without any check. */
struct sotto_message_view {
    uint16_t wire_format; /* RFC 9420, section 6: 1 public, 2 private, … */
    uint8_t content_type; /* 1 application, 2 proposal, 3 commit */
    uint64_t epoch;
    struct sotto_bytes group_id;
    struct sotto_bytes authenticated_data;
};
/* Reads it; the views are into `message`. Of an MLSMessage that is neither
 * public nor private, only `wire_format` is set. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_message_peek(struct sotto_bytes message, struct sotto_message_view *out);

/* ---- Staged commits ---------------------------------------------------- */

enum sotto_change_kind {
    SOTTO_CHANGE_ADD = 1,    /* leaf, after, key_package */
    SOTTO_CHANGE_UPDATE,     /* leaf, before, after */
    SOTTO_CHANGE_REMOVE,     /* leaf, before; `by` itself, if it left */
    SOTTO_CHANGE_PATH,       /* leaf (the committer), before (empty when it
                                joins by this commit), after */
    SOTTO_CHANGE_EXTENSIONS, /* data: the new encoded GroupContext extensions */
    SOTTO_CHANGE_APP,        /* component, data */
    SOTTO_CHANGE_PSK,        /* data: the external PSK's id */
    SOTTO_CHANGE_RESUMPTION, /* data: the group_id; epoch */
    SOTTO_CHANGE_REINIT,     /* reinit: the group ends */
    SOTTO_CHANGE_EXTERNAL_INIT,   /* leaf, after: who joins by this commit */
    SOTTO_CHANGE_APP_DATA_UPDATE, /* component, data: the update; what it makes
                                     of the data, sotto_staged_extensions() */
    SOTTO_CHANGE_APP_DATA_REMOVE, /* component */
};

/* A ReInit as others see it. */
struct sotto_reinit_view {
    struct sotto_bytes group_id;
    uint16_t version; /* of MLS: 1 is all that there is */
    uint16_t suite;
    struct sotto_bytes extensions; /* encoded */
};

struct sotto_change {
    enum sotto_change_kind kind;
    enum sotto_sender by_kind;
    uint32_t by; /* leaf of the proposer, mostly: not always the committer */
    bool by_reference;
    uint32_t leaf;
    struct sotto_leaf before;
    struct sotto_leaf after;
    struct sotto_bytes key_package; /* KeyPackage, not an MLSMessage */
    uint16_t component;
    struct sotto_bytes data;
    uint64_t epoch;
    struct sotto_reinit_view reinit;
};

/* Describes the i-th change, in the order of the commit's list with the path
 * last; SOTTO_ERR_NOTFOUND past the last. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_staged_change(const struct sotto_staged *staged, size_t i,
                    struct sotto_change *out);
/* The leaf that made the commit; the new one of who joins by it. */
SOTTO_API uint32_t sotto_staged_committer(const struct sotto_staged *staged);
/* Whether it is an external commit (RFC 9420, section 12.4.3.2): it adds its
 * author, and may remove a leaf that its author says is its old one. */
SOTTO_API bool sotto_staged_external(const struct sotto_staged *staged);
/* Whether this member is out of the group once it is merged. */
SOTTO_API bool sotto_staged_removes_me(const struct sotto_staged *staged);
/* Whether it brings a path, and so fresh keys (RFC 9420, section 12.4). */
SOTTO_API bool sotto_staged_has_path(const struct sotto_staged *staged);
/* A member of the new epoch; SOTTO_ERR_NOTFOUND: a blank leaf, or none. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_staged_member(const struct sotto_staged *staged, uint32_t leaf,
                    struct sotto_leaf *out);
/* Leaves of the new epoch's tree, blank ones included. */
SOTTO_API uint32_t sotto_staged_leaf_count(const struct sotto_staged *staged);
/* The new GroupContext's extensions, encoded. */
SOTTO_API struct sotto_bytes
sotto_staged_extensions(const struct sotto_staged *staged);
/* The same views of one's own pending commit; NULL when there is none. The
 * group keeps it. */
SOTTO_API const struct sotto_staged *
sotto_group_pending(const struct sotto_group *group);

/* Enters the staged epoch and frees `*staged`. SOTTO_ERR_STATE: the group has
 * changed its epoch since, or is another one, or the commit cannot be applied.
 * It needs no memory. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_merge(struct sotto_group *group, struct sotto_staged **staged);
/* Drops a staged commit; nothing is left of it. */
SOTTO_API void sotto_staged_free(struct sotto_staged **staged);

/* ---- Groups that follow from others ------------------------------------ */

/* What a merged ReInit says about the group that is to follow (RFC 9420,
 * section 11.2); SOTTO_ERR_NOTFOUND: there was none. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_reinit(const struct sotto_group *group,
                   struct sotto_reinit_view *out);

/* A group that is bound to an older one by a resumption PSK. Its members have
 * to be those of the old one (reinit: all of them; branch: some of them). By
 * default that means equal credentials; "according to the application", as with
 * renewed certificates, it is for the caller to look. */
struct sotto_link {
    const struct sotto_group *from;
    const struct sotto_identity *identity;
    const struct sotto_bytes *adds; /* KeyPackages (MLSMessage) of the others */
    size_t add_count;
    bool members_unchecked; /* the caller compares the members */
    bool tree_outside;
    uint64_t now; /* as in struct sotto_commit */
    /* Of a branch; a ReInit has said the same already. */
    struct sotto_bytes group_id;
    const struct sotto_extension_list *extensions; /* NULL: those of `from` */
};

/* Makes the group that a ReInit announced (RFC 9420, section 11.2), in epoch 1.
 * `out_commit` holds no message, but the Welcome for the others, who give their
 * `from` to sotto_group_join() as one of `groups`. SOTTO_ERR_STATE: `from` was
 * not ended by a ReInit. SOTTO_ERR_INVALID: the others would refuse it. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_reinitialize(struct sotto_mls *mls, const struct sotto_link *link,
                         struct sotto_commit_out *out_commit,
                         struct sotto_group **out);
/* Makes a subgroup in the same way (RFC 9420, section 11.3). SOTTO_ERR_STATE:
 * `from` is not active. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_branch(struct sotto_mls *mls, const struct sotto_link *link,
                   struct sotto_commit_out *out_commit,
                   struct sotto_group **out);

/* ---- Storing ----------------------------------------------------------- */

/*
 * A group is stored as a few kinds of records under the caller's own key for
 * the group. They hold secrets: encrypt the store. All puts and deletes of one
 * save belong in one transaction with what the caller did with the message;
 * if that transaction fails after save() succeeded, free the group and load it
 * again. Sending rewrites only the SEND record, of some 200 bytes at any size
 * of the group. Later versions read what this one stored, private parts of
 * KeyPackages too; older ones need not.
 */
enum sotto_record {
    SOTTO_RECORD_EPOCH = 1, /* GroupContext, tree, secrets of the epoch */
    SOTTO_RECORD_SEND,      /* own ratchets */
    SOTTO_RECORD_RECEIVE,   /* others' ratchets, indexed by chunk */
    SOTTO_RECORD_PENDING,   /* the pending commit */
    SOTTO_RECORD_PROPOSALS, /* proposals of this epoch */
    SOTTO_RECORD_EXPORTER,  /* secrets for components */
};

struct sotto_store {
    void *ctx;
    /* Writes or replaces a record. */
    enum sotto_err (*put)(void *ctx, enum sotto_record kind, uint32_t index,
                          struct sotto_bytes value);
    /* Deletes a record; one that is not there is no error. */
    enum sotto_err (*del)(void *ctx, enum sotto_record kind, uint32_t index);
    /* Lends a record until the next call; SOTTO_ERR_NOTFOUND when absent. */
    enum sotto_err (*get)(void *ctx, enum sotto_record kind, uint32_t index,
                          struct sotto_bytes *out);
};

/* Writes what has changed since the last save or load. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_save(struct sotto_group *group, const struct sotto_store *store);
/* Reads a group. SOTTO_ERR_NOTFOUND: no epoch record. SOTTO_ERR_INVALID: of a
 * format version that this library does not know. SOTTO_ERR_MALFORMED: damaged.
 */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_load(struct sotto_mls *mls, const struct sotto_store *store,
                 struct sotto_group **out);

#ifdef __cplusplus
}
#endif
#endif
