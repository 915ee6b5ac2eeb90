/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

/* Reads one code point; the text is valid UTF-8, as jansson's strings are. */
static uint32_t code_point(const unsigned char *s, size_t *out_size)
{
    static const uint8_t masks[] = {0x7f, 0x1f, 0x0f, 0x07};
    size_t size = 1;
    if (s[0] >= 0xc0)
        size = s[0] < 0xe0 ? 2 : 3 + (s[0] >= 0xf0);
    uint32_t v = s[0] & masks[size - 1];
    for (size_t i = 1; i < size && s[i] != 0; i++)
        v = v << 6 | (s[i] & 0x3f);
    *out_size = size;
    return v;
}

static int is_control(uint32_t v)
{
    return v < 0x20 || (v >= 0x7f && v < 0xa0) || v == 0x200e || v == 0x200f ||
           v == 0x061c || (v >= 0x2028 && v <= 0x202e) ||
           (v >= 0x2066 && v <= 0x2069) || v == 0xfeff;
}

void show_text(FILE *to, const char *text, int lines)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t left = strlen(text);
    while (left > 0) {
        size_t size = 0;
        uint32_t v = code_point(s, &size);
        if (size > left)
            size = left;
        if (v == '\n' && lines)
            (void)fputs("\n    ", to);
        else if (is_control(v))
            (void)fprintf(to, "\\u{%x}", (unsigned)v);
        else
            (void)fwrite(s, 1, size, to);
        s += size;
        left -= size;
    }
}

static const char *text_of(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));
    return s != NULL ? s : "";
}

static void show_time(FILE *to, const json_t *message)
{
    json_int_t ms = json_integer_value(json_object_get(message, "time"));
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[32] = "";
    if (localtime_r(&seconds, &tm) != NULL)
        (void)strftime(text, sizeof text, "%Y-%m-%d %H:%M", &tm);
    (void)fprintf(to, "[%s] ", text);
}

void show_message(FILE *to, const json_t *message, const char *where)
{
    const char *sender = text_of(message, "sender");
    show_time(to, message);
    if (where[0] != '\0') {
        (void)fputs("(", to);
        show_text(to, where, 0);
        (void)fputs(") ", to);
    }
    if (strcmp(text_of(message, "kind"), "notice") == 0) {
        const char *const parts[] = {sender, text_of(message, "text")};
        (void)fprintf(to, "* %s", text_of(message, "event"));
        for (size_t i = 0; i < 2; i++) {
            if (parts[i][0] != '\0')
                (void)fputs(": ", to);
            show_text(to, parts[i], 0);
        }
    } else {
        if (sender[0] != '\0')
            show_text(to, sender, 0);
        else
            (void)fprintf(to, "%.12s", text_of(message, "account"));
        (void)fputs(": ", to);
        show_text(to, text_of(message, "text"), 1);
        if (json_is_true(json_object_get(message, "failed")))
            (void)fputs(" (not sent)", to);
        else if (json_integer_value(json_object_get(message, "seq")) == 0)
            (void)fputs(" (queued)", to);
    }
    (void)fputs("\n", to);
}

void show_json(FILE *to, const json_t *j)
{
    (void)json_dumpf(j, to, JSON_COMPACT | JSON_ENSURE_ASCII);
    (void)fputs("\n", to);
}
