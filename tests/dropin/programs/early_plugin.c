/*
 * early_plugin.c - a library that asks to be initialised before all others (-z initfirst), the C
 * library included, and allocates then. Before, it makes so many pthread keys that the C library
 * must allocate to set one that comes later, as the drop-in library's then does.
 */
int pthread_key_create(unsigned *, void (*)(void *));
void *malloc(unsigned long);
void free(void *);
void _exit(int);

__attribute__((constructor)) static void first(void)
{
    extern char **environ __attribute__((weak));
    unsigned key;
    for (int i = 0; i < 40; i++)
        if (pthread_key_create(&key, 0))
            _exit(78);
    char *volatile p = malloc(100);
    if (environ || !p)
        _exit(77); /* not as early as it should be */
    p[99] = 1;
    free(p);
}
