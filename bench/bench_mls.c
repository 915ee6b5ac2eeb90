/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What MLS costs, over the public interface of libsotto-mls: two members of a
 * grown group (mls_grown.h), neighbours, one of whom commits and one of whom
 * follows, so that it derives all of the path. A commit is dropped on both
 * sides once it is measured: each round starts from the same group.
 *
 * usage: bench_mls [--quick | MEMBERS]   one size instead of all
 *
 * Lines are name, value, unit; at the end, for each target: `target`, name,
 * value, wanted, `ok` or `short`; and what the primitives alone would cost.
 */
#include "mls_grown.h"
#include "report.h"

#include "crypto/entropy.h"
#include "crypto/kem.h"
#include "crypto/sign.h"
#include "mls/public.h"
#include "mls/sizes.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_LARGE  50000U /* for what is linear */
#define ROUNDS_MAX     21U
#define ROUNDS_MIN     3U
#define ROUNDS_SECONDS 0.5 /* no new round after so much of one figure */
#define TEXT_MAX       1024U
#define NAME_SIZE      80U
#define COMMITTER      0U
#define FOLLOWER       1U

struct world {
    struct sotto_mls *mls;
    const struct suite *suite;
    uint32_t members;
    bool full;
    struct sotto_group *committer, *follower;
};

/* A failure ends the program: a benchmark has nobody to tell. */
static void must(enum sotto_err err, const char *what)
{
    if (err == SOTTO_OK)
        return;
    (void)fprintf(stderr, "bench_mls: %s: %s\n", what, sotto_err_text(err));
    exit(1);
}

static void must_inner(enum err err, const char *what)
{
    must((enum sotto_err)err, what);
}

static struct sotto_bytes view(const struct sotto_buf *b)
{
    return (struct sotto_bytes){b->data, b->len};
}

/* ---- Memory ---- */

static size_t heap_used;

static void *counted_alloc(size_t size)
{
    void *block = malloc(size);
    heap_used += malloc_usable_size(block);
    return block;
}

static void counted_release(void *block)
{
    heap_used -= malloc_usable_size(block);
    free(block);
}

/* ---- Figures ---- */

/* Those of suite 1 that have a target; the worst of all sizes where the size
 * must not count. */
enum figure {
    FIGURE_PROTECT,
    FIGURE_UNPROTECT,
    FIGURE_JOIN,
    FIGURE_CREATE,
    FIGURE_PROCESS,
    FIGURE_BULK,
    FIGURE_HEAP,
    FIGURES
};

static const struct target {
    const char *name;
    double wanted;
    bool least; /* else: at most */
} targets[FIGURES] = {
    {"protect, any size (1/s)", 30000, true},
    {"unprotect, any size (1/s)", 13000, true},
    {"join of a full group of 1000 (ms)", 60, false},
    {"update in a full group of 1000, create (ms)", 2, false},
    {"update in a full group of 1000, process (ms)", 3, false},
    {"add of 9999 in one commit (ms)", 3000, false},
    {"heap of a member (bytes)", 1229, false},
};
static double worst[FIGURES]; /* 0: not measured */

static void note(const struct world *w, enum figure f, double value)
{
    bool least = targets[f].least;
    if (w->suite->id != SUITE_X25519_AES128)
        return;
    if (worst[f] == 0 || (least ? value < worst[f] : value > worst[f]))
        worst[f] = value;
}

static void figure(const struct world *w, const char *what, double value,
                   const char *unit)
{
    char name[2 * NAME_SIZE];
    (void)snprintf(name, sizeof name, "mls_%s_suite%04x_%s_n%u", what,
                   (unsigned)w->suite->id, w->full ? "full" : "blank",
                   (unsigned)w->members);
    report(name, value, unit);
}

/* Times of one thing, in rounds. */
struct rounds {
    double took[ROUNDS_MAX];
    size_t count;
    double sum;
};

static bool rounds_more(const struct rounds *r)
{
    if (r->count < report_scale(ROUNDS_MIN, 1))
        return true;
    return r->count < report_scale(ROUNDS_MAX, 1) && r->sum < ROUNDS_SECONDS;
}

static void rounds_add(struct rounds *r, double seconds)
{
    assert(r->count < ROUNDS_MAX);
    r->took[r->count++] = seconds;
    r->sum += seconds;
}

static double rounds_ms(struct rounds *r)
{
    return report_median(r->took, r->count) * 1e3;
}

/* ---- Newcomers ---- */

struct newcomer {
    struct sotto_buf private_key, public_key;
    struct sotto_buf package, package_private;
};

static void newcomer_clear(struct newcomer *n)
{
    sotto_buf_free(&n->private_key);
    sotto_buf_free(&n->public_key);
    sotto_buf_free(&n->package);
    sotto_buf_free(&n->package_private);
}

static struct sotto_identity identity_of(const struct world *w,
                                         const struct newcomer *n)
{
    return (struct sotto_identity){
        .suite = (uint16_t)w->suite->id,
        .identity = {(const uint8_t *)"new", 3},
        .signature_private = view(&n->private_key),
        .signature_public = view(&n->public_key),
        .not_after = UINT64_MAX,
    };
}

static void newcomer_make(const struct world *w, struct newcomer *n)
{
    struct sotto_ref ref;
    *n = (struct newcomer){0};
    must(sotto_mls_signature_keygen(w->mls, (uint16_t)w->suite->id,
                                    &n->private_key, &n->public_key),
         "keygen");
    const struct sotto_identity id = identity_of(w, n);
    must(sotto_key_package_create(w->mls, &id, &n->package, &n->package_private,
                                  &ref),
         "key package");
}

static void found(const struct world *w, const struct newcomer *n,
                  struct sotto_group **out)
{
    const struct sotto_identity id = identity_of(w, n);
    must(sotto_group_create(w->mls, &id,
                            (struct sotto_bytes){(const uint8_t *)"b", 1},
                            (struct sotto_extension_list){0}, out),
         "create");
}

/* ---- Commits ---- */

static void follow(struct world *w, const struct sotto_buf *message,
                   enum sotto_outcome wanted)
{
    struct sotto_result r = {0};
    must(sotto_group_process(w->follower, view(message), &r), "process");
    if (r.outcome != wanted) {
        (void)fprintf(stderr, "bench_mls: outcome %d\n", (int)r.outcome);
        exit(1);
    }
    sotto_result_free(&r);
}

struct commit_times {
    struct rounds create, process;
    size_t bytes;
};

static void measure_commit(struct world *w, const char *what,
                           const struct sotto_commit *commit,
                           struct commit_times *out)
{
    char name[NAME_SIZE];
    *out = (struct commit_times){0};
    while (rounds_more(&out->create)) {
        struct sotto_commit_out made = {0};
        double start = report_cpu();
        must(sotto_group_commit(w->committer, commit, &made), what);
        double middle = report_cpu();
        follow(w, &made.message, SOTTO_COMMIT);
        rounds_add(&out->process, report_cpu() - middle);
        rounds_add(&out->create, middle - start);
        out->bytes = made.message.len;
        sotto_group_drop_pending(w->committer);
        sotto_commit_out_free(&made);
    }
    (void)snprintf(name, sizeof name, "%s_create", what);
    figure(w, name, rounds_ms(&out->create), "ms");
    (void)snprintf(name, sizeof name, "%s_process", what);
    figure(w, name, rounds_ms(&out->process), "ms");
    (void)snprintf(name, sizeof name, "%s_commit", what);
    figure(w, name, (double)out->bytes, "bytes");
}

static void measure_commits(struct world *w)
{
    struct commit_times t;
    struct newcomer one;
    measure_commit(w, "update", &(struct sotto_commit){0}, &t);
    if (w->full && w->members == 1000) {
        note(w, FIGURE_CREATE, rounds_ms(&t.create));
        note(w, FIGURE_PROCESS, rounds_ms(&t.process));
    }
    newcomer_make(w, &one);
    const struct sotto_bytes adds[] = {view(&one.package)};
    measure_commit(w, "add",
                   &(struct sotto_commit){.adds = adds, .add_count = 1}, &t);
    newcomer_clear(&one);
    const uint32_t last = w->members - 1;
    if (last > FOLLOWER)
        measure_commit(
            w, "remove",
            &(struct sotto_commit){.removes = &last, .remove_count = 1}, &t);
}

static void measure_join(struct world *w)
{
    struct newcomer one;
    struct sotto_commit_out out = {0};
    struct rounds took = {0};
    size_t heap = 0;
    newcomer_make(w, &one);
    const struct sotto_bytes adds[] = {view(&one.package)};
    const struct sotto_commit commit = {.adds = adds, .add_count = 1};
    must(sotto_group_commit(w->committer, &commit, &out), "add");
    const struct sotto_join join = {.welcome = view(&out.welcome),
                                    .key_package_private =
                                        view(&one.package_private)};
    while (rounds_more(&took)) {
        struct sotto_group *joined = NULL;
        size_t before = heap_used;
        double start = report_cpu();
        must(sotto_group_join(w->mls, &join, &joined), "join");
        rounds_add(&took, report_cpu() - start);
        heap = heap_used - before;
        sotto_group_free(&joined);
    }
    sotto_group_drop_pending(w->committer);
    sotto_commit_out_free(&out);
    newcomer_clear(&one);

    double ms = rounds_ms(&took);
    double per_member = (double)heap / (w->members + 1.0);
    figure(w, "join", ms, "ms");
    figure(w, "heap", (double)heap, "bytes");
    figure(w, "heap_per_member", per_member, "bytes");
    if (w->full && w->members == 1000)
        note(w, FIGURE_JOIN, ms);
    if (w->members >= 1000)
        note(w, FIGURE_HEAP, per_member);
}

/* A new group, and all others added to it by one commit. */
static void measure_founding(struct world *w)
{
    size_t count = w->members - 1;
    struct newcomer founder;
    struct newcomer *all = calloc(count, sizeof *all);
    struct sotto_bytes *adds = calloc(count, sizeof *adds);
    const struct sotto_commit commit = {.adds = adds, .add_count = count};
    struct rounds created = {0};
    struct rounds added = {0};
    assert(all != NULL && adds != NULL);
    newcomer_make(w, &founder);
    for (size_t i = 0; i < count; i++) {
        newcomer_make(w, &all[i]);
        adds[i] = view(&all[i].package);
    }
    while (rounds_more(&added)) {
        struct sotto_group *g = NULL;
        struct sotto_commit_out out = {0};
        double start = report_cpu();
        found(w, &founder, &g);
        double middle = report_cpu();
        must(sotto_group_commit(g, &commit, &out), "add all");
        rounds_add(&added, report_cpu() - middle);
        rounds_add(&created, middle - start);
        sotto_commit_out_free(&out);
        sotto_group_free(&g);
    }
    figure(w, "create", rounds_ms(&created), "ms");
    figure(w, "add_all", rounds_ms(&added), "ms");
    if (w->members == 10000)
        note(w, FIGURE_BULK, rounds_ms(&added));
    for (size_t i = 0; i < count; i++)
        newcomer_clear(&all[i]);
    newcomer_clear(&founder);
    free(all);
    free(adds);
}

/* ---- Messages ---- */

static void protect(struct world *w, size_t size, struct sotto_buf *out)
{
    static const uint8_t text[TEXT_MAX];
    must(sotto_group_protect(w->committer, (struct sotto_bytes){0},
                             (struct sotto_bytes){text, size}, 0, out),
         "protect");
}

static void measure_messages(struct world *w, size_t size)
{
    unsigned count = report_scale(1000, 20);
    struct sotto_buf *messages = calloc(count, sizeof *messages);
    struct rounds sent = {0};
    struct rounds received = {0};
    char name[NAME_SIZE];
    assert(messages != NULL);
    while (rounds_more(&received)) {
        double start = report_cpu();
        for (unsigned i = 0; i < count; i++)
            protect(w, size, &messages[i]);
        double middle = report_cpu();
        for (unsigned i = 0; i < count; i++)
            follow(w, &messages[i], SOTTO_APPLICATION);
        rounds_add(&received, report_cpu() - middle);
        rounds_add(&sent, middle - start);
        for (unsigned i = 0; i < count; i++)
            sotto_buf_free(&messages[i]);
    }
    free(messages);
    double protects = 1e3 * count / rounds_ms(&sent);
    double unprotects = 1e3 * count / rounds_ms(&received);
    (void)snprintf(name, sizeof name, "protect_%zuB", size);
    figure(w, name, protects, "1/s");
    (void)snprintf(name, sizeof name, "unprotect_%zuB", size);
    figure(w, name, unprotects, "1/s");
    note(w, FIGURE_PROTECT, protects);
    note(w, FIGURE_UNPROTECT, unprotects);
}

/* ---- What is stored ---- */

/* Counts bytes and keeps nothing. */
static enum sotto_err count_put(void *ctx, enum sotto_record kind,
                                uint32_t index, struct sotto_bytes value)
{
    size_t *bytes = ctx;
    (void)kind, (void)index;
    *bytes += value.len;
    return SOTTO_OK;
}

static enum sotto_err count_del(void *ctx, enum sotto_record kind,
                                uint32_t index)
{
    (void)ctx, (void)kind, (void)index;
    return SOTTO_OK;
}

static enum sotto_err count_get(void *ctx, enum sotto_record kind,
                                uint32_t index, struct sotto_bytes *out)
{
    (void)ctx, (void)kind, (void)index, (void)out;
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
    double sent = 0;
    double received = 0;
    double cpu = 0;
    unsigned count = report_scale(200, 10);
    (void)saved(w->committer);
    (void)saved(w->follower);
    for (unsigned i = 0; i < count; i++) {
        struct sotto_buf message = {0};
        protect(w, TEXT_MAX, &message);
        double start = report_cpu();
        sent += (double)saved(w->committer);
        cpu += report_cpu() - start;
        follow(w, &message, SOTTO_APPLICATION);
        received += (double)saved(w->follower);
        sotto_buf_free(&message);
    }
    figure(w, "save_sent", sent / count, "bytes");
    figure(w, "save_received", received / count, "bytes");
    figure(w, "save_sent_time", cpu / count * 1e6, "us");
}

/* ---- Targets ---- */

/* Microseconds that one call takes. */
static double per_call(enum err (*call)(struct world *w), struct world *w)
{
    struct rounds took = {0};
    unsigned count = report_scale(500, 1);
    while (rounds_more(&took)) {
        double start = report_cpu();
        for (unsigned i = 0; i < count; i++)
            must_inner(call(w), "primitive");
        rounds_add(&took, (report_cpu() - start) / count);
    }
    return rounds_ms(&took) * 1e3;
}

static struct {
    struct secret signer, node;
    struct buf verifier, node_key, signature, enc;
} fixed;

static enum err sign_once(struct world *w)
{
    static const uint8_t text[200];
    buf_clear(&fixed.signature);
    fixed.signature = buf_new(SIGN_MAX);
    return sign(w->mls->crypto, SIGN_ED25519, &fixed.signer, BYTES_ARRAY(text),
                &fixed.signature);
}

static enum err verify_once(struct world *w)
{
    static const uint8_t text[200];
    return sign_verify(w->mls->crypto, SIGN_ED25519, buf_bytes(&fixed.verifier),
                       BYTES_ARRAY(text), buf_bytes(&fixed.signature));
}

static enum err keygen_once(struct world *w)
{
    buf_clear(&fixed.node_key);
    fixed.node_key = buf_new(KEM_PUBLIC_MAX);
    return kem_generate(w->mls->crypto, KEM_X25519, &w->mls->random,
                        &fixed.node, &fixed.node_key);
}

static enum err encap_once(struct world *w)
{
    CLEANUP(secret_clear) struct secret shared = {0};
    buf_clear(&fixed.enc);
    fixed.enc = buf_new(KEM_ENC_MAX);
    return kem_encap(w->mls->crypto, KEM_X25519, &w->mls->random,
                     buf_bytes(&fixed.node_key), &shared, &fixed.enc);
}

static enum err decap_once(struct world *w)
{
    CLEANUP(secret_clear) struct secret shared = {0};
    return kem_decap(w->mls->crypto, KEM_X25519, &fixed.node,
                     buf_bytes(&fixed.node_key), buf_bytes(&fixed.enc),
                     &shared);
}

/* What no code above the primitives can do without, for each target. A path in
 * a full tree of 1000 has 10 nodes. */
static void report_floors(struct world *w)
{
    fixed.verifier = buf_new(SIGN_PUBLIC_MAX);
    must_inner(sign_generate(w->mls->crypto, SIGN_ED25519, &w->mls->random,
                             &fixed.signer, &fixed.verifier),
               "keygen");
    double s = per_call(sign_once, w);
    double v = per_call(verify_once, w);
    double k = per_call(keygen_once, w);
    double e = per_call(encap_once, w);
    double d = per_call(decap_once, w);
    printf("# primitives of suite 1, us: sign %.1f, verify %.1f, key pair "
           "%.1f, encapsulate %.1f, decapsulate %.1f\n",
           s, v, k, e, d);
    printf("# protect: 1 sign: at most %.0f/s\n", 1e6 / s);
    printf("# unprotect: 1 verify: at most %.0f/s\n", 1e6 / v);
    printf("# join of 1000: 1002 verify, 1 decapsulate: at least %.1f ms\n",
           (1002 * v + d) / 1e3);
    printf("# update of 1000, create: 11 key pairs, 10 encapsulate, 2 sign: "
           "at least %.2f ms\n",
           (11 * k + 10 * e + 2 * s) / 1e3);
    printf("# update of 1000, process: 10 key pairs, 1 decapsulate, 2 verify: "
           "at least %.2f ms\n",
           (10 * k + d + 2 * v) / 1e3);
    printf("# add of 9999: 19998 verify, 9999 encapsulate: at least %.0f ms\n",
           (19998 * v + 9999 * e) / 1e3);
    buf_clear(&fixed.verifier);
    buf_clear(&fixed.node_key);
    buf_clear(&fixed.signature);
    buf_clear(&fixed.enc);
    secret_clear(&fixed.signer);
    secret_clear(&fixed.node);
}

static void report_targets(void)
{
    for (size_t i = 0; i < FIGURES; i++) {
        const struct target *t = &targets[i];
        if (worst[i] == 0)
            continue;
        bool ok = t->least ? worst[i] >= t->wanted : worst[i] <= t->wanted;
        printf("target\t%s\t%.2f\t%s%.0f\t%s\n", t->name, worst[i],
               t->least ? ">=" : "<=", t->wanted, ok ? "ok" : "short");
    }
}

/* ---- The run ---- */

static void world_open(struct world *w)
{
    CLEANUP(buf_clear) struct buf tree = buf_new(MLS_MESSAGE_MAX);
    const struct grown g = {w->mls, w->suite, w->members, w->full};
    must_inner(grown_tree(&g, &tree), "tree");
    must_inner(grown_group(&g, buf_bytes(&tree), COMMITTER, &w->committer),
               "committer");
    must_inner(grown_group(&g, buf_bytes(&tree), FOLLOWER, &w->follower),
               "follower");
    figure(w, "tree", (double)tree.len, "bytes");
}

static void world_close(struct world *w)
{
    sotto_group_free(&w->committer);
    sotto_group_free(&w->follower);
}

static void measure(struct world *w, uint32_t members, bool full)
{
    w->members = members;
    w->full = full;
    world_open(w);
    if (members < MEMBERS_LARGE) {
        measure_messages(w, 100);
        measure_messages(w, TEXT_MAX);
        measure_saving(w);
        measure_commits(w);
    }
    measure_join(w);
    world_close(w);
    if (!full) /* it begins with a tree of its own */
        measure_founding(w);
}

static void measure_suite(struct world *w, uint16_t suite, uint32_t only)
{
    static const uint32_t all[] = {2, 10, 100, 1000, 10000};
    const uint32_t *sizes = only != 0 ? &only : all;
    size_t count = report_quick() ? 2 : sizeof all / sizeof all[0];
    if (only != 0)
        count = 1;
    w->suite = suite_find(suite);
    assert(w->suite != NULL);
    for (size_t i = 0; i < count; i++) {
        measure(w, sizes[i], true);
        measure(w, sizes[i], false);
    }
}

int main(int argc, char **argv)
{
    struct entropy_seeded drawn;
    struct world w = {0};
    unsigned long only = 0;
    bool quick = argc == 2 && strcmp(argv[1], "--quick") == 0;
    if (quick)
        (void)setenv("BENCH_QUICK", "1", 1);
    else if (argc == 2)
        only = strtoul(argv[1], NULL, 10);
    if (argc > 2 || (argc == 2 && !quick && only < 2) || only > MEMBERS_LARGE) {
        (void)fprintf(stderr, "usage: bench_mls [--quick | MEMBERS]\n");
        return 2;
    }
    must(sotto_set_allocator(counted_alloc, counted_release), "allocator");
    entropy_seed(&drawn, 1);
    const struct random random = entropy_of(&drawn);
    must(sotto_mls_create((struct sotto_random){random.fill, random.ctx},
                          &w.mls),
         "context");
    printf("# mls: one thread, CPU time, medians of %u to %u rounds\n",
           ROUNDS_MIN, ROUNDS_MAX);
    measure_suite(&w, SUITE_X25519_AES128, (uint32_t)only);
    if (!report_quick() && only == 0) {
        measure(&w, MEMBERS_LARGE, true);
        measure(&w, MEMBERS_LARGE, false);
    }
    measure_suite(&w, sotto_suite_default(), (uint32_t)only);
    report_floors(&w);
    report_targets();
    sotto_mls_free(&w.mls);
    return 0;
}
