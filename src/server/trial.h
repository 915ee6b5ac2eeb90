/* SPDX-License-Identifier: Apache-2.0 */
/* Tries in each sandbox what is forbidden there: `sottod self-test`. */
#pragma once

#include "base/problem.h"

/* Prints a line for each call. ERR_STATE: something was not refused, or what
 * the server needs was. */
MUST_USE enum err trial_run(struct problem *p);
