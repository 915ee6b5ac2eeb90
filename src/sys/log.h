/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines for the operator, on a descriptor (standard error at first):
 *
 *     log_warn("net: connection refused=limit count=%zu", count);
 *
 * Only programs log, once, where an error is handled. Never log secrets,
 * tokens, ids of channels or whole messages.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>

enum log_level {
    LOG_LEVEL_ERROR, /* someone must act */
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO, /* a state changed */
    LOG_LEVEL_DEBUG,
};

/* Sets where lines go and which; call it once, before threads start. */
void log_open(int fd, enum log_level level);

/* Reads "error", "warn", "info" or "debug". */
MUST_USE enum err log_level_parse(const char *text, enum log_level *out_level);

void log_line(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
