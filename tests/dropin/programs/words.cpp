// words.cpp - counts the words of generated text with everything that the C++ library has:
// strings, maps, streams, shared pointers between threads, sorting. Its output is always the same.
#include <algorithm>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

using chapter = std::shared_ptr<std::vector<std::string>>;

static chapter write(unsigned seed)
{
    auto words = std::make_shared<std::vector<std::string>>();
    for (int i = 0; i < 3000; i++) {
        std::ostringstream word;
        seed = seed * 1103515245 + 12345;
        word << "word-" << (seed >> 16) % 700 << std::string((seed >> 8) % 40, '.');
        words->push_back(word.str());
    }
    return words;
}

int main()
{
    std::unordered_map<std::string, int> counts;
    std::list<chapter> written;
    std::mutex lock;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; t++)
        threads.emplace_back([&, t] {
            for (unsigned n = 0; n < 5; n++) {
                chapter c = write(t * 100 + n);
                std::lock_guard<std::mutex> hold(lock);
                for (auto &word : *c)
                    counts[word]++;
                written.push_back(c);
            }
        });
    for (auto &t : threads)
        t.join();
    std::map<int, std::vector<std::string>> by_count;
    for (auto &entry : counts)
        by_count[entry.second].push_back(entry.first);
    size_t letters = 0;
    for (auto &c : written)
        for (auto &word : *c)
            letters += word.size();
    std::cout << counts.size() << ' ' << letters << '\n';
    for (auto &entry : by_count) {
        std::sort(entry.second.begin(), entry.second.end());
        std::cout << entry.first << ' ' << entry.second.size() << ' ' << entry.second[0] << '\n';
    }
}
