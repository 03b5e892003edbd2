/*
 * header.c - the public header alone, in whatever language and standard it is compiled as: it needs
 * nothing before it, and what it declares can be called.
 */
#include <alloclab.h>

#include <alloclab_mark.h>

int main(void)
{
    struct alloclab_design design;
    unsigned n = 0;
    while (alloclab_design_at(n, &design))
        n++;
    return n > 5 ? 0 : 1;
}
