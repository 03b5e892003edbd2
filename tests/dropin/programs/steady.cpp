// steady.cpp ROUNDS - one object at a time from every call that allocates, freed at once: what the
// process holds does not depend on how often, unless a call takes more than it hands out.
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <malloc.h>
#include <new>

#include "tests/dropin/programs/check.h"

static void *by_posix_memalign(size_t size)
{
    void *p = nullptr;
    CHECK(!posix_memalign(&p, 64, size));
    return p;
}

static void c_round(size_t size)
{
    void *const made[] = {malloc(size),
                          calloc(1, size),
                          calloc(size, 1),
                          realloc(nullptr, size),
                          realloc(malloc(size), size * 3),
                          realloc(malloc(size * 3), size),
                          reallocarray(nullptr, 1, size),
                          reallocarray(malloc(size), 3, size),
                          by_posix_memalign(size),
                          aligned_alloc(64, size),
                          memalign(64, size),
                          valloc(size),
                          pvalloc(size)};
    for (void *p : made) {
        CHECK(p);
        free(p);
    }
    CHECK(!realloc(malloc(size), 0));
}

static void cxx_round(size_t size)
{
    auto al = std::align_val_t(64);
    const auto &quiet = std::nothrow;
    ::operator delete(::operator new(size));
    ::operator delete(::operator new(size), size);
    ::operator delete(::operator new(size, quiet), quiet);
    ::operator delete(::operator new(size, al), al);
    ::operator delete(::operator new(size, al), size, al);
    ::operator delete(::operator new(size, al, quiet), al, quiet);
    ::operator delete[](::operator new[](size));
    ::operator delete[](::operator new[](size), size);
    ::operator delete[](::operator new[](size, quiet), quiet);
    ::operator delete[](::operator new[](size, al), al);
    ::operator delete[](::operator new[](size, al), size, al);
    ::operator delete[](::operator new[](size, al, quiet), al, quiet);
}

int main(int, char **argv)
{
    for (int i = atoi(argv[1]); i > 0; i--)
        for (size_t size : {24, 1200, 20000, 300000}) {
            c_round(size);
            cxx_round(size);
        }
    puts("ok");
    return 0;
}
