/* SPDX-License-Identifier: Apache-2.0 */
#include "server/pipe.h"

#include "base/mem.h"
#include "sys/queue.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LENGTH_SIZE     4U
#define HEADER_SIZE     14U /* with the length */
#define AFTER_LENGTH    (HEADER_SIZE - LENGTH_SIZE)
#define RECORD_MAX      (HEADER_SIZE + MESSAGE_MAX)
#define IN_CAP          (256U << 10) /* grows for a record that is larger */
#define READS_PER_ROUND 4            /* so up to 1 MiB makes one round */
#define OUT_KEEP        (1U << 20)   /* what a busy round puts */
#define SOCKET_BUFFER   (1 << 20)    /* if the system gives that much */

struct pipe {
    struct loop *loop;
    const struct pipe_user *user;
    void *ctx;
    struct watch watch;
    struct hook hook;
    uint8_t *in; /* in[0 .. in_len) has come */
    size_t in_len;
    size_t in_cap;
    struct queue out;
    size_t most;       /* that waited in it at once since the last pipe_trim */
    bool write_wanted; /* the socket was full */
    bool paused;
    bool held; /* whole records may wait in `in` */
    bool hung; /* the other end is closed: its last words are heard at once */
    bool ended;
};

static void ready(void *ctx, uint32_t events);
static void end_round(void *ctx);

enum err pipe_create(struct loop *loop, int fd, const struct pipe_user *user,
                     void *ctx, struct pipe **out_pipe)
{
    struct pipe *p = mem_alloc(sizeof *p);
    uint8_t *in = mem_alloc(IN_CAP);
    int size = SOCKET_BUFFER;
    enum err err = ERR_NOMEM;
    if (p != NULL && in != NULL) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        *p = (struct pipe){.loop = loop,
                           .user = user,
                           .ctx = ctx,
                           .watch = {fd, ready, p},
                           .hook = {.run = end_round, .ctx = p},
                           .in = in,
                           .in_cap = IN_CAP,
                           .out = {.keep = OUT_KEEP}};
        err = loop_watch(loop, &p->watch, EPOLLIN);
    }
    if (err != OK) {
        (void)close(fd);
        mem_free(in, IN_CAP);
        mem_free(p, sizeof *p);
        return err;
    }
    loop_hook_add(loop, &p->hook);
    *out_pipe = p;
    return OK;
}

void pipe_free(struct pipe **pipe)
{
    struct pipe *p = *pipe;
    if (p == NULL)
        return;
    loop_hook_remove(p->loop, &p->hook);
    loop_unwatch(p->loop, &p->watch);
    (void)close(p->watch.fd);
    queue_clear(&p->out);
    mem_free(p->in, p->in_cap);
    mem_free(p, sizeof *p);
    *pipe = NULL;
}

static void end(struct pipe *p, enum err err)
{
    if (p->ended)
        return;
    p->ended = true;
    loop_unwatch(p->loop, &p->watch);
    p->user->ended(p->ctx, err);
}

static void watch_for(struct pipe *p)
{
    if (!p->ended)
        loop_watch_for(p->loop, &p->watch,
                       (p->paused ? 0 : (uint32_t)EPOLLIN) |
                           (p->write_wanted ? (uint32_t)EPOLLOUT : 0));
}

/* ---- In ---- */

static size_t record_size(const uint8_t *in)
{
    struct reader r = reader_of((struct bytes){in, LENGTH_SIZE});
    return LENGTH_SIZE + (size_t)reader_u32(&r);
}

static void deliver(struct pipe *p, struct bytes record)
{
    struct reader r = reader_of(record);
    struct pipe_record out;
    (void)reader_u32(&r);
    out.op = reader_u8(&r);
    out.conn = reader_u32(&r);
    out.kind = reader_u8(&r);
    out.id = reader_u32(&r);
    out.bytes = reader_raw(&r, record.len - HEADER_SIZE);
    p->user->record(p->ctx, &out);
}

/* Moves what is left to the front of a block that holds the whole of it. */
static enum err keep(struct pipe *p, size_t start)
{
    size_t left = p->in_len - start;
    size_t want = IN_CAP;
    if (left >= LENGTH_SIZE && record_size(p->in + start) > want)
        want = record_size(p->in + start);
    p->in_len = left;
    if (want == p->in_cap) {
        memmove(p->in, p->in + start, left);
        return OK;
    }
    if (left > want)
        want = left; /* paused with a large record before others */
    uint8_t *in = mem_alloc(want);
    if (in == NULL)
        return ERR_NOMEM;
    memcpy(in, p->in + start, left);
    mem_free(p->in, p->in_cap);
    p->in = in;
    p->in_cap = want;
    return OK;
}

/* Delivers whole records. */
static enum err parse(struct pipe *p)
{
    size_t start = 0;
    p->held = false;
    while (p->in_len - start >= LENGTH_SIZE) {
        size_t size = record_size(p->in + start);
        if (size < HEADER_SIZE || size > RECORD_MAX)
            return ERR_MALFORMED;
        if (size > p->in_len - start)
            break;
        if (p->paused || p->ended) {
            p->held = true;
            break;
        }
        deliver(p, (struct bytes){p->in + start, size});
        start += size;
    }
    return start > 0 || p->in_len == p->in_cap ? keep(p, start) : OK;
}

static void read_some(struct pipe *p)
{
    enum err err = p->held ? parse(p) : OK;
    for (int i = 0; i < READS_PER_ROUND && err == OK; i++) {
        if (p->paused || p->ended)
            return;
        size_t room = p->in_cap - p->in_len;
        ssize_t n = recv(p->watch.fd, p->in + p->in_len, room, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            end(p, n == 0 ? OK : ERR_IO);
            return;
        }
        p->in_len += (size_t)n;
        err = parse(p);
        if ((size_t)n < room)
            break;
    }
    if (err != OK)
        end(p, err);
}

void pipe_pause(struct pipe *pipe, bool paused)
{
    if (pipe->paused == paused || pipe->hung)
        return;
    pipe->paused = paused;
    watch_for(pipe);
    if (!paused && pipe->held)
        loop_hurry(pipe->loop); /* the hook parses */
}

/* ---- Out ---- */

enum err pipe_put(struct pipe *pipe, const struct pipe_record *r)
{
    uint8_t *to = NULL;
    size_t size = HEADER_SIZE + r->bytes.len;
    assert(r->bytes.len <= MESSAGE_MAX);
    TRY(queue_extend(&pipe->out, size, &to));
    struct buf room = {to, 0, size, size}; /* borrowed, and exactly enough */
    struct writer w = writer_to(&room);
    writer_u32(&w, (uint32_t)(AFTER_LENGTH + r->bytes.len));
    writer_u8(&w, r->op);
    writer_u32(&w, r->conn);
    writer_u8(&w, r->kind);
    writer_u32(&w, r->id);
    writer_raw(&w, r->bytes);
    enum err err = writer_finish(&w);
    assert(err == OK && room.data == to);
    (void)err;
    if (!loop_before_hooks(pipe->loop))
        loop_hurry(pipe->loop);
    return OK;
}

size_t pipe_queued(const struct pipe *pipe)
{
    return queue_front(&pipe->out).len;
}

void pipe_trim(struct pipe *pipe)
{
    if (pipe_queued(pipe) == 0 && pipe->most < pipe->out.cap / 4)
        queue_clear(&pipe->out);
    pipe->most = 0;
}

static void flush(struct pipe *p)
{
    bool wanted = p->write_wanted;
    p->write_wanted = false;
    if (pipe_queued(p) > p->most)
        p->most = pipe_queued(p);
    while (pipe_queued(p) > 0 && !p->ended) {
        struct bytes front = queue_front(&p->out);
        ssize_t n = send(p->watch.fd, front.data, front.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            p->write_wanted = true;
            break;
        }
        if (n < 0 && errno == EPIPE) { /* the end comes after its last words */
            queue_clear(&p->out);
            break;
        }
        if (n < 0) {
            end(p, ERR_IO);
            return;
        }
        queue_drop(&p->out, (size_t)n);
    }
    if (p->write_wanted != wanted)
        watch_for(p);
    if (pipe_queued(p) == 0 && p->user->drained != NULL)
        p->user->drained(p->ctx);
}

static void ready(void *ctx, uint32_t events)
{
    struct pipe *p = ctx;
    if ((events & EPOLLOUT) != 0)
        flush(p);
    if ((events & (EPOLLHUP | EPOLLERR)) != 0 && p->paused) {
        pipe_pause(p, false); /* what is left is not more than a socket holds */
        p->hung = true;
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !p->paused &&
        !p->ended)
        read_some(p);
}

static void end_round(void *ctx)
{
    struct pipe *p = ctx;
    if (p->held && !p->paused && !p->ended) {
        enum err err = parse(p);
        if (err != OK)
            end(p, err);
    }
    if (pipe_queued(p) > 0 && !p->write_wanted)
        flush(p);
}
