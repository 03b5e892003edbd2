// stacks.cpp - allocates at the ends of call chains that are hard to walk, and prints for each allocation, by its size,
// what the compiler's own unwinder says of the stack there: module+offset of each return address, innermost first.
#include <alloca.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define APART __attribute__((noinline, noclone))

static char text[8 << 20];
static size_t used;

APART void say(size_t size, void **frames, int count)
{
    used += sprintf(text + used, "%zu", size);
    for (int i = 0; i < count; i++) {
        Dl_info info;
        struct link_map *map;
        if (dladdr1(frames[i], &info, (void **)&map, RTLD_DL_LINKMAP)) {
            const char *slash = strrchr(info.dli_fname, '/');
            used += sprintf(text + used, " %s+%lx", slash ? slash + 1 : info.dli_fname,
                            (unsigned long)((uintptr_t)frames[i] - map->l_addr));
        } else {
            used += sprintf(text + used, " ?");
        }
    }
    used += sprintf(text + used, "\n");
}

// Expanded where it stands: both calls are made by one function.
#define ALLOCATE(size)                                                                                                 \
    do {                                                                                                               \
        void *frames[600];                                                                                             \
        free(malloc(size));                                                                                            \
        say(size, frames, backtrace(frames, 600));                                                                     \
        __asm__ volatile("" ::: "memory");                                                                             \
    } while (0)

APART int leaf(size_t size)
{
    ALLOCATE(size);
    return 1;
}

APART int plain(size_t size)
{
    return leaf(size) + 1;
}

APART int dynamic(size_t size, int bytes)
{
    char *p = (char *)alloca(bytes);
    memset(p, 1, bytes);
    __asm__ volatile("" ::"r"(p) : "memory");
    return plain(size) + p[bytes / 2];
}

APART int aligned(size_t size, int bytes)
{
    alignas(64) char here[128];
    char *p = (char *)alloca(bytes);
    memset(here, 1, sizeof here);
    __asm__ volatile("" ::"r"(p), "r"(here) : "memory");
    return plain(size) + here[5];
}

APART int large(size_t size)
{
    char here[300000];
    __asm__ volatile("" ::"r"(here) : "memory");
    return plain(size) + here[0];
}

// Uses every register, the frame pointer among them, for other things.
APART int busy(size_t size, long a, long b, long c, long d, long e)
{
    long f = a * b, g = b * c, h = c * d, i = d * e;
    int n = 0;
    for (int k = 0; k < 3; k++) {
        n += leaf(size + k);
        a += f, b += g, c += h, d += i, e += a;
    }
    return n + (int)(a + b + c + d + e + f + g + h + i);
}

APART int deep(size_t size, int depth)
{
    if (depth == 0)
        return leaf(size);
    int n = deep(size, depth - 1);
    __asm__ volatile("" : "+r"(n)); // else it becomes a loop
    return n + 1;
}

static unsigned seed = 1;
static size_t next_size = 10000;

static unsigned draw(unsigned n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 16) % n;
}

int wander(int depth);

// Functions whose frames are alike, so that stacks differ in nothing but where they return to.
#define LIKE(name)                                                                                                     \
    APART int name(int depth)                                                                                          \
    {                                                                                                                  \
        int n = wander(depth);                                                                                         \
        __asm__ volatile("" : "+r"(n));                                                                                \
        return n + __LINE__;                                                                                           \
    }
LIKE(like_a)
LIKE(like_b)
LIKE(like_c)

APART int unlike(int depth)
{
    char *p = (char *)alloca(16 << draw(3));
    __asm__ volatile("" ::"r"(p) : "memory");
    return wander(depth) + p[0];
}

APART int wander(int depth)
{
    int n = 0;
    for (unsigned i = 0, times = 1 + draw(2); i < times && next_size < 12000; i++) {
        if (draw(3) == 0)
            n += leaf(next_size++);
        if (depth > 0) {
            switch (draw(4)) {
            case 0: n += like_a(depth - 1); break;
            case 1: n += like_b(depth - 1); break;
            case 2: n += like_c(depth - 1); break;
            case 3: n += unlike(depth - 1); break;
            }
        }
    }
    return n;
}

static size_t compare_size;

APART int compare(const void *a, const void *b)
{
    if (compare_size) {
        size_t size = compare_size;
        compare_size = 0;
        plain(size);
    }
    return *(const int *)a - *(const int *)b;
}

APART void sorted(size_t size)
{
    int numbers[] = {3, 1, 2};
    compare_size = size;
    qsort(numbers, 3, sizeof *numbers, compare);
}

struct guard {
    size_t size;
    ~guard() { plain(size); }
};

APART void thrower(size_t size)
{
    guard g = {size};
    if (size)
        throw 1;
}

APART void catcher(size_t size)
{
    try {
        thrower(size);
    } catch (int) {
        plain(size + 1);
    }
}

static size_t signal_size;

APART void handler(int)
{
    plain(signal_size);
}

APART void interrupted(size_t size, int flags)
{
    struct sigaction action = {};
    signal_size = size;
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(SIGUSR1, &action, nullptr);
    raise(SIGUSR1);
    __asm__ volatile("" ::: "memory");
}

static ucontext_t outside, inside;

APART void coroutine()
{
    plain(1301);
    swapcontext(&inside, &outside);
    plain(1302);
}

APART void coroutines()
{
    static char stack[65536];
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = sizeof stack;
    inside.uc_link = &outside;
    makecontext(&inside, coroutine, 0);
    swapcontext(&outside, &inside);
    plain(1303);
    swapcontext(&outside, &inside);
    plain(1304);
}

APART void *threaded(void *)
{
    deep(1401, 5);
    return nullptr;
}

APART void libraries(const char *path)
{
    void *library = dlopen(path, RTLD_LAZY);
    int (*through)(int (*)(size_t), size_t);
    *(void **)&through = library ? dlsym(library, "through") : nullptr;
    if (through)
        through(plain, 1501);
}

APART void news()
{
    void *frames[600];
    char *volatile kept = new char[1601]; // else the compiler leaves both calls out
    delete[] kept;
    say(1601, frames, backtrace(frames, 600));
}

int main(int, char **argv)
{
    void *frames[4];
    static char other_stack[65536];
    stack_t other = {};
    pthread_t thread;
    backtrace(frames, 4); // loads what it needs
    plain(1001);
    volatile int three = 3; // so that the loop has one call
    for (int i = 0; i < three; i++)
        plain(1002);
    for (int i = 0; i < 4; i++)
        dynamic(1010 + i, 16 + 200 * i);
    for (int i = 0; i < 4; i++)
        aligned(1020 + i, 16 + 200 * i);
    large(1030);
    busy(1040, 3, 5, 7, 11, 13);
    for (int i = 0; i < 60; i += 7)
        deep(1100 + i, i);
    deep(1190, 20);
    deep(1191, 500);
    deep(1192, 21);
    sorted(1201);
    catcher(1210);
    interrupted(1221, 0);
    other.ss_sp = other_stack;
    other.ss_size = sizeof other_stack;
    sigaltstack(&other, nullptr);
    interrupted(1222, SA_ONSTACK);
    coroutines();
    pthread_create(&thread, nullptr, threaded, nullptr);
    pthread_join(thread, nullptr);
    libraries(argv[1]);
    news();
    while (next_size < 12000)
        wander(7);
    plain(1001);
    for (size_t done = 0; done < used;)
        done += write(1, text + done, used - done);
    return 0;
}
