/* SPDX-License-Identifier: Apache-2.0 */
/* What the store owes on a real disk: durability, crashes, faults, and that its
 * files tell nothing that they should not. */
#include "server/core_fixture.h"

#include "proto/derive.h"
#include "proto/entry.h"
#include "test.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_SIZE 512U

struct place {
    char dir[64];
};

static struct place place_make(void)
{
    struct place p = {.dir = "/tmp/store_test.XXXXXX"};
    if (mkdtemp(p.dir) == NULL)
        abort();
    return p;
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void remove_all(const char *dir)
{
    (void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void place_clear(struct place *p) { remove_all(p->dir); }

static bool file_holds(const struct place *p, const char *name,
                       struct bytes needle)
{
    static uint8_t content[4U << 20];
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof path, "%s/%s", p->dir, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    size_t size = fread(content, 1, sizeof content, file);
    (void)fclose(file);
    return memmem(content, size, needle.data, needle.len) != NULL;
}

static bool any_holds(const struct place *p, const char *name,
                      struct bytes needle)
{
    char wal[64];
    (void)snprintf(wal, sizeof wal, "%s-wal", name);
    return file_holds(p, name, needle) || file_holds(p, wal, needle);
}

static bool restart(struct fixture *f)
{
    fixture_stop(f);
    return fixture_start(f) == OK &&
           fixture_connect(f, 1, LANE_ANONYMOUS) == OK &&
           fixture_connect(f, 2, LANE_IDENTIFIED) == OK;
}

static enum status put(struct fixture *f, uint8_t blob, uint64_t offset,
                       uint64_t total, struct bytes data, uint64_t *out)
{
    struct answer a;
    const struct request q = {
        .method = METHOD_BLOB_PUT,
        .blob_put = {.access = fixture_access(1, 1),
                     .blob = fixture_id(blob),
                     .offset = offset,
                     .total = total,
                     .days = 2,
                     .data = data},
    };
    if (fixture_ask(f, 1, &q, &a) != OK)
        return STATUS_COUNT_;
    *out = a.status == STATUS_OK ? a.blob_put.stored : a.detail;
    return (enum status)a.status;
}

/* Borrowed until the next answer. */
static enum status get(struct fixture *f, uint8_t blob, uint64_t offset,
                       uint32_t max, struct bytes *out)
{
    struct answer a;
    const struct request q = {
        .method = METHOD_BLOB_GET,
        .blob_get = {.blob = fixture_id(blob), .offset = offset, .max = max},
    };
    if (fixture_ask(f, 1, &q, &a) != OK)
        return STATUS_COUNT_;
    *out = a.status == STATUS_OK ? a.blob_get.data : (struct bytes){0};
    return (enum status)a.status;
}

static void what_was_answered_survives_a_restart(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    enum status status = STATUS_COUNT_;
    uint64_t got = 0;
    struct bytes data;
    fixture_init(&f);
    f.store_config.dir = p.dir;
    CHECK(restart(&f));
    CHECK_UINT(fixture_account_make(&f, &anna), OK);
    CHECK_UINT(
        fixture_register(&f, 2, "anna", (struct bytes){0}, &anna, &status), OK);
    CHECK_UINT(status, STATUS_OK);
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK_UINT(fixture_append(&f, fixture_from(1, 1, 1), 0, 1, NULL),
               STATUS_OK);
    CHECK_UINT(put(&f, 9, 0, 4, LIT("blob"), &got), STATUS_OK);

    CHECK(restart(&f));
    CHECK_UINT(fixture_login(&f, 2, &anna, &status), OK);
    CHECK_UINT(status, STATUS_OK);
    CHECK_UINT(fixture_append(&f, fixture_from(1, 1, 1), 0, 1, &got),
               STATUS_OK);
    CHECK_UINT(got, 1); /* it knows the key */
    CHECK_UINT(get(&f, 9, 0, 100, &data), STATUS_OK);
    CHECK_BYTES(data, LIT("blob"));
    CHECK_UINT(store_sqlite_check(f.sqlite, NULL), OK);
}

/* --- crashes --- */

struct crash {
    unsigned left; /* commits (each counts before and after) until it */
    bool done;
};

static bool crash_now(void *ctx, const char *name, enum sql_point point)
{
    struct crash *c = ctx;
    (void)name;
    (void)point;
    c->done = c->left == 0;
    c->left -= c->left > 0;
    return !c->done;
}

struct requests {
    struct request list[4];
    uint32_t conns[4];
};

/* One flush that writes to every file. */
static bool send_all(struct fixture *f, const struct requests *all)
{
    for (size_t i = 0; i < COUNT(all->list); i++) {
        uint32_t id = 0;
        if (fixture_send(f, all->conns[i], &all->list[i], &id) != OK)
            return false;
    }
    fixture_flush(f, 0);
    return true;
}

/* Wherever the crash comes, doing it all again does it once. */
static void crash_between_any_two_commits_loses_and_doubles_nothing(void)
{
    bool crashed = true;
    for (unsigned n = 0; crashed; n++) {
        CLEANUP(place_clear) struct place p = place_make();
        CLEANUP(fixture_clear) struct fixture f;
        CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
        CLEANUP(buf_clear) struct buf body = buf_new(4096);
        static const uint8_t item[INBOX_ITEM_SIZE] = {3};
        enum status status = STATUS_COUNT_;
        fixture_init(&f);
        f.store_config.dir = p.dir;
        CHECK(restart(&f));
        CHECK_UINT(fixture_account_make(&f, &anna), OK);
        CHECK_UINT(
            fixture_register(&f, 2, "anna", (struct bytes){0}, &anna, &status),
            OK);
        CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
        const struct fixture_change change = fixture_adds(2);
        CHECK_UINT(fixture_body(&f, &change, &body), OK);
        const struct requests all = {
            .conns = {1, 1, 1, 2},
            .list = {{.method = METHOD_APPEND,
                      .append = {.access = fixture_access(1, 1),
                                 .kind = ENTRY_COMMIT,
                                 .idempotency_key = {fixture_id(9).data,
                                                     IDEMPOTENCY_KEY},
                                 .body = buf_bytes(&body)}},
                     {.method = METHOD_INBOX_APPEND,
                      .inbox_append = {.account_id = BYTES_ARRAY(anna.id),
                                       .device_id = BYTES_ARRAY(anna.device),
                                       .contact_cap =
                                           BYTES_ARRAY(anna.contact_cap),
                                       .item = BYTES_ARRAY(item)}},
                     {.method = METHOD_BLOB_PUT,
                      .blob_put = {.access = fixture_access(1, 1),
                                   .blob = fixture_id(9),
                                   .total = 4,
                                   .days = 2,
                                   .data = LIT("blob")}},
                     {.method = METHOD_KP_PUBLISH,
                      .kp_publish = {.packages = LIT("\x01p"),
                                     .last_resort = LIT("last")}}},
        };
        struct crash crash = {.left = n};
        f.store_config.hook = (struct sql_hook){crash_now, &crash};
        CHECK(restart(&f));
        CHECK_UINT(fixture_login(&f, 2, &anna, &status), OK);
        CHECK(send_all(&f, &all));
        crashed = crash.done;

        f.store_config.hook = (struct sql_hook){0};
        CHECK(restart(&f));
        CHECK_UINT(store_sqlite_check(f.sqlite, NULL), OK);
        CHECK_UINT(fixture_login(&f, 2, &anna, &status), OK);
        CHECK(send_all(&f, &all));
        struct answer a;
        struct bytes data;
        const struct request read = {
            .method = METHOD_READ,
            .read = {.access = fixture_access(1, 1), .max_bytes = 10000}};
        CHECK_UINT(fixture_ask(&f, 1, &read, &a), OK);
        CHECK_UINT(a.read.head, 1);
        const struct request inbox = {.method = METHOD_INBOX_READ,
                                      .inbox_read = {0, 10}};
        CHECK_UINT(fixture_ask(&f, 2, &inbox, &a), OK);
        CHECK_UINT(a.inbox_read.items.len, 8 + INBOX_ITEM_SIZE);
        const struct request count = {.method = METHOD_KP_COUNT};
        CHECK_UINT(fixture_ask(&f, 2, &count, &a), OK);
        CHECK_UINT(a.kp_count.single_use, 1);
        CHECK_UINT(get(&f, 9, 0, 100, &data), STATUS_OK);
        CHECK_BYTES(data, LIT("blob"));
        CHECK_UINT(store_sqlite_check(f.sqlite, NULL), OK);
        CHECK(n >= 8 || crashed); /* before and after each of four */
    }
}

/* --- faults --- */

static void full_disk_stops_writers_only_and_loses_nothing(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(fixture_clear) struct fixture f;
    static uint8_t filler[20000];
    CLEANUP(buf_clear) struct buf body = buf_new(1U << 20);
    fixture_init(&f);
    f.store_config.dir = p.dir;
    f.store_config.max_bytes = 200000;
    CHECK(restart(&f));
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    struct writer w = writer_to(&body);
    writer_u16(&w, 1);
    writer_u16(&w, 2);
    writer_vec(&w, LIT("group"));
    writer_u64(&w, 1);
    writer_u8(&w, ENTRY_APPLICATION);
    writer_vec(&w, LIT(""));
    writer_vec(&w, LIT(""));
    writer_vec(&w, BYTES_ARRAY(filler));
    CHECK_UINT(writer_finish(&w), OK);
    struct answer a;
    uint64_t stored = 0;
    for (uint8_t key = 1; key < 20; key++) {
        uint32_t id = 0;
        const struct request q = {
            .method = METHOD_APPEND,
            .append = {.access = fixture_access(1, 1),
                       .kind = ENTRY_APPLICATION,
                       .idempotency_key = {fixture_id(key).data,
                                           IDEMPOTENCY_KEY},
                       .body = buf_bytes(&body)},
        };
        const struct request read = {
            .method = METHOD_READ,
            .read = {.access = fixture_access(1, 1), .max_bytes = 1},
        };
        CHECK_UINT(fixture_send(&f, 1, &q, &id), OK);
        CHECK_UINT(fixture_ask(&f, 1, &read, &a), OK); /* in one flush */
        CHECK_UINT(a.status, STATUS_OK);
        stored = a.read.head;
    }
    CHECK(stored > 3 && stored < 19);
    CHECK_UINT(f.store.problem(f.store.ctx)->kind, PROBLEM_FULL);
    CHECK_UINT(store_sqlite_check(f.sqlite, NULL), OK);
    /* the others are unharmed, and acknowledging makes room */
    const struct request ack = {
        .method = METHOD_ACK,
        .ack = {.access = fixture_access(1, 1), .upto = stored}};
    CHECK_UINT(fixture_status(&f, 1, &ack), STATUS_OK);
    CHECK_UINT(fixture_append(&f, fixture_from(1, 1, 1), 0, 100, &stored),
               STATUS_OK);
}

static void second_server_is_told_that_it_is_locked(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    f.store_config.dir = p.dir;
    f.store_config.exclusive = true;
    CHECK(restart(&f));
    pid_t child = fork();
    if (child == 0) {
        struct store_sqlite *second = NULL;
        struct problem problem = {0};
        enum err err = store_sqlite_open(&f.store_config, &problem, &second);
        _exit(err == ERR_STATE && problem.kind == PROBLEM_LOCKED ? 0 : 1);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_UINT((unsigned)status, 0);
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
}

static void damage_is_found_and_told(void)
{
    static const char *const names[] = {"accounts.db", "inboxes.db",
                                        "channels.db", "blobs.db"};
    for (size_t i = 0; i < COUNT(names); i++) {
        CLEANUP(place_clear) struct place p = place_make();
        CLEANUP(fixture_clear) struct fixture f;
        struct problem problem = {0};
        char path[PATH_SIZE];
        fixture_init(&f);
        f.store_config.dir = p.dir;
        CHECK(restart(&f));
        fixture_stop(&f); /* moves the log into the file */
        (void)snprintf(path, sizeof path, "%s/%s", p.dir, names[i]);
        static const uint8_t noise[4096] = {0x0d, 0xff, 0xff, 0xff, 0xff, 1, 2};
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        bool written = pwrite(fd, noise, sizeof noise, 2L * 4096) > 0;
        CHECK(close(fd) == 0 && written);
        enum err err = store_sqlite_open(&f.store_config, &problem, &f.sqlite);
        if (err == OK)
            err = store_sqlite_check(f.sqlite, &problem);
        CHECK_UINT(err, ERR_IO);
        CHECK_UINT(problem.kind, PROBLEM_DAMAGED);
        CHECK(strstr(problem.detail, names[i]) != NULL);
        store_sqlite_close(&f.sqlite);

        CHECK(truncate(path, 0) == 0 && truncate(path, 4096) == 0);
        err = store_sqlite_open(&f.store_config, &problem, &f.sqlite);
        CHECK_UINT(err, ERR_AUTH); /* no database at all */
        CHECK(strstr(problem.detail, names[i]) != NULL);
    }
}

static void check_finds_what_does_not_fit_together(void)
{
    static const struct {
        const char *file, *spoil, *says;
    } cases[] = {
        {"channels.db", "UPDATE channel SET head = 2", "outside its channel"},
        {"channels.db", "DELETE FROM entry WHERE seq = 2", "missing"},
        {"channels.db", "UPDATE channel SET bytes = 1", "miscounted"},
        {"channels.db", "UPDATE channel SET handshake = 9", "handshake"},
        {"channels.db", "UPDATE subscription SET cursor = 9", "subscription"},
        {"channels.db",
         "INSERT INTO accepted SELECT slot, id, 9, 0 FROM channel",
         "idempotency key"},
        {"channels.db", "UPDATE place SET entry = entry - 1", "missing"},
        {"channels.db", "UPDATE place SET seq = 9 WHERE seq = 1", "missing"},
        {"channels.db",
         "INSERT INTO place SELECT slot, 9, NULL, id, 0 FROM channel",
         "a place does not fit"},
        {"channels.db",
         "INSERT INTO entry SELECT NULL, slot, seq, time, kind, body FROM "
         "entry",
         "there twice"},
        {"accounts.db", "DELETE FROM state", "chain has a gap"},
        {"accounts.db", "DELETE FROM handle", "no handle"},
        {"blobs.db", "UPDATE usage SET bytes = 1", "miscounted"},
        {"blobs.db",
         "UPDATE blob SET stored = 9, total = 9;"
         "UPDATE usage SET bytes = 9",
         "too short"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(place_clear) struct place p = place_make();
        CLEANUP(fixture_clear) struct fixture f;
        CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
        CLEANUP(sql_close) struct sql *db = NULL;
        enum status status = STATUS_COUNT_;
        struct problem problem = {0};
        uint64_t got = 0;
        char path[PATH_SIZE];
        fixture_init(&f);
        f.store_config.dir = p.dir;
        CHECK(restart(&f));
        CHECK_UINT(fixture_account_make(&f, &anna), OK);
        CHECK_UINT(
            fixture_register(&f, 2, "anna", (struct bytes){0}, &anna, &status),
            OK);
        CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
        for (uint8_t key = 1; key <= 3; key++)
            CHECK_UINT(fixture_append(&f, fixture_from(1, 1, 1), 0, key, NULL),
                       STATUS_OK);
        CHECK_UINT(put(&f, 9, 0, 4, LIT("blob"), &got), STATUS_OK);
        CHECK_UINT(store_sqlite_check(f.sqlite, &problem), OK);
        (void)snprintf(path, sizeof path, "%s/%s", p.dir, cases[i].file);
        const struct sql_config config = {.path = path, .existing = true};
        CHECK_UINT(sql_open(&config, NULL, &db), OK);
        CHECK_UINT(sql_exec(db, cases[i].spoil), OK);
        CHECK_UINT(store_sqlite_check(f.sqlite, &problem), ERR_IO);
        CHECK_UINT(problem.kind, PROBLEM_DAMAGED);
        CHECK(strstr(problem.detail, cases[i].says) != NULL);
    }
}

/* --- blobs --- */

static void blob_upload_resumes_where_it_was(void)
{
    static const char *const vfs[] = {NULL, "unix"}; /* in files; in rows */
    for (size_t i = 0; i < COUNT(vfs); i++) {
        CLEANUP(place_clear) struct place p = place_make();
        CLEANUP(fixture_clear) struct fixture f;
        uint64_t got = 9;
        struct bytes data;
        fixture_init(&f);
        f.store_config.dir = p.dir;
        f.store_config.vfs = vfs[i];
        f.store_config.quotas.blob_bytes = 20;
        f.store_config.quotas.blobs_bytes = 25;
        CHECK(restart(&f));
        CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
        CHECK_UINT(put(&f, 9, 0, 10, LIT(""), &got), STATUS_OK);
        CHECK_UINT(got, 0);
        CHECK_UINT(put(&f, 9, 4, 10, LIT("45"), &got), STATUS_STATE);
        CHECK_UINT(put(&f, 9, 0, 10, LIT("0123"), &got), STATUS_OK);
        CHECK_UINT(got, 4);
        CHECK_UINT(get(&f, 9, 0, 100, &data), STATUS_NOTFOUND); /* not yet */
        CHECK(restart(&f));
        CHECK_UINT(put(&f, 9, 0, 10, LIT("0123"), &got), STATUS_STATE);
        CHECK_UINT(got, 4); /* go on from there */
        CHECK_UINT(put(&f, 9, 4, 11, LIT("45"), &got), STATUS_EXISTS);
        CHECK_UINT(put(&f, 9, 4, 10, LIT("4567890"), &got), STATUS_INVALID);
        CHECK_UINT(put(&f, 9, 4, 10, LIT("456789"), &got), STATUS_OK);
        CHECK_UINT(got, 10);
        CHECK_UINT(get(&f, 9, 0, 100, &data), STATUS_OK);
        CHECK_BYTES(data, LIT("0123456789"));
        CHECK_UINT(get(&f, 9, 3, 4, &data), STATUS_OK);
        CHECK_BYTES(data, LIT("3456"));
        CHECK_UINT(get(&f, 9, 10, 4, &data), STATUS_OK);
        CHECK_UINT(data.len, 0);
        CHECK_UINT(get(&f, 9, 11, 4, &data), STATUS_INVALID);
        CHECK_UINT(put(&f, 8, 0, 21, LIT("x"), &got), STATUS_LIMIT);
        CHECK_UINT(put(&f, 8, 0, 20, LIT("x"), &got), STATUS_LIMIT); /* sum */
        CHECK_UINT(put(&f, 8, 0, 15, LIT("x"), &got), STATUS_OK);
        CHECK_UINT(store_sqlite_check(f.sqlite, NULL), OK);
    }
}

static void blob_goes_with_its_file_when_its_time_is_over(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(fixture_clear) struct fixture f;
    uint64_t got = 0;
    struct bytes data;
    char path[PATH_SIZE];
    char litter[PATH_SIZE];
    fixture_init(&f);
    f.store_config.dir = p.dir;
    CHECK(restart(&f));
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK_UINT(put(&f, 9, 0, 4, LIT("blob"), &got), STATUS_OK);
    int len = snprintf(path, sizeof path, "%s/blobs/", p.dir);
    (void)snprintf(litter, sizeof litter, "%s", path);
    for (size_t i = 0; i < 2 * (size_t)ID_SIZE; i++) {
        path[(size_t)len + i] = i % 2 == 0 ? '0' : '9';
        litter[(size_t)len + i] = 'a';
    }
    CHECK(access(path, F_OK) == 0);
    FILE *file = fopen(litter, "wb"); /* as a crash leaves it */
    CHECK(file != NULL && fclose(file) == 0);
    f.now += 2 * FIXTURE_DAY_MS;
    fixture_flush(&f, 0);
    CHECK(access(litter, F_OK) != 0);
    CHECK_UINT(get(&f, 9, 0, 100, &data), STATUS_OK);
    f.now += FIXTURE_DAY_MS;
    CHECK_UINT(get(&f, 9, 0, 100, &data), STATUS_NOTFOUND);
    fixture_flush(&f, 0);
    CHECK(access(path, F_OK) != 0);
    CHECK_UINT(store_sqlite_check(f.sqlite, NULL), OK);
}

static void lost_blob_file_is_told_apart(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(fixture_clear) struct fixture f;
    uint64_t got = 0;
    struct bytes data;
    char path[PATH_SIZE];
    struct problem problem = {0};
    fixture_init(&f);
    f.store_config.dir = p.dir;
    CHECK(restart(&f));
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK_UINT(put(&f, 9, 0, 4, LIT("blob"), &got), STATUS_OK);
    (void)snprintf(path, sizeof path, "%s/blobs", p.dir);
    remove_all(path);
    CHECK_UINT(get(&f, 9, 0, 100, &data), STATUS_NOTFOUND);
    CHECK_UINT(store_sqlite_check(f.sqlite, &problem), ERR_IO);
    CHECK(strstr(problem.detail, "its file is missing") != NULL);
}

/* --- what the files tell --- */

static void no_file_links_an_account_to_a_channel(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    enum status status = STATUS_COUNT_;
    uint64_t got = 0;
    fixture_init(&f);
    f.store_config.dir = p.dir;
    CHECK(restart(&f));
    CHECK_UINT(fixture_account_make(&f, &anna), OK);
    CHECK_UINT(
        fixture_register(&f, 2, "anna", (struct bytes){0}, &anna, &status), OK);
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK_UINT(
        fixture_commit(&f, fixture_from(1, 1, 1), 0, 1, fixture_adds(2), NULL),
        STATUS_OK);
    CHECK_UINT(put(&f, 9, 0, 4, LIT("blob"), &got), STATUS_OK);
    const struct {
        const char *file;
        struct bytes id;
        bool there;
    } cases[] = {
        {"accounts.db", BYTES_ARRAY(anna.id), true},
        {"accounts.db", BYTES_ARRAY(anna.device), true},
        {"channels.db", fixture_id(1), true},
        {"channels.db", fixture_id(2), true},
        {"blobs.db", fixture_id(9), true},
        {"channels.db", BYTES_ARRAY(anna.id), false},
        {"channels.db", BYTES_ARRAY(anna.device), false},
        {"channels.db", LIT("anna"), false},
        {"blobs.db", BYTES_ARRAY(anna.id), false},
        {"blobs.db", BYTES_ARRAY(anna.device), false},
        {"blobs.db", fixture_id(1), false}, /* nor a blob to a channel */
        {"accounts.db", fixture_id(1), false},
        {"accounts.db", fixture_id(2), false},
        {"inboxes.db", fixture_id(1), false},
        {"accounts.db", BYTES_ARRAY(anna.contact_cap), false},
        {"channels.db", fixture_access(1, 1).cap, false},
        {"channels.db", fixture_access(1, 2).cap, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_UINT(any_holds(&p, cases[i].file, cases[i].id), cases[i].there);
}

static void acknowledged_entry_is_in_no_file(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    f.store_config.dir = p.dir;
    CHECK(restart(&f));
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK_UINT(fixture_append(&f, fixture_from(1, 1, 1), 0, 1, NULL),
               STATUS_OK);
    CHECK(any_holds(&p, "channels.db", LIT("ciphertext")));
    const struct request ack = {
        .method = METHOD_ACK,
        .ack = {.access = fixture_access(1, 1), .upto = 1}};
    CHECK_UINT(fixture_status(&f, 1, &ack), STATUS_OK);
    for (unsigned i = 0; i < 301; i++) { /* five minutes */
        f.now += 1000;
        fixture_flush(&f, 0);
    }
    CHECK(!any_holds(&p, "channels.db", LIT("ciphertext")));
}

static uint64_t count_of(const struct place *p, const char *query)
{
    CLEANUP(sql_close) struct sql *db = NULL;
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof path, "%s/channels.db", p->dir);
    const struct sql_config config = {.path = path, .existing = true};
    if (sql_open(&config, NULL, &db) != OK)
        return UINT64_MAX;
    CLEANUP(sql_end) struct sql_query q = sql_query(db, query);
    return sql_one(&q) == OK ? sql_u64(&q, 0) : UINT64_MAX;
}

/* Nothing says when an entry came that has gone; after the retention, nothing
 * says that it was there. */
static void idempotency_keys_tell_little_and_go(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(fixture_clear) struct fixture f;
    struct problem problem = {0};
    const struct request attach = {.method = METHOD_ATTACH,
                                   .attach = {.access = fixture_access(1, 1)}};
    const struct request ack = {
        .method = METHOD_ACK,
        .ack = {.access = fixture_access(1, 1), .upto = 39}};
    fixture_init(&f);
    f.store_config.dir = p.dir;
    CHECK(restart(&f));
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    for (uint8_t key = 1; key <= 40; key++)
        CHECK_UINT(fixture_append(&f, fixture_from(1, 1, 1), 0, key, NULL),
                   STATUS_OK);
    CHECK_UINT(fixture_status(&f, 1, &ack), STATUS_OK);
    CHECK_UINT(store_sqlite_check(f.sqlite, &problem), OK);
    CHECK_UINT(count_of(&p, "SELECT count(entry) FROM place"), 1);
    CHECK_UINT(count_of(&p, "SELECT count(*) FROM accepted a FULL JOIN place p"
                            " ON a.slot = p.slot AND a.key = p.key"),
               40);
    for (unsigned day = 0; day < 32; day++) {
        f.now += (uint64_t)SECONDS_PER_DAY * 1000;
        CHECK_UINT(fixture_status(&f, 1, &attach), STATUS_OK);
    }
    CHECK_UINT(count_of(&p, "SELECT (SELECT count(*) FROM accepted)"
                            " + (SELECT count(*) FROM place)"),
               0);
    CHECK_UINT(count_of(&p, "SELECT count(*) FROM channel"), 1);
    CHECK_UINT(store_sqlite_check(f.sqlite, &problem), OK);
}

static const struct test tests[] = {
    TEST(what_was_answered_survives_a_restart),
    TEST(crash_between_any_two_commits_loses_and_doubles_nothing),
    TEST(full_disk_stops_writers_only_and_loses_nothing),
    TEST(second_server_is_told_that_it_is_locked),
    TEST(damage_is_found_and_told),
    TEST(check_finds_what_does_not_fit_together),
    TEST(blob_upload_resumes_where_it_was),
    TEST(blob_goes_with_its_file_when_its_time_is_over),
    TEST(lost_blob_file_is_told_apart),
    TEST(no_file_links_an_account_to_a_channel),
    TEST(acknowledged_entry_is_in_no_file),
    TEST(idempotency_keys_tell_little_and_go),
};
TEST_MAIN(tests)
