/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The framing structs of RFC 9420, section 6: FramedContent, PublicMessage,
 * PrivateMessage, MLSMessage. Codecs only; what is read borrows from its
 * input (see objects.h). Protection lies in framing.h.
 */
#pragma once

#include "mls/proposal.h"

enum wire_format {
    WIRE_PUBLIC_MESSAGE = 1,
    WIRE_PRIVATE_MESSAGE = 2,
    WIRE_WELCOME = 3,
    WIRE_GROUP_INFO = 4,
    WIRE_KEY_PACKAGE = 5,
};

enum content_type {
    CONTENT_APPLICATION = 1,
    CONTENT_PROPOSAL = 2,
    CONTENT_COMMIT = 3,
};

enum sender_type {
    SENDER_MEMBER = 1,
    SENDER_EXTERNAL = 2,
    SENDER_NEW_MEMBER_PROPOSAL = 3,
    SENDER_NEW_MEMBER_COMMIT = 4,
};

struct sender {
    enum sender_type type;
    uint32_t index; /* leaf of a member, or place in external_senders */
};
void sender_read(struct reader *r, struct sender *s);
void sender_write(struct writer *w, const struct sender *s);

struct framed_content {
    struct bytes group_id;
    uint64_t epoch;
    struct sender sender;
    struct bytes authenticated_data;
    enum content_type type;
    /* The body as bytes: application data; or the raw Proposal or Commit,
     * checked when it was read and parsed again by who needs it. */
    struct bytes body;
    struct bytes raw; /* set by the reader */
};
void framed_content_read(struct reader *r, struct framed_content *c);
void framed_content_write(struct writer *w, const struct framed_content *c);

/* FramedContentAuthData; the tag is for commits only */
struct content_auth {
    struct bytes signature;
    struct bytes confirmation_tag;
};
void content_auth_read(struct reader *r, enum content_type type,
                       struct content_auth *a);
void content_auth_write(struct writer *w, enum content_type type,
                        const struct content_auth *a);

struct authenticated_content {
    enum wire_format wire_format;
    struct framed_content content;
    struct content_auth auth;
};
void authenticated_content_read(struct reader *r,
                                struct authenticated_content *ac);
void authenticated_content_write(struct writer *w,
                                 const struct authenticated_content *ac);

struct public_message {
    struct framed_content content;
    struct content_auth auth;
    struct bytes membership_tag; /* of members only */
};
void public_message_read(struct reader *r, struct public_message *m);
void public_message_write(struct writer *w, const struct public_message *m);

struct private_message {
    struct bytes group_id;
    uint64_t epoch;
    enum content_type type;
    struct bytes authenticated_data;
    struct bytes encrypted_sender_data;
    struct bytes ciphertext;
};
void private_message_read(struct reader *r, struct private_message *m);
void private_message_write(struct writer *w, const struct private_message *m);

/* PrivateMessageContent, the plaintext; padding is zeros to its end. */
struct private_content {
    struct bytes body; /* as in framed_content */
    struct content_auth auth;
    size_t padding;
};
void private_content_read(struct reader *r, enum content_type type,
                          struct private_content *c);
void private_content_write(struct writer *w, enum content_type type,
                           const struct private_content *c);

#define REUSE_GUARD_SIZE 4U

struct sender_data {
    uint32_t leaf_index, generation;
    uint8_t reuse_guard[REUSE_GUARD_SIZE];
};
void sender_data_read(struct reader *r, struct sender_data *s);
void sender_data_write(struct writer *w, const struct sender_data *s);

struct mls_message {
    enum wire_format wire_format;
    union {
        struct public_message public_message;
        struct private_message private_message;
        struct welcome welcome;
        struct group_info group_info;
        struct key_package key_package;
    };
};
void mls_message_read(struct reader *r, struct mls_message *m);
void mls_message_write(struct writer *w, const struct mls_message *m);
/* Writes version and wire format, to be followed by the message itself. */
void mls_message_write_header(struct writer *w, enum wire_format wf);
