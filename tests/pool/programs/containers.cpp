/*
 * containers.cpp - the C++ adapters as containers use them: each check that fails is a line on
 * stderr, and exit status 1. Built as C++11 (allocator alone) and C++17 (with memory resources).
 */
#include <alloclab.hpp>

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

static int failures;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

template <class Exception, class Body> static std::string thrown(Body body)
{
    try {
        body();
    } catch (const Exception &e) {
        return e.what();
    }
    return "";
}

struct alignas(256) line {
    char bytes[256];
};

static void containers()
{
    alloclab::heap heap("segfit");
    using pair = std::pair<const int, std::string>;
    std::unordered_map<int, std::string, std::hash<int>, std::equal_to<int>,
                       alloclab::allocator<pair>>
        map(8, std::hash<int>(), std::equal_to<int>(), alloclab::allocator<pair>(heap));
    for (int i = 0; i < 10000; i++)
        map[i * 7] = std::to_string(i);
    for (int i = 0; i < 10000; i += 2)
        map.erase(i * 7);
    CHECK(map.size() == 5000 && map.at(7) == "1" && map.count(14) == 0);
    CHECK(alloclab_usage(heap).committed_bytes > 5000 * sizeof(pair));
    auto other = std::move(map); /* the allocator moves along */
    CHECK(other.size() == 5000 && other.get_allocator() == alloclab::allocator<char>(heap));
    auto shared = std::allocate_shared<line>(alloclab::allocator<line>(heap));
    CHECK(reinterpret_cast<std::uintptr_t>(shared.get()) % 256 == 0);
    CHECK(alloclab_check(heap) == nullptr);
}

static void equality_is_of_handles()
{
    alloclab::heap a("arena"), b("arena");
    alloclab::scope s(a);
    using allocator = alloclab::allocator<int>;
    CHECK(allocator(a) == allocator(a) && allocator(a) != allocator(b));
    CHECK(allocator(a) != allocator(s) && alloclab::allocator<char>(allocator(s)) == allocator(s));
}

static void errors()
{
    CHECK(thrown<std::invalid_argument>([] { alloclab::heap("segfti"); }).find("segfit") !=
          std::string::npos);
    CHECK(!thrown<std::logic_error>([] {
               alloclab::heap heap("tlsf");
               alloclab::scope none(heap);
           }).empty());
    alloclab_config config = alloclab_config();
    config.commit_limit_bytes = 1 << 20;
    alloclab::heap heap("freelist", config);
    std::vector<char, alloclab::allocator<char>> small{alloclab::allocator<char>(heap)};
    CHECK(!thrown<std::bad_alloc>([&] { small.resize(4 << 20); }).empty());
    small.resize(1000);
    CHECK(alloclab_usage(heap).peak_committed_bytes <= 1 << 20);
    alloclab::allocator<line> lines(heap);
    CHECK(!thrown<std::bad_alloc>([&] { lines.allocate(SIZE_MAX / 2); }).empty());
}

static void scopes_end_with_their_block()
{
    alloclab::heap heap("arena");
    size_t committed = 0;
    for (int frame = 0; frame < 100; frame++) {
        alloclab::scope scope(heap);
        alloclab::scope moved(std::move(scope));
        std::vector<int, alloclab::allocator<int>> v{alloclab::allocator<int>(moved)};
        for (int i = 0; i < 5000; i++)
            v.push_back(i);
        CHECK(v.back() == 4999);
        if (frame == 1)
            committed = alloclab_usage(heap).committed_bytes;
    }
    CHECK(alloclab_usage(heap).committed_bytes == committed);
}

static void threads_have_views()
{
    alloclab::heap heap("segfit");
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&heap] {
            alloclab::thread_view view(heap);
            std::map<int, int, std::less<int>, alloclab::allocator<std::pair<const int, int>>> map{
                alloclab::allocator<std::pair<const int, int>>(view)};
            for (int i = 0; i < 2000; i++)
                map[i] = i;
        });
    for (auto &thread : threads)
        thread.join();
    CHECK(alloclab_check(heap) == nullptr);
}

#if __cplusplus >= 201703L
static void memory_resources()
{
    alloclab::heap heap("arena"), other("arena");
    alloclab::memory_resource first(heap), again(heap), elsewhere(other);
    CHECK(first == again && !(first == elsewhere) && !(first == *std::pmr::new_delete_resource()));
    alloclab::scope request(heap);
    alloclab::memory_resource memory(request);
    std::pmr::map<std::pmr::string, std::pmr::vector<double>> map(&memory);
    for (int i = 0; i < 500; i++)
        map[std::pmr::string("a key that is too long for the string itself ") +
            std::to_string(i).c_str()]
            .resize(static_cast<size_t>(i), 1.5);
    CHECK(map.size() == 500);
    CHECK(map.begin()->first.get_allocator().resource() == &memory);
    void *aligned = memory.allocate(10, 4096);
    CHECK(reinterpret_cast<std::uintptr_t>(aligned) % 4096 == 0);
    memory.deallocate(aligned, 10, 4096);
    alloclab_config config = alloclab_config();
    config.commit_limit_bytes = 256 << 10;
    alloclab::heap limited("buddy", config);
    alloclab::memory_resource few(limited);
    std::pmr::vector<char> v(&few);
    CHECK(!thrown<std::bad_alloc>([&] { v.resize(1 << 20); }).empty());
}
#endif

int main()
{
    containers();
    equality_is_of_handles();
    errors();
    scopes_end_with_their_block();
    threads_have_views();
#if __cplusplus >= 201703L
    memory_resources();
#endif
    return failures != 0;
}
