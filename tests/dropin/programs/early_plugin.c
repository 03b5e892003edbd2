/*
 * early_plugin.c - a library that asks to be initialised before all others (-z initfirst), the C
 * library included, and allocates then. No C library is there to be used yet.
 */
void *malloc(unsigned long);
void free(void *);
void _exit(int);

__attribute__((constructor)) static void first(void)
{
    extern char **environ __attribute__((weak));
    char *volatile p = malloc(100);
    if (environ || !p)
        _exit(77); /* not as early as it should be */
    p[99] = 1;
    free(p);
}
