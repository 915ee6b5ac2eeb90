/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message content: draft-ietf-mimi-content (CBOR). A message is a tree of
 * parts, given here as a list in the draft's order of part indexes, each with
 * its depth. All fields borrow from the encoding; libcbor reads it, item by
 * item, without building a tree of its own.
 */
#pragma once

#include "base/random.h"
#include "base/wire.h"
#include "crypto/crypto.h"

#define CONTENT_SALT_SIZE 16U
#define CONTENT_REF_SIZE  32U /* a MIMI message id */
#define CONTENT_MAX       (512U << 10)
#define CONTENT_PARTS_MAX 64U
#define CONTENT_DEPTH_MAX 8U

enum disposition {
    DISPOSITION_UNSPECIFIED,
    DISPOSITION_RENDER,
    DISPOSITION_REACTION,
    DISPOSITION_PROFILE,
    DISPOSITION_INLINE,
    DISPOSITION_ICON,
    DISPOSITION_ATTACHMENT,
    DISPOSITION_SESSION,
    DISPOSITION_PREVIEW,
};

enum cardinality {
    PART_NULL, /* of a delete */
    PART_SINGLE,
    PART_EXTERNAL,
    PART_MULTI, /* its parts follow, one level deeper */
};

enum part_semantics {
    CHOOSE_ONE,
    SINGLE_UNIT,
    PROCESS_ALL
};

/* Content elsewhere, encrypted. */
struct external_part {
    struct bytes url;
    uint32_t expires;
    uint64_t size;
    uint16_t enc_alg;
    struct bytes key;
    struct bytes nonce;
    struct bytes aad;
    uint8_t hash_alg;
    struct bytes content_hash;
    struct bytes description;
    struct bytes filename;
};

struct part {
    uint8_t depth;
    uint8_t disposition; /* any: unknown ones are not errors */
    uint8_t cardinality; /* enum cardinality */
    struct bytes language;
    struct bytes content_type;     /* single and external */
    struct bytes content;          /* single */
    struct external_part external; /* external */
    uint8_t semantics;             /* multi: enum part_semantics */
    size_t children;               /* multi: how many, at least 2 */
};

struct content {
    struct bytes salt;     /* [16] */
    struct bytes replaces; /* [32]: edits or deletes that message; or empty */
    struct bytes topic;
    bool expires;
    bool expires_relative;    /* to the time of the message */
    uint32_t expires_time;    /* seconds */
    struct bytes in_reply_to; /* [32] or empty */
    struct bytes sender_uri;  /* known extensions; empty: absent */
    struct bytes room_uri;
    struct part parts[CONTENT_PARTS_MAX];
    size_t part_count;
};

/* ERR_LIMIT: more or deeper parts than we take. */
MUST_USE enum err content_read(struct bytes cbor, struct content *out);

/* Appends the deterministic encoding; unknown extensions that were read are not
 * kept. ERR_INVALID: the parts are no tree. */
MUST_USE enum err content_write(struct buf *out, const struct content *c);

/* A message of one part: text/plain, or text/markdown;variant=GFM-MIMI. The
 * salt is lent by the caller, and random. */
void content_text(struct content *out, struct bytes salt, struct bytes text);
void content_markdown(struct content *out, struct bytes salt,
                      struct bytes text);
/* What a plain client shows: the first part to render that is text, plain or
 * markdown. Empty: there is none. */
struct bytes content_show(const struct content *c);

/* The id that other messages name this one by: 0x01 || the first 31 bytes of
 * SHA-256(sender_uri || room_uri || encoding || salt), each URI after its
 * length as uint16. */
MUST_USE enum err content_message_id(struct crypto *c, struct bytes sender_uri,
                                     struct bytes room_uri, struct bytes cbor,
                                     uint8_t out[CONTENT_REF_SIZE]);
