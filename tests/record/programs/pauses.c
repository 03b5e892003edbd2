/*
 * pauses.c - calls in four rows, with pauses between them; prints how long a pause is at least, in ns, and how many
 * calls a row has. A row is longer than what one move of the recorder's clock serves, so that half a row tells its time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROWS = 4, PAIRS = 100, PAUSE_NS = 40000000 };

int main(void)
{
    static char text[64];
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    setvbuf(stdout, text, _IOFBF, sizeof text);
    printf("%d %d\n", PAUSE_NS, 2 * PAIRS);
    for (int row = 0; row < ROWS; row++) {
        for (int i = 0; i < PAIRS; i++) {
            void *volatile p = malloc(24);
            free(p);
        }
        if (row < ROWS - 1)
            nanosleep(&pause, NULL);
    }
    return 0;
}
