/*
 * pmr.cpp - standard containers in a request's scope: one line makes std::pmr use it, and the scope
 * takes everything back, however deeply the containers nest.
 *
 * Shows: words counted in a hundred texts, each in a scope of its own, in constant memory.
 *
 *     c++ -std=c++17 pmr.cpp $(pkg-config --cflags --libs alloclab) && ./a.out
 */
#include <alloclab.hpp>

#include <cstdio>
#include <map>
#include <memory_resource>
#include <string>
#include <vector>

static std::size_t count_words(alloclab_heap *scope, unsigned text)
{
    alloclab::memory_resource memory(scope);
    std::pmr::map<std::pmr::string, std::pmr::vector<unsigned>> places(&memory);
    for (unsigned word = 0; word < 5000; word++) {
        std::pmr::string key(&memory);
        key = "a word with a number, so that it is long: ";
        key += std::to_string(word * word % (97 + text)).c_str();
        places[key].push_back(word);
    }
    return places.size();
}

int main()
{
    try {
        alloclab::heap heap("arena");
        std::size_t words = 0, first = 0, last = 0;
        for (unsigned text = 0; text < 100; text++) {
            alloclab::scope request(heap);
            words += count_words(request, text % 5);
            last = alloclab_usage(heap).committed_bytes;
            first = text < 5 ? last : first;
        }
        std::printf("%zu distinct words; committed: %zu KiB after 5 texts, %zu KiB after 100\n",
                    words, first >> 10, last >> 10);
        return last > first;
    } catch (const std::exception &e) {
        std::fprintf(stderr, "pmr: %s\n", e.what());
        return 1;
    }
}
