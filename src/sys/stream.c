/* SPDX-License-Identifier: Apache-2.0 */
/*
 *  stream_connect             stream_accept
 *        |                          |
 *   CONNECTING --connected--> HANDSHAKE --up--> UP --stream_end--> ENDING
 *     |    ^                        |            |                   | sent
 *     +----+ next address           +--> DOWN <--+                LINGER
 *                                          ^-------- peer closed ----+
 *
 * LINGER: closing a socket with unread bytes in it makes the kernel send a
 * reset, which can destroy what the peer has not read yet. So our side says
 * that it is done, and waits for the peer to close.
 *
 * What is to be done at the end of a round (connect, read on, flush) is a list
 * of streams; stream_send puts a stream there.
 */
#include "sys/stream.h"

#include "base/mem.h"
#include "sys/queue.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SCRATCH_SIZE    (16U << 10) /* a TLS record's content */
#define READS_PER_ROUND 4           /* then others get their turn */
#define WRITE_MAX       (16U << 10)

enum state {
    CONNECTING,
    HANDSHAKE,
    UP,
    ENDING,
    LINGER,
    DOWN,
};

struct link {
    struct link *prev, *next;
    struct stream *owner; /* NULL: the list itself */
};

struct streams {
    struct loop *loop;
    struct hook hook;
    struct link todo; /* of stream.todo */
    size_t queued;
    uint8_t scratch[SCRATCH_SIZE];
};

/* What only a client needs, until it is connected. */
struct attempt {
    struct stream_target target;
    char host[NET_HOST_MAX + 1];
    size_t next; /* address to try */
    struct problem problem;
};

struct stream {
    struct link todo;
    struct streams *streams;
    const struct stream_user *user;
    void *ctx;
    struct watch watch;
    struct tls *tls;
    struct attempt *attempt; /* client, while connecting */
    struct queue out;
    uint32_t events; /* watched for */
    enum state state;
    unsigned busy : 8; /* calls that still use this memory */
    unsigned freed : 1;
    unsigned plain : 1; /* without TLS */
    unsigned paused : 1;
    unsigned read_on : 1;      /* not all that has come was read */
    unsigned write_wanted : 1; /* the socket was full */
};

/* ---- With and without TLS ---- */

static enum err plain_read(int fd, uint8_t *data, size_t cap, size_t *out_len,
                           enum tls_step *out_step)
{
    ssize_t n = recv(fd, data, cap, 0);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return ERR_IO;
    *out_step = TLS_WANT_READ;
    if (n >= 0)
        *out_step = n > 0 ? TLS_DONE : TLS_END;
    *out_len = n > 0 ? (size_t)n : 0;
    return OK;
}

static enum err plain_write(int fd, struct bytes data, size_t *out_len,
                            enum tls_step *out_step)
{
    ssize_t n = send(fd, data.data, data.len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return ERR_IO;
    *out_len = n > 0 ? (size_t)n : 0;
    *out_step = n > 0 ? TLS_DONE : TLS_WANT_WRITE;
    return OK;
}

static enum err take_bytes(struct stream *s, uint8_t *data, size_t cap,
                           size_t *out_len, enum tls_step *out_step)
{
    return s->plain ? plain_read(s->watch.fd, data, cap, out_len, out_step)
                    : tls_read(s->tls, data, cap, out_len, out_step);
}

static enum err give_bytes(struct stream *s, struct bytes data, size_t *out_len,
                           enum tls_step *out_step)
{
    return s->plain ? plain_write(s->watch.fd, data, out_len, out_step)
                    : tls_write(s->tls, data, out_len, out_step);
}

/* Says whether bytes wait that epoll does not know of. */
static bool has_more(const struct stream *s)
{
    return !s->plain && tls_pending(s->tls);
}

static void say_goodbye(struct stream *s)
{
    if (!s->plain)
        tls_goodbye(s->tls);
}

/* ---- The list ---- */

static void link_remove(struct link *l)
{
    if (l->next == NULL)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    *l = (struct link){0};
}

static void todo_add(struct stream *s)
{
    struct link *all = &s->streams->todo;
    if (s->todo.next != NULL)
        return;
    s->todo = (struct link){all->prev, all, s};
    all->prev->next = &s->todo;
    all->prev = &s->todo;
    if (!loop_before_hooks(s->streams->loop))
        loop_hurry(s->streams->loop);
}

/* ---- Ends of life ---- */

static void attempt_free(struct stream *s)
{
    mem_free(s->attempt, sizeof *s->attempt);
    s->attempt = NULL;
}

static void socket_close(struct stream *s)
{
    tls_free(&s->tls);
    if (s->watch.fd >= 0) {
        loop_unwatch(s->streams->loop, &s->watch);
        (void)close(s->watch.fd);
    }
    s->watch.fd = -1;
}

static void out_free(struct stream *s)
{
    s->streams->queued -= queue_front(&s->out).len;
    queue_clear(&s->out);
}

static void shut(struct stream *s)
{
    s->state = DOWN;
    link_remove(&s->todo);
    socket_close(s);
    attempt_free(s);
    out_free(s);
}

/* Brackets around everything that may call back. */
static void enter(struct stream *s) { s->busy++; }

static void leave(struct stream *s)
{
    s->busy--;
    if (s->busy == 0 && s->freed)
        mem_free(s, sizeof *s);
}

static void go_down(struct stream *s, const struct problem *why)
{
    const struct problem copy = *why; /* it may lie in what is freed now */
    shut(s);
    s->user->down(s->ctx, &copy);
}

static void lost(struct stream *s)
{
    struct problem p = {0};
    (void)problem_set(&p, ERR_IO, PROBLEM_NETWORK, "the connection was lost");
    go_down(s, &p);
}

void stream_free(struct stream **stream)
{
    struct stream *s = *stream;
    *stream = NULL;
    if (s == NULL)
        return;
    if (s->state == UP)
        say_goodbye(s);
    shut(s);
    s->freed = 1;
    if (s->busy == 0)
        mem_free(s, sizeof *s);
}

/* ---- What to wait for ---- */

static void watch_for(struct stream *s, uint32_t events)
{
    if (events == s->events || s->watch.fd < 0)
        return;
    s->events = events;
    loop_watch_for(s->streams->loop, &s->watch, events);
}

static void update_watch(struct stream *s)
{
    uint32_t out = s->write_wanted ? (uint32_t)EPOLLOUT : 0;
    if (s->state == UP)
        watch_for(s, out | (s->paused ? 0 : (uint32_t)EPOLLIN));
    else if (s->state == ENDING)
        watch_for(s, out);
    else if (s->state == LINGER)
        watch_for(s, EPOLLIN);
}

/* ---- Reading ---- */

/* Reads once; false: nothing more now. */
static bool read_once(struct stream *s)
{
    size_t len = 0;
    enum tls_step step = TLS_DONE;
    if (take_bytes(s, s->streams->scratch, SCRATCH_SIZE, &len, &step) != OK) {
        lost(s);
        return false;
    }
    if (step == TLS_END) {
        go_down(s, &(struct problem){0});
        return false;
    }
    if (step == TLS_WANT_WRITE)
        s->write_wanted = 1; /* an answer to a key update */
    if (step != TLS_DONE)
        return false;
    if (s->user->data(s->ctx, (struct bytes){s->streams->scratch, len}) != OK &&
        s->state == UP) {
        struct problem p = {0};
        (void)problem_set(&p, ERR_MALFORMED, PROBLEM_NETWORK,
                          "the other side broke the protocol");
        go_down(s, &p);
    }
    return s->state == UP && !s->paused && has_more(s);
}

static void read_some(struct stream *s)
{
    bool more = !s->paused;
    s->read_on = 0;
    for (int i = 0; more && i < READS_PER_ROUND; i++)
        more = read_once(s);
    if (s->write_wanted)
        update_watch(s);
    if (s->state == UP && has_more(s)) {
        s->read_on = 1;
        if (!s->paused)
            todo_add(s);
    }
}

void stream_pause(struct stream *stream, bool paused)
{
    if (stream->paused == paused)
        return;
    stream->paused = paused;
    update_watch(stream);
    if (!paused && stream->state == UP && stream->read_on)
        todo_add(stream);
}

/* ---- Writing ---- */

/* After the last byte: says goodbye. */
static void finish_end(struct stream *s)
{
    say_goodbye(s);
    (void)shutdown(s->watch.fd, SHUT_WR);
    s->state = LINGER;
}

/* Writes until the queue is empty or the socket full; false: went down. */
static bool write_out(struct stream *s)
{
    for (;;) {
        struct bytes part = queue_front(&s->out);
        size_t done = 0;
        enum tls_step step = TLS_DONE;
        if (part.len == 0)
            return true;
        if (part.len > WRITE_MAX)
            part.len = WRITE_MAX;
        if (give_bytes(s, part, &done, &step) != OK) {
            lost(s);
            return false;
        }
        if (step != TLS_DONE) {
            s->write_wanted = step == TLS_WANT_WRITE;
            return true;
        }
        queue_drop(&s->out, done);
        s->streams->queued -= done;
    }
}

static void flush(struct stream *s)
{
    bool had = stream_queued(s) > 0;
    s->write_wanted = 0;
    if (!write_out(s))
        return;
    bool empty = stream_queued(s) == 0;
    if (empty && s->state == ENDING)
        finish_end(s);
    update_watch(s);
    if (had && empty && s->state == UP && s->user->drained != NULL)
        s->user->drained(s->ctx);
}

enum err stream_send(struct stream *stream, struct bytes bytes)
{
    uint8_t *to = NULL;
    if (bytes.len == 0)
        return OK;
    TRY(stream_extend(stream, bytes.len, &to));
    memcpy(to, bytes.data, bytes.len);
    return OK;
}

enum err stream_extend(struct stream *stream, size_t len, uint8_t **out)
{
    if (stream->state != UP)
        return ERR_STATE;
    TRY(queue_extend(&stream->out, len, out));
    stream->streams->queued += len;
    if (!stream->write_wanted) /* else it goes on when the socket has room */
        todo_add(stream);
    return OK;
}

size_t stream_queued(const struct stream *stream)
{
    return queue_front(&stream->out).len;
}

void stream_end(struct stream *stream)
{
    if (stream->state == UP) {
        stream->state = ENDING;
        todo_add(stream);
    } else if (stream->state == CONNECTING || stream->state == HANDSHAKE) {
        enter(stream);
        go_down(stream, &(struct problem){0});
        leave(stream);
    }
}

/* ---- Setting up ---- */

static void shake_hands(struct stream *s)
{
    struct problem p = {0};
    enum tls_step step = TLS_DONE;
    if (!s->plain && tls_handshake(s->tls, &step, &p) != OK) {
        go_down(s, &p);
        return;
    }
    if (step == TLS_WANT_READ || step == TLS_WANT_WRITE) {
        watch_for(s, step == TLS_WANT_READ ? EPOLLIN : EPOLLOUT);
        return;
    }
    attempt_free(s);
    s->state = UP;
    update_watch(s);
    s->user->up(s->ctx);
    if (s->state == UP)
        read_some(s); /* the first request may have come along */
}

/* Tries addresses until one does not fail at once. */
static void connect_next(struct stream *s)
{
    struct attempt *a = s->attempt;
    socket_close(s);
    while (a->next < a->target.addresses.count) {
        const struct sockaddr_in6 *address = &a->target.addresses.at[a->next++];
        if (net_connect(address, &s->watch.fd, &a->problem) != OK)
            continue;
        s->events = EPOLLOUT;
        if (loop_watch(s->streams->loop, &s->watch, s->events) == OK)
            return;
        (void)problem_set(&a->problem, ERR_LIMIT, PROBLEM_SYSTEM,
                          "cannot watch a socket");
        (void)close(s->watch.fd);
        s->watch.fd = -1;
    }
    go_down(s, &a->problem);
}

static void connected(struct stream *s)
{
    struct attempt *a = s->attempt;
    if (net_connected(s->watch.fd, &a->problem) != OK) {
        connect_next(s);
        return;
    }
    a->target.peer.host = a->host[0] != '\0' ? a->host : NULL;
    if (tls_connect(a->target.context, s->watch.fd, &a->target.peer, &s->tls) !=
        OK) {
        (void)problem_set(&a->problem, ERR_NOMEM, PROBLEM_SYSTEM,
                          "cannot start TLS");
        go_down(s, &a->problem);
        return;
    }
    s->state = HANDSHAKE;
    shake_hands(s);
}

/* Drops what the peer still sends, until it closes. */
static void discard(struct stream *s)
{
    ssize_t n = recv(s->watch.fd, s->streams->scratch, SCRATCH_SIZE, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        go_down(s, &(struct problem){0});
}

static void up_ready(struct stream *s, uint32_t events)
{
    const uint32_t failed = EPOLLERR | EPOLLHUP;
    if ((events & EPOLLOUT) != 0)
        flush(s);
    if (s->state == UP && (events & EPOLLIN) != 0 && !s->paused)
        read_some(s);
    else if (s->state <= ENDING && (events & failed) != 0)
        lost(s);
}

static void ready(void *ctx, uint32_t events)
{
    struct stream *s = ctx;
    enter(s);
    switch (s->state) {
    case CONNECTING:
        connected(s);
        break;
    case HANDSHAKE:
        shake_hands(s);
        break;
    case UP:
    case ENDING:
        up_ready(s, events);
        break;
    case LINGER:
        discard(s);
        break;
    case DOWN:
        break;
    }
    leave(s);
}

static void do_todo(struct stream *s)
{
    if (s->state == CONNECTING) {
        connect_next(s);
        return;
    }
    if (s->state == UP && s->read_on && !s->paused)
        read_some(s);
    if (s->state == UP || s->state == ENDING)
        flush(s);
}

static void run_todo(void *ctx)
{
    struct streams *all = ctx;
    if (all->todo.next == &all->todo)
        return;
    /* What is added meanwhile waits for the next round. */
    struct link now = all->todo;
    now.next->prev = now.prev->next = &now;
    all->todo = (struct link){&all->todo, &all->todo, NULL};
    while (now.next != &now) {
        struct stream *s = now.next->owner;
        link_remove(&s->todo);
        enter(s);
        do_todo(s);
        leave(s);
    }
}

enum err streams_create(struct loop *loop, struct streams **out_streams)
{
    struct streams *all = mem_alloc(sizeof *all);
    if (all == NULL)
        return ERR_NOMEM;
    all->loop = loop;
    all->hook = (struct hook){.run = run_todo, .ctx = all};
    all->todo = (struct link){&all->todo, &all->todo, NULL};
    loop_hook_add(loop, &all->hook);
    *out_streams = all;
    return OK;
}

void streams_free(struct streams **streams)
{
    if (*streams == NULL)
        return;
    loop_hook_remove((*streams)->loop, &(*streams)->hook);
    mem_free(*streams, sizeof **streams);
    *streams = NULL;
}

size_t streams_queued(const struct streams *streams) { return streams->queued; }

static struct stream *stream_new(struct streams *streams,
                                 const struct stream_user *user, void *ctx)
{
    struct stream *s = mem_alloc(sizeof *s);
    if (s == NULL)
        return NULL;
    s->streams = streams;
    s->user = user;
    s->ctx = ctx;
    s->watch = (struct watch){-1, ready, s};
    return s;
}

enum err stream_accept(struct streams *streams, struct tls_context *context,
                       int fd, const struct stream_user *user, void *ctx,
                       struct stream **out_stream)
{
    struct stream *s = stream_new(streams, user, ctx);
    if (s == NULL) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    s->state = HANDSHAKE;
    s->watch.fd = fd;
    s->events = EPOLLIN;
    s->plain = context == NULL;
    enum err err = s->plain ? OK : tls_accept(context, fd, &s->tls);
    if (err == OK)
        err = loop_watch(streams->loop, &s->watch, s->events);
    if (err != OK) {
        stream_free(&s);
        return err;
    }
    *out_stream = s;
    return OK;
}

enum err stream_connect(struct streams *streams,
                        const struct stream_target *target,
                        const struct stream_user *user, void *ctx,
                        struct stream **out_stream)
{
    CLEANUP(stream_free) struct stream *s = stream_new(streams, user, ctx);
    if (s == NULL)
        return ERR_NOMEM;
    struct attempt *a = mem_alloc(sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    s->attempt = a;
    a->target = *target;
    if (target->peer.host != NULL)
        (void)snprintf(a->host, sizeof a->host, "%s", target->peer.host);
    (void)problem_set(&a->problem, ERR_NOTFOUND, PROBLEM_NETWORK,
                      "there is no address to connect to");
    s->state = CONNECTING;
    todo_add(s);
    *out_stream = s;
    s = NULL; /* handed over */
    return OK;
}

enum tls_protocol stream_protocol(const struct stream *stream)
{
    return stream->plain ? TLS_HTTP : tls_protocol(stream->tls);
}

enum err stream_exporter(const struct stream *stream,
                         uint8_t out[TLS_EXPORTER_SIZE])
{
    return stream->state == UP && !stream->plain
               ? tls_exporter(stream->tls, out)
               : ERR_STATE;
}
