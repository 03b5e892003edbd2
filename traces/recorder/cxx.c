/*
 * cxx.c - operator new and delete, in all forms that a program may call. The C++ library's reach
 * malloc and free, where they are noted; here they only pass through, and a delete that is told the
 * size leaves it as a hint for the free it ends in. A program's own operators stay in charge: what
 * is in the executable is found before us, and what is in a library is what we pass on to.
 *
 * An allocator that brings operators of its own (jemalloc, tcmalloc, mimalloc) does not go through
 * malloc and free; its operators lie in the library that also has its malloc, and are noted here.
 * An allocation of theirs that throws is not noted.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "traces/recorder/calls.h"

struct operator
{ /* the next definition; filled at the first call */
    void *_Atomic function;
    _Atomic bool allocators; /* it does not go through malloc and free */
    _Atomic bool aside;      /* there is more to do than to pass the call on */
};

__attribute__((noinline, cold)) static void *operator_find(struct operator* op, const char *symbol,
                                                           void *caller)
{
    void *function = call_lookup(symbol, caller);
    if (!function) {
        static const char text[] =
            "alloclab-record: a C++ operator is called that nobody defines\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
        (void)ignored;
        abort();
    }
    bool allocators = call_is_allocators(function);
    bool told = sink_ready() && sink_settings.sites == CAPTURE_SITES_CALLER;
    atomic_store_explicit(&op->allocators, allocators, memory_order_relaxed);
    atomic_store_explicit(&op->aside, allocators || told, memory_order_relaxed);
    atomic_store_explicit(&op->function, function, memory_order_release);
    return function;
}

static inline void *operator_next(struct operator* op, const char *symbol, void *caller)
{
    void *function = atomic_load_explicit(&op->function, memory_order_acquire);
    return UNLIKELY(!function) ? operator_find(op, symbol, caller) : function;
}

/* After the allocator's own operator new, unless it went through malloc after all, or through
 * another operator: the standard's new[] calls new, and finds ours. */
static void note_new(void *p, size_t size, size_t align, struct frame *frame)
{
    bool was_inside;
    if ((p && p == self.noted) || !call_enter((const void *)frame->caller, &was_inside))
        return;
    call_note((struct record){.kind = align ? CAPTURE_ALIGNED : CAPTURE_ALLOC,
                              .flags = p ? 0 : CAPTURE_FAILED,
                              .align_log2 = (uint8_t)call_align_log2(align),
                              .address = (uintptr_t)p,
                              .size = size},
              call_sited(frame));
    self.noted = p;
    call_leave(was_inside);
}

/* Before the C++ library's operator new: what it allocates has our caller, or the caller of the
 * operator that we are part of. */
static void outer_begin(struct frame *frame)
{
    self.noted = NULL;
    call_sited(frame);
    self.outer = frame->caller;
    self.outer_sp = frame->sp;
}

/* Before the allocator's own operator delete; true if call_leave() is due after it. */
static bool note_delete(void *p, bool sized, size_t size, const void *caller, bool *was_inside)
{
    if (!call_enter(caller, was_inside))
        return false;
    bool hint = p && sized;
    call_note((struct record){.kind = hint ? CAPTURE_FREE_SIZED : CAPTURE_FREE,
                              .address = (uintptr_t)p,
                              .size = hint ? size : 0},
              NULL);
    return true;
}

/*
 * PARAMS and ARGS are those of the form, in parentheses; ALIGN is the alignment or 0. The call may
 * throw through us: nothing is held meanwhile.
 */
#define OPERATOR_NEW(name, symbol, PARAMS, ARGS, ALIGN)                                            \
    static struct operator name##_next;                                                            \
    static __attribute__((noinline)) void *name##_aside PARAMS                                     \
    {                                                                                              \
        struct frame frame = FRAME_HERE(__builtin_return_address(0));                              \
        uintptr_t outer = self.outer, outer_sp = self.outer_sp;                                    \
        void *(*call)PARAMS;                                                                       \
        *(void **)&call = atomic_load_explicit(&name##_next.function, memory_order_acquire);       \
        outer_begin(&frame);                                                                       \
        void *p = call ARGS;                                                                       \
        self.outer = outer;                                                                        \
        self.outer_sp = outer_sp;                                                                  \
        if (atomic_load_explicit(&name##_next.allocators, memory_order_relaxed))                   \
            note_new(p, size, ALIGN, &frame);                                                      \
        return p;                                                                                  \
    }                                                                                              \
    RECORDER_EXPORT void *name PARAMS __asm__(symbol);                                             \
    RECORDER_EXPORT void *name PARAMS                                                              \
    {                                                                                              \
        void *(*call)PARAMS;                                                                       \
        *(void **)&call = operator_next(&name##_next, symbol, __builtin_return_address(0));        \
        if (UNLIKELY(atomic_load_explicit(&name##_next.aside, memory_order_relaxed)))              \
            return name##_aside ARGS;                                                              \
        return call ARGS;                                                                          \
    }

#define OPERATOR_DELETE(name, symbol, PARAMS, ARGS, SIZED, SIZE)                                   \
    RECORDER_EXPORT void name PARAMS __asm__(symbol);                                              \
    RECORDER_EXPORT void name PARAMS                                                               \
    {                                                                                              \
        static struct operator next;                                                               \
        void(*call) PARAMS;                                                                        \
        *(void **)&call = operator_next(&next, symbol, __builtin_return_address(0));               \
        if (atomic_load_explicit(&next.allocators, memory_order_relaxed)) {                        \
            bool was_inside;                                                                       \
            bool entered = note_delete(p, SIZED, SIZE, __builtin_return_address(0), &was_inside);  \
            call ARGS;                                                                             \
            if (entered)                                                                           \
                call_leave(was_inside);                                                            \
            return;                                                                                \
        }                                                                                          \
        const void *address = self.sized_address;                                                  \
        size_t bytes = self.sized_bytes;                                                           \
        if (SIZED) {                                                                               \
            self.sized_address = p;                                                                \
            self.sized_bytes = SIZE;                                                               \
        }                                                                                          \
        call ARGS;                                                                                 \
        self.sized_address = address;                                                              \
        self.sized_bytes = bytes;                                                                  \
    }

#define SIZE_TAG       (size_t size, const void *tag) /* the tag: std::nothrow_t, by reference */
#define SIZE_ALIGN     (size_t size, size_t align)
#define SIZE_ALIGN_TAG (size_t size, size_t align, const void *tag)

OPERATOR_NEW(new_plain, "_Znwm", (size_t size), (size), 0)
OPERATOR_NEW(new_array, "_Znam", (size_t size), (size), 0)
OPERATOR_NEW(new_tag, "_ZnwmRKSt9nothrow_t", SIZE_TAG, (size, tag), 0)
OPERATOR_NEW(new_array_tag, "_ZnamRKSt9nothrow_t", SIZE_TAG, (size, tag), 0)
OPERATOR_NEW(new_align, "_ZnwmSt11align_val_t", SIZE_ALIGN, (size, align), align)
OPERATOR_NEW(new_array_align, "_ZnamSt11align_val_t", SIZE_ALIGN, (size, align), align)
OPERATOR_NEW(new_align_tag, "_ZnwmSt11align_val_tRKSt9nothrow_t", SIZE_ALIGN_TAG,
             (size, align, tag), align)
OPERATOR_NEW(new_array_align_tag, "_ZnamSt11align_val_tRKSt9nothrow_t", SIZE_ALIGN_TAG,
             (size, align, tag), align)

#define P_TAG        (void *p, const void *tag)
#define P_ALIGN      (void *p, size_t align)
#define P_ALIGN_TAG  (void *p, size_t align, const void *tag)
#define P_SIZE       (void *p, size_t size)
#define P_SIZE_ALIGN (void *p, size_t size, size_t align)

OPERATOR_DELETE(delete_plain, "_ZdlPv", (void *p), (p), false, 0)
OPERATOR_DELETE(delete_array, "_ZdaPv", (void *p), (p), false, 0)
OPERATOR_DELETE(delete_tag, "_ZdlPvRKSt9nothrow_t", P_TAG, (p, tag), false, 0)
OPERATOR_DELETE(delete_array_tag, "_ZdaPvRKSt9nothrow_t", P_TAG, (p, tag), false, 0)
OPERATOR_DELETE(delete_align, "_ZdlPvSt11align_val_t", P_ALIGN, (p, align), false, 0)
OPERATOR_DELETE(delete_array_align, "_ZdaPvSt11align_val_t", P_ALIGN, (p, align), false, 0)
OPERATOR_DELETE(delete_align_tag, "_ZdlPvSt11align_val_tRKSt9nothrow_t", P_ALIGN_TAG,
                (p, align, tag), false, 0)
OPERATOR_DELETE(delete_array_align_tag, "_ZdaPvSt11align_val_tRKSt9nothrow_t", P_ALIGN_TAG,
                (p, align, tag), false, 0)
OPERATOR_DELETE(delete_size, "_ZdlPvm", P_SIZE, (p, size), true, size)
OPERATOR_DELETE(delete_array_size, "_ZdaPvm", P_SIZE, (p, size), true, size)
OPERATOR_DELETE(delete_size_align, "_ZdlPvmSt11align_val_t", P_SIZE_ALIGN, (p, size, align), true,
                size)
OPERATOR_DELETE(delete_array_size_align, "_ZdaPvmSt11align_val_t", P_SIZE_ALIGN, (p, size, align),
                true, size)
