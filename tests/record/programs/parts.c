/*
 * parts.c [bare] - is recorded in parts: blocks of 301 bytes and more, by a call and by the signal USR2 in turn. The first
 * block is allocated before the start and freed after it. With an argument it leaves out the signals, which nobody catches.
 */
#include <signal.h>
#include <stdlib.h>

#include "api/alloclab_mark.h"

int main(int argc, char **argv)
{
    (void)argv;
    void *before = malloc(301);
    alloclab_recording(1);
    free(malloc(302));
    free(before);
    free(malloc(303));
    alloclab_recording(0);
    alloclab_recording(0);
    free(malloc(304));
    if (argc == 1)
        raise(SIGUSR2);
    free(malloc(305));
    if (argc == 1)
        raise(SIGUSR2);
    free(malloc(306));
    return 0;
}
