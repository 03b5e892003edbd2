/*
 * coroutine.c ROUNDS - allocates, reallocates and frees in a coroutine whose stack is one page, with a page below it that may
 * not be touched. Says that it is done.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { PAGE = 4096 };

static ucontext_t outside, inside;
static int rounds;

static void calls(void)
{
    for (int i = 0; i < rounds; i++)
        free(realloc(malloc(16 + i % 200), 40 + i % 1000));
}

int main(int argc, char **argv)
{
    char *stack = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (argc != 2 || stack == MAP_FAILED || mprotect(stack, PAGE, PROT_NONE) || getcontext(&inside))
        return 2;
    rounds = 1;
    calls(); /* the dynamic linker has found them, for which it needs most of a page */
    rounds = atoi(argv[1]);
    inside.uc_stack.ss_sp = stack + PAGE;
    inside.uc_stack.ss_size = PAGE;
    inside.uc_link = &outside;
    makecontext(&inside, calls, 0);
    if (swapcontext(&outside, &inside))
        return 1;
    puts("done");
    return 0;
}
