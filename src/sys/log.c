/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024U

static const char *const names[] = {"error", "warn", "info", "debug"};

/* A program has one log. Written once at its start. */
static int log_fd = STDERR_FILENO;
static enum log_level log_limit = LOG_LEVEL_INFO;

void log_open(int fd, enum log_level level)
{
    log_fd = fd;
    log_limit = level;
}

enum err log_level_parse(const char *text, enum log_level *out_level)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out_level = (enum log_level)i;
            return OK;
        }
    }
    return ERR_INVALID;
}

/* A peer's text must not make lines of its own. */
static void blank_controls(char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    }
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level > log_limit)
        return;
    int sys = errno;
    char line[LINE_MAX_BYTES];
    int head = snprintf(line, sizeof line, "%s ", names[level]);
    size_t used = head > 0 ? (size_t)head : 0;
    va_list args;
    va_start(args, format);
    int body = vsnprintf(line + used, sizeof line - used, format, args);
    va_end(args);
    used += body > 0 ? (size_t)body : 0;
    if (used > sizeof line - 2)
        used = sizeof line - 2; /* cut; room for the newline */
    blank_controls(line, used);
    line[used++] = '\n';
    ssize_t written = write(log_fd, line, used);
    (void)written; /* there is nowhere to say that the log is gone */
    errno = sys;
}
