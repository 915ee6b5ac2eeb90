/* SPDX-License-Identifier: Apache-2.0 */
#include "client/profile.h"

#include "client/outbox.h"

enum err profile_share(struct client *c, struct conv *cv)
{
    const struct profile *p = &c->profile;
    TRY(outbox_add(c, cv, ENVELOPE_HANDLE, bytes_str(p->handle), 0));
    TRY(outbox_add(c, cv, ENVELOPE_CONTACT, ID_BYTES(p->contact_cap), 0));
    cv->profile_sent = true;
    return OK;
}
