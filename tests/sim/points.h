/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a batch of runs has to meet often enough, or the runs prove nothing: a
 * row each in points.c. Crash points are known by the name of the transaction
 * and the side of its commit.
 */
#pragma once

#include "sql/sql.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a world is about: a life that leads to one thing more often than usual,
 * or a fault that only such worlds have. In the first ones, members may attack
 * as well. */
enum theme {
    THEME_PLAIN,
    THEME_ENROL,   /* registration with an invite; some are refused */
    THEME_SLOW,    /* connections whose queue is full */
    THEME_CONTACT, /* capabilities that people know become void */
    THEME_RETURN,  /* members are removed and added again */
    THEME_INSIDER, /* a member attacks */
    THEMES_WITH_INSIDERS,
    THEME_NARROW = THEMES_WITH_INSIDERS, /* the server has room for little */
    THEME_OLD_DEVICE, /* old copies of devices' stores are put back */
    THEME_OLD_SERVER, /* an old copy of the server's disk is put back */
    THEME_AWAY,       /* a device is away for longer than anything is kept */
    THEME_LIAR,       /* the server refuses and says what is not so */
    THEMES
};

enum point {
    POINT_BEHIND,
    POINT_RETRY,
    POINT_RACE,
    POINT_REJOIN,
    POINT_REJOINED,
    POINT_DUPLICATE,
    POINT_CUT,
    POINT_DEVICE_CRASH,
    POINT_SERVER_CRASH,
    POINT_OLD_DEVICE,
    POINT_OLD_SERVER,
    POINT_AWAY,
    POINT_SLOW,
    POINT_NOT_REGISTERED,
    POINT_VOID_CONTACT,
    POINT_DISK_FULL,
    POINT_REFUSED,
    POINT_SWALLOWED,
    POINT_TAKEN_ELSEWHERE,
    POINT_DOUBLED,
    POINT_INSIDERS, /* kinds of attack, by a member (insider.h) */
    POINT_BROKEN_FOR_ALL = POINT_INSIDERS,
    POINT_BROKEN_SUBTREE,
    POINT_BROKEN_TWICE,
    POINT_BROKEN_REMOVAL,
    POINT_FALSE_ENDS,
    POINT_FALSE_ADDS,
    POINT_SHORT_LISTS,
    POINT_GHOST,
    POINT_REFERENCE,
    POINT_PROPOSAL,
    POINT_EXTENSIONS,
    POINT_PSK,
    POINT_NEW_KEY,
    POINT_FALSE_STATES,
    POINT_GARBAGE,
    POINT_FORM,
    POINT_POSITION,
    POINT_REPLAY,
    POINT_NOT_LET_IN,
    POINT_INSIDERS_END,
    POINT_VANISHED = POINT_INSIDERS_END,
    POINT_CRASHES, /* the first crash point; two for each
                                           transaction */
};

#define POINTS_MAX 160U

/* Returns POINTS_MAX when the table has no such transaction. */
size_t point_of_crash(bool server, const char *transaction,
                      enum sql_point side);

/* Returns NULL past the last. */
const char *point_name(size_t point, char out[64]);

/* The transaction that the world of this seed is after, and what such a world
 * is about. */
size_t transaction_of_seed(uint64_t seed);
enum theme transaction_theme(size_t transaction);
/* The transaction of a crash point. */
size_t point_transaction(size_t point);
size_t point_count(void);
