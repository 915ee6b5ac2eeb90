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
    [POINT_REFUSED] = "liar: request refused",
    [POINT_SWALLOWED] = "liar: entry accepted and thrown away",
    [POINT_DOUBLED] = "liar: message put there twice",
    [POINT_TAKEN_ELSEWHERE] = "liar: entry taken, with a false number",
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

/* The transactions of the server's store, and of the client. Those that few
 * worlds come to have a bigger share of the worlds. */
static const struct {
    bool server;
    unsigned share;
    enum theme theme;
    const char *name;
} transactions[] = {
    {true, 1, THEME_PLAIN, "accounts"},
    {true, 1, THEME_PLAIN, "inboxes"},
    {true, 1, THEME_PLAIN, "channels"},
    {true, 1, THEME_PLAIN, "blobs"},
    {true, 1, THEME_PLAIN, "migrate"},
    {false, 1, THEME_PLAIN, "migrate"},
    {false, 1, THEME_ENROL, "make account"},
    {false, 1, THEME_ENROL, "registered"},
    {false, 1, THEME_PLAIN, "inbox item"},
    {false, 1, THEME_PLAIN, "apply entry"},
    {false, 1, THEME_ENROL, "pin server"},
    {false, 1, THEME_ENROL, "register"},
    {false, 1, THEME_PLAIN, "begin conversation"},
    {false, 1, THEME_PLAIN, "create group"},
    {false, 1, THEME_PLAIN, "add member"},
    {false, 4, THEME_RETURN, "remove member"},
    {false, 3, THEME_RETURN, "leave"},
    {false, 1, THEME_PLAIN, "accept"},
    {false, 1, THEME_PLAIN, "queue message"},
    {false, 1, THEME_PLAIN, "mark read"},
    {false, 1, THEME_PLAIN, "blob piece stored"},
    {false, 4, THEME_LIAR, "drop commit"},
    {false, 1, THEME_PLAIN, "build commit"},
    {false, 1, THEME_PLAIN, "intent failed"},
    {false, 1, THEME_PLAIN, "intent later"},
    {false, 1, THEME_PLAIN, "looked up"},
    {false, 1, THEME_PLAIN, "learn chain"},
    {false, 1, THEME_CONTACT, "forget capability"},
    {false, 1, THEME_PLAIN, "key packages taken"},
    {false, 1, THEME_PLAIN, "verify handle"},
    {false, 10, THEME_LIAR, "drop joining"},
    {false, 6, THEME_LIAR, "joining later"},
    {false, 1, THEME_PLAIN, "join"},
    {false, 1, THEME_PLAIN, "blob piece fetched"},
    {false, 1, THEME_PLAIN, "mail answered"},
    {false, 1, THEME_PLAIN, "encrypt message"},
    {false, 2, THEME_SLOW, "message accepted"},
    {false, 3, THEME_LIAR, "message refused"},
    {false, 4, THEME_LIAR, "message not accepted"},
    {false, 3, THEME_LIAR, "message is not in the log"},
    {false, 1, THEME_PLAIN, "make key packages"},
    {false, 1, THEME_PLAIN, "key packages published"},
    {false, 1, THEME_PLAIN, "key packages looked at"},
    {false, 5, THEME_OLD_DEVICE, "begin rejoin"},
    {false, 5, THEME_OLD_DEVICE, "ask to rejoin"},
    {false, 2, THEME_AWAY, "tell a silent leaf"},
    {false, 1, THEME_PLAIN, "channel created"},
    {false, 1, THEME_OLD_SERVER, "server restored"},
    {false, 1, THEME_PLAIN, "acknowledged"},
    {false, 4, THEME_INSIDER, "reopened"},
    {false, 4, THEME_RETURN, "removal looked at"},
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

size_t transaction_of_seed(uint64_t seed)
{
    uint64_t shares = 0;
    for (size_t i = 0; i < TRANSACTIONS; i++)
        shares += transactions[i].share;
    uint64_t pick = seed % shares;
    size_t i = 0;
    for (; pick >= transactions[i].share; i++)
        pick -= transactions[i].share;
    return i;
}

size_t point_transaction(size_t point) { return (point - POINT_CRASHES) / 2; }

size_t point_count(void) { return POINT_CRASHES + 2 * TRANSACTIONS; }
