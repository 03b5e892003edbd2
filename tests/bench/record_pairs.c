/*
 * record_pairs.c [PAIRS] - frees and allocates at random places among 1024 blocks of 16 to 271 bytes: little but malloc
 * and free.
 */
#include <stdint.h>
#include <stdlib.h>

enum { BLOCKS = 1024 };

int main(int argc, char **argv)
{
    static void *blocks[BLOCKS];
    uint64_t x = 1, pairs = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000000;
    for (uint64_t i = 0; i < pairs; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        void **block = &blocks[x >> 54];
        free(*block);
        *block = malloc(16 + (x >> 40 & 255));
    }
    return 0;
}
