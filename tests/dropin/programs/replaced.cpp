// replaced.cpp - a program with operators of its own for new and delete of one object: all other
// forms stand on these, by the standard, and must not bring in another heap.
#include <new>

#include "tests/dropin/programs/check.h"

enum { HEAD = 16 };
static long live;

void *operator new(size_t size)
{
    char *p = static_cast<char *>(malloc(size + HEAD));
    if (!p)
        throw std::bad_alloc();
    memcpy(p, "mine", 4);
    live++;
    return p + HEAD;
}

void operator delete(void *p) noexcept
{
    if (!p)
        return;
    char *block = static_cast<char *>(p) - HEAD;
    CHECK(!memcmp(block, "mine", 4));
    memset(block, 0, 4);
    live--;
    free(block);
}

struct item {
    char bytes[40];
    ~item()
    {
        bytes[0] = 0;
    }
};

int main()
{
    const auto &quiet = std::nothrow;
    item *a = new item, *b = new item[10], *c = new (quiet) item, *d = new (quiet) item[10];
    CHECK(live == 4);
    delete a;
    delete[] b;
    delete c;
    ::operator delete[](static_cast<void *>(::operator new[](5, quiet)), quiet);
    ::operator delete(::operator new(9, quiet), quiet);
    ::operator delete(::operator new(9), 9);
    ::operator delete[](::operator new[](9), 9);
    delete[] d;
    CHECK(live == 0);
    CHECK(!::operator new((size_t)1 << 62, quiet) && !::operator new[]((size_t)1 << 62, quiet));
    puts("ok");
    return 0;
}
