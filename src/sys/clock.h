/* SPDX-License-Identifier: Apache-2.0 */
/* The two clocks. Only programs read them: what lies below takes the time as an
 * argument. */
#pragma once

#include <stdint.h>

/* Milliseconds that never jump, from an arbitrary start: for timers. */
uint64_t clock_mono_ms(void);

/* Milliseconds since 1970, UTC: for what is stored or shown. */
uint64_t clock_wall_ms(void);
