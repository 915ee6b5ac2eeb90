/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and TCP sockets, IPv4 and IPv6. All sockets are non-blocking and
 * closed on exec. */
#pragma once

#include "base/bytes.h"
#include "base/problem.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#define NET_PORT          7470U
#define NET_HOST_MAX      255U /* a DNS name, or an address */
#define NET_NAME_TEXT     (NET_HOST_MAX + sizeof "[]:65535")
#define NET_ADDRESSES_MAX 8U

/* HOST, HOST:PORT, [IPV6]:PORT or a bare IPv6 address. */
struct net_name {
    char host[NET_HOST_MAX + 1];
    uint16_t port;
};

struct net_addresses {
    struct sockaddr_in6 at[NET_ADDRESSES_MAX]; /* IPv4 as ::ffff:a.b.c.d */
    size_t count;
};

/* Port 0 is accepted: a listener then takes a free one. */
MUST_USE enum err net_name_parse(const char *text, struct net_name *out_name,
                                 struct problem *p);
void net_name_text(const struct net_name *name, char out[NET_NAME_TEXT]);

/* Asks the resolver; this may block for seconds. */
MUST_USE enum err net_resolve(const struct net_name *name,
                              struct net_addresses *out_addresses,
                              struct problem *p);

/* Listens on the first address of `name`, with `count` sockets among which the
 * system spreads the connections; "*" and "::" mean all addresses of both
 * families. On failure there is none. */
MUST_USE enum err net_listen(const struct net_name *name, size_t count,
                             int *out_fds, struct problem *p);

/* The address that a socket is bound to. */
MUST_USE enum err net_local(int fd, struct net_name *out_name);

/* Takes one waiting connection. ERR_NOTFOUND: none waits; ERR_LIMIT: no
 * descriptor or memory for it now; ERR_IO: that one failed, try the next. */
MUST_USE enum err net_accept(int listener, int *out_fd);

/* Stands for the network that the peer of `fd` is in, for limits: an IPv4
 * address, or the first half of an IPv6 address; 0 when there is none. */
uint64_t net_remote(int fd);

/* Tells the wider network around such a one, an IPv6 /48, which one may have to
 * oneself; false: an IPv4 address has none. */
bool net_remote_wide(uint64_t remote, uint64_t *out_wide);

/* What net_remote gives for an address in text, as a proxy tells it.
 * ERR_MALFORMED: none. */
MUST_USE enum err net_remote_parse(struct bytes text, uint64_t *out_remote);

/* Starts to connect; the socket turns writable when net_connected can tell how
 * it went. */
MUST_USE enum err net_connect(const struct sockaddr_in6 *address, int *out_fd,
                              struct problem *p);
MUST_USE enum err net_connected(int fd, struct problem *p);
