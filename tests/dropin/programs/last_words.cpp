// last_words.cpp - allocation where threads and the program end: destructors of thread-local
// objects, of pthread keys in each of their rounds, of static objects, and atexit.
#include <atomic>
#include <pthread.h>
#include <string>
#include <thread>
#include <vector>

#include "tests/dropin/programs/check.h"

enum { KEYS = 40, ROUNDS = 3 }; // more keys than the C library keeps without allocating

static pthread_key_t keys[KEYS];
static std::atomic<int> calls;

struct word {
    std::string text = std::string(100, 'x');
    std::vector<std::string> list;
    ~word()
    {
        CHECK(text == std::string(100, 'x'));
        for (int i = 0; i < 50; i++)
            list.push_back(text + std::to_string(i));
        calls++;
    }
};

static thread_local word threads_word;
static word programs_word;

struct value {
    int rounds;
    char *text;
};

static void key_end(void *arg)
{
    value *v = static_cast<value *>(arg);
    CHECK(!strcmp(v->text, "some text of a value"));
    free(v->text);
    calls++;
    for (int i = 0; i < 20; i++) // other threads end just now, too
        free(strdup(i % 2 ? "a short one" : std::string(500, 'l').c_str()));
    if (++v->rounds == ROUNDS) {
        free(v);
        return;
    }
    v->text = strdup("some text of a value");
    for (int i = 0; i < KEYS; i++)
        if (!pthread_getspecific(keys[i])) { // again in the next round
            pthread_setspecific(keys[i], v);
            return;
        }
    CHECK(!"a key is free");
}

static pthread_barrier_t together;

static void work()
{
    threads_word.list.push_back("used");
    for (int i = KEYS - 1; i >= 0; i -= 2) {
        value *v = static_cast<value *>(malloc(sizeof *v));
        v->rounds = 0;
        v->text = strdup("some text of a value");
        pthread_setspecific(keys[i], v);
    }
    pthread_barrier_wait(&together);
}

static void at_end()
{
    std::vector<std::string> list(1000, std::string(50, 'y'));
    CHECK(list[999].size() == 50);
    dprintf(1, "ok\n");
}

int main()
{
    atexit(at_end);
    pthread_barrier_init(&together, nullptr, 4);
    for (int i = 0; i < KEYS; i++)
        CHECK(!pthread_key_create(&keys[i], key_end));
    for (int n = 0; n < 25; n++) {
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; i++)
            threads.emplace_back(work);
        for (auto &t : threads)
            t.join();
    }
    CHECK(calls == 25 * 4 * (1 + KEYS / 2 * ROUNDS));
    return 0;
}
