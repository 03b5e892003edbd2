/*
 * ltrace.c - the text of ltrace(1), as from
 *
 *     ltrace -f -ttt -e malloc+free+calloc+realloc+reallocarray+memalign+aligned_alloc+valloc+pvalloc
 *            -o FILE PROGRAM
 *
 *     [PID] [TIME] [[IP]] [CALLER->]NAME(ARGUMENT, ..) = RESULT
 *     .. NAME(ARGUMENT, .. <unfinished ...>      begins
 *     .. <... NAME resumed> ) = RESULT           returns
 *     .. NAME(ARGUMENT, .. <no return ...>       never returns
 *     .. +++ exited (status 0) +++               the thread ends
 *     .. --- SIGCHLD (Child exited) ---          ignored
 *     .. unexpected breakpoint at 0x7f51c0a9958c ignored: ltrace's own words when threads confuse it
 *
 * The process id stands there with -f, as "PID" or "[pid PID]"; it is a thread's, and one thread is
 * assumed without it. TIME is that of -ttt (seconds since 1970), of -t and -tt (time of day) or of -r
 * (since the line before); a time of day that is half a day less than the one before is of the next day. IP is
 * that of -i: a site for each, numbered by first appearance, which stands for its place in a page, since ltrace
 * does not say which module it is in. Calls of other functions are
 * ignored. C++'s operators are known by their mangled names and by those of -C. Where ltrace also sees the
 * malloc and free that they call, there is one op: the malloc, and the delete. With -x it sees each call twice,
 * where the program calls (NAME) and, inside that, in the library (NAME@libc.so.6), and the malloc of a realloc(0,
 * SIZE) as well: one op again.
 *
 * Rules of the import, beside those of traces/import.h. A result of 0 is a call that failed, but
 * realloc(p, 0) frees. A number may be negative: ltrace prints what it has no prototype for, such as C++'s
 * operators, as long, so -1 is 2^64 - 1. valloc and pvalloc are aligned to 4096, the smallest page of Linux's
 * machines. posix_memalign is given no address: such a call is dropped and counted, as
 * are then the frees of what it returned. Processes that were forked are threads here, whose frees of
 * what their parent had are odd. ltrace sees only what is called through a PLT. Of the calls that
 * the C library makes itself ("libc.so.6->") it takes one function for another (0.7.3 does, with
 * glibc 2.36): they are ignored, and a free of what it allocated is odd.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "traces/import.h"

#define NS_PER_S   UINT64_C(1000000000)
#define NS_PER_DAY (24 * 60 * 60 * NS_PER_S)

enum { SMALLEST_PAGE = 4096 };

/* What a function's arguments are: 'p' the old address, 's' the size, 'v' the size of what is aligned
 * to a page, 'n' a count, 'a' an alignment, '-' nothing of use. */
static const struct function {
    const char *name, *arguments;
    enum trace_kind kind;
} functions[] = {
    {"malloc", "s", TRACE_ALLOC},
    {"free", "p", TRACE_FREE},
    {"calloc", "ns", TRACE_CALLOC},
    {"realloc", "ps", TRACE_REALLOC},
    {"reallocarray", "pns", TRACE_REALLOC},
    {"memalign", "as", TRACE_ALIGNED},
    {"aligned_alloc", "as", TRACE_ALIGNED},
    {"valloc", "v", TRACE_ALIGNED},
    {"pvalloc", "v", TRACE_ALIGNED},
    {"posix_memalign", "-as", TRACE_ALIGNED},
    {"cfree", "p", TRACE_FREE},
};

static const struct function operator_new = {"operator new", "s", TRACE_ALLOC},
                             operator_new_aligned = {"operator new", "sa", TRACE_ALIGNED},
                             operator_delete = {"operator delete", "p", TRACE_FREE};

static const char confused[] = "unexpected breakpoint at ";

struct ltrace {
    struct import im; /* the first member: what gets one gets the other */
    /* By a thread's index, as its size: the address that it is freeing in a call which has not returned, and how
     * many calls it has begun that are one with the call around them. */
    struct address_map freeing, doubled;
    struct address_map ignored; /* the function of an open call that the C library makes itself */
    uint64_t relative_ns;       /* -r: the sum so far */
    uint64_t last_ns,
        midnights_ns; /* -t, -tt: of the line before; the days that have ended since */
    bool relative;    /* the times are those of -r */
    bool has_caller;
    uint64_t caller; /* of the line at hand: where it calls from */
};

/* ---- what stands before the call ---- */

/* "1795759941.933543", "12:34:56.123456" or "0.000123" in ns. */
static int time_parse(struct import *im, const char *word, uint64_t *ns)
{
    uint64_t seconds = 0, part = 0, fraction = 0, unit = NS_PER_S;
    const char *p = word;
    *ns = 0;
    for (; *p && *p != '.'; p++) {
        if (*p == ':') {
            seconds = (seconds + part) * 60;
            part = 0;
        } else if (*p < '0' || *p > '9' || part > UINT32_MAX) {
            return lines_refuse(&im->lines, "'%.40s' is not a time", word);
        } else {
            part = 10 * part + (uint64_t)(*p - '0');
        }
    }
    if (seconds + part > UINT32_MAX)
        return lines_refuse(&im->lines, "'%.40s' is not a time: so many seconds", word);
    for (p += *p == '.'; *p >= '0' && *p <= '9' && unit > 1; p++) {
        unit /= 10;
        fraction += unit * (uint64_t)(*p - '0');
    }
    *ns = (seconds + part) * NS_PER_S + fraction;
    return *p ? lines_refuse(&im->lines, "'%.40s' is not a time", word) : 0;
}

static int clock_parse(struct ltrace *l, const char *word)
{
    uint64_t ns;
    if (time_parse(&l->im, word, &ns))
        return -1;
    if (!l->im.has_clock)
        l->relative = ns < 1000000 * NS_PER_S && !strchr(word, ':');
    l->relative_ns += ns;
    if (strchr(word, ':') && l->last_ns > ns + NS_PER_DAY / 2)
        l->midnights_ns += NS_PER_DAY;
    l->last_ns = ns;
    import_clock(&l->im, l->relative ? l->relative_ns : ns + l->midnights_ns);
    return 0;
}

/* The next word if it ends where it should; so that the call itself is not cut. */
static char *word_if(struct import *im, const char *characters)
{
    const char *start = im->lines.next + strspn(im->lines.next, " \t");
    size_t length = strspn(start, characters);
    return length && (start[length] == ' ' || start[length] == 0) ? lines_word(&im->lines) : NULL;
}

/* The site of a call from that address. */
static int site_of(struct import *im, uint64_t address, uint64_t *site)
{
    char page[8];
    const struct site_place place = {.offset = SITE_NO_OFFSET, .function = page};
    import_page_place(address, page);
    return import_site(im, address, &place, "", site);
}

static int head_parse(struct ltrace *l)
{
    struct import *im = &l->im;
    uint64_t tid = 0;
    const char *word;
    im->lines.next += strspn(im->lines.next, " \t");
    bool bracket = !strncmp(im->lines.next, "[pid ", 5);
    im->lines.next += bracket ? 5 : 0;
    word = bracket ? word_if(im, "0123456789]") : word_if(im, "0123456789");
    if (bracket && (!word || strlen(word) < 2 || word[strlen(word) - 1] != ']'))
        return lines_refuse(&im->lines, "'[pid' without its number and bracket");
    if (word) {
        char *digits = im->lines.text + (word - im->lines.text);
        digits[strspn(digits, "0123456789")] = 0;
        if (lines_number(&im->lines, word, "process id", &tid))
            return -1;
    }
    if (import_thread(im, tid))
        return -1;
    word = word_if(im, "0123456789.:");
    if (word && clock_parse(l, word))
        return -1;
    word = word_if(im, "[]0123456789abcdefx");
    l->has_caller = word != NULL; /* "[0x401136]" */
    l->caller = word ? strtoull(word + strspn(word, "["), NULL, 16) : 0;
    return 0;
}

/* ---- the call ---- */

static const struct function *function_find(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strlen(functions[i].name) == length && !memcmp(functions[i].name, name, length))
            return &functions[i];
    return NULL;
}

/*
 * An operator new or delete of C++, mangled ("_ZnwmSt11align_val_t") or not ("operator new(unsigned
 * long)"), or NULL. *end is what follows the name.
 */
static const struct function *operator_find(char *name, char **end)
{
    bool is_new = !strncmp(name, "_Znw", 4) || !strncmp(name, "_Zna", 4) ||
                  !strncmp(name, operator_new.name, strlen(operator_new.name));
    bool is_delete = !strncmp(name, "_ZdlPv", 6) || !strncmp(name, "_ZdaPv", 6) ||
                     !strncmp(name, operator_delete.name, strlen(operator_delete.name));
    if (!is_new && !is_delete)
        return NULL;
    *end = name + strcspn(name, "(");
    if (*name == 'o' && strchr(*end, ')')) /* its parameters belong to the name */
        *end = strchr(*end, ')') + 1;
    const char *align = strstr(name, "align_val_t");
    return is_delete               ? &operator_delete
           : align && align < *end ? &operator_new_aligned
                                   : &operator_new;
}

static bool is_operator(const struct function *f)
{
    return f == &operator_new || f == &operator_new_aligned || f == &operator_delete;
}

/* The result after the " = " at the end of a call. */
static int result_parse(struct import *im, char *text, uint64_t *address)
{
    char *equal = NULL;
    for (char *p = strstr(text, " = "); p; p = strstr(p + 1, " = "))
        equal = p;
    if (!equal)
        return lines_refuse(&im->lines, "a call without '= RESULT'");
    im->lines.next = equal + 3;
    return lines_pointer(&im->lines, lines_word(&im->lines), "result", address);
}

/* An argument: as lines_pointer, or a negative number, which stands for what an unsigned long makes of it. */
static int argument_parse(struct import *im, const char *word, uint64_t *value)
{
    bool negative = word && word[0] == '-' && word[1] >= '0' && word[1] <= '9';
    if (lines_pointer(&im->lines, negative ? word + 1 : word, "argument", value))
        return -1;
    *value = negative ? -*value : *value;
    return 0;
}

/* The arguments, up to the last one that counts. */
static int arguments_parse(struct import *im, const struct function *f, char *text,
                           struct trace_op *op, uint64_t *old)
{
    uint64_t count = 1;
    bool product = false;
    for (const char *what = f->arguments; *what; what++) {
        uint64_t value;
        text += strspn(text, " ");
        size_t length = strcspn(text, ",) <");
        char after = text[length];
        text[length] = 0;
        if (argument_parse(im, *text ? text : NULL, &value))
            return -1;
        text += length + (after != 0);
        if (*what == 'p')
            *old = value;
        else if (*what == 'a')
            import_align(op, value);
        else if (*what == 's' || *what == 'v')
            op->size = value;
        else if (*what == 'n')
            count = value, product = true;
        if (*what == 'v')
            import_align(op, SMALLEST_PAGE);
    }
    if (product)
        op->size = import_calloc(count, op->size).size;
    return 0;
}

static void freeing_ends(struct ltrace *l)
{
    struct address_entry *entry = address_map_find(&l->freeing, l->im.at);
    if (entry)
        address_map_remove(&l->freeing, entry);
}

static struct import_call *innermost(struct import *im)
{
    struct import_thread *thread = &im->threads[im->at];
    return thread->depth ? &thread->calls[thread->depth - 1] : NULL;
}

/* A free, of which the delete or free that this thread is in may have told already; or realloc(p, 0), which
 * the library turns into one. */
static int free_import(struct ltrace *l, bool open, bool in_library, uint64_t address)
{
    struct import *im = &l->im;
    const struct address_entry *entry = address_map_find(&l->freeing, im->at);
    const struct import_call *around = in_library ? innermost(im) : NULL;
    if ((entry && entry->size == address) ||
        (around && around->op.kind == TRACE_REALLOC && address && around->old == address))
        return 0;
    freeing_ends(l);
    if (open && !address_map_add(&l->freeing, im->at, 0, address))
        return lines_refuse(&im->lines, "no memory for the tables");
    return import_free(im, address);
}

/* True if it is the call that this thread is in, seen a second time in the library, or the malloc of a
 * realloc(NULL). An operator may throw after that, and not return. */
static bool is_double(struct import *im, const struct trace_op *op, uint64_t old)
{
    const struct import_call *around = innermost(im);
    if (!around || is_operator(around->what) || around->op.size != op->size)
        return false;
    bool same = around->op.kind == op->kind && around->old == old &&
                around->op.align_log2 == op->align_log2;
    return same || (op->kind == TRACE_ALLOC && around->op.kind == TRACE_REALLOC && !around->old);
}

/* Its return, if it is not in the same line, is passed over. */
static int double_begins(struct ltrace *l, bool open)
{
    struct address_entry *entry = open ? address_map_find(&l->doubled, l->im.at) : NULL;
    if (entry)
        entry->size++;
    else if (open && !address_map_add(&l->doubled, l->im.at, 0, 1))
        return lines_refuse(&l->im.lines, "no memory for the tables");
    return 0;
}

static bool double_ends(struct ltrace *l)
{
    struct address_entry *entry = address_map_find(&l->doubled, l->im.at);
    if (entry && --entry->size == 0)
        address_map_remove(&l->doubled, entry);
    return entry != NULL;
}

static int begin_import(struct ltrace *l, const struct function *f, char *arguments,
                        bool in_library)
{
    struct import *im = &l->im;
    struct trace_op op = import_op(f->kind, 0);
    uint64_t old = 0, address = 0;
    bool frees = f->kind == TRACE_FREE, unsaid = f->arguments[0] == '-';
    bool open = strstr(arguments, "<unfinished ...>") || strstr(arguments, "<no return ...>");
    if (!frees && l->has_caller && site_of(im, l->caller, &op.site))
        return -1;
    if (!open && !frees && !unsaid && result_parse(im, arguments, &address))
        return -1;
    if (arguments_parse(im, f, arguments, &op, &old))
        return -1;
    if (frees)
        return free_import(l, open, in_library, old);
    freeing_ends(l);
    if (unsaid)
        return lines_odd(&im->lines, im->report, &im->report->unsaid_addresses,
                         "the address is not said of what it returned:", f->name);
    if (in_library && is_double(im, &op, old))
        return double_begins(l, open);
    if (!open)
        return import_whole(im, &op, old, address);
    if (import_begin(im, &op, old))
        return -1;
    innermost(im)->what = f;
    return 0;
}

/* Of a call that the C library makes itself nothing is taken, nor of its return. */
static int ignored_begins(struct ltrace *l, const struct function *f, const char *arguments)
{
    struct address_entry *entry = address_map_find(&l->ignored, l->im.at);
    if (!strstr(arguments, "<unfinished ...>"))
        return 0;
    if (entry)
        entry->size = (uint64_t)(f - functions);
    else if (!address_map_add(&l->ignored, l->im.at, 0, (uint64_t)(f - functions)))
        return lines_refuse(&l->im.lines, "no memory for the tables");
    return 0;
}

static bool ignored_ends(struct ltrace *l, const struct function *f)
{
    struct address_entry *entry = address_map_find(&l->ignored, l->im.at);
    if (!entry || f != &functions[entry->size])
        return false;
    address_map_remove(&l->ignored, entry);
    return true;
}

static int resumed_import(struct ltrace *l, char *name)
{
    struct import *im = &l->im;
    uint64_t address;
    char *rest = strstr(name, "resumed>"), *end;
    const struct function *f = operator_find(name, &end);
    if (!rest)
        return lines_refuse(&im->lines, "'<... ' without 'resumed>'");
    if (!f)
        f = function_find(name, strcspn(name, " @"));
    if (ignored_ends(l, f))
        return 0;
    if (f && f->kind == TRACE_FREE)
        freeing_ends(l);
    if (!f || f->kind == TRACE_FREE || f->arguments[0] == '-' ||
        (!is_operator(f) && double_ends(l)))
        return 0;
    if (result_parse(im, rest, &address))
        return -1;
    if (is_operator(f) && import_forget(im, f->kind, address)) /* malloc has told it */
        return 0;
    return import_end(im, f->kind, address);
}

static int line_import(struct import *im)
{
    struct ltrace *l = (struct ltrace *)im;
    if (head_parse(l))
        return -1;
    char *text = im->lines.next + strspn(im->lines.next, " \t");
    if (!strncmp(text, "--- ", 4) || !strncmp(text, confused, sizeof confused - 1))
        return 0;
    if (!strncmp(text, "+++ ", 4))
        return im->threads[im->at].number < 0 ? 0 : import_thread_end(im);
    if (!strncmp(text, "<... ", 5))
        return resumed_import(l, text + 5);
    char *open = strchr(text, '(');
    if (!open)
        return lines_refuse(&im->lines,
                            "not a line of ltrace: NAME(ARGUMENTS) = RESULT is expected; "
                            "let ltrace write to a file of its own, with -o");
    char *arrow = strstr(text, "->");
    char *name = arrow && arrow < open ? arrow + 2 : text;
    const struct function *f = operator_find(name, &open);
    if (*open != '(')
        return lines_refuse(&im->lines, "an operator without its arguments");
    *open = 0;
    if (!f && (f = function_find(name, strcspn(name, "@"))) && name != text &&
        !strncmp(text, "libc.so", 7))
        return ignored_begins(l, f, open + 1);
    char *space = f ? NULL : strrchr(name, ' '); /* a call must not get lost among others' */
    if (space && function_find(space + 1, strcspn(space + 1, "@"))) {
        *space = 0;
        return lines_refuse(&im->lines,
                            "'%.40s' before %.40s is not understood; let ltrace write to a file of "
                            "its own, with -o",
                            name, space + 1);
    }
    return f ? begin_import(l, f, open + 1, strchr(name, '@') != NULL) : 0;
}

static int ltrace_import(const char *path, struct trace_writer *out, struct import_report *report,
                         struct error *err)
{
    struct ltrace l = {.relative = false};
    if (import_open(&l.im, path, "ltrace", out, report, err))
        return -1;
    int failed = import_lines(&l.im, line_import);
    address_map_free(&l.freeing);
    address_map_free(&l.doubled);
    address_map_free(&l.ignored);
    return failed;
}

TRACE_FORMAT(ltrace) = {
    .name = "ltrace",
    .summary = "the text of ltrace",
    .import = ltrace_import,
};
