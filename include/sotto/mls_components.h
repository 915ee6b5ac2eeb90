/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data of application components (draft-ietf-mls-extensions), which share one
 * extension of the type SOTTO_EXTENSION_APP_DATA_DICTIONARY. In a GroupContext
 * all members agree on it; in a leaf or a KeyPackage it is what its owner says.
 * A component is named by a 16-bit number, from 0x8000 on for private use.
 *
 * Who uses the extension lists the components that it supports, as a vector of
 * numbers, in its leaf under SOTTO_COMPONENT_APP_COMPONENTS. What a group lists
 * there all members have to support; the same goes for
 * SOTTO_COMPONENT_SAFE_AAD. If a group has the latter, the caller frames each
 * `authenticated_data` as a SafeAAD, whose encoding is that of a dictionary.
 */
#ifndef SOTTO_MLS_COMPONENTS_H
#define SOTTO_MLS_COMPONENTS_H

#include <sotto/mls.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SOTTO_EXTENSION_APP_DATA_DICTIONARY 0x0006U
#define SOTTO_COMPONENT_APP_COMPONENTS      0x0001U
#define SOTTO_COMPONENT_SAFE_AAD            0x0002U

struct sotto_component_data {
    uint16_t component;
    struct sotto_bytes data;
};

/* Encodes a dictionary, the data of such an extension. SOTTO_ERR_INVALID unless
 * the components ascend, each once. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_app_data_encode(const struct sotto_component_data *items, size_t count,
                      struct sotto_buf *out);
/* Reads the i-th component in it; SOTTO_ERR_NOTFOUND past the last,
 * SOTTO_ERR_INVALID as above. The view is into `data`. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_app_data_at(struct sotto_bytes data, size_t i,
                  struct sotto_component_data *out);
/* Finds the data of a component in an encoded list of extensions, such as
 * sotto_group_extensions(); SOTTO_ERR_NOTFOUND: it has none. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_app_data_find(struct sotto_bytes extensions, uint16_t component,
                    struct sotto_bytes *out);

/* What a commit's AppDataUpdate proposals mean for the data of a component in
 * the GroupContext. */
struct sotto_component_change {
    uint16_t component;
    bool present;                      /* it has data */
    struct sotto_bytes data;           /* so far */
    bool removes;                      /* and no updates */
    const struct sotto_bytes *updates; /* in the order of the commit */
    size_t update_count;
};

/*
 * The application logic that turns updates into data. SOTTO_OK accepts; then
 * `out_data`, which stays valid until the next call or, of `change`, anyhow, is
 * the new data (ignored for a removal). SOTTO_ERR_NOMEM and SOTTO_ERR_IO end
 * the call, which may be tried again; any other answer, as for a component that
 * is not known, makes the commit invalid. Members of a group have to come to
 * the same answers, or the group splits; a commit that is only looked at or
 * tried asks too, so the logic keeps nothing. It must not call the library with
 * the context or its groups.
 */
struct sotto_component_logic {
    enum sotto_err (*apply)(void *ctx,
                            const struct sotto_component_change *change,
                            struct sotto_bytes *out_data);
    void *ctx;
};
/* Sets the logic; with {0}, as at first, no component is known and each
 * AppDataUpdate invalid. */
SOTTO_API void
sotto_mls_set_component_logic(struct sotto_mls *mls,
                              struct sotto_component_logic logic);
/* Ready logic: every component is known, and the last update is its data. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_component_replace(void *ctx, const struct sotto_component_change *change,
                        struct sotto_bytes *out_data);

/* ---- Secrets ----------------------------------------------------------- */

/* The secret of a component in this epoch, as long as the suite's hash, which
 * all members get alike: SafeExportSecret. It is given once, and what it was
 * derived from is deleted: save the group before it is used. Unlike those of
 * sotto_group_export(), it is not known to who gets hold of the state later.
 * SOTTO_ERR_NOTFOUND: it was given. SOTTO_ERR_STATE: the group is not active,
 * or comes from a store of a library without this, until the next epoch. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_safe_export(struct sotto_group *group, uint16_t component,
                        struct sotto_buf *out);

/* ---- Signatures -------------------------------------------------------- */

/* What a component says. Neither MLS nor another component says the same. */
struct sotto_statement {
    uint16_t component; /* that signs, itself */
    const char *label;  /* what for */
    struct sotto_bytes content;
};

/* Signs it with the signature key of one's own leaf: SafeSignWithLabel.
 * SOTTO_ERR_STATE: the group is not active. */
SOTTO_API SOTTO_MUST_USE enum sotto_err
sotto_group_safe_sign(struct sotto_group *group,
                      const struct sotto_statement *statement,
                      struct sotto_buf *out_signature);
/* Verifies it with the key of a leaf: SafeVerifyWithLabel. SOTTO_ERR_AUTH: the
 * owner of the key did not sign that. SOTTO_ERR_NOTFOUND: no such suite. */
SOTTO_API SOTTO_MUST_USE enum sotto_err sotto_safe_verify(
    struct sotto_mls *mls, uint16_t suite, struct sotto_bytes signature_key,
    const struct sotto_statement *statement, struct sotto_bytes signature);

#ifdef __cplusplus
}
#endif
#endif
