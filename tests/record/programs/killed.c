/*
 * killed.c - is killed in the middle, with 1000 of 1500 blocks live.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    static void *blocks[1500];
    for (int i = 0; i < 1500; i++)
        blocks[i] = malloc(7000);
    for (int i = 0; i < 500; i++)
        free(blocks[i]);
    kill(getpid(), SIGKILL);
    return 0;
}
