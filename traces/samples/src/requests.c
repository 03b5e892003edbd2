/*
 * requests.c - an order service as an event loop would run it: many requests are open at once, each
 * is taken a step further when its turn comes, and answers are JSON (libjansson does the parsing
 * and printing).
 *
 * Each request is a scope. Sessions and the cache of rendered products outlive the requests that
 * make them; the cache says so (it leaves the scope for that long), the sessions do not, so that
 * they escape from their scope, as happens in programs. Everything is drawn from one seed; the
 * answers' checksum is printed.
 *
 * Build: gcc -O2 -I TOP requests.c -ljansson
 */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/alloclab_mark.h"

enum { OPEN_MAX = 320, SESSIONS = 512, PRODUCTS = 300, CACHE_MAX = 96, LINE_ITEMS_MAX = 60 };

struct session {
    char *token;
    json_t *basket; /* array of product numbers */
    unsigned last_used;
};

struct cached {
    unsigned product, last_used;
    char *text; /* the product as JSON; NULL: a free place */
};

struct request {
    uint64_t scope;
    unsigned step;
    char *body;     /* as received */
    json_t *parsed; /* the same, parsed */
    json_t *answer;
    struct session *session;
};

static struct session sessions[SESSIONS];
static struct cached cache[CACHE_MAX];
static struct request *open_requests[OPEN_MAX];
static unsigned now; /* steps so far */
static uint64_t checksum = UINT64_C(14695981039346656037);

static uint64_t random_state = 20240229;

static unsigned draw(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % n;
}

/* Mostly small, sometimes large: 1 .. max. */
static unsigned draw_tailed(unsigned max)
{
    unsigned n = 1;
    while (n < max && draw(100) < 72)
        n += 1 + n / 4;
    return n < max ? n : max;
}

static void *need(void *p)
{
    if (!p) {
        fputs("requests: out of memory\n", stderr);
        exit(1);
    }
    return p;
}

/* ---- what outlives a request ---- */

static struct session *session_of(unsigned user)
{
    struct session *s = &sessions[user % SESSIONS];
    if (s->token && now - s->last_used > 20000) { /* timed out */
        free(s->token);
        json_decref(s->basket);
        s->token = NULL;
    }
    if (!s->token) {
        s->token = need(malloc(40));
        snprintf(s->token, 40, "%016llx-%u", (unsigned long long)random_state, user);
        s->basket = need(json_array());
    }
    s->last_used = now;
    return s;
}

static char *product_render(unsigned product)
{
    json_t *tags = need(json_array());
    char name[64], text[400];
    for (unsigned i = product % 7; i > 0; i--) {
        snprintf(name, sizeof name, "tag-%u", (product * i) % 40);
        json_array_append_new(tags, json_string(name));
    }
    unsigned length = 40 + product * 37 % 300;
    memset(text, 'a' + (int)(product % 26), length);
    text[length] = 0;
    snprintf(name, sizeof name, "product number %u", product);
    json_t *object = need(json_pack("{s:i, s:s, s:s, s:f, s:o}", "id", (int)product, "name", name,
                                    "text", text, "price", (product % 997) / 100.0, "tags", tags));
    char *rendered = need(json_dumps(object, JSON_SORT_KEYS));
    json_decref(object);
    return rendered;
}

/* The product as JSON text, from the cache or made and put there; the oldest entry makes room. */
static const char *product_text(unsigned product)
{
    struct cached *oldest = &cache[0];
    for (int i = 0; i < CACHE_MAX; i++) {
        if (cache[i].text && cache[i].product == product) {
            cache[i].last_used = now;
            return cache[i].text;
        }
        if (!cache[i].text || (oldest->text && cache[i].last_used < oldest->last_used))
            oldest = &cache[i];
    }
    free(oldest->text);
    *oldest = (struct cached){product, now, product_render(product)};
    return oldest->text;
}

/* ---- a request, step by step ---- */

static void step_receive(struct request *r)
{
    size_t used = 0, room = 128;
    unsigned items = draw_tailed(LINE_ITEMS_MAX);
    char piece[160];
    r->body = need(malloc(room));
    for (unsigned i = 0; i <= items + 1; i++) { /* it comes in pieces, and the buffer grows */
        if (i == 0)
            snprintf(piece, sizeof piece, "{\"user\": %u, \"action\": \"%s\", \"items\": [",
                     draw(2000), draw(4) ? "browse" : "buy");
        else if (i <= items)
            snprintf(piece, sizeof piece,
                     "%s{\"product\": %u, \"amount\": %u, \"remark\": \"%.*s\"}", i > 1 ? ", " : "",
                     draw(draw(PRODUCTS) + 1), 1 + draw(9), (int)draw(50),
                     "please wrap it well and leave it with the neighbours, thanks");
        else
            snprintf(piece, sizeof piece, "]}");
        size_t length = strlen(piece);
        if (used + length + 1 > room)
            r->body = need(realloc(r->body, room = 2 * room + length));
        memcpy(r->body + used, piece, length + 1);
        used += length;
    }
}

static void step_parse(struct request *r)
{
    json_error_t error;
    r->parsed = need(json_loads(r->body, 0, &error));
    free(r->body);
    r->body = NULL;
}

static void step_session(struct request *r)
{
    r->session = session_of((unsigned)json_integer_value(json_object_get(r->parsed, "user")));
    r->answer = need(json_pack("{s:s, s:[]}", "token", r->session->token, "items"));
}

static void step_items(struct request *r)
{
    json_t *item, *list = json_object_get(r->answer, "items");
    size_t i;
    int buys = strcmp(json_string_value(json_object_get(r->parsed, "action")), "buy") == 0;
    json_array_foreach(json_object_get(r->parsed, "items"), i, item)
    {
        unsigned product = (unsigned)json_integer_value(json_object_get(item, "product"));
        alloclab_scope_switch(ALLOCLAB_NO_SCOPE); /* the cache's memory is not the request's */
        const char *text = product_text(product);
        alloclab_scope_switch(r->scope);
        json_t *object = need(json_loads(text, 0, NULL));
        json_object_set(object, "amount", json_object_get(item, "amount"));
        json_array_append_new(list, object);
        if (buys && json_array_size(r->session->basket) < 40)
            json_array_append_new(r->session->basket, json_integer((json_int_t)product));
    }
    if (buys && draw(3) == 0)
        json_array_clear(r->session->basket);
    json_object_set(r->answer, "basket", r->session->basket);
}

static void step_answer(struct request *r)
{
    char *text = need(json_dumps(r->answer, JSON_SORT_KEYS | JSON_INDENT(1)));
    for (const char *p = text; *p; p++)
        checksum = (checksum ^ (unsigned char)*p) * UINT64_C(1099511628211);
    free(text);
    json_decref(r->answer);
    json_decref(r->parsed);
}

static struct request *request_open(void)
{
    uint64_t scope = alloclab_scope_begin();
    struct request *r = need(calloc(1, sizeof *r));
    r->scope = scope;
    return r;
}

/* Takes the request a step further; 1: it was the last one, and the request is gone. */
static int request_step(struct request *r)
{
    static void (*const steps[])(struct request *) = {step_receive, step_parse, step_session,
                                                      step_items, step_answer};
    uint64_t scope = r->scope;
    int last = r->step == sizeof steps / sizeof *steps - 1;
    alloclab_scope_switch(scope);
    steps[r->step++](r);
    if (last) {
        free(r);
        alloclab_scope_end(scope);
    }
    alloclab_scope_switch(ALLOCLAB_NO_SCOPE);
    return last;
}

int main(int argc, char **argv)
{
    unsigned left = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 520, running = 0;
    json_object_seed(20240229);
    alloclab_thread_name("event loop");
    while (left > 0 || running > 0) {
        unsigned i = draw(OPEN_MAX);
        now++;
        if (open_requests[i] && request_step(open_requests[i])) {
            open_requests[i] = NULL;
            running--;
        } else if (!open_requests[i] && left > 0) {
            open_requests[i] = request_open();
            running++;
            left--;
        }
    }
    printf("checksum of all answers: %016llx\n", (unsigned long long)checksum);
    return 0;
}
