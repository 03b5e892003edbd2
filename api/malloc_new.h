/*
 * malloc_new.h - C++ operator new and delete in all forms, by their symbols and without a C++
 * compiler, so that a C program does not get the C++ library by preloading us. A part of the
 * template api/malloc.c.
 *
 * When memory is short, C++ wants handlers called and bad_alloc thrown. Only the C++ library can do
 * that, and its own operators do: the next operator new in the program's search order runs the loop
 * over malloc, which is ours, and throws through us; the nothrow forms catch. They are looked up
 * when memory has run out for the first time. A C++ library that was loaded for a plugin is not in
 * the search order, and is found by its name.
 *
 * The standard's default of one form is to call another: new[] calls new, the sized delete the
 * plain one, and so on. A program that has replaced a plain form counts on it. So each form first
 * looks whether the form that it stands on is still ours, which is a comparison of two addresses
 * that the dynamic linker has filled in, and else calls it.
 */
#ifndef ALLOCLAB_MALLOC_NEW_H
#define ALLOCLAB_MALLOC_NEW_H

#include <dlfcn.h>

/* The next definition of an operator: of the C++ library that the program has. */
static __attribute__((noinline, cold)) void *new_next(const char *symbol)
{
    static const char *const libraries[] = {"libstdc++.so.6", "libc++.so.1"};
    void *found = dlsym(RTLD_NEXT, symbol);
    for (size_t i = 0; !found && i < sizeof libraries / sizeof *libraries; i++) {
        void *library = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);
        if (library)
            found = dlsym(library, symbol);
    }
    if (!found)
        setting_warn(design->name, "no memory, and no C++ library to throw bad_alloc");
    if (!found)
        abort();
    return found;
}

typedef void *new_fn(size_t size);
typedef void *new_tag_fn(size_t size, const void *tag); /* the tag: std::nothrow_t, by reference */
typedef void *new_align_fn(size_t size, size_t align);
typedef void *new_align_tag_fn(size_t size, size_t align, const void *tag);

/* An exported operator, and a name of it that nobody can replace. */
#define OPERATOR(result, name, symbol, PARAMS)                                                     \
    EXPORT result name PARAMS __asm__(symbol);                                                     \
    static result name##_ours PARAMS __attribute__((alias(symbol), unused))

#define REPLACED(name) UNLIKELY(&(name) != &(name##_ours))

OPERATOR(void *, new_plain, "_Znwm", (size_t size));
OPERATOR(void *, new_array, "_Znam", (size_t size));
OPERATOR(void *, new_tag, "_ZnwmRKSt9nothrow_t", (size_t size, const void *tag));
OPERATOR(void *, new_array_tag, "_ZnamRKSt9nothrow_t", (size_t size, const void *tag));
OPERATOR(void *, new_align, "_ZnwmSt11align_val_t", (size_t size, size_t align));
OPERATOR(void *, new_array_align, "_ZnamSt11align_val_t", (size_t size, size_t align));
OPERATOR(void *, new_align_tag, "_ZnwmSt11align_val_tRKSt9nothrow_t",
         (size_t size, size_t align, const void *tag));
OPERATOR(void *, new_array_align_tag, "_ZnamSt11align_val_tRKSt9nothrow_t",
         (size_t size, size_t align, const void *tag));

/* What the next operator does with the arguments; not a tail call, as dlsym looks who calls. */
#define NEXT(type, symbol, ...) ((type *)new_next(symbol))(__VA_ARGS__)

FLATTENED void *new_plain(size_t size)
{
    void *p = dropin_alloc(size);
    return LIKELY(p) ? p : NEXT(new_fn, "_Znwm", size);
}

FLATTENED void *new_array(size_t size)
{
    if (REPLACED(new_plain))
        return new_plain(size);
    void *p = dropin_alloc(size);
    return LIKELY(p) ? p : NEXT(new_fn, "_Znwm", size);
}

void *new_tag(size_t size, const void *tag)
{
    void *p = REPLACED(new_plain) ? NULL : dropin_alloc(size);
    return LIKELY(p) ? p : NEXT(new_tag_fn, "_ZnwmRKSt9nothrow_t", size, tag);
}

void *new_array_tag(size_t size, const void *tag)
{
    bool replaced = REPLACED(new_array) || REPLACED(new_plain);
    void *p = replaced ? NULL : dropin_alloc(size);
    return LIKELY(p) ? p : NEXT(new_tag_fn, "_ZnamRKSt9nothrow_t", size, tag);
}

void *new_align(size_t size, size_t align)
{
    void *p = dropin_alloc_rest(size, align);
    return LIKELY(p) ? p : NEXT(new_align_fn, "_ZnwmSt11align_val_t", size, align);
}

void *new_array_align(size_t size, size_t align)
{
    return new_align(size, align);
}

void *new_align_tag(size_t size, size_t align, const void *tag)
{
    void *p = REPLACED(new_align) ? NULL : dropin_alloc_rest(size, align);
    return LIKELY(p)
               ? p
               : NEXT(new_align_tag_fn, "_ZnwmSt11align_val_tRKSt9nothrow_t", size, align, tag);
}

void *new_array_align_tag(size_t size, size_t align, const void *tag)
{
    bool replaced = REPLACED(new_array_align) || REPLACED(new_align);
    void *p = replaced ? NULL : dropin_alloc_rest(size, align);
    return LIKELY(p)
               ? p
               : NEXT(new_align_tag_fn, "_ZnamSt11align_val_tRKSt9nothrow_t", size, align, tag);
}

/*
 * delete: a form that is told the size stands on the same form without it, an array form on the
 * form for one object, a nothrow form on the form without. What stands on a chain of forms calls
 * the first of them that is not ours.
 */
OPERATOR(void, delete_plain, "_ZdlPv", (void *p));
OPERATOR(void, delete_array, "_ZdaPv", (void *p));
OPERATOR(void, delete_size, "_ZdlPvm", (void *p, size_t size));
OPERATOR(void, delete_array_size, "_ZdaPvm", (void *p, size_t size));
OPERATOR(void, delete_tag, "_ZdlPvRKSt9nothrow_t", (void *p, const void *tag));
OPERATOR(void, delete_array_tag, "_ZdaPvRKSt9nothrow_t", (void *p, const void *tag));
OPERATOR(void, delete_align, "_ZdlPvSt11align_val_t", (void *p, size_t align));
OPERATOR(void, delete_array_align, "_ZdaPvSt11align_val_t", (void *p, size_t align));
OPERATOR(void, delete_size_align, "_ZdlPvmSt11align_val_t", (void *p, size_t size, size_t align));
OPERATOR(void, delete_array_size_align, "_ZdaPvmSt11align_val_t",
         (void *p, size_t size, size_t align));
OPERATOR(void, delete_align_tag, "_ZdlPvSt11align_val_tRKSt9nothrow_t",
         (void *p, size_t align, const void *tag));
OPERATOR(void, delete_array_align_tag, "_ZdaPvSt11align_val_tRKSt9nothrow_t",
         (void *p, size_t align, const void *tag));

FLATTENED void delete_plain(void *p)
{
    dropin_free(p, 0);
}

FLATTENED void delete_size(void *p, size_t size)
{
    if (REPLACED(delete_plain))
        return delete_plain(p);
    dropin_free(p, size);
}

void delete_array(void *p)
{
    if (REPLACED(delete_plain))
        return delete_plain(p);
    dropin_free(p, 0);
}

void delete_array_size(void *p, size_t size)
{
    if (REPLACED(delete_array))
        return delete_array(p);
    if (REPLACED(delete_plain))
        return delete_plain(p);
    dropin_free(p, size);
}

void delete_tag(void *p, const void *tag)
{
    (void)tag;
    delete_plain(p);
}

void delete_array_tag(void *p, const void *tag)
{
    (void)tag;
    delete_array(p);
}

void delete_align(void *p, size_t align)
{
    (void)align;
    dropin_free(p, 0);
}

void delete_array_align(void *p, size_t align)
{
    delete_align(p, align);
}

void delete_size_align(void *p, size_t size, size_t align)
{
    if (REPLACED(delete_align))
        return delete_align(p, align);
    dropin_free(p, size);
}

void delete_array_size_align(void *p, size_t size, size_t align)
{
    if (REPLACED(delete_array_align))
        return delete_array_align(p, align);
    if (REPLACED(delete_align))
        return delete_align(p, align);
    dropin_free(p, size);
}

void delete_align_tag(void *p, size_t align, const void *tag)
{
    (void)tag;
    delete_align(p, align);
}

void delete_array_align_tag(void *p, size_t align, const void *tag)
{
    (void)tag;
    delete_array_align(p, align);
}

#endif
