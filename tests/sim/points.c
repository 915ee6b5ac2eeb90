/* SPDX-License-Identifier: Apache-2.0 */
#include "points.h"

#include <stdio.h>
#include <string.h>

static const char *const names[POINT_CRASHES] = {
    [POINT_BEHIND] = "answer: behind",
    [POINT_RETRY] = "request made again",
    [POINT_RACE] = "commit lost a race",
    [POINT_REJOIN] = "rejoin begun",
    [POINT_REJOINED] = "rejoined",
    [POINT_DUPLICATE] = "second copy dropped",
    [POINT_CUT] = "connection cut",
    [POINT_DEVICE_CRASH] = "device crashed",
    [POINT_SERVER_CRASH] = "server crashed",
    [POINT_OLD_DEVICE] = "old copy of a device's store",
    [POINT_OLD_SERVER] = "old copy of the server's disk",
    [POINT_AWAY] = "device away for more than 30 days",
    [POINT_SLOW] = "connection too slow for pushes",
    [POINT_NOT_REGISTERED] = "registration refused",
    [POINT_VOID_CONTACT] = "contact capability made void",
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

/* The transactions of the server's store, and of the client. */
static const struct {
    bool server;
    enum theme theme;
    const char *name;
} transactions[] = {
    {true, THEME_PLAIN, "accounts"},
    {true, THEME_PLAIN, "inboxes"},
    {true, THEME_PLAIN, "channels"},
    {true, THEME_PLAIN, "blobs"},
    {true, THEME_PLAIN, "migrate"},
    {false, THEME_PLAIN, "migrate"},
    {false, THEME_ENROL, "make account"},
    {false, THEME_ENROL, "registered"},
    {false, THEME_PLAIN, "inbox item"},
    {false, THEME_PLAIN, "apply entry"},
    {false, THEME_ENROL, "pin server"},
    {false, THEME_ENROL, "register"},
    {false, THEME_PLAIN, "begin conversation"},
    {false, THEME_PLAIN, "create group"},
    {false, THEME_PLAIN, "add member"},
    {false, THEME_RETURN, "remove member"},
    {false, THEME_PLAIN, "leave"},
    {false, THEME_PLAIN, "accept"},
    {false, THEME_PLAIN, "queue message"},
    {false, THEME_PLAIN, "mark read"},
    {false, THEME_PLAIN, "blob piece stored"},
    {false, THEME_NARROW, "drop commit"},
    {false, THEME_PLAIN, "build commit"},
    {false, THEME_PLAIN, "intent failed"},
    {false, THEME_PLAIN, "intent later"},
    {false, THEME_PLAIN, "looked up"},
    {false, THEME_PLAIN, "learn chain"},
    {false, THEME_CONTACT, "forget capability"},
    {false, THEME_PLAIN, "key packages taken"},
    {false, THEME_PLAIN, "verify handle"},
    {false, THEME_OLD_DEVICE, "drop joining"},
    {false, THEME_RETURN, "joining later"},
    {false, THEME_PLAIN, "join"},
    {false, THEME_PLAIN, "blob piece fetched"},
    {false, THEME_PLAIN, "mail answered"},
    {false, THEME_PLAIN, "encrypt message"},
    {false, THEME_SLOW, "message accepted"},
    {false, THEME_NARROW, "message refused"},
    {false, THEME_OLD_SERVER, "message not accepted"},
    {false, THEME_OLD_SERVER, "message is not in the log"},
    {false, THEME_PLAIN, "make key packages"},
    {false, THEME_PLAIN, "key packages published"},
    {false, THEME_PLAIN, "key packages looked at"},
    {false, THEME_OLD_DEVICE, "begin rejoin"},
    {false, THEME_OLD_DEVICE, "ask to rejoin"},
    {false, THEME_AWAY, "tell a silent leaf"},
    {false, THEME_PLAIN, "channel created"},
    {false, THEME_OLD_SERVER, "server restored"},
    {false, THEME_PLAIN, "acknowledged"},
    {false, THEME_INSIDER, "reopened"},
    {false, THEME_RETURN, "removal looked at"},
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

enum theme transaction_theme(size_t transaction)
{
    return transactions[transaction].theme;
}

size_t transaction_count(void) { return TRANSACTIONS; }

size_t point_transaction(size_t point) { return (point - POINT_CRASHES) / 2; }

size_t point_count(void) { return POINT_CRASHES + 2 * TRANSACTIONS; }
