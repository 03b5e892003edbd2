// cxx_plugin.cpp - a C++ library for a C program that loads it at run time: the C++ library is then not among the
// global definitions, and a sized delete must find it all the same.
#include <cstddef>
#include <new>

#ifdef DEPENDENCY
static struct object {
    void *made = ::operator new(6004); // in a constructor
    ~object() { ::operator delete(made); }
} object;
#else
extern "C" void *plugin_make()
{
    ::operator delete(::operator new(6003), std::size_t(6003));
    return ::operator new(6002);
}
#endif
