/*
 * bulk.c - see bulk.h.
 */
#include "allocators/lib/bulk.h"

#include "allocators/lib/central.h"
#include "allocators/lib/os.h"
#include "allocators/lib/size_class.h"

/* Larger requests cannot be had, and sums with it do not overflow. */
#define BULK_MAX ((size_t)1 << 46)

static size_t units_of(size_t size)
{
    return align_up(size, UNIT_BYTES) >> UNIT_SHIFT;
}

struct found bulk_find(struct pages *pages, const char *design, const void *p)
{
    struct found f = {.tag = TAG_NONE};
    struct segment *segment = pages_number_ok(pages, p) ? segment_of(p) : pages_search(pages, p);
    if (!segment) {
        f.bytes = pages_large_find(pages, p);
        if (!f.bytes)
            misuse_abort(design, "invalid free", p);
        return f;
    }
    uint32_t info = segment_info(segment, segment_unit(p));
    f.tag = info_tag(info);
    f.offset = info_offset(info, p);
    if (f.tag == TAG_FREE)
        misuse_abort(design, "double free", p);
    if (f.tag == TAG_NONE || f.tag == TAG_META || (f.tag == TAG_LARGE && f.offset))
        misuse_abort(design, "invalid free", p);
    f.span = &segment->spans[info_first(info)];
    if (f.tag == TAG_LARGE)
        f.bytes = f.span->units * UNIT_BYTES;
    return f;
}

void *bulk_alloc(struct pages *pages, size_t size, size_t align)
{
    if (size > BULK_MAX || align > BULK_MAX)
        return NULL;
    size_t units = units_of(size), align_units = size_max(align >> UNIT_SHIFT, 1);
    if (units + align_units - 1 > RUN_UNITS_MAX)
        return pages_large_alloc(pages, size, align);
    struct span *span = pages_take(pages, units, align_units, TAG_LARGE);
    return span ? span_start(span) : NULL;
}

void bulk_free(struct pages *pages, const char *design, const struct found *f, void *p, size_t size)
{
    size_t unit = f->tag == TAG_NONE ? os_page_bytes() : UNIT_BYTES;
    if (size && align_up(size, unit) != f->bytes)
        misuse_abort(design, "wrong size", p);
    if (f->tag == TAG_LARGE)
        pages_give(pages, f->span);
    else
        pages_large_free(pages, p);
}

bool bulk_resize(struct pages *pages, const struct found *f, void *p, size_t size, size_t small)
{
    if (size > BULK_MAX || size <= small)
        return false;
    if (f->tag == TAG_LARGE)
        return pages_resize(pages, f->span, units_of(size));
    return size > f->bytes / 2 && pages_large_resize(pages, p, size);
}

/* ---- observation ---- */

struct walk_call {
    uintptr_t secret;
    walk_fn *fn;
    void *arg;
};

static void span_walk(void *arg, struct span *span)
{
    const struct walk_call *w = arg;
    if (span->tag < TAG_META) {
        struct central class = {.secret = w->secret,
                                .bytes = (uint32_t)size_class_bytes(span->tag - 1u),
                                .tag = span->tag};
        central_span_walk(&class, span, w->fn, w->arg);
        return;
    }
    pages_span_walk(span, w->fn, w->arg);
}

void bulk_walk(const struct pages *pages, uintptr_t secret, walk_fn *fn, void *arg)
{
    struct walk_call w = {secret, fn, arg};
    pages_walk(pages, fn, arg);
    pages_each(pages, span_walk, &w);
}
