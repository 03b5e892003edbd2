/*
 * alloclab.hpp - alloclab.h for C++: heaps, scopes and thread views that end with their block, an
 * allocator for containers (C++11), and a std::pmr::memory_resource (C++17).
 *
 *     alloclab::heap heap("segfit");
 *     std::vector<int, alloclab::allocator<int>> v{alloclab::allocator<int>(heap)};
 *
 *     alloclab::scope frame(heap);                 of a design with scopes, like "arena"
 *     alloclab::memory_resource memory(frame);
 *     std::pmr::string s("of this frame", &memory);
 *
 * All of these but memory_resource and allocator own what they open and can be moved, not copied; a
 * scope or view must end before its heap. The rules for threads are those of alloclab.h. Where
 * there is no memory, std::bad_alloc is thrown; a wrong spec is std::invalid_argument with its
 * message; a scope or view of a design that has none is std::logic_error.
 */
#ifndef ALLOCLAB_HPP
#define ALLOCLAB_HPP

#include <cerrno>
#include <cstddef>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <utility>

#if __cplusplus >= 201703L
#include <memory_resource>
#endif

#include "alloclab.h"

namespace alloclab
{

/* What heap, scope and thread_view have in common: a handle that is ended once. */
template <void (*end)(alloclab_heap *)> class handle
{
  public:
    handle(handle &&other) noexcept : handle_(other.handle_)
    {
        other.handle_ = nullptr;
    }
    handle &operator=(handle &&other) noexcept
    {
        std::swap(handle_, other.handle_);
        return *this;
    }
    handle(const handle &) = delete;
    handle &operator=(const handle &) = delete;
    ~handle()
    {
        if (handle_)
            end(handle_);
    }
    alloclab_heap *get() const noexcept
    {
        return handle_;
    }
    operator alloclab_heap *() const noexcept
    {
        return handle_;
    }

  protected:
    explicit handle(alloclab_heap *opened, const char *what) : handle_(opened)
    {
        if (opened)
            return;
        if (errno == EINVAL)
            throw std::invalid_argument(what);
        if (errno == ENOTSUP)
            throw std::logic_error(what);
        throw std::bad_alloc();
    }

  private:
    alloclab_heap *handle_;
};

class heap : public handle<alloclab_destroy>
{
  public:
    explicit heap(const char *spec, const alloclab_config &config = alloclab_config())
        : heap(spec, config, message())
    {
    }

  private:
    struct message {
        char text[1024];
    };
    heap(const char *spec, const alloclab_config &config, message &&why)
        : handle(alloclab_open(spec, &config, why.text, sizeof why.text), why.text)
    {
    }
};

class scope : public handle<alloclab_scope_leave>
{
  public:
    explicit scope(alloclab_heap *parent)
        : handle(alloclab_scope_enter(parent), "alloclab: this design has no scopes")
    {
    }
};

class thread_view : public handle<alloclab_thread_leave>
{
  public:
    explicit thread_view(alloclab_heap *heap)
        : handle(alloclab_thread_enter(heap), "alloclab: this design cannot be shared")
    {
    }
};

/* Bytes of a handle, never null; std::bad_alloc without memory or that alignment. */
inline void *allocate(alloclab_heap *heap, std::size_t bytes, std::size_t align)
{
    void *p = alloclab_alloc(heap, bytes, align);
    if (!p)
        throw std::bad_alloc();
    return p;
}

inline void deallocate(alloclab_heap *heap, void *p, std::size_t bytes) noexcept
{
    alloclab_free(heap, p, bytes ? bytes : 1);
}

/* Of the standard's Allocator requirements. Equal if of the same handle, which outlives it. */
template <class T> class allocator
{
  public:
    using value_type = T;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;

    allocator(alloclab_heap *heap) noexcept : heap_(heap)
    {
    }
    template <class U> allocator(const allocator<U> &other) noexcept : heap_(other.heap())
    {
    }
    T *allocate(std::size_t n)
    {
        if (n > static_cast<std::size_t>(-1) / sizeof(T))
            throw std::bad_array_new_length();
        return static_cast<T *>(alloclab::allocate(heap_, n * sizeof(T), alignof(T)));
    }
    void deallocate(T *p, std::size_t n) noexcept
    {
        alloclab::deallocate(heap_, p, n * sizeof(T));
    }
    alloclab_heap *heap() const noexcept
    {
        return heap_;
    }

  private:
    alloclab_heap *heap_;
};

template <class T, class U> bool operator==(const allocator<T> &a, const allocator<U> &b) noexcept
{
    return a.heap() == b.heap();
}

template <class T, class U> bool operator!=(const allocator<T> &a, const allocator<U> &b) noexcept
{
    return a.heap() != b.heap();
}

#if __cplusplus >= 201703L
/* Equal to one of the same handle, which outlives it. */
class memory_resource : public std::pmr::memory_resource
{
  public:
    explicit memory_resource(alloclab_heap *heap) noexcept : heap_(heap)
    {
    }
    alloclab_heap *heap() const noexcept
    {
        return heap_;
    }

  private:
    void *do_allocate(std::size_t bytes, std::size_t align) override
    {
        return alloclab::allocate(heap_, bytes, align);
    }
    void do_deallocate(void *p, std::size_t bytes, std::size_t) override
    {
        alloclab::deallocate(heap_, p, bytes);
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
    {
        const auto *same = dynamic_cast<const memory_resource *>(&other);
        return same && same->heap_ == heap_;
    }

    alloclab_heap *heap_;
};
#endif

} // namespace alloclab

#endif
