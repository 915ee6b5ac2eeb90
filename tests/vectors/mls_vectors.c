/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mls_vectors FILE...: runs vectors of the MLS working group. What a case is
 * for is known by its content, not by the name of its file. Prints a line per
 * file and the sum; exit status 1 when a case failed, or a file could not be
 * read.
 */
#include "mls_vectors.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 5U /* failures that are explained, per file */

struct tally {
    size_t passed, failed, skipped;
};

static const struct vector_kind *find_in(const struct vector_kind *kinds,
                                         const json_t *test)
{
    for (const struct vector_kind *k = kinds; k->name != NULL; k++)
        if (json_object_get(test, k->key) != NULL &&
            (k->not_key == NULL || json_object_get(test, k->not_key) == NULL))
            return k;
    return NULL;
}

static const struct vector_kind *kind_of(const json_t *test)
{
    const struct vector_kind *k = find_in(mls_low_kinds, test);
    return k != NULL ? k : find_in(mls_high_kinds, test);
}

static enum verdict run_case(struct crypto *c, const json_t *test,
                             char why[WHY_SIZE])
{
    const struct vector_kind *kind = kind_of(test);
    if (kind == NULL) {
        (void)snprintf(why, WHY_SIZE, "not a kind of case that is known");
        return FAIL;
    }
    return kind->run(c, test, why);
}

static void count(struct tally *t, enum verdict verdict)
{
    t->passed += verdict == PASS;
    t->failed += verdict == FAIL;
    t->skipped += verdict == SKIP;
}

static void run_all(struct crypto *c, const char *path, const json_t *cases,
                    struct tally *t)
{
    for (size_t i = 0; i < json_array_size(cases); i++) {
        char why[WHY_SIZE] = "";
        enum verdict verdict = run_case(c, json_array_get(cases, i), why);
        count(t, verdict);
        if (verdict == SKIP || (verdict == FAIL && t->failed <= SHOWN_MAX))
            (void)fprintf(stderr, "%s: case %zu %s: %s\n", path, i,
                          verdict == SKIP ? "skipped" : "failed", why);
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void print(const char *name, const char *kind, const struct tally *t)
{
    (void)printf("%-36s %-26s %5zu passed %3zu failed %3zu skipped\n", name,
                 kind, t->passed, t->failed, t->skipped);
}

/* Returns whether the file could be read; `sum` has its cases added. */
static bool run_file(struct crypto *c, const char *path, struct tally *sum)
{
    json_error_t error;
    struct tally t = {0};
    json_t *cases = json_load_file(path, 0, &error);
    if (!json_is_array(cases)) {
        (void)fprintf(stderr, "%s: %s\n", path,
                      cases != NULL ? "no list of cases" : error.text);
        json_decref(cases);
        return false;
    }
    const struct vector_kind *kind = kind_of(json_array_get(cases, 0));
    run_all(c, path, cases, &t);
    print(base_name(path), kind != NULL ? kind->name : "?", &t);
    json_decref(cases);
    sum->passed += t.passed;
    sum->failed += t.failed;
    sum->skipped += t.skipped;
    return true;
}

int main(int argc, char **argv)
{
    struct crypto *c = NULL;
    struct tally sum = {0};
    bool ok = true;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: mls_vectors FILE...\n");
        return 2;
    }
    if (crypto_create(&c) != OK) {
        (void)fprintf(stderr, "mls_vectors: no memory\n");
        return 1;
    }
    for (int i = 1; i < argc; i++)
        ok = run_file(c, argv[i], &sum) && ok;
    print("total", "", &sum);
    crypto_free(&c);
    return ok && sum.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
