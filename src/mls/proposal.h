/* SPDX-License-Identifier: Apache-2.0 */
/* Proposals and commits (RFC 9420, section 12). Codecs only; see objects.h. */
#pragma once

#include "mls/objects.h"

/* RFC 9420, section 8.4 */
enum psk_type {
    PSK_EXTERNAL = 1,
    PSK_RESUMPTION = 2
};
enum psk_usage {
    PSK_APPLICATION = 1,
    PSK_REINIT = 2,
    PSK_BRANCH = 3
};

struct psk_id {
    enum psk_type type;
    struct bytes id;      /* external */
    enum psk_usage usage; /* resumption, with the two below */
    struct bytes group_id;
    uint64_t epoch;
    struct bytes nonce;
};
void psk_id_read(struct reader *r, struct psk_id *id);
void psk_id_write(struct writer *w, const struct psk_id *id);

enum proposal_type {
    PROPOSAL_ADD = 1,
    PROPOSAL_UPDATE = 2,
    PROPOSAL_REMOVE = 3,
    PROPOSAL_PSK = 4,
    PROPOSAL_REINIT = 5,
    PROPOSAL_EXTERNAL_INIT = 6,
    PROPOSAL_GROUP_CONTEXT_EXTENSIONS = 7,
    /* draft-ietf-mls-extensions */
    PROPOSAL_APP_DATA_UPDATE = 8,
    PROPOSAL_APP_EPHEMERAL = 9,
    PROPOSAL_SELF_REMOVE = 10,
};

struct reinit {
    struct bytes group_id;
    uint16_t version, cipher_suite;
    struct bytes extensions;
};

struct app_ephemeral {
    uint16_t component_id;
    struct bytes data;
};

enum app_data_op {
    APP_DATA_UPDATE = 1,
    APP_DATA_REMOVE = 2
};

struct app_data_update {
    uint16_t component_id;
    enum app_data_op op;
    struct bytes update; /* APP_DATA_UPDATE only */
};

/* RFC 9420, section 12.1 */
struct proposal {
    uint16_t type;
    union {
        struct key_package add;
        struct leaf_node update;
        uint32_t remove; /* leaf index */
        struct psk_id psk;
        struct reinit reinit;
        struct bytes kem_output; /* external_init */
        struct bytes extensions; /* group_context_extensions */
        struct app_data_update app_data_update;
        struct app_ephemeral app_ephemeral;
        struct bytes other; /* of any other type: its one vector */
    };
    struct bytes raw;
};
void proposal_read(struct reader *r, struct proposal *p);
void proposal_write(struct writer *w, const struct proposal *p);

/* RFC 9420, section 12.4 */
struct proposal_or_ref {
    bool by_reference;
    union {
        struct proposal proposal;
        struct bytes reference;
    };
};
void proposal_or_ref_read(struct reader *r, struct proposal_or_ref *p);
void proposal_or_ref_write(struct writer *w, const struct proposal_or_ref *p);

/* RFC 9420, section 12.4 */
struct commit {
    struct bytes proposals; /* list of ProposalOrRef */
    bool has_path;
    struct update_path path;
    struct bytes raw;
};
void commit_read(struct reader *r, struct commit *c);
void commit_write(struct writer *w, const struct commit *c);
