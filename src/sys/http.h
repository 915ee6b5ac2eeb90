/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1.1 request (RFC 9112), read from one block of bytes:
 * its request line, and the few fields that a route looks at. It is strict:
 * whatever two readers could understand in two ways is refused, and no more
 * than one request is read from a connection, so that a proxy and this server
 * never see different requests in the same bytes.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#define HTTP_HEAD_MAX (8U << 10)

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_PUT,
    HTTP_OTHER, /* known to others perhaps */
};

enum http_field {
    HTTP_HOST,
    HTTP_UPGRADE,
    HTTP_CONNECTION,
    HTTP_WEBSOCKET_KEY,
    HTTP_WEBSOCKET_VERSION,
    HTTP_WEBSOCKET_PROTOCOL,
    HTTP_CONTENT_LENGTH,
    HTTP_CONTENT_RANGE,
    HTTP_TRANSFER_ENCODING,
    HTTP_EXPECT,
    HTTP_RANGE,
    HTTP_IF_RANGE,
    HTTP_IF_NONE_MATCH,
    HTTP_AUTHORIZATION,
    HTTP_BLOB_DAYS,
    HTTP_FORWARDED_FOR, /* the last one; each other field comes once */
    HTTP_FIELDS_,
};

/* Borrows from the head. */
struct http_request {
    enum http_method method;
    struct bytes path;                 /* begins with "/"; without a query */
    struct bytes fields[HTTP_FIELDS_]; /* no data: absent */
};

/* The length of the head at the front of `input`, with the empty line that
 * ends it; 0: it is not whole yet. */
size_t http_head_len(struct bytes input);

/* ERR_MALFORMED: no request that we take. */
MUST_USE enum err http_request_read(struct bytes head,
                                    struct http_request *out);

/* Says whether a field is there. */
bool http_has(const struct http_request *q, enum http_field field);

/* Compares without regard to the case of ASCII letters. */
bool http_equal(struct bytes value, const char *want);

/* Says whether a list of words that are separated by commas names `word`. */
bool http_lists(struct bytes value, const char *word);

/* The last element of such a list; empty when there is none. */
struct bytes http_last(struct bytes value);

/* Decimal digits and nothing else. */
MUST_USE enum err http_number(struct bytes value, uint64_t *out);

/* The bytes from `first` up to, without, `end`. */
struct http_range {
    uint64_t first;
    uint64_t end;
};

/* RFC 9110, section 14.2, for something of `total` bytes. ERR_NOTFOUND: it
 * has no such bytes; ERR_MALFORMED: not one range of bytes, so a server acts
 * as if nothing had been asked for. */
MUST_USE enum err http_range_read(struct bytes value, uint64_t total,
                                  struct http_range *out);

/* RFC 9110, section 14.4, with the total, which must be known. */
MUST_USE enum err http_content_range_read(struct bytes value,
                                          struct http_range *out,
                                          uint64_t *out_total);
