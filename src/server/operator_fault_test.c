/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator does to a store, with each of its allocations failing once:
 * it says why, changes nothing and leaves nothing behind; done again, it
 * succeeds. SQLite takes memory of its own: of that it gets less and less, in a
 * process for each amount.
 */
#include "server/backup.h"
#include "server/core_fixture.h"
#include "server/export.h"
#include "server/home.h"

#include "base/mem.h"
#include "server/store_sqlite_impl.h"
#include "sys/folder.h"
#include "test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIES_MAX 2000U
#define ANNA      1U /* her connection */
#define DAY       ((uint32_t)(FIXTURE_NOW / FIXTURE_DAY_MS))
#define HEAP_MIN  (64U << 10)
#define HEAP_MAX  (64U << 20)
#define HEAP_STEP 16U /* part by which it grows */

struct play {
    struct fixture f;
    struct fixture_account anna;
    char root[64];
    char data[FILE_PATH_MAX];
    char copy[FILE_PATH_MAX];
    struct problem problem;
    size_t told; /* by what lists something */
};

static void play_clear(struct play *p)
{
    fixture_account_clear(&p->anna);
    fixture_clear(&p->f);
    folder_remove(p->copy);
    folder_remove(p->data);
    folder_remove(p->root);
}

static bool set_up(struct play *p)
{
    CLEANUP(secret_clear) struct secret key = {0};
    static uint8_t item[INBOX_ITEM_SIZE] = {1};
    struct fixture *f = &p->f;
    enum status status = STATUS_COUNT_;
    *p = (struct play){.root = "/tmp/sotto-operator-XXXXXX"};
    fixture_init(f);
    f->core_config.open_registration = true;
    if (mkdtemp(p->root) == NULL ||
        file_path(p->root, "data", p->data, NULL) != OK ||
        file_path(p->root, "copy", p->copy, NULL) != OK ||
        mkdir(p->data, 0700) != 0)
        return false;
    f->store_config.dir = p->data;
    if (fixture_start(f) != OK ||
        fixture_connect(f, ANNA, LANE_IDENTIFIED) != OK ||
        fixture_account_make(f, &p->anna) != OK ||
        fixture_register(f, ANNA, "anna", (struct bytes){0}, &p->anna,
                         &status) != OK ||
        home_server_key(p->data, f->crypto, &f->random, &key, NULL) != OK)
        return false;
    const struct request send = {
        .method = METHOD_INBOX_APPEND,
        .inbox_append = {.account_id = BYTES_ARRAY(p->anna.id),
                         .device_id = BYTES_ARRAY(p->anna.device),
                         .contact_cap = BYTES_ARRAY(p->anna.contact_cap),
                         .item = BYTES_ARRAY(item)}};
    return status == STATUS_OK && fixture_connect(f, 2, LANE_ANONYMOUS) == OK &&
           fixture_status(f, 2, &send) == STATUS_OK &&
           fixture_create(f, 2, 1, 1) == STATUS_OK;
}

/* --- what an operator does --- */

static void put_account(void *ctx, const struct store_account *a)
{
    struct play *p = ctx;
    p->told += a->name.len;
}

static void put_number(void *ctx, const char *name, uint64_t value,
                       bool estimated)
{
    struct play *p = ctx;
    (void)value;
    (void)estimated;
    p->told += name[0] != '\0';
}

static void put_field(void *ctx, const struct export_field *field)
{
    struct play *p = ctx;
    p->told += field->first;
}

static enum err run_list(struct play *p)
{
    const struct store_account_sink sink = {put_account, p};
    return p->f.admin.accounts(p->f.admin.ctx, &sink, &p->problem);
}

static enum err run_stats(struct play *p)
{
    const struct store_stats_sink sink = {put_number, p};
    return p->f.admin.stats(p->f.admin.ctx, &sink, FIXTURE_NOW / 1000,
                            &p->problem);
}

static enum err run_export(struct play *p)
{
    const struct export_sink sink = {put_field, p};
    return export_account(p->f.sqlite, LIT("anna"), &sink, &p->problem);
}

static enum err run_check(struct play *p)
{
    return p->f.admin.check(p->f.admin.ctx, NULL, &p->problem);
}

static enum err run_disable(struct play *p)
{
    return p->f.admin.account_disable(p->f.admin.ctx, LIT("anna"), true, DAY,
                                      &p->problem);
}

static enum err run_backup(struct play *p)
{
    return backup_make(&p->f.admin, p->data, p->copy, NULL, &p->problem);
}

static enum err run_restore(struct play *p)
{
    char from[FILE_PATH_MAX];
    char aside[BACKUP_PATH_MAX];
    TRY(file_path(p->root, "backup", from, &p->problem));
    return backup_restore(from, p->copy, false, NULL, aside, &p->problem);
}

/* What is left over is told, and goes by itself. */
static enum err run_delete(struct play *p)
{
    enum err err = p->f.admin.account_delete(p->f.admin.ctx, LIT("anna"), DAY,
                                             &p->problem);
    return strstr(p->problem.detail, "the account is deleted") != NULL ? OK
                                                                       : err;
}

/* --- what must be so --- */

static size_t count_in(const char *folder)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        (void)closedir(dir);
    return count;
}

/* Whether she can still be reached: 1, or is barred: 2, or unknown: 3. */
static unsigned anna_is(struct play *p)
{
    const struct request take = {
        .method = METHOD_KP_TAKE,
        .kp_take = {.account_id = BYTES_ARRAY(p->anna.id),
                    .contact_cap = BYTES_ARRAY(p->anna.contact_cap),
                    .pow_subject = fixture_id(0)}};
    enum status status = fixture_status(&p->f, 2, &take);
    if (status == STATUS_BARRED)
        return 2;
    return status == STATUS_NOTFOUND ? 3 : 1;
}

static const struct {
    const char *name;
    enum err (*run)(struct play *p);
    unsigned anna; /* afterwards */
    bool lists;
    bool makes; /* the folder `copy` */
} steps[] = {
    {"list", run_list, 1, true, false},
    {"stats", run_stats, 1, true, false},
    {"export", run_export, 1, true, false},
    {"check", run_check, 1, false, false},
    {"backup", run_backup, 1, false, true},
    {"restore", run_restore, 1, false, true},
    {"disable", run_disable, 2, false, false},
    {"delete", run_delete, 3, false, false},
};

/* A failure that says why, after which all is as it was. */
static bool fails_well(struct play *p, size_t step, unsigned anna, size_t files,
                       enum err err)
{
    bool good = (err == ERR_NOMEM || err == ERR_IO) &&
                p->problem.kind != PROBLEM_NONE &&
                p->problem.detail[0] != '\0' && fixture_check(&p->f) == OK &&
                anna_is(p) == anna && count_in(p->root) == files;
    if (!good)
        printf("# %s: %s, \"%s\", %u, %zu files\n", steps[step].name,
               err_text(err), p->problem.detail, anna_is(p), count_in(p->root));
    return good;
}

static bool starves(struct play *p, size_t step, unsigned anna, unsigned *out)
{
    size_t files = count_in(p->root);
    for (*out = 0; *out < TRIES_MAX; ++*out) {
        p->problem = (struct problem){0};
        p->told = 0;
        mem_fail_after(*out);
        enum err err = steps[step].run(p);
        mem_fail_after(UINT32_MAX);
        if (err == OK)
            return true;
        if (!fails_well(p, step, anna, files, err))
            return false;
    }
    return false;
}

/* What a process with little memory says. */
struct said {
    enum err err;
    size_t told;
    struct problem problem;
};

/* On a store of its own, beside that of the server. Never returns. */
static void run_with(struct play *p, size_t step, size_t heap, int out)
{
    char text[64];
    struct store_sqlite *own = NULL;
    const struct store_sqlite_config config = {.dir = p->data,
                                               .existing = true};
    (void)snprintf(text, sizeof text, "PRAGMA hard_heap_limit = %zu", heap);
    if (store_sqlite_open(&config, NULL, &own) != OK)
        _exit(1);
    enum err err = sql_exec(own->db[0], text);
    (void)err; /* there may not be enough to say so */
    p->f.sqlite = own;
    p->f.admin = store_sqlite_admin(own);
    p->problem = (struct problem){0};
    p->told = 0;
    struct said said = {.err = steps[step].run(p)};
    said.told = p->told;
    said.problem = p->problem;
    _exit(write(out, &said, sizeof said) == sizeof said ? 0 : 1);
}

static bool ask(struct play *p, size_t step, size_t heap, struct said *out)
{
    int ends[2];
    int status = 1;
    if (pipe(ends) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0)
        run_with(p, step, heap, ends[1]);
    (void)close(ends[1]);
    bool good = read(ends[0], out, sizeof *out) == sizeof *out;
    (void)close(ends[0]);
    return waitpid(pid, &status, 0) == pid && status == 0 && good;
}

static bool starves_slowly(struct play *p, size_t step, unsigned anna,
                           unsigned *out)
{
    size_t files = count_in(p->root);
    *out = 0;
    for (size_t heap = HEAP_MIN; heap < HEAP_MAX; heap += heap / HEAP_STEP) {
        struct said said;
        if (!ask(p, step, heap, &said))
            return false;
        p->told = said.told;
        p->problem = said.problem;
        if (said.err == OK)
            return true;
        if (!fails_well(p, step, anna, files, said.err))
            return false;
        ++*out;
    }
    return false;
}

static bool keep_backup(struct play *p)
{
    char path[FILE_PATH_MAX];
    return file_path(p->root, "backup", path, NULL) == OK &&
           backup_make(&p->f.admin, p->data, path, NULL, NULL) == OK;
}

static void drop_backup(struct play *p)
{
    char path[FILE_PATH_MAX];
    if (file_path(p->root, "backup", path, NULL) == OK)
        folder_remove(path);
}

static bool run_all(bool (*way)(struct play *p, size_t step, unsigned anna,
                                unsigned *out),
                    unsigned *sum)
{
    CLEANUP(play_clear) struct play p;
    unsigned anna = 1;
    bool good = set_up(&p) && keep_backup(&p);
    for (size_t i = 0; i < COUNT(steps) && good; i++) {
        unsigned failures = 0;
        good = way(&p, i, anna, &failures);
        printf("# %s: %u failures\n", steps[i].name, failures);
        *sum += failures > 0;
        anna = steps[i].anna;
        good = good && (p.told > 0 || !steps[i].lists) &&
               (count_in(p.copy) > 0 || !steps[i].makes) && anna_is(&p) == anna;
        folder_remove(p.copy);
    }
    drop_backup(&p);
    return good;
}

static void each_survives_each_allocation_failure(void)
{
    unsigned starved = 0;
    CHECK(run_all(starves, &starved));
    CHECK(starved >= 5); /* the others allocate in SQLite alone */
}

static void each_survives_that_sqlite_has_no_memory(void)
{
    unsigned starved = 0;
    CHECK(run_all(starves_slowly, &starved));
    CHECK_UINT(starved, COUNT(steps));
}

static const struct test tests[] = {
    TEST(each_survives_each_allocation_failure),
    TEST(each_survives_that_sqlite_has_no_memory),
};
TEST_MAIN(tests)
