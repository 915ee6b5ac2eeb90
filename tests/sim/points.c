/* SPDX-License-Identifier: Apache-2.0 */
#include "points.h"

#include <stdio.h>
#include <string.h>

static const char *const names[POINT_CRASHES] = {
    [POINT_BEHIND] = "answer: behind",
    [POINT_RETRY] = "request made again",
    [POINT_RACE] = "commit lost a race",
    [POINT_REJOIN] = "rejoin asked for",
    [POINT_DUPLICATE] = "second copy dropped",
    [POINT_CUT] = "connection cut",
    [POINT_DEVICE_CRASH] = "device crashed",
    [POINT_SERVER_CRASH] = "server crashed",
    [POINT_RESTORED] = "old copy of a device's store",
    [POINT_DISK_FULL] = "server's disk full, or free again",
    [POINT_BROKEN_FOR_ALL] = "insider: commit broken for everyone",
    [POINT_BROKEN_SUBTREE] = "insider: commit broken for a subtree",
    [POINT_BROKEN_TWICE] = "insider: the same, with false lists",
    [POINT_BROKEN_REMOVAL] = "insider: removal broken for the rest",
    [POINT_FALSE_ENDS] = "insider: false end of a subscription",
    [POINT_FALSE_ADDS] = "insider: false new subscription",
    [POINT_SHORT_LISTS] = "insider: removal that is not listed",
    [POINT_GHOST] = "insider: leaf that no account lists",
    [POINT_REFERENCE] = "insider: proposal by reference",
    [POINT_PROPOSAL] = "insider: proposal outside a commit",
    [POINT_EXTENSIONS] = "insider: conversation made another",
    [POINT_PSK] = "insider: commit with a PSK of its own",
    [POINT_NEW_KEY] = "insider: path with another key",
    [POINT_FALSE_STATES] = "insider: false account states",
    [POINT_GARBAGE] = "insider: garbage",
    [POINT_FORM] = "insider: message without a form",
    [POINT_POSITION] = "insider: message with a false position",
    [POINT_REPLAY] = "insider: old entry again",
    [POINT_VANISHED] = "insider: attacked, and left the rest to the others",
    [POINT_NOT_LET_IN] = "insider: refused by the server",
};

/* The transactions of the server's store, and of the client. A seldom one is
 * shown, but not asked for: it needs a fault that few worlds have. */
static const struct {
    bool server;
    bool seldom;
    const char *name;
} transactions[] = {
    {true, false, "accounts"},
    {true, false, "inboxes"},
    {true, false, "channels"},
    {true, false, "blobs"},
    {true, true, "migrate"},
    {false, true, "migrate"},
    {false, false, "make account"},
    {false, false, "registered"},
    {false, false, "inbox item"},
    {false, false, "apply entry"},
    {false, false, "pin server"},
    {false, false, "register"},
    {false, false, "begin conversation"},
    {false, false, "create group"},
    {false, false, "add member"},
    {false, false, "remove member"},
    {false, false, "leave"},
    {false, false, "accept"},
    {false, false, "queue message"},
    {false, false, "mark read"},
    {false, false, "blob piece stored"},
    {false, false, "drop commit"},
    {false, false, "intents failed"},
    {false, false, "build commit"},
    {false, false, "intent failed"},
    {false, false, "intent later"},
    {false, false, "looked up"},
    {false, false, "learn chain"},
    {false, false, "forget capability"},
    {false, false, "key packages taken"},
    {false, false, "verify handle"},
    {false, false, "drop joining"},
    {false, false, "joining later"},
    {false, false, "join"},
    {false, false, "blob piece fetched"},
    {false, false, "mail answered"},
    {false, false, "encrypt message"},
    {false, false, "message accepted"},
    {false, false, "message refused"},
    {false, true, "message is not in the log"},
    {false, true, "message not accepted"},
    {false, false, "make key packages"},
    {false, false, "key packages published"},
    {false, false, "key packages looked at"},
    {false, false, "begin rejoin"},
    {false, false, "ask to rejoin"},
    {false, true, "tell a silent leaf"},
    {false, false, "channel created"},
    {false, false, "server restored"},
    {false, false, "acknowledged"},
    {false, false, "reopened"},
    {false, false, "removal looked at"},
};
#define TRANSACTIONS (sizeof(transactions) / sizeof(transactions[0]))

size_t point_of_crash(bool server, const char *transaction, enum sql_point side)
{
    for (size_t i = 0; i < TRANSACTIONS; i++) {
        if (transactions[i].server == server &&
            strcmp(transactions[i].name, transaction) == 0)
            return POINT_CRASHES + 2 * i + (side == SQL_AFTER_COMMIT);
    }
    return POINTS_MAX;
}

const char *point_name(size_t point, char out[64])
{
    if (point < POINT_CRASHES)
        return names[point];
    size_t i = (point - POINT_CRASHES) / 2;
    if (i >= TRANSACTIONS)
        return NULL;
    (void)snprintf(out, 64, "%s crash %s commit: %s",
                   transactions[i].server ? "server" : "device",
                   (point - POINT_CRASHES) % 2 == 0 ? "before" : "after",
                   transactions[i].name);
    return out;
}

bool point_is_seldom(size_t point)
{
    return point >= POINT_CRASHES &&
           transactions[(point - POINT_CRASHES) / 2].seldom;
}

size_t point_count(void) { return POINT_CRASHES + 2 * TRANSACTIONS; }
