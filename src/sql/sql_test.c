/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/sql.h"

#include "base/secret.h"
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define APP_ID 0x736f7474U

static const char *const steps[] = {
    "CREATE TABLE note (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
    "ALTER TABLE note ADD COLUMN seen INTEGER NOT NULL DEFAULT 0",
};

/* A folder of its own for each test. */
struct place {
    char dir[64];
    char path[80];
};

static struct place place_make(void)
{
    struct place p = {.dir = "/tmp/sql_test.XXXXXX"};
    if (mkdtemp(p.dir) == NULL)
        abort();
    (void)snprintf(p.path, sizeof p.path, "%s/db", p.dir);
    return p;
}

static void place_clear(struct place *p)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-copy"};
    for (size_t i = 0; i < COUNT(ends); i++) {
        char path[96];
        (void)snprintf(path, sizeof path, "%s%s", p->path, ends[i]);
        (void)unlink(path);
    }
    (void)rmdir(p->dir);
}

static struct secret key_of(uint8_t fill)
{
    struct secret key = {.len = SQL_KEY_SIZE};
    memset(key.data, fill, key.len);
    return key;
}

static enum err open_at(const struct place *p, const struct secret *key,
                        struct sql **out)
{
    const struct sql_config config = {.path = p->path, .key = key};
    TRY(sql_open(&config, NULL, out));
    return sql_migrate(*out, APP_ID, steps, COUNT(steps));
}

static enum err note_put(struct sql *db, uint64_t id, struct bytes body)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "INSERT INTO note (id, body) VALUES (?, ?)");
    sql_put_u64(&q, id);
    sql_put_bytes(&q, body);
    return sql_run(&q);
}

static uint64_t note_count(struct sql *db)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "SELECT count(*) FROM note");
    return sql_one(&q) == OK ? sql_u64(&q, 0) : UINT64_MAX;
}

static bool file_holds(const char *path, struct bytes needle)
{
    static uint8_t content[1U << 20];
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return false;
    size_t size = fread(content, 1, sizeof content, f);
    (void)fclose(f);
    return memmem(content, size, needle.data, needle.len) != NULL;
}

static void reads_what_it_wrote_after_reopening(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    CHECK_UINT(note_put(db, 1, LIT("one")), OK);
    CHECK_UINT(note_put(db, 2, LIT("")), OK);
    sql_close(&db);
    CHECK_UINT(open_at(&p, NULL, &db), OK);

    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT id, body, seen FROM note ORDER BY id");
    CHECK(sql_next(&q));
    CHECK_UINT(sql_u64(&q, 0), 1);
    CHECK_BYTES(sql_bytes(&q, 1), LIT("one"));
    CHECK(sql_next(&q));
    CHECK_UINT(sql_bytes(&q, 1).len, 0);
    CHECK(!sql_is_null(&q, 1));
    CHECK(!sql_next(&q));
    CHECK_UINT(sql_finish(&q), OK);
}

static void log_is_synced_at_each_commit(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    CLEANUP(sql_end) struct sql_query q = sql_query(db, "PRAGMA synchronous");
    CHECK_UINT(sql_one(&q), OK);
    CHECK_UINT(sql_u64(&q, 0), 2); /* FULL */
    CLEANUP(sql_end)
    struct sql_query mode = sql_query(db, "PRAGMA journal_mode");
    CHECK_UINT(sql_one(&mode), OK);
    CHECK(strcmp(sql_text(&mode, 0), "wal") == 0);
}

static void binding_errors_surface_at_the_step(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    CHECK_UINT(note_put(db, UINT64_MAX, LIT("x")), ERR_LIMIT);
    CHECK_UINT(note_put(db, 1, LIT("x")), OK);
    CHECK_UINT(note_put(db, 1, LIT("y")), ERR_EXISTS);
    CHECK_UINT(note_count(db), 1);

    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "SELECT 1 FROM note WHERE id = ?");
    sql_put_u64(&q, 7);
    CHECK_UINT(sql_one(&q), ERR_NOTFOUND);
}

/* The same statement, while its first use is not at its end. */
static void statement_can_be_used_within_itself(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    static const char all[] = "SELECT id FROM note";
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    CHECK_UINT(note_put(db, 1, LIT("x")), OK);
    CHECK_UINT(note_put(db, 2, LIT("x")), OK);
    unsigned pairs = 0;
    CLEANUP(sql_end) struct sql_query outer = sql_query(db, all);
    while (sql_next(&outer)) {
        CLEANUP(sql_end) struct sql_query inner = sql_query(db, all);
        while (sql_next(&inner))
            pairs++;
    }
    CHECK_UINT(pairs, 4);
}

static enum err put_two(struct sql *db, bool commit)
{
    CLEANUP(sql_rollback) struct sql_tx tx = {0};
    TRY(sql_begin(db, "two", &tx));
    TRY(note_put(db, 10, LIT("x")));
    TRY(note_put(db, 11, LIT("x")));
    return commit ? sql_commit(&tx) : OK;
}

static void transaction_is_all_or_nothing(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    CHECK_UINT(put_two(db, false), OK);
    CHECK_UINT(note_count(db), 0);
    CHECK_UINT(note_put(db, 11, LIT("in the way")), OK);
    CHECK_UINT(put_two(db, true), ERR_EXISTS);
    CHECK_UINT(note_count(db), 1);
    CHECK_UINT(sql_exec(db, "DELETE FROM note"), OK);
    CHECK_UINT(put_two(db, true), OK);
    CHECK_UINT(note_count(db), 2);
}

static bool crash_at(void *ctx, const char *name, enum sql_point point)
{
    return strcmp(name, "two") != 0 || point != *(const enum sql_point *)ctx;
}

static void crash_leaves_what_was_durable(void)
{
    const struct {
        enum sql_point point;
        uint64_t count;
    } cases[] = {{SQL_BEFORE_COMMIT, 0}, {SQL_AFTER_COMMIT, 2}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(place_clear) struct place p = place_make();
        CLEANUP(sql_close) struct sql *db = NULL;
        enum sql_point point = cases[i].point;
        CHECK_UINT(open_at(&p, NULL, &db), OK);
        sql_set_hook(db, (struct sql_hook){crash_at, &point});
        CHECK_UINT(put_two(db, true), ERR_IO);
        CHECK_UINT(note_put(db, 1, LIT("dead")), ERR_IO);
        sql_close(&db);
        CHECK_UINT(open_at(&p, NULL, &db), OK);
        CHECK_UINT(note_count(db), cases[i].count);
    }
}

static void keyed_file_shows_nothing(void)
{
    bool more = false;
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    const struct secret key = key_of(7);
    CHECK_UINT(open_at(&p, &key, &db), OK);
    CHECK_UINT(note_put(db, 1, LIT("a telling text")), OK);
    CHECK_UINT(sql_compact(db, &more), OK);
    CHECK(!file_holds(p.path, LIT("a telling text")));
    CHECK(!file_holds(p.path, LIT("SQLite format 3")));
    CHECK(!file_holds(p.path, LIT("CREATE TABLE")));
    sql_close(&db);
    CHECK_UINT(open_at(&p, &key, &db), OK);
    CHECK_UINT(note_count(db), 1);
}

static void rejects_a_wrong_key(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    const struct secret key = key_of(7);
    const struct secret wrong = key_of(8);
    struct problem problem = {0};
    CHECK_UINT(open_at(&p, &key, &db), OK);
    sql_close(&db);

    const struct secret *cases[] = {&wrong, NULL};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct sql_config config = {.path = p.path, .key = cases[i]};
        CHECK_UINT(sql_open(&config, &problem, &db), ERR_AUTH);
        CHECK_UINT(problem.kind, PROBLEM_TRUST);
        CHECK(strstr(problem.detail, "wrong key") != NULL);
        CHECK(db == NULL);
    }
    CHECK_UINT(open_at(&p, &key, &db), OK); /* and it is unharmed */
}

static void rejects_a_plain_file_where_a_keyed_one_should_be(void)
{
    bool more = false;
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    const struct secret key = key_of(7);
    struct problem problem = {0};
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    CHECK_UINT(sql_compact(db, &more), OK);
    sql_close(&db);
    const struct sql_config config = {.path = p.path, .key = &key};
    CHECK_UINT(sql_open(&config, &problem, &db), ERR_AUTH);
    CHECK(strstr(problem.detail, "not encrypted") != NULL);
}

static void says_when_the_file_does_not_exist(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    struct problem problem = {0};
    const struct sql_config config = {.path = p.path, .existing = true};
    CHECK_UINT(sql_open(&config, &problem, &db), ERR_NOTFOUND);
    CHECK(strstr(problem.detail, "does not exist") != NULL);
    CHECK(access(p.path, F_OK) != 0);
}

static void an_existing_file_without_a_byte_has_lost_its_content(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    struct problem problem = {0};
    const struct sql_config config = {.path = p.path, .existing = true};
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    sql_close(&db);
    CHECK(truncate(p.path, 0) == 0);
    CHECK_UINT(sql_open(&config, &problem, &db), ERR_IO);
    CHECK_UINT(problem.kind, PROBLEM_DAMAGED);
    CHECK(strstr(problem.detail, "is empty; restore") != NULL);
}

static void its_folder_may_be_a_link(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    char link[sizeof p.path + 8];
    char path[sizeof link + 8];
    (void)snprintf(link, sizeof link, "%s-link", p.path);
    *strrchr(p.path, '/') = '\0';
    CHECK(symlink(p.path, link) == 0);
    p.path[strlen(p.path)] = '/';
    (void)snprintf(path, sizeof path, "%s/other", link);
    const struct sql_config config = {.path = path};
    struct problem problem = {0};
    enum err err = sql_open(&config, &problem, &db);
    (void)unlink(path);
    (void)unlink(link);
    CHECK_UINT(err, OK);
}

static void new_file_is_for_its_owner_only(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    struct stat st;
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    CHECK(stat(p.path, &st) == 0);
    CHECK_UINT(st.st_mode & 07777, 0600);
}

/* Locks of one process do not exclude each other: hence the child. */
static void second_process_is_told_that_it_is_locked(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    const struct sql_config config = {.path = p.path, .exclusive = true};
    CHECK_UINT(sql_open(&config, NULL, &db), OK);
    pid_t child = fork();
    if (child == 0) {
        struct sql *second = NULL;
        struct problem problem = {0};
        enum err err = sql_open(&config, &problem, &second);
        _exit(err == ERR_STATE && problem.kind == PROBLEM_LOCKED ? 0 : 1);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_UINT((unsigned)status, 0);
    CHECK_UINT(sql_migrate(db, APP_ID, steps, COUNT(steps)), OK);
}

static void full_disk_is_told_and_survived(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    const struct sql_config config = {.path = p.path, .max_bytes = 100000};
    static const uint8_t big[60000];
    CHECK_UINT(sql_open(&config, NULL, &db), OK);
    CHECK_UINT(sql_migrate(db, APP_ID, steps, COUNT(steps)), OK);
    CHECK_UINT(note_put(db, 1, (struct bytes){big, sizeof big}), OK);
    CHECK_UINT(note_put(db, 2, (struct bytes){big, sizeof big}), ERR_IO);
    CHECK_UINT(sql_problem(db)->kind, PROBLEM_FULL);
    CHECK(strstr(sql_problem(db)->detail, "full") != NULL);
    CHECK_UINT(note_count(db), 1);
    CHECK_UINT(sql_exec(db, "DELETE FROM note"), OK);
    CHECK_UINT(note_put(db, 2, (struct bytes){big, sizeof big}), OK);
}

static void damaged_file_is_told(void)
{
    bool more = false;
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    for (unsigned i = 0; i < 500; i++)
        CHECK_UINT(note_put(db, i, LIT("0123456789abcdef")), OK);
    CHECK_UINT(sql_check(db), OK);
    CHECK_UINT(sql_compact(db, &more), OK);
    sql_close(&db);

    int fd = open(p.path, O_WRONLY | O_CLOEXEC);
    static const uint8_t noise[3 * 4096] = {0xa5, 0x5a, 0xff, 1, 2, 3};
    bool written = pwrite(fd, noise, sizeof noise, 8192) > 0;
    CHECK(close(fd) == 0 && written);
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    CHECK_UINT(sql_check(db), ERR_IO);
    CHECK_UINT(sql_problem(db)->kind, PROBLEM_DAMAGED);
}

static void rejects_files_of_others_and_of_the_future(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    CHECK_UINT(sql_migrate(db, APP_ID + 1, steps, COUNT(steps)), ERR_INVALID);
    CHECK_UINT(sql_migrate(db, APP_ID, steps, 1), ERR_INVALID);
    CHECK(strstr(sql_problem(db)->detail, "newer version") != NULL);
    CHECK_UINT(sql_migrate(db, APP_ID, steps, COUNT(steps)), OK);
}

static void failed_migration_changes_nothing(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    static const char *const bad[] = {
        "CREATE TABLE a (x); INSERT INTO a VALUES (1);",
        "INSERT INTO a VALUES (2); CREATE TABLE a (x);",
    };
    const struct sql_config config = {.path = p.path};
    CHECK_UINT(sql_open(&config, NULL, &db), OK);
    CHECK(sql_migrate(db, APP_ID, bad, COUNT(bad)) != OK);
    CLEANUP(sql_end) struct sql_query q = sql_query(db, "SELECT max(x) FROM a");
    CHECK_UINT(sql_one(&q), OK);
    CHECK_UINT(sql_u64(&q, 0), 1); /* the first step stands, whole */
}

static void deleted_rows_are_in_no_file(void)
{
    bool more = false;
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    char wal[96];
    (void)snprintf(wal, sizeof wal, "%s-wal", p.path);
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    CHECK_UINT(note_put(db, 1, LIT("soon to be gone")), OK);
    CHECK(file_holds(wal, LIT("soon to be gone")));
    CHECK_UINT(sql_exec(db, "DELETE FROM note"), OK);
    CHECK_UINT(sql_compact(db, &more), OK);
    CHECK(!file_holds(p.path, LIT("soon to be gone")));
    CHECK(!file_holds(wal, LIT("soon to be gone")));
}

/* A little at a time, until nothing is left. */
static void freed_pages_go_back_to_the_system(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    static const uint8_t page[4096];
    struct stat st;
    unsigned rounds = 0;
    CHECK_UINT(open_at(&p, NULL, &db), OK);
    CHECK_UINT(sql_exec(db, "BEGIN"), OK);
    for (unsigned i = 0; i < 2 * SQL_COMPACT_PAGES; i++)
        CHECK_UINT(note_put(db, i, BYTES_ARRAY(page)), OK);
    CHECK_UINT(sql_exec(db, "COMMIT; DELETE FROM note"), OK);
    for (bool more = true; more; rounds++)
        CHECK_UINT(sql_compact(db, &more), OK);
    CHECK(rounds >= 2 && rounds < 10);
    CHECK(stat(p.path, &st) == 0);
    CHECK(st.st_size < (off_t)(64 * sizeof page));
}

static void backup_opens_with_the_same_key_only(void)
{
    CLEANUP(place_clear) struct place p = place_make();
    CLEANUP(sql_close) struct sql *db = NULL;
    const struct secret key = key_of(7);
    char copy[96];
    (void)snprintf(copy, sizeof copy, "%s-copy", p.path);
    CHECK_UINT(open_at(&p, &key, &db), OK);
    CHECK_UINT(note_put(db, 1, LIT("a telling text")), OK);
    CHECK_UINT(sql_backup(db, copy), OK);
    CHECK(!file_holds(copy, LIT("a telling text")));
    sql_close(&db);

    struct sql_config config = {.path = copy, .existing = true};
    CHECK_UINT(sql_open(&config, NULL, &db), ERR_AUTH);
    config.key = &key;
    CHECK_UINT(sql_open(&config, NULL, &db), OK);
    CHECK_UINT(note_count(db), 1);
}

static void database_in_memory_works_alike(void)
{
    CLEANUP(sql_close) struct sql *db = NULL;
    const struct sql_config config = {0};
    CHECK_UINT(sql_open(&config, NULL, &db), OK);
    CHECK_UINT(sql_migrate(db, APP_ID, steps, COUNT(steps)), OK);
    CHECK_UINT(put_two(db, true), OK);
    CHECK_UINT(note_count(db), 2);
}

/* For simulations: it lives as long as one connection is open. */
static void shared_memory_outlives_one_connection(void)
{
    CLEANUP(sql_close) struct sql *keeper = NULL;
    CLEANUP(sql_close) struct sql *db = NULL;
    const struct sql_config config = {.path = "/sql_test", .vfs = "memdb"};
    CHECK_UINT(sql_open(&config, NULL, &keeper), OK);
    CHECK_UINT(sql_open(&config, NULL, &db), OK);
    CHECK_UINT(sql_migrate(db, APP_ID, steps, COUNT(steps)), OK);
    CHECK_UINT(put_two(db, true), OK);
    sql_close(&db);
    CHECK_UINT(sql_open(&config, NULL, &db), OK);
    CHECK_UINT(note_count(db), 2);
}

static const struct test tests[] = {
    TEST(reads_what_it_wrote_after_reopening),
    TEST(log_is_synced_at_each_commit),
    TEST(binding_errors_surface_at_the_step),
    TEST(statement_can_be_used_within_itself),
    TEST(transaction_is_all_or_nothing),
    TEST(crash_leaves_what_was_durable),
    TEST(keyed_file_shows_nothing),
    TEST(rejects_a_wrong_key),
    TEST(rejects_a_plain_file_where_a_keyed_one_should_be),
    TEST(says_when_the_file_does_not_exist),
    TEST(an_existing_file_without_a_byte_has_lost_its_content),
    TEST(its_folder_may_be_a_link),
    TEST(new_file_is_for_its_owner_only),
    TEST(second_process_is_told_that_it_is_locked),
    TEST(full_disk_is_told_and_survived),
    TEST(damaged_file_is_told),
    TEST(rejects_files_of_others_and_of_the_future),
    TEST(failed_migration_changes_nothing),
    TEST(deleted_rows_are_in_no_file),
    TEST(freed_pages_go_back_to_the_system),
    TEST(backup_opens_with_the_same_key_only),
    TEST(database_in_memory_works_alike),
    TEST(shared_memory_outlives_one_connection),
};
TEST_MAIN(tests)
