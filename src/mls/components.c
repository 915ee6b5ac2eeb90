/* SPDX-License-Identifier: Apache-2.0 */
/* The installed header: keys of a group for application components. */
#include "mls/group.h"

static enum sotto_err err_out(enum err err) { return (enum sotto_err)err; }

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
