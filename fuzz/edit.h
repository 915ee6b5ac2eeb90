/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edits of valid bytes, for targets whose valid bytes are made anew in each
 * process: the input says what is changed, not what it becomes.
 */
#pragma once

#include "base/wire.h"

/* Makes up to EDITS_MAX edits of four bytes each: uint16 place, uint8 how,
 * uint8 value. An end of the program ends it; `b` grows by little. */
#define EDITS_MAX  16U
#define EDITS_GROW (EDITS_MAX * 256U)
void edit(struct reader *program, struct buf *b);
