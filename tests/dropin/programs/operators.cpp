// operators.cpp - every form of operator new and delete; what they do when memory is short.
#include <cstdint>
#include <new>

#include "tests/dropin/programs/check.h"

static const size_t huge = (size_t)PTRDIFF_MAX - 100;
static int handled;
static void *volatile kept; // so that no call is left out

static void give_up()
{
    if (++handled == 3)
        std::set_new_handler(nullptr);
}

static void throw_from_handler()
{
    handled++;
    throw std::bad_alloc();
}

struct alignas(256) wide {
    char bytes[300];
    ~wide()
    {
        bytes[0] = 0;
    }
};

struct counted {
    char bytes[24];
    ~counted()
    {
        bytes[0] = 0;
    }
};

static bool aligned(const void *p, size_t align)
{
    return p && reinterpret_cast<uintptr_t>(p) % align == 0;
}

static void check_forms()
{
    const auto &quiet = std::nothrow;
    for (size_t n = 0; n < 5000; n = n * 2 + 1) {
        void *a = ::operator new(n), *b = ::operator new[](n);
        void *c = ::operator new(n, quiet), *d = ::operator new[](n, quiet);
        CHECK(aligned(a, 16) && aligned(b, 16) && aligned(c, 16) && aligned(d, 16));
        memset(a, 1, n), memset(b, 2, n), memset(c, 3, n), memset(d, 4, n);
        ::operator delete(a);
        ::operator delete[](b);
        ::operator delete(c, quiet);
        ::operator delete[](d, quiet);
        ::operator delete(::operator new(n), n);
        ::operator delete[](::operator new[](n), n);
    }
    for (size_t align = 1; align <= 65536; align *= 2) {
        auto al = std::align_val_t(align);
        void *a = ::operator new(100, al), *b = ::operator new[](100, al);
        void *c = ::operator new(100, al, quiet), *d = ::operator new[](100, al, quiet);
        CHECK(aligned(a, align) && aligned(b, align) && aligned(c, align) && aligned(d, align));
        ::operator delete(a, al);
        ::operator delete[](b, al);
        ::operator delete(c, al, quiet);
        ::operator delete[](d, al, quiet);
        ::operator delete(::operator new(100, al), 100, al);
        ::operator delete[](::operator new[](100, al), 100, al);
    }
    ::operator delete(nullptr);
    ::operator delete(nullptr, 8);
    ::operator delete[](nullptr, std::align_val_t(64));
    delete new counted;
    delete[] new counted[77];
    delete new wide;
    delete[] new wide[7];
}

template <class call> static bool throws(call f)
{
    try {
        f();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

static void check_shortage()
{
    auto al = std::align_val_t(64);
    CHECK(throws([] { kept = ::operator new(huge); }));
    CHECK(throws([] { kept = ::operator new[](huge); }));
    CHECK(throws([=] { kept = ::operator new(huge, al); }));
    CHECK(throws([=] { kept = ::operator new[](huge, al); }));
    CHECK(!::operator new(huge, std::nothrow) && !::operator new[](huge, std::nothrow));
    CHECK(!::operator new(huge, al, std::nothrow) && !::operator new[](huge, al, std::nothrow));
}

static void check_handlers()
{
    auto al = std::align_val_t(64);
    std::set_new_handler(give_up);
    CHECK(throws([] { kept = ::operator new(huge); }) && handled == 3);
    std::set_new_handler(give_up);
    handled = 0;
    CHECK(!::operator new(huge, std::nothrow) && handled == 3);
    std::set_new_handler(give_up);
    handled = 0;
    CHECK(throws([=] { kept = ::operator new[](huge, al); }) && handled == 3);
    std::set_new_handler(throw_from_handler);
    handled = 0;
    CHECK(!::operator new(huge, std::nothrow) && !::operator new[](huge, al, std::nothrow));
    CHECK(throws([] { kept = ::operator new[](huge); }) && handled == 3);
    std::set_new_handler(nullptr);
}

int main()
{
    check_forms();
    check_shortage();
    check_handlers();
    puts("ok");
    return 0;
}
