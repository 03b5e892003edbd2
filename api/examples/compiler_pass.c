/*
 * compiler_pass.c - a compiler's passes: the tokens and the tree of a function are each in a scope
 * of their pass, the code that comes out is in a scope that outlives both. It compiles sums of
 * products to a stack machine, and runs the code.
 *
 * Shows: passes that end while a younger one goes on (the tokens go before the tree), objects
 * placed by how long they live, and memory that does not grow with the number of functions.
 *
 *     cc compiler_pass.c $(pkg-config --cflags --libs alloclab) && ./a.out
 */
#include <alloclab.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FUNCTIONS = 2000, TERMS = 300 };

struct token {
    struct token *next;
    char kind; /* '+', '*', 'n' */
    long value;
};

struct node {
    char kind;
    long value;
    struct node *left, *right;
};

struct code {
    size_t count, room;
    struct instruction {
        char op;
        long value;
    } * items;
};

static void *must(void *p)
{
    if (p)
        return p;
    perror("compiler_pass");
    exit(1);
}

/* ---- pass 1: text to tokens ---- */

static struct token *scan(struct alloclab_heap *pass, const char *text)
{
    struct token *first = NULL, **end = &first;
    while (*text) {
        struct token *t = must(alloclab_zalloc(pass, sizeof *t, 0));
        t->kind = isdigit((unsigned char)*text) ? 'n' : *text;
        if (t->kind == 'n')
            t->value = strtol(text, (char **)&text, 10);
        else
            text++;
        *end = t;
        end = &t->next;
    }
    return first;
}

/* ---- pass 2: tokens to a tree ---- */

static struct node *node_make(struct alloclab_heap *pass, struct node from)
{
    struct node *node = must(alloclab_alloc(pass, sizeof *node, 0));
    *node = from;
    return node;
}

/* A number, then all that binds at least as tightly as `kind`; *at moves on. */
static struct node *parse(struct alloclab_heap *pass, struct token **at, char kind)
{
    struct node *tree;
    if (kind == 'n') {
        tree = node_make(pass, (struct node){'n', (*at)->value, NULL, NULL});
        *at = (*at)->next;
        return tree;
    }
    char tighter = kind == '+' ? '*' : 'n';
    tree = parse(pass, at, tighter);
    while (*at && (*at)->kind == kind) {
        *at = (*at)->next;
        tree = node_make(pass, (struct node){kind, 0, tree, parse(pass, at, tighter)});
    }
    return tree;
}

/* ---- pass 3: the tree to code, which grows in the scope that outlives the passes ---- */

static void emit(struct alloclab_heap *unit, struct code *code, char op, long value)
{
    if (code->count == code->room) {
        size_t old = code->room * sizeof *code->items;
        code->room = code->room ? 2 * code->room : 64;
        code->items =
            must(alloclab_realloc(unit, code->items, old, code->room * sizeof *code->items, 0));
    }
    code->items[code->count++] = (struct instruction){op, value};
}

static void generate(struct alloclab_heap *unit, struct code *code, const struct node *node)
{
    if (node->kind != 'n') {
        generate(unit, code, node->left);
        generate(unit, code, node->right);
    }
    emit(unit, code, node->kind, node->value);
}

static long run(const struct code *code)
{
    long stack[TERMS], *top = stack;
    for (size_t i = 0; i < code->count; i++) {
        const struct instruction *instruction = &code->items[i];
        if (instruction->op == 'n') {
            *top++ = instruction->value;
            continue;
        }
        top--;
        top[-1] = instruction->op == '+' ? top[-1] + top[0] : top[-1] * top[0];
    }
    return stack[0];
}

static struct code compile(struct alloclab_heap *heap, struct alloclab_heap *unit, const char *text)
{
    struct code code = {0};
    struct alloclab_heap *scanning = must(alloclab_scope_enter(heap));
    struct token *tokens = scan(scanning, text);
    struct alloclab_heap *parsing = must(alloclab_scope_enter(heap));
    struct node *tree = parse(parsing, &tokens, '+');
    alloclab_scope_leave(scanning); /* before the tree */
    generate(unit, &code, tree);
    alloclab_scope_leave(parsing);
    return code;
}

/* "1*2*3+4*5*6+...": TERMS numbers; its value is what *expected says. */
static void text_make(char *text, unsigned function, long *expected)
{
    *expected = 0;
    for (long i = 0, product = 1; i < TERMS; i++) {
        long number = 1 + (i + function) % 9;
        int last_of_three = i % 3 == 2;
        product *= number;
        text += sprintf(text, "%ld%s", number, i == TERMS - 1 ? "" : last_of_three ? "+" : "*");
        if (last_of_three) {
            *expected += product;
            product = 1;
        }
    }
}

int main(void)
{
    char why[200], text[4 * TERMS];
    size_t first = 0, last = 0;
    struct alloclab_heap *heap = alloclab_open("arena:first=8k", NULL, why, sizeof why);
    if (!heap) {
        fprintf(stderr, "compiler_pass: %s\n", why);
        return 1;
    }
    for (unsigned function = 0; function < FUNCTIONS; function++) {
        long expected;
        text_make(text, function, &expected);
        struct alloclab_heap *unit = must(alloclab_scope_enter(heap));
        struct code code = compile(heap, unit, text);
        if (run(&code) != expected) {
            fprintf(stderr, "compiler_pass: function %u is %ld, not %ld\n", function, run(&code),
                    expected);
            return 1;
        }
        alloclab_scope_leave(unit);
        last = alloclab_usage(heap).committed_bytes;
        first = function ? first : last;
    }
    printf("%d functions of %d numbers compiled and run\n", FUNCTIONS, TERMS);
    printf("committed: %zu KiB after the first, %zu KiB after the last\n", first >> 10, last >> 10);
    alloclab_destroy(heap);
    return last != first;
}
