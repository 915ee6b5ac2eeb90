/* SPDX-License-Identifier: Apache-2.0 */
/* What the PostgreSQL store owes beyond the rules: it refuses a server that
 * could lose something, and loses nothing when the server goes away. */
#include "server/core_fixture.h"

#include "server/store_pg_impl.h"
#include "sys/clock.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT 512U

static const char *conninfo(void) { return getenv("SOTTO_TEST_STORE"); }

/* Runs $SOTTO_TEST_PG_CTL; the caller waits for it. */
static pid_t control(const char *word)
{
    const char *program = getenv("SOTTO_TEST_PG_CTL");
    pid_t pid = program != NULL ? fork() : -1;
    if (pid == 0) {
        (void)execl(program, program, word, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* The first cell of the last statement's result, or "". */
static void ask(const char *text, char out[TEXT])
{
    CLEANUP(pg_conn_close) PGconn *conn = NULL;
    CLEANUP(pg_result_clear) PGresult *r = NULL;
    out[0] = '\0';
    if (pg_connect(conninfo(), &conn, NULL) != OK)
        return;
    r = PQexec(conn, text);
    if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) > 0)
        (void)snprintf(out, TEXT, "%s", PQgetvalue(r, 0, 0));
    else if (PQresultStatus(r) != PGRES_COMMAND_OK)
        (void)snprintf(out, TEXT, "%s", PQerrorMessage(conn));
}

static bool tell(const char *text)
{
    char out[TEXT];
    ask(text, out);
    if (out[0] != '\0')
        printf("# %s\n", out);
    return out[0] == '\0';
}

static bool start(struct fixture *f)
{
    return fixture_start(f) == OK &&
           fixture_connect(f, 1, LANE_ANONYMOUS) == OK;
}

/* --- what it refuses --- */

static void check_refused(const char *with, bool existing, const char *says)
{
    struct problem p = {0};
    struct store_pg *s = NULL;
    char text[TEXT];
    (void)snprintf(text, sizeof text, "%s %s", conninfo(), with);
    const struct store_pg_config config = {.conninfo = text,
                                           .existing = existing};
    enum err err = store_pg_open(&config, &p, &s);
    store_pg_close(&s);
    CHECK(err != OK);
    if (strstr(p.detail, says) == NULL)
        printf("# %s\n", p.detail);
    CHECK(strstr(p.detail, says) != NULL);
}

static void server_that_may_lose_what_it_commits_is_refused(void)
{
    check_refused("options='-c synchronous_commit=off'", false,
                  "synchronous_commit off");
    check_refused("options='-c synchronous_commit=local'", false,
                  "synchronous_commit local");
    CHECK(tell("ALTER SYSTEM SET fsync = off"));
    char done[TEXT];
    ask("SELECT pg_reload_conf()", done);
    for (unsigned i = 0; i < 100 && strcmp(done, "off") != 0; i++) {
        (void)usleep(20000);
        ask("SHOW fsync", done);
    }
    check_refused("", false, "fsync off");
    CHECK(tell("ALTER SYSTEM RESET fsync"));
    for (unsigned i = 0; i < 100 && strcmp(done, "on") != 0; i++) {
        ask("SELECT pg_reload_conf()", done);
        (void)usleep(20000);
        ask("SHOW fsync", done);
    }
}

static void tables_must_be_ours_and_of_our_version(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    CHECK_UINT(store_pg_erase(conninfo(), NULL), OK);
    check_refused("", true, "no tables");
    CHECK(start(&f));
    fixture_stop(&f);
    check_refused("", false, "has not its key");
    CHECK(tell("UPDATE sotto.schema_version SET version = 2"));
    check_refused("", true, "newer version");
    check_refused("dbname=nowhere", true, "does not exist");
}

static void password_is_not_repeated(void)
{
    struct problem p = {0};
    struct store_pg *s = NULL;
    const struct store_pg_config config = {
        .conninfo = "postgresql://anna:geheim@/x?nonsense=geheim"};
    CHECK(store_pg_open(&config, &p, &s) != OK);
    CHECK_UINT(p.kind, PROBLEM_USAGE);
    CHECK(strstr(p.detail, "geheim") == NULL);
    CHECK(store_pg_named(config.conninfo));
    CHECK(!store_pg_named("/var/lib/sotto"));
}

/* --- groups --- */

struct answers {
    unsigned ok, busy, other;
};

static struct answers flush_and_count(struct fixture *f)
{
    struct answers count = {0};
    struct core_output out;
    struct answer a;
    for (unsigned i = 0; i == 0 || core_is_waiting(f->core); i++) {
        if (i > 0)
            f->store.wait(f->store.ctx);
        core_flush(f->core, f->now);
    }
    while (core_take(f->core, &out)) {
        if (out.kind == FRAME_ANSWER && answer_read(out.message, &a) == OK) {
            count.ok += a.status == STATUS_OK;
            count.busy += a.status == STATUS_BUSY;
            count.other += a.status != STATUS_OK && a.status != STATUS_BUSY;
        }
        core_output_clear(&out);
    }
    return count;
}

static bool send_append(struct fixture *f, uint8_t channel, uint32_t key,
                        uint32_t *out_id)
{
    CLEANUP(buf_clear) struct buf body = buf_new(4096);
    uint8_t keys[IDEMPOTENCY_KEY] = {0};
    memcpy(keys, &key, sizeof key);
    if (fixture_body(f, NULL, &body) != OK)
        return false;
    const struct request q = {
        .method = METHOD_APPEND,
        .append = {.access = fixture_access(channel, 1),
                   .kind = ENTRY_APPLICATION,
                   .idempotency_key = BYTES_ARRAY(keys),
                   .body = buf_bytes(&body)},
    };
    return fixture_send(f, 1, &q, out_id) == OK;
}

static void failed_operation_takes_no_other_of_its_group_with_it(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    uint32_t id = 0;
    fixture_init(&f);
    CHECK(start(&f));
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK(tell("ALTER TABLE sotto.accepted ADD CHECK (get_byte(key, 0) <> 7)"));
    for (uint32_t key = 1; key <= 20; key++)
        CHECK(send_append(&f, 1, key, &id));
    struct answers count = flush_and_count(&f);
    CHECK_UINT(count.ok, 19);
    CHECK_UINT(count.busy, 1);
    CHECK(strstr(f.store.problem(f.store.ctx)->detail, "check constraint") !=
          NULL);
    CHECK_UINT(fixture_check(&f), OK);
    char head[TEXT];
    ask("SELECT head FROM sotto.channel", head);
    CHECK_UINT(strtoull(head, NULL, 10), 19);
}

struct asked {
    uint8_t channel, sub;
    uint64_t after;
    uint32_t key;
    enum status status; /* what is wanted */
    uint64_t number;    /* the entry's, or the detail */
    bool commit;
    uint32_t id;
};

static bool send_asked(struct fixture *f, struct asked *a)
{
    CLEANUP(buf_clear) struct buf body = buf_new(4096);
    uint8_t keys[IDEMPOTENCY_KEY] = {0};
    const struct fixture_change change = fixture_same();
    memcpy(keys, &a->key, sizeof a->key);
    if (fixture_body(f, a->commit ? &change : NULL, &body) != OK)
        return false;
    struct request q = {
        .method = METHOD_APPEND,
        .append = {.access = fixture_access(a->channel, 1),
                   .after = a->after,
                   .kind = a->commit ? ENTRY_COMMIT : ENTRY_APPLICATION,
                   .idempotency_key = BYTES_ARRAY(keys),
                   .body = buf_bytes(&body)},
    };
    if (a->sub != 1) /* another's capability */
        q.append.access.cap = fixture_access(a->channel, a->sub).cap;
    return fixture_send(f, 1, &q, &a->id) == OK;
}

static bool is_answered(const struct asked *a, const struct core_output *out)
{
    struct answer got;
    if (out->kind != FRAME_ANSWER || answer_read(out->message, &got) != OK)
        return false;
    uint64_t number = got.status == STATUS_OK ? got.append.seq : got.detail;
    if (got.status != a->status || number != a->number)
        printf("# channel %u: status %u, number %llu\n", a->channel,
               (unsigned)got.status, (unsigned long long)number);
    return got.status == a->status && number == a->number;
}

/* In one group: those that go in one call, and those that it must not take. */
static void appends_in_one_call_are_answered_each_for_itself(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    struct asked all[] = {
        {1, 1, 0, 11, STATUS_OK, 1, false, 0},
        {2, 1, 7, 12, STATUS_BEHIND, 0, false, 0},
        {3, 1, 0, 5, STATUS_OK, 1, false, 0}, /* its key is known */
        {4, 2, 0, 14, STATUS_AUTH, 0, false, 0},
        {5, 1, 0, 15, STATUS_OK, 1, false, 0},
        {6, 1, 0, 16, STATUS_OK, 1, false, 0},
        {6, 1, 0, 17, STATUS_OK, 2, false, 0},
        {6, 1, 0, 16, STATUS_OK, 1, false, 0}, /* again, behind another */
        {7, 1, 0, 18, STATUS_OK, 1, true, 0},
        {7, 1, 1, 19, STATUS_OK, 2, false, 0}, /* knows what is before it */
        {8, 1, 0, 20, STATUS_NOTFOUND, 0, false, 0},
    };
    unsigned good = 0;
    struct core_output out;
    fixture_init(&f);
    CHECK(start(&f));
    for (uint8_t c = 1; c <= 7; c++) {
        CHECK_UINT(fixture_create(&f, 1, c, 1), STATUS_OK);
        const struct request q = {.method = METHOD_ATTACH,
                                  .attach = {fixture_access(c, 1)}};
        if (c != 5) /* that one was never used */
            CHECK_UINT(fixture_status(&f, 1, &q), STATUS_OK);
    }
    CHECK_UINT(fixture_append(&f, fixture_from(1, 3, 1), 0, 99, NULL),
               STATUS_OK);
    CHECK(tell("UPDATE sotto.accepted SET key = '\\x05' || substr("
               "'\\x00000000000000000000000000000000'::bytea, 2)"));
    for (size_t i = 0; i < COUNT(all); i++)
        CHECK(send_asked(&f, &all[i]));
    core_flush(f.core, f.now);
    while (core_is_waiting(f.core)) {
        f.store.wait(f.store.ctx);
        core_flush(f.core, f.now);
    }
    while (core_take(f.core, &out)) {
        for (size_t i = 0; i < COUNT(all); i++)
            good += out.id == all[i].id && is_answered(&all[i], &out);
        core_output_clear(&out);
    }
    CHECK_UINT(good, COUNT(all));
    CHECK_UINT(fixture_check(&f), OK);
}

static bool is_fenced(struct fixture *f)
{
    const char *why = f->store.problem(f->store.ctx)->detail;
    return strstr(why, "another server") != NULL;
}

static void another_server_fences_the_first(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(store_pg_close) struct store_pg *second = NULL;
    const struct store_pg_config config = {.conninfo = conninfo(),
                                           .existing = true};
    fixture_init(&f);
    CHECK(start(&f));
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK_UINT(store_pg_open(&config, NULL, &second), OK);
    CHECK_UINT(fixture_create(&f, 1, 2, 1), STATUS_BUSY);
    CHECK_UINT(fixture_create(&f, 1, 2, 1), STATUS_BUSY);
    CHECK(is_fenced(&f));
    char count[TEXT];
    ask("SELECT count(*) FROM sotto.channel", count);
    CHECK_UINT(strtoull(count, NULL, 10), 1);
}

static void cut_connections(void)
{
    char out[TEXT];
    ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        out);
}

/* Until the lanes are there again, if they may. */
static enum status create_patiently(struct fixture *f, uint8_t channel)
{
    enum status status = STATUS_BUSY;
    for (unsigned i = 0; i < 50 && status == STATUS_BUSY && !is_fenced(f);
         i++) {
        status = fixture_create(f, 1, channel, 1);
        f->store.wait(f->store.ctx);
    }
    return status;
}

/* What a connection has sent may be read after the next has taken over. */
static void connection_fences_the_one_before_it(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    char owner[TEXT], text[2 * TEXT], out[TEXT];
    fixture_init(&f);
    CHECK(start(&f));
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    ask("SELECT owner FROM sotto.writer ORDER BY first_shard", owner);
    (void)snprintf(
        text, sizeof text,
        "SET search_path = sotto; SELECT count(*) FROM fence(0, '%s')", owner);
    ask(text, out);
    CHECK(strcmp(out, "0") == 0); /* nothing is said against it */
    cut_connections();
    CHECK_UINT(create_patiently(&f, 2), STATUS_OK);
    ask(text, out);
    CHECK(strstr(out, "another server") != NULL);
}

static void fenced_server_takes_nothing_back(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(store_pg_close) struct store_pg *second = NULL;
    const struct store_pg_config config = {.conninfo = conninfo(),
                                           .existing = true};
    char before[TEXT], after[TEXT];
    static const char owners[] =
        "SELECT string_agg(owner::text, ' ' ORDER BY first_shard)"
        " FROM sotto.writer";
    fixture_init(&f);
    CHECK(start(&f));
    CHECK_UINT(store_pg_open(&config, NULL, &second), OK);
    ask(owners, before);
    cut_connections();
    CHECK_UINT(create_patiently(&f, 1), STATUS_BUSY);
    ask(owners, after);
    CHECK(strcmp(before, after) == 0);
    CHECK(is_fenced(&f));
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_BUSY);
}

/* --- what goes --- */

static void weeks_that_are_over_are_dropped_whole(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    char text[TEXT];
    fixture_init(&f);
    CHECK(start(&f));
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK_UINT(fixture_append(&f, fixture_from(1, 1, 1), 0, 1, NULL),
               STATUS_OK);
    static const char name[] = "SELECT 'sotto.' || relname FROM pg_class WHERE "
                               "relname ~ '^entry_[0-9]*$' ORDER BY 1";
    char first[64];
    ask(name, text);
    (void)snprintf(first, sizeof first, "%.60s", text);
    CHECK(strncmp(first, "sotto.entry_", 12) == 0);
    for (unsigned day = 0; day < 45; day++) { /* a slow life goes on */
        f.now += FIXTURE_DAY_MS;
        CHECK_UINT(fixture_append(&f, fixture_from(1, 1, 1), 0,
                                  (uint8_t)(2 + day), NULL),
                   STATUS_OK);
        CHECK_UINT(fixture_check(&f), OK);
    }
    (void)snprintf(text, sizeof text, "SELECT to_regclass('%s')", first);
    char left[TEXT];
    ask(text, left);
    CHECK(left[0] == '\0');
    ask("SELECT count(*) FROM sotto.week", left);
    CHECK(strtoull(left, NULL, 10) <= 7);
    ask("SELECT count(*) FROM sotto.entry", left);
    CHECK(strtoull(left, NULL, 10) <= 31);
}

/* What the collection has not come to yet goes with its week, and the books
 * are right. */
static void dropped_entries_leave_their_channels_books(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    char out[TEXT];
    fixture_init(&f);
    CHECK(start(&f));
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK_UINT(fixture_append(&f, fixture_from(1, 1, 1), 0, 1, NULL),
               STATUS_OK);
    ask("SET search_path = sotto;"
        "SELECT 'x' FROM drop_weeks((SELECT min(week) + 1 FROM week))",
        out);
    CHECK(out[0] == '\0');
    CHECK_UINT(fixture_check(&f), OK);
    ask("SELECT bytes || ' ' || floor FROM sotto.channel", out);
    CHECK(strcmp(out, "0 1") == 0);
}

static void its_size_is_measured(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    char out[TEXT];
    fixture_init(&f);
    CHECK(start(&f));
    f.now += FIXTURE_DAY_MS; /* a collection is due */
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    ask("SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
        " WHERE relnamespace = 'sotto'::regnamespace AND relkind = 'r'",
        out);
    uint64_t now = strtoull(out, NULL, 10);
    uint64_t noted = f.store.size(f.store.ctx);
    CHECK(now > 0 && noted > now / 2 && noted <= now);
}

/* --- when it goes away --- */

#define CHANNELS    16U
#define KEYS        4000U
#define RESTARTS    3U
#define PATIENCE_MS 60000U

struct load {
    struct fixture f;
    uint32_t ids[KEYS + 1]; /* of the request for a key */
    uint64_t seqs[KEYS + 1];
    bool waits[KEYS + 1];
    unsigned acknowledged, busy, lost;
};

static uint8_t channel_of(uint32_t key)
{
    return (uint8_t)(1 + key % CHANNELS);
}

static void take_answers(struct load *l)
{
    struct core_output out;
    struct answer a;
    while (core_take(l->f.core, &out)) {
        uint32_t key = 1;
        while (key <= KEYS && !(l->waits[key] && l->ids[key] == out.id))
            key++;
        if (out.kind == FRAME_ANSWER && key <= KEYS &&
            answer_read(out.message, &a) == OK) {
            l->waits[key] = false;
            l->seqs[key] = a.status == STATUS_OK ? a.append.seq : 0;
            l->acknowledged += a.status == STATUS_OK;
            l->busy += a.status == STATUS_BUSY;
            l->lost += a.status != STATUS_OK && a.status != STATUS_BUSY;
        }
        core_output_clear(&out);
    }
}

/* Asks for what has no number yet, some at a time, as clients do. */
static bool send_some(struct load *l, uint32_t from)
{
    unsigned sent = 0;
    for (uint32_t i = 0; i < KEYS && sent < 48; i++) {
        uint32_t key = 1 + (from + i) % KEYS;
        if (l->waits[key] || l->seqs[key] != 0)
            continue;
        if (!send_append(&l->f, channel_of(key), key, &l->ids[key]))
            return false;
        l->waits[key] = true;
        sent++;
    }
    core_flush(l->f.core, l->f.now);
    return true;
}

static bool load_channels(struct load *l)
{
    for (uint8_t c = 1; c <= CHANNELS; c++)
        if (fixture_create(&l->f, 1, c, 1) != STATUS_OK)
            return false;
    return true;
}

/* The server is killed while groups are under way, and comes back. */
static bool load_run(struct load *l)
{
    unsigned restarts = 0;
    pid_t pid = 0;
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    for (uint32_t round = 0; l->acknowledged < KEYS && clock_mono_ms() < end;
         round++) {
        bool idle = pid == 0 || waitpid(pid, NULL, WNOHANG) == pid;
        if (idle && restarts < RESTARTS &&
            l->acknowledged > (restarts + 1) * KEYS / (RESTARTS + 2)) {
            pid = control("restart");
            restarts++;
        } else if (idle) {
            pid = 0;
        }
        if (!send_some(l, round * 48))
            return false;
        l->f.store.wait(l->f.store.ctx);
        core_flush(l->f.core, l->f.now);
        take_answers(l);
    }
    return (pid == 0 || waitpid(pid, NULL, 0) == pid) && restarts == RESTARTS;
}

/* Each key's number is in its channel once, and the numbers have no gap. */
static bool load_fits(const struct load *l)
{
    static bool seen[CHANNELS + 1][KEYS + 1];
    memset(seen, 0, sizeof seen);
    for (uint32_t key = 1; key <= KEYS; key++) {
        uint64_t seq = l->seqs[key];
        if (seq == 0 || seq > KEYS / CHANNELS || seen[channel_of(key)][seq])
            return false;
        seen[channel_of(key)][seq] = true;
    }
    return true;
}

static void restarts_lose_and_double_nothing(void)
{
    static struct load l;
    l = (struct load){0};
    char text[TEXT];
    fixture_init(&l.f);
    l.f.core_config.limits.remote_requests = UINT32_MAX;
    l.f.core_config.limits.subscription_appends = UINT32_MAX;
    CHECK(start(&l.f) && load_channels(&l));
    bool ran = load_run(&l);
    printf("# %u acknowledged, %u busy\n", l.acknowledged, l.busy);
    bool fits = load_fits(&l);
    enum err err = fixture_check(&l.f);
    fixture_clear(&l.f);
    CHECK(ran && fits);
    CHECK_UINT(err, OK);
    CHECK_UINT(l.acknowledged, KEYS);
    CHECK_UINT(l.lost, 0);
    CHECK(l.busy > 0);
    ask("SELECT count(*) FROM sotto.entry", text);
    CHECK_UINT(strtoull(text, NULL, 10), KEYS);
}

static const struct test tests[] = {
    TEST(server_that_may_lose_what_it_commits_is_refused),
    TEST(tables_must_be_ours_and_of_our_version),
    TEST(password_is_not_repeated),
    TEST(failed_operation_takes_no_other_of_its_group_with_it),
    TEST(appends_in_one_call_are_answered_each_for_itself),
    TEST(another_server_fences_the_first),
    TEST(connection_fences_the_one_before_it),
    TEST(fenced_server_takes_nothing_back),
    TEST(weeks_that_are_over_are_dropped_whole),
    TEST(dropped_entries_leave_their_channels_books),
    TEST(its_size_is_measured),
    TEST(restarts_lose_and_double_nothing),
};
TEST_MAIN(tests)
