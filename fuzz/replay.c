/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over the files of the corpus folders it is given. */
#include <glob.h>
#include <stdint.h>
#include <stdio.h>

#define INPUT_MAX (1U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    static uint8_t input[INPUT_MAX];
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return -1;
    size_t size = fread(input, 1, sizeof(input), f);
    (void)fclose(f);
    return LLVMFuzzerTestOneInput(input, size);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char pattern[4096];
        glob_t files;
        (void)snprintf(pattern, sizeof(pattern), "%s/*", argv[i]);
        if (glob(pattern, 0, NULL, &files) != 0)
            return 1;
        for (size_t j = 0; j < files.gl_pathc; j++) {
            if (replay(files.gl_pathv[j]) != 0)
                return 1;
        }
        printf("%zu inputs of %s\n", files.gl_pathc, argv[i]);
        globfree(&files);
    }
    return 0;
}
