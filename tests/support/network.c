/* SPDX-License-Identifier: Apache-2.0 */
#include "support/network.h"

#include "proto/message.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <string.h>
#include <unistd.h>

/* ---- The child ---- */

static enum err serve(struct world *w, int pipe)
{
    CLEANUP(buf_clear) struct buf cert = buf_new(TLS_PEM_MAX);
    CLEANUP(buf_clear) struct buf key = buf_new(TLS_PEM_MAX);
    CLEANUP(tls_context_free) struct tls_context *tls = NULL;
    CLEANUP(loop_free) struct loop *loop = NULL;
    CLEANUP(net_free) struct net *net = NULL;
    TRY(process_harden(NULL));
    TRY(tls_certificate_create("localhost", &cert, &key));
    TRY(tls_server_create(buf_bytes(&cert), buf_bytes(&key), &tls, NULL));
    TRY(loop_create(&loop, NULL));
    w->config.tls = tls;
    w->config.listener = w->listener;
    w->config.pipe = pipe;
    TRY(net_create(loop, &w->config, &net, NULL));
    TRY(loop_run(loop));
    return net_result(net, NULL);
}

static int child_main(void *ctx, int socket)
{
    log_open(STDERR_FILENO, LOG_LEVEL_ERROR);
    return (int)serve(ctx, socket);
}

/* ---- The store's part ---- */

static void on_record(void *ctx, const struct pipe_record *r)
{
    struct world *w = ctx;
    struct seen *s = &w->seen[w->seen_count++ % SEEN_MAX];
    s->record = *r;
    s->len = r->bytes.len;
    size_t start = s->len < sizeof s->start ? s->len : sizeof s->start;
    if (start > 0)
        memcpy(s->start, r->bytes.data, start);
}

static void on_ended(void *ctx, enum err err)
{
    struct world *w = ctx;
    (void)err;
    w->ended++;
}

static const struct pipe_user user = {on_record, NULL, on_ended};

void world_put(struct world *w, const struct pipe_record *r)
{
    if (pipe_put(w->pipe, r) != OK || loop_round(w->loop, 0) != OK)
        w->ended++;
}

/* The same until it has left. */
void world_put_all(struct world *w, const struct pipe_record *r)
{
    world_put(w, r);
    while (pipe_queued(w->pipe) > 0 && !w->ended)
        if (loop_round(w->loop, 10) != OK)
            return;
}

/* Waits for the next record. */
const struct seen *world_next(struct world *w)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (w->looked_at == w->seen_count && !w->ended && clock_mono_ms() < end)
        if (loop_round(w->loop, 50) != OK)
            return NULL;
    if (w->looked_at == w->seen_count)
        return NULL;
    return &w->seen[w->looked_at++ % SEEN_MAX];
}

/* Waits for the next record with `op`, whatever else comes. */
const struct seen *world_next_op(struct world *w, enum pipe_op op)
{
    for (;;) {
        const struct seen *s = world_next(w);
        if (s == NULL || s->record.op == op)
            return s;
    }
}

void world_pump(struct world *w, unsigned ms)
{
    uint64_t end = clock_mono_ms() + ms;
    while (clock_mono_ms() < end)
        if (loop_round(w->loop, 5) != OK)
            return;
}

static enum err listen_at(int *out_fd, struct net_name *out_name)
{
    TRY(net_listen(&(struct net_name){.host = "127.0.0.1"}, 1, out_fd, NULL));
    return net_local(*out_fd, out_name);
}

enum err world_start(struct world *w)
{
    TRY(loop_create(&w->loop, NULL));
    TRY(listen_at(&w->listener, &w->address));
    TRY(listen_at(&w->config.proxy, &w->proxy));
    TRY(listen_at(&w->config.admin, &w->admin));
    TRY(process_spawn(child_main, w, &w->child, NULL));
    (void)close(w->listener);
    (void)close(w->config.proxy);
    (void)close(w->config.admin);
    TRY(pipe_create(w->loop, w->child.socket, &user, w, &w->pipe));
    w->child.socket = -1; /* the pipe's */
    world_put(w, &(struct pipe_record){.op = PIPE_START});
    return OK;
}

void world_clear(struct world *w)
{
    pipe_free(&w->pipe);
    loop_free(&w->loop);
    process_end(&w->child);
}

int world_exit_status(struct world *w)
{
    int status = -1;
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (clock_mono_ms() < end && w->child.pid != 0)
        if (process_wait(&w->child, 10, &status) != OK && w->loop != NULL)
            world_pump(w, 5);
    return status;
}

/* What the core would answer to hello, as far as net looks at it. */
const uint8_t hello_ok[3] = {0, METHOD_HELLO, STATUS_OK};
const uint8_t ping_ok[3] = {0, METHOD_PING, STATUS_OK};

void world_answer(struct world *w, const struct seen *request,
                  const uint8_t bytes[3])
{
    world_put(w, &(struct pipe_record){.op = PIPE_MESSAGE,
                                       .conn = request->record.conn,
                                       .kind = FRAME_ANSWER,
                                       .id = request->record.id,
                                       .bytes = {bytes, 3}});
}

/* Connects; tells the number that net gave. */
enum err world_join(struct world *w, struct netclient *c, uint32_t *out_conn)
{
    TRY(netclient_connect(c, &w->address));
    const struct seen *open = world_next_op(w, PIPE_OPEN);
    if (open == NULL)
        return ERR_STATE;
    *out_conn = open->record.conn;
    return OK;
}

/* And says hello, which is answered. */
enum err world_join_greeted(struct world *w, struct netclient *c,
                            uint32_t *out_conn)
{
    const struct message hello = {FRAME_REQUEST, 1, {hello_ok, 2}};
    struct message got;
    TRY(world_join(w, c, out_conn));
    TRY(netclient_send(c, &hello));
    const struct seen *s = world_next_op(w, PIPE_MESSAGE);
    if (s == NULL)
        return ERR_STATE;
    world_answer(w, s, hello_ok);
    return netclient_next(c, &got);
}

struct bytes zeros(size_t len)
{
    static const uint8_t data[MESSAGE_MAX];
    return (struct bytes){data, len};
}
