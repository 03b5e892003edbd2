// sized_delete.cpp - every form of operator delete that is told a size, and one that is not. With OWN_DELETE the
// program has an operator new and delete of its own, which must stay in charge.
#include <cstdlib>
#include <new>

struct alignas(64) wide {
    char bytes[9003];
};

#ifdef OWN_DELETE
static int own_news, own_deletes;

void *operator new(std::size_t size)
{
    own_news++;
    void *p = std::malloc(size + 16); // a header of its own
    return static_cast<char *>(p) + 16;
}

void operator delete(void *p) noexcept
{
    own_deletes++;
    std::free(static_cast<char *>(p) - 16);
}

int main()
{
    void *p = ::operator new(9100);
    ::operator delete(p, std::size_t(9100)); // the C++ library's, which calls ours above
    return own_news == 1 && own_deletes == 1 ? 0 : 1;
}
#else
int main()
{
    ::operator delete(::operator new(9001), std::size_t(9001));
    ::operator delete[](::operator new[](9002), std::size_t(9002));
    wide *w = new wide;
    ::operator delete(w, sizeof *w, std::align_val_t(64));
    wide *ws = new wide[2];
    ::operator delete[](ws, 2 * sizeof *ws, std::align_val_t(64));
    ::operator delete(::operator new(9004)); // unsized
    ::operator delete(nullptr, std::size_t(9005));
    return 0;
}
#endif
