/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/http.h"

#include "base/wire.h"

#include <string.h>

static const char *const names[] = {
    [HTTP_HOST] = "host",
    [HTTP_UPGRADE] = "upgrade",
    [HTTP_CONNECTION] = "connection",
    [HTTP_WEBSOCKET_KEY] = "sec-websocket-key",
    [HTTP_WEBSOCKET_VERSION] = "sec-websocket-version",
    [HTTP_WEBSOCKET_PROTOCOL] = "sec-websocket-protocol",
    [HTTP_CONTENT_LENGTH] = "content-length",
    [HTTP_CONTENT_RANGE] = "content-range",
    [HTTP_TRANSFER_ENCODING] = "transfer-encoding",
    [HTTP_EXPECT] = "expect",
    [HTTP_RANGE] = "range",
    [HTTP_IF_RANGE] = "if-range",
    [HTTP_IF_NONE_MATCH] = "if-none-match",
    [HTTP_AUTHORIZATION] = "authorization",
    [HTTP_BLOB_DAYS] = "blob-days",
    [HTTP_FORWARDED_FOR] = "x-forwarded-for",
};

/* ---- Words ---- */

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* RFC 9110, section 5.6.2 */
static bool is_token(uint8_t c)
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_visible(uint8_t c) { return c > ' ' && c < 0x7f; }

/* RFC 9110, section 5.5; no control characters. */
static bool is_value(uint8_t c) { return c == '\t' || (c >= ' ' && c != 0x7f); }

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t'; }

static bool all(struct bytes b, bool (*is)(uint8_t c))
{
    for (size_t i = 0; i < b.len; i++)
        if (!is(b.data[i]))
            return false;
    return true;
}

static struct bytes trim(struct bytes b)
{
    while (b.len > 0 && is_blank(b.data[b.len - 1]))
        b.len--;
    while (b.len > 0 && is_blank(b.data[0]))
        b = (struct bytes){b.data + 1, b.len - 1};
    return b;
}

/* Takes what lies before the first `mark` and drops the mark. Without one,
 * takes everything and fails a later look for a mark: `rest` has no data. */
static struct bytes split(struct bytes *rest, char mark)
{
    const uint8_t *at =
        rest->len > 0 ? memchr(rest->data, mark, rest->len) : NULL;
    struct bytes before = *rest;
    if (at == NULL) {
        *rest = (struct bytes){0};
        return before;
    }
    before.len = (size_t)(at - rest->data);
    *rest = (struct bytes){at + 1, rest->len - before.len - 1};
    return before;
}

bool http_equal(struct bytes value, const char *want)
{
    size_t len = strlen(want);
    if (value.len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (lower(value.data[i]) != lower((uint8_t)want[i]))
            return false;
    return true;
}

bool http_lists(struct bytes value, const char *word)
{
    while (value.data != NULL)
        if (http_equal(trim(split(&value, ',')), word))
            return true;
    return false;
}

struct bytes http_last(struct bytes value)
{
    struct bytes last = {0};
    while (value.data != NULL)
        last = trim(split(&value, ','));
    return last;
}

enum err http_number(struct bytes value, uint64_t *out)
{
    uint64_t n = 0;
    if (value.len == 0)
        return ERR_MALFORMED;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if (!is_digit(c) || __builtin_mul_overflow(n, 10U, &n) ||
            __builtin_add_overflow(n, (uint64_t)(c - '0'), &n))
            return ERR_MALFORMED;
    }
    *out = n;
    return OK;
}

/* ---- The head ---- */

size_t http_head_len(struct bytes input)
{
    static const char end[] = "\r\n\r\n";
    const uint8_t *at = input.len > 0
                            ? memmem(input.data, input.len, end, sizeof end - 1)
                            : NULL;
    return at != NULL ? (size_t)(at - input.data) + sizeof end - 1 : 0;
}

/* A line ends with CR LF; a bare CR or LF is in no part of it. */
static enum err take_line(struct bytes *rest, struct bytes *out)
{
    struct bytes line = split(rest, '\n');
    if (rest->data == NULL || line.len == 0 || line.data[line.len - 1] != '\r')
        return ERR_MALFORMED;
    line.len--;
    *out = line;
    return OK;
}

static enum http_method method_of(struct bytes word)
{
    static const char *const methods[] = {
        [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_PUT] = "PUT"};
    for (unsigned i = 0; i < HTTP_OTHER; i++)
        if (bytes_equal(word, bytes_str(methods[i])))
            return (enum http_method)i;
    return HTTP_OTHER;
}

/* RFC 9112, section 3; of the forms of a target only the one with a path. */
static enum err request_line(struct bytes line, struct http_request *q,
                             bool *out_old)
{
    struct bytes method = split(&line, ' ');
    struct bytes target = split(&line, ' ');
    *out_old = bytes_equal(line, BYTES_LIT("HTTP/1.0"));
    if (!*out_old && !bytes_equal(line, BYTES_LIT("HTTP/1.1")))
        return ERR_MALFORMED;
    if (method.len == 0 || !all(method, is_token))
        return ERR_MALFORMED;
    if (target.len == 0 || target.data[0] != '/' || !all(target, is_visible))
        return ERR_MALFORMED;
    q->method = method_of(method);
    q->path = split(&target, '?');
    return OK;
}

/* RFC 9112, section 5.1: no white space before the colon. */
static enum err field_line(struct bytes line, struct http_request *q)
{
    struct bytes name = split(&line, ':');
    if (line.data == NULL || name.len == 0 || !all(name, is_token))
        return ERR_MALFORMED;
    struct bytes value = trim(line);
    if (!all(value, is_value))
        return ERR_MALFORMED;
    for (unsigned i = 0; i < HTTP_FIELDS_; i++) {
        if (!http_equal(name, names[i]))
            continue;
        if (q->fields[i].data != NULL && i != HTTP_FORWARDED_FOR)
            return ERR_MALFORMED;
        q->fields[i] = value;
    }
    return OK;
}

enum err http_request_read(struct bytes head, struct http_request *out)
{
    struct http_request q = {0};
    struct bytes line;
    bool old = false;
    TRY(take_line(&head, &line));
    TRY(request_line(line, &q, &old));
    for (;;) {
        TRY(take_line(&head, &line));
        if (line.len == 0)
            break;
        TRY(field_line(line, &q));
    }
    /* RFC 9112, section 3.2: a request without Host must be refused. Section
     * 6.3: with both lengths, it might be an attempt to smuggle. */
    if (head.len > 0 || (!old && !http_has(&q, HTTP_HOST)) ||
        (http_has(&q, HTTP_TRANSFER_ENCODING) &&
         http_has(&q, HTTP_CONTENT_LENGTH)))
        return ERR_MALFORMED;
    *out = q;
    return OK;
}

bool http_has(const struct http_request *q, enum http_field field)
{
    return q->fields[field].data != NULL;
}

/* ---- Ranges ---- */

enum err http_range_read(struct bytes value, uint64_t total,
                         struct http_range *out)
{
    struct http_range r = {0, total};
    uint64_t last = 0;
    struct bytes unit = split(&value, '=');
    struct bytes first = split(&value, '-');
    if (!http_equal(unit, "bytes") || value.data == NULL)
        return ERR_MALFORMED;
    if (first.len == 0) { /* so many from the end */
        TRY(http_number(value, &last));
        r.first = last < total ? total - last : 0;
    } else {
        TRY(http_number(first, &r.first));
        if (value.len > 0) {
            TRY(http_number(value, &last));
            if (last < r.first)
                return ERR_MALFORMED;
            r.end = last < total ? last + 1 : total;
        }
    }
    if (r.first >= r.end)
        return ERR_NOTFOUND;
    *out = r;
    return OK;
}

enum err http_content_range_read(struct bytes value, struct http_range *out,
                                 uint64_t *out_total)
{
    struct http_range r;
    uint64_t total = 0;
    struct bytes unit = split(&value, ' ');
    struct bytes first = split(&value, '-');
    struct bytes last = split(&value, '/');
    if (!http_equal(unit, "bytes"))
        return ERR_MALFORMED;
    TRY(http_number(first, &r.first));
    TRY(http_number(last, &r.end));
    TRY(http_number(value, &total));
    if (r.end < r.first || r.end >= total)
        return ERR_MALFORMED;
    r.end++;
    *out = r;
    *out_total = total;
    return OK;
}
