/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/invite.h"

#include "crypto/hash.h"

#include <stdio.h>
#include <string.h>

_Static_assert(INVITE_SIZE + INVITE_PIN_SIZE == CODE_SIZE,
               "an invite is as long as a code");

static enum err key_pin(struct crypto *c, struct bytes server_key,
                        struct digest *out)
{
    TRY(hash(c, HASH_SHA256, PARTS(server_key), out));
    out->len = INVITE_PIN_SIZE;
    return OK;
}

enum err invite_write(struct crypto *c, struct bytes secret,
                      struct bytes server_key, char out[CODE_TEXT_MAX])
{
    CLEANUP(secret_clear) struct secret raw = {.len = CODE_SIZE};
    struct digest pin;

    if (secret.len != INVITE_SIZE || server_key.len != KEY_SIZE)
        return ERR_INVALID;
    TRY(key_pin(c, server_key, &pin));
    memcpy(raw.data, secret.data, INVITE_SIZE);
    memcpy(raw.data + INVITE_SIZE, pin.data, INVITE_PIN_SIZE);
    return code_write(c, CODE_INVITE, &raw, out);
}

enum err invite_read(struct crypto *c, const char *text, struct invite *out)
{
    CLEANUP(secret_clear) struct secret raw = {0};
    TRY(code_read(c, CODE_INVITE, text, &raw));
    memcpy(out->secret, raw.data, INVITE_SIZE);
    memcpy(out->pin, raw.data + INVITE_SIZE, INVITE_PIN_SIZE);
    return OK;
}

enum err invite_pin_check(struct crypto *c, struct bytes pin,
                          struct bytes server_key)
{
    struct digest want;
    TRY(key_pin(c, server_key, &want));
    return bytes_equal(pin, digest_bytes(&want)) ? OK : ERR_AUTH;
}

/* --- names and addresses --- */

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

static bool is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || is_digit(c);
}

static char lower(uint8_t c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

bool name_valid(struct bytes name)
{
    if (name.len == 0 || name.len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (!is_alnum(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    return is_alnum(name.data[0]) && is_alnum(name.data[name.len - 1]);
}

/* Where `c` is in `b`; the length if it is not. */
static size_t find(struct bytes b, uint8_t c)
{
    size_t i = 0;
    while (i < b.len && b.data[i] != c)
        i++;
    return i;
}

static struct bytes from(struct bytes b, size_t at)
{
    return at < b.len ? (struct bytes){b.data + at, b.len - at}
                      : (struct bytes){0};
}

static enum err port_read(struct bytes text, uint16_t *out)
{
    uint32_t port = 0;
    if (text.len == 0 || text.len > 5)
        return ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.data[i]))
            return ERR_MALFORMED;
        port = port * 10 + (text.data[i] - (uint32_t)'0');
    }
    if (port == 0 || port > UINT16_MAX)
        return ERR_MALFORMED;
    *out = (uint16_t)port;
    return OK;
}

static enum err host_read(struct bytes text, bool bracketed, char out[HOST_MAX])
{
    if (text.len == 0 || text.len >= HOST_MAX || text.data == NULL)
        return ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        char c = lower(text.data[i]);
        bool hex = is_digit((uint8_t)c) || (c >= 'a' && c <= 'f');
        bool ok = bracketed ? hex || c == ':' || c == '.'
                            : is_alnum((uint8_t)c) || c == '.' || c == '-';
        if (!ok)
            return ERR_MALFORMED;
        out[i] = c;
    }
    out[text.len] = '\0';
    return OK;
}

enum err address_split(struct bytes text, char out_host[HOST_MAX],
                       uint16_t *out_port)
{
    bool bracketed = text.len > 0 && text.data[0] == '[';
    struct bytes host = text;
    struct bytes rest;
    uint16_t port = SERVER_PORT;

    if (bracketed) {
        host = from(text, 1);
        size_t end = find(host, ']');
        if (end == host.len)
            return ERR_MALFORMED;
        rest = from(host, end + 1);
        host.len = end;
    } else {
        size_t end = find(text, ':');
        rest = from(text, end);
        host.len = end;
    }
    if (rest.len > 0) {
        if (rest.data[0] != ':')
            return ERR_MALFORMED;
        TRY(port_read(from(rest, 1), &port));
    }
    TRY(host_read(host, bracketed, out_host));
    *out_port = port;
    return OK;
}

enum err address_normalise(struct bytes text, char out[ADDRESS_TEXT_MAX])
{
    char host[HOST_MAX];
    uint16_t port;
    TRY(address_split(text, host, &port));
    bool bracketed = strchr(host, ':') != NULL;
    int len = snprintf(out, ADDRESS_TEXT_MAX, "%s%s%s:%u", bracketed ? "[" : "",
                       host, bracketed ? "]" : "", (unsigned)port);
    return len > 0 && len < (int)ADDRESS_TEXT_MAX ? OK : ERR_MALFORMED;
}

enum err handle_read(struct bytes text, struct handle *out)
{
    struct handle h = {0};
    size_t at = find(text, '@');
    if (at > NAME_MAX_LEN)
        return ERR_MALFORMED;
    for (size_t i = 0; i < at; i++)
        h.name[i] = lower(text.data[i]);
    if (!name_valid(bytes_str(h.name)))
        return ERR_MALFORMED;
    if (at < text.len)
        TRY(address_normalise(from(text, at + 1), h.address));
    *out = h;
    return OK;
}

/* --- fingerprints --- */

void fingerprint_write(const uint8_t hash[32], char out[FINGERPRINT_TEXT_MAX])
{
    for (size_t i = 0; i < 32; i++)
        (void)snprintf(out + 3 * i, FINGERPRINT_TEXT_MAX - 3 * i, "%02X%s",
                       (unsigned)hash[i], i < 31 ? ":" : "");
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower((uint8_t)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum err fingerprint_read(const char *text, uint8_t out[32])
{
    uint8_t hash[32] = {0};
    size_t digits = 0;
    for (const char *p = text; *p != '\0'; p++) {
        int v = hex_value(*p);
        if (*p == ':' && digits % 2 == 0)
            continue;
        if (v < 0 || digits == 64)
            return ERR_MALFORMED;
        hash[digits / 2] = (uint8_t)(hash[digits / 2] << 4 | v);
        digits++;
    }
    if (digits != 64)
        return ERR_MALFORMED;
    memcpy(out, hash, sizeof(hash));
    return OK;
}
