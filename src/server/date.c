/* SPDX-License-Identifier: Apache-2.0 */
#include "server/date.h"

#include <stdio.h>
#include <time.h>

#define DAY_SECONDS 86400U
#define WEEK_DAYS   7U
#define DAYS_MAX    3000000U /* beyond the year 9999 */

void date_write(uint64_t days, char out[DATE_TEXT_MAX])
{
    struct tm tm;
    time_t at = (time_t)((days < DAYS_MAX ? days : 0) * DAY_SECONDS);
    if (days >= DAYS_MAX || gmtime_r(&at, &tm) == NULL ||
        strftime(out, DATE_TEXT_MAX, "%Y-%m-%d", &tm) == 0)
        (void)snprintf(out, DATE_TEXT_MAX, "day %llu",
                       (unsigned long long)days);
}

uint64_t date_of_week(uint64_t week)
{
    return week < DAYS_MAX ? week * WEEK_DAYS : week;
}
