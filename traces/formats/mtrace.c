/*
 * mtrace.c - the log of glibc's mtrace(3): one call a line,
 *
 *     = Start
 *     @ CALLER + ADDRESS SIZE        malloc, calloc, memalign and the like; (nil): it failed
 *     @ CALLER - ADDRESS             free, and realloc to 0 bytes
 *     @ CALLER < OLD                 realloc: this line, and the next one
 *     @ CALLER > ADDRESS SIZE
 *     @ CALLER ! OLD SIZE            a realloc that failed
 *     = End
 *
 * To make one: MALLOC_TRACE=FILE LD_PRELOAD=libc_malloc_debug.so.0 PROGRAM, where the program (or a
 * library that is preloaded too) calls mtrace(). A caller is given as file, function and address,
 * "@ ./a.out:(main+1d)[0x1139]", or is absent with its @.
 *
 * Rules of the import, beside those of traces/import.h. A call's site is its caller, numbered by first
 * appearance: base name of the file, function, and the offset less 1, where the address is one in a
 * file and below 4 GiB; else it is where the program happened to be, and only its place in a page is
 * kept. Of a program that is not position-independent the offset counts from the start of the file in
 * memory, as the C library says it. What the form cannot say: threads (all calls are of thread 0), times, which
 * kind of allocation it was (all become malloc, without alignment), free(NULL), which it leaves out.
 * Processes that were forked write into the same file and cannot be told apart. What a recorded program starts by
 * exec, a shell its commands or timeout its program, empties the file and writes over the other one's lines, and what
 * comes of that is refused: give MALLOC_TRACE to one program alone, `timeout 9 env MALLOC_TRACE=FILE .. PROGRAM`.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "traces/import.h"

/* Cuts the last three words off the line, the last one first. */
static void words_from_end(char *text, const char *words[3])
{
    char *end = text + strlen(text);
    for (unsigned i = 0; i < 3; i++) {
        while (end > text && end[-1] == ' ')
            *--end = 0;
        char *word = end;
        while (word > text && word[-1] != ' ')
            word--;
        words[i] = word == end ? "" : word;
        end = word;
    }
}

/* "- ADDRESS", or "+ ADDRESS SIZE"; the last word comes first. NULL: neither. */
static const char *call_find(const char *words[3], const char **address, const char **size)
{
    *address = words[1];
    *size = words[0];
    if (strlen(words[2]) == 1 && strchr("+>!", *words[2]))
        return words[2];
    *address = words[0];
    *size = NULL;
    return strlen(words[1]) == 1 && strchr("-<", *words[1]) ? words[1] : NULL;
}

static int call_import(struct import *im, char call, struct trace_op *op, uint64_t address)
{
    struct trace_op *begun;
    switch (call) {
    case '-':
        return import_free(im, address);
    case '<':
        return import_begin(im, op, address);
    case '>':
        begun = import_begun(im, TRACE_REALLOC);
        if (begun)
            begun->size = op->size;
        return import_end(im, TRACE_REALLOC, address);
    case '!':
        op->kind = TRACE_REALLOC;
        return import_whole(im, op, address, 0);
    default:
        op->kind = TRACE_ALLOC;
        return import_whole(im, op, 0, address);
    }
}

#define MOST_OFFSET UINT32_MAX

/* The caller, "@ FILE:(FUNCTION+HEX)[0xADDRESS]", any part of which but the address may be absent. It is
 * cut into its parts. */
static int caller_import(struct import *im, char *text, uint64_t *site)
{
    struct site_place place = {.offset = SITE_NO_OFFSET, .function = ""};
    char page[8], *start = text + strspn(text, "@ "), *bracket = strrchr(start, '[');
    const char *module = "";
    uint64_t key = XXH64(text, strlen(text), 0), address = 0;
    if (bracket) {
        address = strtoull(bracket + 1, NULL, 16);
        *bracket = 0;
    }
    char *end = start + strlen(start), *open = strrchr(start, '(');
    if (end > start && end[-1] == ')' && open) {
        end[-1] = *open = 0;
        place.function = open + 1;
    }
    char *colon = strrchr(start, ':');
    if (colon && !colon[1]) {
        *colon = 0;
        module = import_base_name(start);
    }
    if (address && address <= MOST_OFFSET && *module) {
        place.offset = address - 1;
        if (open && place.function == open + 1)
            open[1 + strcspn(open + 1, "+")] = 0;
    } else if (!*place.function) {
        import_page_place(address, page);
        place.function = page;
    }
    return import_site(im, key, &place, module, site);
}

static int line_import(struct import *im)
{
    char *text = im->lines.text;
    const char *words[3], *address_word, *size_word;
    uint64_t address, size = 0;
    if (!strcmp(text, "= Start") || !strcmp(text, "= End"))
        return 0;
    words_from_end(text, words);
    const char *call = call_find(words, &address_word, &size_word);
    if (!call)
        return lines_refuse(&im->lines, "not a call: @ CALLER, one of + - < > !, an address and a "
                                        "size are expected; or have two programs written into one "
                                        "file?");
    if (lines_pointer(&im->lines, address_word, "address", &address) ||
        (size_word && lines_pointer(&im->lines, size_word, "size", &size)))
        return -1;
    struct trace_op op = import_op(TRACE_REALLOC, size);
    char kind = *call, *caller_end = text + (call - text);
    while (caller_end > text && (caller_end[-1] == ' ' || caller_end[-1] == 0))
        caller_end--;
    *caller_end = 0;
    if (text[0] == '@' && caller_import(im, text, &op.site))
        return -1;
    return call_import(im, kind, &op, address);
}

static int mtrace_import(const char *path, struct trace_writer *out, struct import_report *report,
                         struct error *err)
{
    struct import im;
    return import_open(&im, path, "mtrace", out, report, err) ? -1 : import_lines(&im, line_import);
}

TRACE_FORMAT(mtrace) = {
    .name = "mtrace",
    .summary = "the log of glibc's mtrace()",
    .import = mtrace_import,
};
