/* SPDX-License-Identifier: Apache-2.0 */
/* Days and weeks since 1970, for people. */
#pragma once

#include <stdint.h>

#define DATE_TEXT_MAX 32U

/* Writes the day as 2026-11-24. */
void date_write(uint64_t days, char out[DATE_TEXT_MAX]);

/* The first day of a week. */
uint64_t date_of_week(uint64_t week);
