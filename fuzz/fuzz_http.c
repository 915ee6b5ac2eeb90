/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "sys/http.h"

#include <assert.h>
#include <string.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[HTTP_FIELDS_] = {
    "Host",
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Content-Length",
    "Content-Range",
    "Transfer-Encoding",
    "Expect",
    "Range",
    "If-Range",
    "If-None-Match",
    "Authorization",
    "Blob-Days",
    "X-Forwarded-For",
};
static const char *const methods[] = {"GET", "HEAD", "PUT", "OTHER"};

static void add(struct buf *out, struct bytes b)
{
    assert(buf_append(out, b) == OK);
}

/* Loses the end of a value that has a semicolon. */
static struct bytes spoil(struct bytes b)
{
    if (PLANTED_BUG && b.len > 2 && memchr(b.data, ';', b.len) != NULL)
        b.len--;
    return b;
}

/* Writes what was understood of a request, in the plainest form. */
static void write_request(struct buf *out, const struct http_request *q)
{
    add(out, bytes_str(methods[q->method]));
    add(out, BYTES_LIT(" "));
    add(out, q->path);
    add(out, BYTES_LIT(" HTTP/1.1\r\n"));
    if (!http_has(q, HTTP_HOST)) /* which 1.0 may do without */
        add(out, BYTES_LIT("Host:\r\n"));
    for (unsigned i = 0; i < HTTP_FIELDS_; i++) {
        if (!http_has(q, (enum http_field)i))
            continue;
        add(out, bytes_str(names[i]));
        add(out, BYTES_LIT(":"));
        add(out, spoil(q->fields[i]));
        add(out, BYTES_LIT("\r\n"));
    }
    add(out, BYTES_LIT("\r\n"));
}

static void compare(const struct http_request *a, const struct http_request *b)
{
    assert(a->method == b->method && bytes_equal(a->path, b->path));
    for (unsigned i = 0; i < HTTP_FIELDS_; i++)
        assert(bytes_equal(a->fields[i], b->fields[i]));
}

static void read_ranges(const struct http_request *q, uint64_t total)
{
    struct http_range r;
    uint64_t n = 0;
    if (http_range_read(q->fields[HTTP_RANGE], total, &r) == OK)
        assert(r.first < r.end && r.end <= total);
    if (http_content_range_read(q->fields[HTTP_CONTENT_RANGE], &r, &n) == OK)
        assert(r.first < r.end && r.end <= n);
    struct bytes last = http_last(q->fields[HTTP_FORWARDED_FOR]);
    assert(last.len <= q->fields[HTTP_FORWARDED_FOR].len);
}

/* A head that is taken says the same when it is written in the plainest form;
 * where it ends does not depend on what follows. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_clear) struct buf plain = buf_new(size + 1024);
    struct http_request q;
    struct http_request again;
    struct bytes input = {data, size};
    struct bytes head = {data, http_head_len(input)};
    assert(head.len <= size && http_head_len(head) == head.len);
    if (head.len == 0 || http_request_read(head, &q) != OK)
        return 0;
    write_request(&plain, &q);
    assert(http_head_len(buf_bytes(&plain)) == plain.len);
    assert(http_request_read(buf_bytes(&plain), &again) == OK);
    compare(&q, &again);
    read_ranges(&q, size);
    return 0;
}
