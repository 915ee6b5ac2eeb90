/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a store while its server works: what refers finds what it refers
 * to. */
#include "server/core_fixture.h"

#include "proto/derive.h"
#include "server/store_sqlite_impl.h"
#include "sys/files.h"
#include "sys/folder.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANNA     1U /* her connection */
#define OTHERS   2U
#define PACKAGES 50U
#define FIRST    100U /* the number of the first blob */

/* A server in a folder, and what it does in the middle of a backup. */
struct scene {
    struct fixture f;
    struct fixture_account anna;
    char root[64];
    char data[FILE_PATH_MAX];
    char copy[FILE_PATH_MAX];
    const char *part; /* that is being copied */
    uint8_t steps;
    uint64_t seq;
    bool failed;
    bool expires; /* a blob goes when the others are about to be copied */
};

static void scene_clear(struct scene *s)
{
    fixture_account_clear(&s->anna);
    fixture_clear(&s->f);
    folder_remove(s->data);
    folder_remove(s->copy);
    (void)rmdir(s->root);
}

static bool publish(struct fixture *f)
{
    CLEANUP(buf_clear) struct buf list = buf_new(1U << 16);
    struct writer w = writer_to(&list);
    for (uint8_t i = 0; i < PACKAGES; i++)
        writer_vec(&w, fixture_id(i));
    const struct request q = {.method = METHOD_KP_PUBLISH,
                              .kp_publish = {buf_bytes(&list), {0}}};
    return writer_finish(&w) == OK && fixture_status(f, ANNA, &q) == STATUS_OK;
}

/* Anna has an account with packages, and there is a channel. */
static bool set_up(struct scene *s)
{
    struct fixture *f = &s->f;
    enum status status = STATUS_COUNT_;
    *s = (struct scene){.root = "/tmp/sotto-backup-XXXXXX"};
    fixture_init(f);
    if (mkdtemp(s->root) == NULL ||
        file_path(s->root, "data", s->data, NULL) != OK ||
        file_path(s->root, "copy", s->copy, NULL) != OK ||
        mkdir(s->data, 0700) != 0 || mkdir(s->copy, 0700) != 0)
        return false;
    f->store_config.dir = s->data;
    return fixture_start(f) == OK &&
           fixture_connect(f, ANNA, LANE_IDENTIFIED) == OK &&
           fixture_connect(f, OTHERS, LANE_ANONYMOUS) == OK &&
           fixture_account_make(f, &s->anna) == OK &&
           fixture_register(f, ANNA, "anna", (struct bytes){0}, &s->anna,
                            &status) == OK &&
           status == STATUS_OK && publish(f) &&
           fixture_create(f, OTHERS, 1, 1) == STATUS_OK;
}

/* As clients do it: a blob, an entry that names it, a package for somebody who
 * is added, and the item that tells them. */
static enum status step(struct scene *s)
{
    static uint8_t item[INBOX_ITEM_SIZE];
    uint8_t number = s->steps++;
    const struct request blob = {
        .method = METHOD_BLOB_PUT,
        .blob_put = {.access = fixture_access(1, 1),
                     .blob = fixture_id((uint8_t)(FIRST + number)),
                     .total = 4,
                     .days = 1,
                     .data = LIT("blob")}};
    const struct request take = {
        .method = METHOD_KP_TAKE,
        .kp_take = {.account_id = BYTES_ARRAY(s->anna.id),
                    .contact_cap = BYTES_ARRAY(s->anna.contact_cap),
                    .pow_subject = fixture_id(0)}};
    const struct request tell = {
        .method = METHOD_INBOX_APPEND,
        .inbox_append = {.account_id = BYTES_ARRAY(s->anna.id),
                         .device_id = BYTES_ARRAY(s->anna.device),
                         .contact_cap = BYTES_ARRAY(s->anna.contact_cap),
                         .item = BYTES_ARRAY(item)}};
    enum status status = fixture_status(&s->f, OTHERS, &blob);
    if (status == STATUS_OK)
        status = fixture_append(&s->f, fixture_from(OTHERS, 1, 1), 0, number,
                                &s->seq);
    if (status == STATUS_OK)
        status = fixture_status(&s->f, OTHERS, &take);
    memset(item, number, sizeof item);
    return status == STATUS_OK ? fixture_status(&s->f, OTHERS, &tell) : status;
}

/* What the server's collection does with a blob whose time has come. */
static bool expire_first(struct scene *s)
{
    char name[2 * ID_SIZE + 1];
    char path[FILE_PATH_MAX];
    char folder[FILE_PATH_MAX];
    struct bytes id = fixture_id(FIRST);
    for (size_t i = 0; i < ID_SIZE; i++)
        (void)snprintf(name + 2 * i, 3, "%02x", id.data[i]);
    return file_path(s->data, "blobs", folder, NULL) == OK &&
           file_path(folder, name, path, NULL) == OK &&
           sql_exec(s->f.sqlite->db[FILE_BLOBS],
                    "DELETE FROM blob WHERE id = (SELECT min(id) FROM blob);"
                    "UPDATE usage SET bytes = bytes - 4") == OK &&
           unlink(path) == 0;
}

static void work_between_parts(void *ctx, const char *part, uint64_t done,
                               uint64_t total)
{
    struct scene *s = ctx;
    (void)done;
    (void)total;
    if (s->part == part)
        return;
    s->part = part;
    s->failed = s->failed || step(s) != STATUS_OK;
    if (s->expires && strcmp(part, "blobs") == 0)
        s->failed = s->failed || !expire_first(s);
}

static enum err backup(struct scene *s)
{
    const struct store_progress progress = {work_between_parts, s};
    return s->f.admin.backup(s->f.admin.ctx, s->copy, &progress, NULL);
}

static uint64_t count(const struct store_sqlite *s, enum store_file file,
                      const char *query)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(s->db[file], query);
    return sql_one(&q) == OK ? sql_u64(&q, 0) : UINT64_MAX;
}

static enum err open_copy(const struct scene *s, struct store_sqlite **out)
{
    const struct store_sqlite_config config = {.dir = s->copy,
                                               .existing = true};
    return store_sqlite_open(&config, NULL, out);
}

static void what_refers_finds_what_it_refers_to(void)
{
    CLEANUP(scene_clear) struct scene s;
    CLEANUP(store_sqlite_close) struct store_sqlite *copy = NULL;
    CHECK(set_up(&s));
    CHECK_UINT(step(&s), STATUS_OK);
    CHECK_UINT(backup(&s), OK);
    CHECK(!s.failed && s.steps >= 5);
    CHECK_UINT(open_copy(&s, &copy), OK);
    CHECK_UINT(store_sqlite_check(copy, NULL), OK);
    uint64_t items = count(copy, FILE_INBOXES, "SELECT count(*) FROM item");
    uint64_t taken = count(copy, FILE_ACCOUNTS,
                           "SELECT count(*) FROM package WHERE body IS NULL");
    uint64_t head = count(copy, FILE_CHANNELS, "SELECT head FROM channel");
    uint64_t blobs = count(copy, FILE_BLOBS, "SELECT count(*) FROM blob");
    printf("# %llu items, %llu packages, %llu entries, %llu blobs\n",
           (unsigned long long)items, (unsigned long long)taken,
           (unsigned long long)head, (unsigned long long)blobs);
    CHECK(items >= 1 && items <= taken && items <= head);
    CHECK(head <= blobs && taken <= PACKAGES);
    CHECK(items < s.steps); /* or nothing went on meanwhile */
}

/* Also a blob that is not whole: it goes on growing in the store alone. */
static void the_copy_is_apart_from_the_store(void)
{
    CLEANUP(scene_clear) struct scene s;
    CLEANUP(store_sqlite_close) struct store_sqlite *copy = NULL;
    struct request part = {.method = METHOD_BLOB_PUT,
                           .blob_put = {.access = fixture_access(1, 1),
                                        .blob = fixture_id(9),
                                        .total = 8,
                                        .days = 1,
                                        .data = LIT("half")}};
    CHECK(set_up(&s));
    CHECK_UINT(fixture_status(&s.f, OTHERS, &part), STATUS_OK);
    CHECK_UINT(s.f.admin.backup(s.f.admin.ctx, s.copy, NULL, NULL), OK);
    part.blob_put.offset = 4;
    part.blob_put.data = LIT("more");
    CHECK_UINT(fixture_status(&s.f, OTHERS, &part), STATUS_OK);
    CHECK_UINT(step(&s), STATUS_OK);
    CHECK_UINT(open_copy(&s, &copy), OK);
    CHECK_UINT(store_sqlite_check(copy, NULL), OK);
    CHECK_UINT(count(copy, FILE_BLOBS, "SELECT stored FROM blob"), 4);
    CHECK_UINT(count(copy, FILE_CHANNELS, "SELECT head FROM channel"), 0);
    char folder[FILE_PATH_MAX];
    char path[FILE_PATH_MAX];
    char hex[2 * ID_SIZE + 1];
    struct stat st;
    struct bytes id = fixture_id(9);
    for (size_t i = 0; i < ID_SIZE; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", id.data[i]);
    CHECK_UINT(file_path(s.copy, "blobs", folder, NULL), OK);
    CHECK_UINT(file_path(folder, hex, path, NULL), OK);
    CHECK(stat(path, &st) == 0 && st.st_size == 4);
}

static void what_expires_meanwhile_is_left_out(void)
{
    CLEANUP(scene_clear) struct scene s;
    CLEANUP(store_sqlite_close) struct store_sqlite *copy = NULL;
    CHECK(set_up(&s));
    s.expires = true;
    CHECK_UINT(step(&s), STATUS_OK);
    CHECK_UINT(backup(&s), OK);
    CHECK(!s.failed);
    CHECK_UINT(open_copy(&s, &copy), OK);
    CHECK_UINT(store_sqlite_check(copy, NULL), OK);
    CHECK(count(copy, FILE_BLOBS, "SELECT count(*) FROM blob") >= 3);
}

static void a_copy_is_closed_to_others(void)
{
    static const char *const names[] = {"accounts.db", "inboxes.db",
                                        "channels.db", "blobs.db"};
    CLEANUP(scene_clear) struct scene s;
    CHECK(set_up(&s));
    (void)umask(0);
    CHECK_UINT(s.f.admin.backup(s.f.admin.ctx, s.copy, NULL, NULL), OK);
    (void)umask(022);
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[FILE_PATH_MAX];
        struct stat st;
        CHECK_UINT(file_path(s.copy, names[i], path, NULL), OK);
        CHECK(stat(path, &st) == 0);
        CHECK_UINT(st.st_mode & 07777U, 0600);
    }
}

static void a_place_that_is_taken_is_refused(void)
{
    CLEANUP(scene_clear) struct scene s;
    struct problem p = {0};
    CHECK(set_up(&s));
    CHECK_UINT(s.f.admin.backup(s.f.admin.ctx, s.copy, NULL, NULL), OK);
    CHECK(s.f.admin.backup(s.f.admin.ctx, s.copy, NULL, &p) != OK);
    CHECK(strstr(p.detail, "cannot make") != NULL);
}

static const struct test tests[] = {
    TEST(what_refers_finds_what_it_refers_to),
    TEST(the_copy_is_apart_from_the_store),
    TEST(what_expires_meanwhile_is_left_out),
    TEST(a_copy_is_closed_to_others),
    TEST(a_place_that_is_taken_is_refused),
};
TEST_MAIN(tests)
