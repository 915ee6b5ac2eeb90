/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of 1 KiB per second of one core, and what is stored for each, over
 * the public interface of libsotto-mls. Member 0 founds the group and adds all
 * others in one commit; member 1 joins and receives.
 */
#include "sotto/mls.h"

#include "report.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_SIZE  1024U
#define ROUNDS     7U
#define MEMBER_MAX 2000U
#define MLS_SUITE1 1U /* MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 */

/* A failure ends the program: a benchmark has nobody to tell. */
static void must(enum sotto_err err, const char *what)
{
    if (err == SOTTO_OK)
        return;
    (void)fprintf(stderr, "bench_mls: %s: %s\n", what, sotto_err_text(err));
    exit(1);
}

/* The same bytes in each run (splitmix64). */
static void fill(void *ctx, uint8_t *out, size_t len)
{
    uint64_t *state = ctx;
    for (size_t i = 0; i < len; i++) {
        *state += 0x9e3779b97f4a7c15U;
        uint64_t x = *state;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
        out[i] = (uint8_t)(x >> 56);
    }
}

struct person {
    struct sotto_buf private_key, public_key;
    struct sotto_buf package, package_private;
};

struct world {
    struct sotto_mls *mls;
    uint16_t suite;
    uint64_t seed;
    size_t members;
    struct person person[MEMBER_MAX];
    struct sotto_group *sender, *receiver;
};

static struct sotto_bytes view(const struct sotto_buf *b)
{
    return (struct sotto_bytes){b->data, b->len};
}

static void person_clear(struct person *p)
{
    sotto_buf_free(&p->private_key);
    sotto_buf_free(&p->public_key);
    sotto_buf_free(&p->package);
    sotto_buf_free(&p->package_private);
}

static struct sotto_identity identity_of(const struct world *w, size_t i,
                                         uint8_t name[2])
{
    name[0] = (uint8_t)(i >> 8);
    name[1] = (uint8_t)i;
    return (struct sotto_identity){
        .suite = w->suite,
        .identity = {name, 2},
        .signature_private = view(&w->person[i].private_key),
        .signature_public = view(&w->person[i].public_key),
        .not_after = UINT64_MAX,
    };
}

/* ---- The group ---- */

static void make_people(struct world *w)
{
    for (size_t i = 0; i < w->members; i++) {
        struct person *p = &w->person[i];
        struct sotto_ref ref;
        uint8_t name[2];
        must(sotto_mls_signature_keygen(w->mls, w->suite, &p->private_key,
                                        &p->public_key),
             "keygen");
        const struct sotto_identity id = identity_of(w, i, name);
        if (i == 0)
            must(sotto_group_create(w->mls, &id, (struct sotto_bytes){name, 2},
                                    (struct sotto_extension_list){0},
                                    &w->sender),
                 "create");
        else
            must(sotto_key_package_create(w->mls, &id, &p->package,
                                          &p->package_private, &ref),
                 "key package");
    }
}

static void add_all(struct world *w)
{
    static struct sotto_bytes adds[MEMBER_MAX];
    struct sotto_commit_out out = {0};
    for (size_t i = 1; i < w->members; i++)
        adds[i - 1] = view(&w->person[i].package);
    const struct sotto_commit commit = {.adds = adds,
                                        .add_count = w->members - 1};
    must(sotto_group_commit(w->sender, &commit, &out), "commit");
    must(sotto_group_merge_pending(w->sender), "merge");
    const struct sotto_join join = {.welcome = view(&out.welcome),
                                    .key_package_private =
                                        view(&w->person[1].package_private)};
    must(sotto_group_join(w->mls, &join, &w->receiver), "join");
    sotto_commit_out_free(&out);
}

static void world_open(struct world *w, uint16_t suite, size_t members)
{
    *w = (struct world){.suite = suite, .seed = 1, .members = members};
    must(sotto_mls_create((struct sotto_random){fill, &w->seed}, &w->mls),
         "context");
    make_people(w);
    add_all(w);
}

static void world_close(struct world *w)
{
    sotto_group_free(&w->sender);
    sotto_group_free(&w->receiver);
    for (size_t i = 0; i < w->members; i++)
        person_clear(&w->person[i]);
    sotto_mls_free(&w->mls);
}

/* ---- Messages ---- */

static const uint8_t text[TEXT_SIZE];

static void protect(struct world *w, struct sotto_buf *out)
{
    must(sotto_group_protect(w->sender, (struct sotto_bytes){0},
                             (struct sotto_bytes){text, sizeof text}, 0, out),
         "protect");
}

static void unprotect(struct world *w, const struct sotto_buf *message)
{
    struct sotto_result r = {0};
    must(sotto_group_process(w->receiver, view(message), &r), "process");
    assert(r.outcome == SOTTO_APPLICATION && r.content.len == TEXT_SIZE);
    sotto_result_free(&r);
}

static void name_of(const struct world *w, const char *what, char out[80])
{
    (void)snprintf(out, 80, "mls_%s_suite%04x_n%zu", what, (unsigned)w->suite,
                   w->members);
}

static void measure_messages(struct world *w)
{
    unsigned count = report_scale(2000, 20);
    struct sotto_buf *messages = calloc(count, sizeof *messages);
    double sent[ROUNDS];
    double received[ROUNDS];
    char name[80];
    assert(messages != NULL);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start = report_cpu();
        for (unsigned i = 0; i < count; i++)
            protect(w, &messages[i]);
        double middle = report_cpu();
        for (unsigned i = 0; i < count; i++)
            unprotect(w, &messages[i]);
        received[round] = count / (report_cpu() - middle);
        sent[round] = count / (middle - start);
        for (unsigned i = 0; i < count; i++)
            sotto_buf_free(&messages[i]);
    }
    free(messages);
    name_of(w, "protect_1KiB", name);
    report(name, report_median(sent, ROUNDS), "1/s");
    name_of(w, "unprotect_1KiB", name);
    report(name, report_median(received, ROUNDS), "1/s");
}

/* ---- What is stored ---- */

/* Counts bytes and keeps nothing. */
static enum sotto_err count_put(void *ctx, enum sotto_record kind,
                                uint32_t index, struct sotto_bytes value)
{
    size_t *bytes = ctx;
    (void)kind;
    (void)index;
    *bytes += value.len;
    return SOTTO_OK;
}

static enum sotto_err count_del(void *ctx, enum sotto_record kind,
                                uint32_t index)
{
    (void)ctx;
    (void)kind;
    (void)index;
    return SOTTO_OK;
}

static enum sotto_err count_get(void *ctx, enum sotto_record kind,
                                uint32_t index, struct sotto_bytes *out)
{
    (void)ctx;
    (void)kind;
    (void)index;
    (void)out;
    return SOTTO_ERR_NOTFOUND;
}

static size_t saved(struct sotto_group *g)
{
    size_t bytes = 0;
    const struct sotto_store store = {&bytes, count_put, count_del, count_get};
    must(sotto_group_save(g, &store), "save");
    return bytes;
}

static void measure_saving(struct world *w)
{
    char name[80];
    double sent = 0;
    double received = 0;
    double cpu = 0;
    unsigned count = report_scale(1000, 10);
    (void)saved(w->sender);
    (void)saved(w->receiver);
    for (unsigned i = 0; i < count; i++) {
        struct sotto_buf message = {0};
        protect(w, &message);
        double start = report_cpu();
        sent += (double)saved(w->sender);
        cpu += report_cpu() - start;
        unprotect(w, &message);
        received += (double)saved(w->receiver);
        sotto_buf_free(&message);
    }
    name_of(w, "save_sent", name);
    report(name, sent / count, "bytes");
    name_of(w, "save_received", name);
    report(name, received / count, "bytes");
    name_of(w, "save_sent_time", name);
    report(name, cpu / count * 1e6, "us");
}

int main(void)
{
    static struct world w;
    static const size_t sizes[] = {2, 1000, MEMBER_MAX};
    const uint16_t suites[] = {sotto_suite_default(), MLS_SUITE1};
    size_t count = report_quick() ? 1 : sizeof sizes / sizeof sizes[0];
    printf("# mls: one thread, CPU time, medians of %u rounds\n", ROUNDS);
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        for (size_t j = 0; j < count; j++) {
            world_open(&w, suites[i], sizes[j]);
            measure_messages(&w);
            measure_saving(&w);
            world_close(&w);
        }
    }
    return 0;
}
