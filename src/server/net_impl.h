/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of net share. */
#pragma once

#include "proto/frame.h"
#include "server/crowd.h"
#include "server/metrics.h"
#include "server/net.h"
#include "server/pipe.h"
#include "server/web.h"
#include "sys/stream.h"

struct client {
    struct net *net;
    struct stream *stream;
    struct web *web; /* speaks HTTP; NULL: our own protocol */
    struct deframer deframer;
    struct timer deadline;
    struct client *next_held;  /* list: waits for room in the pipe */
    struct client **held_from; /* what points to it there; NULL: is not held */
    struct guest guest;
    uint32_t number;
    uint32_t requests; /* under way */
    uint32_t moved;    /* bytes that came since the deadline was set */
    bool opened;       /* the store knows of it */
    bool greeted;      /* the hello was answered */
    bool ending;
    uint8_t door; /* enum web_door */
};

/* A socket that listens. */
struct door {
    struct net *net;
    struct watch watch; /* its descriptor is 0 where there is none */
};

struct net {
    struct loop *loop;
    struct net_config config;
    struct tls_context *renewed; /* in the place of the first; NULL: not yet */
    struct streams *streams;
    struct pipe *pipe;
    struct door doors[WEB_DOORS_];
    struct timer rest;  /* the doors are not watched until then */
    struct timer drain; /* the end of patience */
    struct client **clients;
    uint32_t *unused; /* numbers, a stack of unused_count */
    size_t unused_count;
    size_t count; /* clients that live */
    struct client *held;
    uint64_t warn_again_ms;
    struct crowd crowd;
    size_t parts_max; /* this process's part of what all may hold */
    size_t queues_max;
    struct metrics metrics; /* of all processes, as the store last told */
    uint64_t accepted;
    uint64_t turned_away;
    uint64_t web_clients;
    int memory;        /* process_memory_open */
    uint64_t pulse_ms; /* when the store last sent its part; 0: never */
    bool listening;
    bool draining;
    bool done;
    enum err err;
    struct problem problem;
};

/* Ends the whole: the first call counts. */
void net_fail(struct net *n, enum err err, const char *what);

/* Tells the store what it must not miss. */
void net_tell(struct net *n, uint8_t op, uint32_t number);

/* Takes note that a client has gone, which may be the last of a drain. */
void net_emptied(struct net *n);

/* ---- Clients (net_client.c) ---- */

/* Makes a client of a connection; takes `fd`, on failure too. ERR_STATE: there
 * are too many from there. There must be an unused number. */
MUST_USE enum err client_welcome(struct net *n, enum web_door door, int fd);
void client_free(struct client *c);

/* Lets what is queued out, within bounds. It may free the client. */
void client_end(struct client *c);

/* Decides whether the client is read from. */
void client_pace(struct client *c);

/* Reads again from those who waited for room in the pipe. */
void clients_go_on(struct net *n);

/* Takes a message of the store's for it. It may free the client. */
void client_message(struct client *c, const struct pipe_record *r);
