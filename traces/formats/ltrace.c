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
 *
 * The process id stands there with -f, as "PID" or "[pid PID]"; it is a thread's, and one thread is
 * assumed without it. TIME is that of -ttt (seconds since 1970), of -t and -tt (time of day) or of -r
 * (since the line before); IP is that of -i: a site for each, numbered by first appearance, which stands
 * for its place in a page, since ltrace does not say which module it is in. Calls of other functions are
 * ignored. C++'s operators are known by their mangled names and by those of -C. Where ltrace also sees the
 * malloc and free that they call, there is one op: the malloc, and the delete.
 *
 * Rules of the import, beside those of traces/import.h. A result of 0 is a call that failed, but
 * realloc(p, 0) frees. posix_memalign is given no address: such a call is dropped and counted, as
 * are then the frees of what it returned. Processes that were forked are threads here, whose frees of
 * what their parent had are odd. ltrace sees only what is called through a PLT. Of the calls that
 * the C library makes itself ("libc.so.6->") it takes one function for another (0.7.3 does, with
 * glibc 2.36): they are ignored, and a free of what it allocated is odd.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "traces/import.h"

#define NS_PER_S UINT64_C(1000000000)

/* What a function's arguments are: 'p' the old address, 's' the size, 'n' a count, 'a' an
 * alignment, '-' nothing of use. */
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
    {"valloc", "s", TRACE_ALIGNED},
    {"pvalloc", "s", TRACE_ALIGNED},
    {"posix_memalign", "-as", TRACE_ALIGNED},
    {"cfree", "p", TRACE_FREE},
};

static const struct function operator_new = {"operator new", "s", TRACE_ALLOC},
                             operator_new_aligned = {"operator new", "sa", TRACE_ALIGNED},
                             operator_delete = {"operator delete", "p", TRACE_FREE};

struct ltrace {
    struct import im; /* the first member: what gets one gets the other */
    struct address_map
        deleting;         /* by a thread's index, as its size: what a delete is about to free */
    uint64_t relative_ns; /* -r: the sum so far */
    bool relative;        /* the times are those of -r */
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
    import_clock(&l->im, l->relative ? l->relative_ns : ns);
    return 0;
}

/* The next word if it ends where it should; so that the call itself is not cut. */
static char *word_if(struct import *im, const char *characters)
{
    const char *start = im->lines.next + strspn(im->lines.next, " \t");
    size_t length = strspn(start, characters);
    return length && (start[length] == ' ' || start[length] == 0) ? lines_word(&im->lines) : NULL;
}

/* "[0x401136]" */
static int site_parse(struct import *im, const char *word, uint64_t *site)
{
    char page[8];
    const struct site_place place = {.offset = SITE_NO_OFFSET, .function = page};
    uint64_t address = strtoull(word + strspn(word, "["), NULL, 16);
    import_page_place(address, page);
    return import_site(im, address, &place, "", site);
}

static int head_parse(struct ltrace *l, uint64_t *site)
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
    return word ? site_parse(im, word, site) : 0;
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
        if (lines_pointer(&im->lines, *text ? text : NULL, "argument", &value))
            return -1;
        text += length + (after != 0);
        if (*what == 'p')
            *old = value;
        else if (*what == 'a')
            import_align(op, value);
        else if (*what == 's')
            op->size = value;
        else if (*what == 'n')
            count = value, product = true;
    }
    if (product)
        op->size = import_calloc(count, op->size).size;
    return 0;
}

/* A free that the delete which this thread is in has told already, or that of a delete. */
static int free_import(struct ltrace *l, const struct function *f, bool open, uint64_t address)
{
    struct import *im = &l->im;
    struct address_entry *entry = address_map_find(&l->deleting, im->at);
    if (entry && entry->size == address)
        return 0;
    if (entry)
        address_map_remove(&l->deleting, entry);
    if (open && is_operator(f) && address && !address_map_add(&l->deleting, im->at, 0, address))
        return lines_refuse(&im->lines, "no memory for the tables");
    return import_free(im, address);
}

static int begin_import(struct import *im, const struct function *f, char *arguments, uint64_t site)
{
    struct trace_op op = import_op(f->kind, 0);
    uint64_t old = 0, address = 0;
    bool frees = f->kind == TRACE_FREE, unsaid = f->arguments[0] == '-';
    bool open = strstr(arguments, "<unfinished ...>") || strstr(arguments, "<no return ...>");
    op.site = frees ? 0 : site;
    if (!open && !frees && !unsaid && result_parse(im, arguments, &address))
        return -1;
    if (arguments_parse(im, f, arguments, &op, &old))
        return -1;
    if (frees)
        return free_import((struct ltrace *)im, f, open, old);
    if (unsaid)
        return lines_odd(&im->lines, im->report, &im->report->unsaid_addresses,
                         "the address is not said of what it returned:", f->name);
    return open ? import_begin(im, &op, old) : import_whole(im, &op, old, address);
}

static void delete_ends(struct ltrace *l)
{
    struct address_entry *entry = address_map_find(&l->deleting, l->im.at);
    if (entry)
        address_map_remove(&l->deleting, entry);
}

static int resumed_import(struct import *im, char *name)
{
    uint64_t address;
    char *rest = strstr(name, "resumed>"), *end;
    const struct function *f = operator_find(name, &end);
    if (!rest)
        return lines_refuse(&im->lines, "'<... ' without 'resumed>'");
    if (!f)
        f = function_find(name, strcspn(name, " @"));
    if (f == &operator_delete)
        delete_ends((struct ltrace *)im);
    if (!f || f->kind == TRACE_FREE || f->arguments[0] == '-')
        return 0;
    if (result_parse(im, rest, &address))
        return -1;
    if (is_operator(f) && import_forget(im, f->kind, address)) /* malloc has told it */
        return 0;
    return import_end(im, f->kind, address);
}

static int line_import(struct import *im)
{
    uint64_t site = 0;
    if (head_parse((struct ltrace *)im, &site))
        return -1;
    char *text = im->lines.next + strspn(im->lines.next, " \t");
    if (!strncmp(text, "--- ", 4))
        return 0;
    if (!strncmp(text, "+++ ", 4))
        return im->threads[im->at].number < 0 ? 0 : import_thread_end(im);
    if (!strncmp(text, "<... ", 5))
        return resumed_import(im, text + 5);
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
    if (!f && (name == text || strncmp(text, "libc.so", 7) != 0))
        f = function_find(name, strcspn(name, "@"));
    return f ? begin_import(im, f, open + 1, site) : 0;
}

static int ltrace_import(const char *path, struct trace_writer *out, struct import_report *report,
                         struct error *err)
{
    struct ltrace l = {.relative = false};
    if (import_open(&l.im, path, "ltrace", out, report, err))
        return -1;
    int failed = import_lines(&l.im, line_import);
    address_map_free(&l.deleting);
    return failed;
}

TRACE_FORMAT(ltrace) = {
    .name = "ltrace",
    .summary = "the text of ltrace",
    .import = ltrace_import,
};
