/* SPDX-License-Identifier: Apache-2.0 */
#include "base/problem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum err problem_set(struct problem *p, enum err err, enum problem_kind kind,
                     const char *format, ...)
{
    if (p == NULL)
        return err;
    *p = (struct problem){.kind = kind};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p->detail, sizeof p->detail, format, args);
    va_end(args);
    return err;
}

static enum problem_kind kind_of(int sys)
{
    return sys == ENOSPC || sys == EDQUOT ? PROBLEM_FULL : PROBLEM_SYSTEM;
}

enum err problem_system(struct problem *p, const char *format, ...)
{
    int sys = errno;
    if (p == NULL)
        return ERR_IO;
    *p = (struct problem){.kind = kind_of(sys), .sys = sys};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p->detail, sizeof p->detail, format, args);
    va_end(args);
    size_t used = strlen(p->detail);
    const char *text = strerrordesc_np(sys);
    (void)snprintf(p->detail + used, sizeof p->detail - used, ": %s",
                   text != NULL ? text : "unknown error");
    errno = sys;
    return ERR_IO;
}
