/* through.c - a library that calls back. */
#include <stddef.h>

int through(int (*call)(size_t), size_t size)
{
    return call(size) + 1;
}
