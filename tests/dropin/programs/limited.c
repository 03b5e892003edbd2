/*
 * limited.c - a program under a limit of addresses that it has set itself: what many small objects
 * have had serves a large one when they are freed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { OBJECTS = 20000, BYTES = 20000 };

static void *objects[OBJECTS];

int main(void)
{
    const struct rlimit limit = {300u << 20, 300u << 20};
    unsigned count = 0;
    setrlimit(RLIMIT_AS, &limit);
    while (count < OBJECTS && (objects[count] = malloc(BYTES)))
        count++;
    if (count == OBJECTS || count < 5000) {
        printf("%u objects of %d bytes\n", count, BYTES);
        return 1;
    }
    while (count)
        free(objects[--count]);
    void *large = malloc(100u << 20), *zeroed = calloc(1, 50u << 20);
    puts(large && zeroed ? "ok" : "refused");
    free(large);
    free(zeroed);
    return 0;
}
