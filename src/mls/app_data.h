/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data of application components in an app_data_dictionary extension, and its
 * change by AppDataUpdate proposals (draft-ietf-mls-extensions, "Attaching
 * Application Data to MLS Messages" and "Updating Application Data in the
 * GroupContext"). A dictionary is the data of such an extension.
 */
#pragma once

#include "mls/proposal.h"
#include "mls/public.h"

/* draft-ietf-mls-extensions, the registry of component types */
enum component_id {
    COMPONENT_APP_COMPONENTS = 0x0001, /* those required, or supported */
    COMPONENT_SAFE_AAD = 0x0002,       /* the same, that use a SafeAAD */
    COMPONENT_LAST_RESORT_KEY_PACKAGE = 0x0004,
};

struct component_data {
    uint16_t component_id;
    struct bytes data;
};
void component_data_read(struct reader *r, struct component_data *cd);
void component_data_write(struct writer *w, const struct component_data *cd);

/* Finds the data of a component in a checked dictionary. */
bool app_data_find(struct bytes dictionary, uint16_t component_id,
                   struct bytes *data);
/* The same in the dictionary of a list of extensions. */
bool app_data_find_in(struct bytes extensions, uint16_t component_id,
                      struct bytes *data);

/* Checks the dictionary of a list of extensions, if it has one: ascending ids,
 * each once (ERR_INVALID), and the lists of components that we know. */
MUST_USE enum err app_data_check(struct bytes extensions);
/* Whether a GroupContextExtensions proposal may follow `before`: where all
 * members have to support AppDataUpdate, it leaves the dictionary as it was. */
bool app_data_left_alone(struct bytes before, struct bytes proposed);
/* Whether the owner of a leaf supports the components that a group requires. */
bool app_data_supported(struct bytes leaf_extensions,
                        struct bytes group_extensions);

/* An AppDataUpdate, and its place among those of a commit. */
struct app_data_step {
    const struct app_data_update *update;
    size_t place;
};
/* Applies those of a commit, whose order it changes, to the extensions of a
 * GroupContext; `out` gets the new list. ERR_INVALID: the list of proposals is
 * not valid. ERR_NOMEM, ERR_IO: the logic of a component did not answer. */
MUST_USE enum err app_data_apply(const struct sotto_mls *mls,
                                 struct app_data_step *steps, size_t count,
                                 struct bytes extensions, struct buf *out);
