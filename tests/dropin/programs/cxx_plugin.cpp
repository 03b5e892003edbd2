// cxx_plugin.cpp - a C++ library for a program that has no C++ library: bad_alloc must be thrown
// all the same.
#include <new>
#include <string>
#include <vector>

#include "tests/dropin/programs/check.h"

static std::vector<std::string> *words = new std::vector<std::string>(100, "word");
static void *volatile kept;

extern "C" char *plugin_text()
{
    bool thrown = false;
    try {
        kept = ::operator new((size_t)1 << 62);
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown && !::operator new((size_t)1 << 62, std::nothrow));
    CHECK((*words)[99] == "word");
    return strdup("loaded");
}
