/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searches files, folders and the memory of processes for texts that must not
 * be there, as they are, in hexadecimal (either case), in base64 (at each of
 * its three alignments) and in UTF-16:
 *
 *     leaksearch TEXT... -- PATH|pid:NUMBER...
 *
 * Prints a line for each text, form and place, and exits with 0 when nothing
 * was found, 1 when something was, 2 when a place cannot be searched: a search
 * that saw nothing because it could not look must not pass.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NEEDLES_MAX 256U
#define NEEDLE_MAX  512U
#define TEXT_MIN    9U /* shorter ones turn up by chance in base64 */
#define TEXT_MAX    120U
#define CHUNK       (1U << 20)

struct needle {
    char form[24];
    const char *text;
    uint8_t bytes[NEEDLE_MAX];
    size_t len;
};

static struct needle needles[NEEDLES_MAX];
static size_t needle_count;
static unsigned found;
static unsigned failed;
static uint64_t searched;
/* The end of the last chunk stays in front, so that no text falls between. */
static uint8_t window[NEEDLE_MAX + CHUNK];

static struct needle *needle_add(const char *form, const char *text)
{
    if (needle_count == NEEDLES_MAX) {
        (void)fprintf(stderr, "leaksearch: too many texts\n");
        exit(2);
    }
    struct needle *n = &needles[needle_count++];
    (void)snprintf(n->form, sizeof(n->form), "%s", form);
    n->text = text;
    return n;
}

static void add_hex(const char *text, const char *form, const char *digits)
{
    struct needle *n = needle_add(form, text);
    for (const char *p = text; *p != '\0'; p++) {
        n->bytes[n->len++] = (uint8_t)digits[(uint8_t)*p >> 4];
        n->bytes[n->len++] = (uint8_t)digits[(uint8_t)*p & 15];
    }
}

/* The characters of base64 that depend on the text alone when `shift` unknown
 * bytes stand before it. */
static void add_base64(const char *text, unsigned shift, const char *alphabet,
                       const char *form)
{
    struct needle *n = needle_add(form, text);
    size_t bits = 8 * strlen(text);
    size_t skip = (6 - 8 * shift % 6) % 6;
    for (size_t at = skip; at + 6 <= bits; at += 6) {
        unsigned v = 0;
        for (size_t i = at; i < at + 6; i++)
            v = v << 1 | ((uint8_t)text[i / 8] >> (7 - i % 8) & 1);
        n->bytes[n->len++] = (uint8_t)alphabet[v];
    }
}

static void add_text(const char *text)
{
    static const char standard[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char url[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t len = strlen(text);
    if (len < TEXT_MIN || len > TEXT_MAX) {
        (void)fprintf(stderr, "leaksearch: a text has %u to %u bytes\n",
                      TEXT_MIN, TEXT_MAX);
        exit(2);
    }
    struct needle *n = needle_add("as it is", text);
    memcpy(n->bytes, text, len);
    n->len = len;
    add_hex(text, "hexadecimal", "0123456789abcdef");
    add_hex(text, "HEXADECIMAL", "0123456789ABCDEF");
    for (unsigned shift = 0; shift < 3; shift++) {
        add_base64(text, shift, standard, "base64");
        add_base64(text, shift, url, "base64url");
    }
    n = needle_add("UTF-16", text);
    for (size_t i = 0; i < len; i++) {
        n->bytes[n->len++] = (uint8_t)text[i];
        n->bytes[n->len++] = 0;
    }
}

static void search_window(size_t len, const char *place)
{
    for (size_t i = 0; i < needle_count; i++) {
        const struct needle *n = &needles[i];
        if (memmem(window, len, n->bytes, n->len) != NULL) {
            found++;
            printf("FOUND \"%s\" %s in %s\n", n->text, n->form, place);
        }
    }
}

/* Searches `len` bytes from `at`; what cannot be read ends the search of this
 * range, and counts when nothing at all could be read. */
static bool search_range(int fd, off_t at, uint64_t len, const char *place)
{
    size_t kept = 0;
    bool any = false;
    while (len > 0) {
        size_t want = len < CHUNK ? (size_t)len : CHUNK;
        ssize_t got = pread(fd, window + kept, want, at);
        if (got <= 0)
            break;
        any = true;
        size_t have = kept + (size_t)got;
        search_window(have, place);
        kept = have < NEEDLE_MAX ? have : NEEDLE_MAX;
        memmove(window, window + have - kept, kept);
        at += got;
        len -= (uint64_t)got;
        searched += (uint64_t)got;
    }
    return any;
}

static void complain(const char *place)
{
    failed++;
    (void)fprintf(stderr, "leaksearch: cannot search %s: %s\n", place,
                  strerror(errno));
}

static int search_file(const char *path, const struct stat *st, int type,
                       struct FTW *ftw)
{
    (void)ftw;
    if (strlen(path) >= TEXT_MIN)
        for (size_t i = 0; i < needle_count; i++)
            if (strstr(path, needles[i].text) != NULL)
                found++, printf("FOUND \"%s\" in the name %s\n",
                                needles[i].text, path);
    if (type != FTW_F || !S_ISREG(st->st_mode) || st->st_size == 0)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || !search_range(fd, 0, (uint64_t)st->st_size, path))
        complain(path);
    if (fd >= 0)
        (void)close(fd);
    return 0;
}

static void search_process(const char *pid)
{
    char path[64];
    char line[512];
    (void)snprintf(path, sizeof(path), "/proc/%s/maps", pid);
    FILE *maps = fopen(path, "re");
    (void)snprintf(path, sizeof(path), "/proc/%s/mem", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned ranges = 0;
    while (maps != NULL && fd >= 0 && fgets(line, sizeof(line), maps) != NULL) {
        char *end = NULL;
        uint64_t from = strtoull(line, &end, 16);
        uint64_t to = *end == '-' ? strtoull(end + 1, &end, 16) : from;
        if (end[0] == ' ' && end[1] == 'r' && strstr(line, "[v") == NULL)
            ranges += search_range(fd, (off_t)from, to - from, path);
    }
    if (ranges == 0)
        complain(path);
    if (maps != NULL)
        (void)fclose(maps);
    if (fd >= 0)
        (void)close(fd);
}

int main(int argc, char **argv)
{
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++)
        add_text(argv[i]);
    if (needle_count == 0 || i + 1 >= argc) {
        (void)fprintf(stderr,
                      "usage: leaksearch TEXT... -- PATH|pid:NUMBER...\n");
        return 2;
    }
    for (i++; i < argc; i++) {
        if (strncmp(argv[i], "pid:", 4) == 0)
            search_process(argv[i] + 4);
        else if (nftw(argv[i], search_file, 16, FTW_PHYS) != 0)
            complain(argv[i]);
    }
    printf("searched %llu bytes: %u found\n", (unsigned long long)searched,
           found);
    if (found > 0)
        return 1;
    return failed > 0 ? 2 : 0;
}
