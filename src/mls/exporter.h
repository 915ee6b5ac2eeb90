/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Exporter Tree of an epoch (draft-ietf-mls-extensions, "Exported
 * Secrets"): a secret for each component, given once. It has the shape of a
 * secret tree with 2^16 leaves, of which only those nodes are kept that still
 * have something to derive below them.
 */
#pragma once

#include "mls/label.h"

#define EXPORTER_LEAVES 65536U /* one for each ComponentID */

struct exporter;

/* Makes the tree of an application_export_secret, which the caller wipes. */
MUST_USE enum err exporter_create(const struct suite *s,
                                  const struct secret *root,
                                  struct exporter **out);
void exporter_free(struct exporter **x);

/* Gives the secret of a component and deletes all that it can be derived from:
 * store the tree before the secret is used. ERR_NOTFOUND: it was given. */
MUST_USE enum err exporter_take(struct crypto *c, struct exporter *x,
                                uint16_t component_id, struct secret *out);

/* Stored form. */
void exporter_write(struct writer *w, const struct exporter *x);
MUST_USE enum err exporter_read(const struct suite *s, struct bytes record,
                                struct exporter **out);
