/* SPDX-License-Identifier: Apache-2.0 */
/* The installed header: keys of a group for application components. */
#include "mls/group.h"

static enum err safe_export(struct sotto_group *g, uint16_t component,
                            struct buf *out)
{
    CLEANUP(secret_clear) struct secret secret = {0};
    TRY(buf_extend(out, g->epoch.suite->nh)); /* before anything is spent */
    TRY(exporter_take(g->mls->crypto, g->epoch.exporter, component, &secret));
    g->exporter_dirty = true;
    memcpy(out->data, secret_expose(&secret).data, out->len);
    return OK;
}

enum sotto_err sotto_group_safe_export(struct sotto_group *group,
                                       uint16_t component,
                                       struct sotto_buf *out)
{
    if (group == NULL || out == NULL)
        return SOTTO_ERR_USAGE;
    if (!group->active || group->epoch.exporter == NULL)
        return SOTTO_ERR_STATE;
    CLEANUP(buf_clear) struct buf secret = buf_new(SECRET_MAX);
    enum err err = safe_export(group, component, &secret);
    if (err == OK)
        buf_give(&secret, out);
    return err_out(err);
}

static bool bad_statement(const struct sotto_statement *s)
{
    return s == NULL || s->label == NULL || bad_view(s->content);
}

static struct statement statement_in(const struct sotto_statement *s)
{
    return (struct statement){s->component, bytes_str(s->label),
                              bytes_in(s->content)};
}

enum sotto_err sotto_group_safe_sign(struct sotto_group *group,
                                     const struct sotto_statement *statement,
                                     struct sotto_buf *out_signature)
{
    if (group == NULL || bad_statement(statement) || out_signature == NULL)
        return SOTTO_ERR_USAGE;
    if (!group->active)
        return SOTTO_ERR_STATE;
    const struct epoch *e = &group->epoch;
    CLEANUP(buf_clear) struct buf signature = buf_new(e->suite->sign_max);
    struct statement st = statement_in(statement);
    enum err err = statement_sign(group->mls->crypto, e->suite,
                                  &e->signature_key, &st, &signature);
    if (err == OK)
        buf_give(&signature, out_signature);
    return err_out(err);
}

enum sotto_err sotto_safe_verify(struct sotto_mls *mls, uint16_t suite,
                                 struct sotto_bytes signature_key,
                                 const struct sotto_statement *statement,
                                 struct sotto_bytes signature)
{
    if (mls == NULL || bad_view(signature_key) || bad_statement(statement) ||
        bad_view(signature))
        return SOTTO_ERR_USAGE;
    const struct suite *s = suite_find(suite);
    if (s == NULL)
        return SOTTO_ERR_NOTFOUND;
    struct statement st = statement_in(statement);
    return err_out(statement_verify(mls->crypto, s, bytes_in(signature_key),
                                    &st, bytes_in(signature)));
}
