/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder that is made beside its place under another name, PLACE.new-PID, to
 * be put there when it is whole. Until then it has a mark in it, a file that
 * its process holds locked: so what a process left that was killed is known
 * from what another is at work on, and from what was never a draft, and the
 * next draft for the same place removes it.
 */
#pragma once

#include "sys/files.h"

#define DRAFT_MARK "unfinished"

struct draft {
    char place[FILE_PATH_MAX]; /* without slashes at its end */
    char path[FILE_PATH_MAX];  /* empty: none, or it came to its place */
    struct file_lock mark;
};

/* Makes an empty one, with its mark. */
MUST_USE enum err draft_make(const char *place, struct draft *out,
                             struct problem *p);

/* Takes the mark off, on the disk: from now on nobody else removes it. */
MUST_USE enum err draft_whole(struct draft *d, struct problem *p);

/* Removes it with all that is in it, if there is one. */
void draft_clear(struct draft *d);

/* Says whether a folder is one that is not whole. */
bool draft_is(const char *folder);
