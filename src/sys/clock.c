/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/clock.h"

#include <time.h>

static uint64_t read_ms(clockid_t clock)
{
    struct timespec t = {0};
    (void)clock_gettime(clock, &t); /* these two clocks always exist */
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t clock_mono_ms(void) { return read_ms(CLOCK_MONOTONIC); }

uint64_t clock_wall_ms(void) { return read_ms(CLOCK_REALTIME); }
