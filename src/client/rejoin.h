/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coming back. A device that cannot go on with a log (a commit that it alone
 * cannot apply, a gap, an old copy of its store) sends nothing more and asks
 * some devices of the other members, by their inboxes and at most once a day,
 * to add it again. Whoever reads that first removes the old leaf and adds the
 * new one in one commit; the others see it in the log. When nobody has answered
 * on 30 days, the conversation is over.
 *
 * And going for good: nothing of the conversation will be sent any more.
 */
#pragma once

#include "client/state.h"

#include "proto/inbox.h"

/* In a step of its own, or (mark) within that of an entry. */
MUST_USE enum err rejoin_begin(struct client *c, struct conv *cv,
                               enum client_event_kind why, const char *detail);
MUST_USE enum err rejoin_mark(struct client *c, struct conv *cv,
                              enum client_event_kind why, const char *detail);
/* Sends the requests that are due. */
MUST_USE enum err rejoin_pump(struct client *c, struct conv *cv);
/* Who is removed cannot tell whether that commit counts, since it has no part
 * in the new epoch (RFC 9420, section 12.4.2). If not, the others open its
 * subscription again: so it looks some times whether they have, and then asks
 * to be added again. Begins that, within the step that removes it; and looks.
 */
void rejoin_watch(struct client *c, struct conv *cv);
MUST_USE enum err rejoin_look(struct client *c, struct conv *cv, bool open);
/* Somebody asks; within the step that takes the inbox item. */
MUST_USE enum err rejoin_receive(struct client *c,
                                 const struct inbox_rejoin *q);

/* Within a step that saves `cv`: this device is not in it any more. What is not
 * in the log will never be, and its person is told. */
MUST_USE enum err conv_over(struct client *c, struct conv *cv);
