/*
 * handlers.c - allocates, reallocs and frees without pause while a timer's signal handler does the same, so
 * that many signals arrive in the middle of what records a call. Needs an allocator that bears it
 * (bump_plugin.c). Prints how many rounds it and the handler made.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { ROUNDS = 20000 };

static volatile sig_atomic_t handled;

static void one_round(size_t size)
{
    void *p = malloc(size);
    p = realloc(p, size + 1);
    free(p);
}

static void on_timer(int signal)
{
    (void)signal;
    one_round(77);
    handled = handled + 1;
}

int main(void)
{
    const struct itimerval often = {.it_interval = {0, 50}, .it_value = {0, 50}}, never = {0};
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    char text[64];
    int rounds = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    while (rounds < ROUNDS || handled < 150) {
        one_round(33);
        rounds++;
    }
    setitimer(ITIMER_REAL, &never, NULL);
    int n = snprintf(text, sizeof text, "%d %d\n", rounds, (int)handled);
    return write(1, text, (size_t)n) == n ? 0 : 1;
}
