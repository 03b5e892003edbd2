/*
 * server_request.c - a server with many requests open at once: each has a region of its own that
 * ends with it, in whatever order they end; sessions outlive them in a heap of another design.
 *
 * Shows: the regions' memory follows the open requests and not their number, no request frees
 * anything by itself, and the sessions are as they were left.
 *
 *     cc server_request.c $(pkg-config --cflags --libs alloclab) && ./a.out
 */
#include <alloclab.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPEN = 64, REQUESTS = 20000, SESSIONS = 300 };

struct header { /* lives as long as its request */
    struct header *next;
    char *name, *value;
};

struct request {
    struct alloclab_heap *region;
    struct header *headers;
    unsigned session, steps_left;
};

struct session { /* lives until it expires */
    char *user;
    unsigned visits;
};

static struct alloclab_heap *regions, *sessions_heap;
static struct session sessions[SESSIONS];
static uint64_t random_state = 42;

static unsigned draw(unsigned n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % n;
}

static void *must(void *p)
{
    if (p)
        return p;
    perror("server_request");
    exit(1);
}

static char *text_copy(struct alloclab_heap *heap, const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(must(alloclab_alloc(heap, bytes, 0)), text, bytes);
}

static void session_renew(struct session *session, unsigned number)
{
    char user[64];
    snprintf(user, sizeof user, "user-%u-%u", number, draw(1000000));
    if (session->user)
        alloclab_free(sessions_heap, session->user, strlen(session->user) + 1);
    *session = (struct session){text_copy(sessions_heap, user), 0};
}

static void request_begin(struct request *request)
{
    *request = (struct request){.region = must(alloclab_scope_enter(regions)),
                                .session = draw(SESSIONS),
                                .steps_left = 1 + draw(20)};
}

/* Reads one more header; what it allocates is never freed one by one. */
static void request_step(struct request *request)
{
    char value[300];
    struct header *header = must(alloclab_alloc(request->region, sizeof *header, 0));
    snprintf(value, sizeof value, "%0*u", 1 + (int)draw(250), draw(1000));
    header->name = text_copy(request->region, "x-header");
    header->value = text_copy(request->region, value);
    header->next = request->headers;
    request->headers = header;
}

static void request_end(struct request *request)
{
    struct session *session = &sessions[request->session];
    if (++session->visits > 50)
        session_renew(session, request->session);
    alloclab_scope_leave(request->region);
}

int main(void)
{
    char why[200];
    struct request open[OPEN];
    regions = alloclab_open("arena:first=4k", NULL, why, sizeof why);
    sessions_heap = regions ? alloclab_open("freelist:fit=best", NULL, why, sizeof why) : NULL;
    if (!sessions_heap) {
        fprintf(stderr, "server_request: %s\n", why);
        return 1;
    }
    for (unsigned i = 0; i < SESSIONS; i++)
        session_renew(&sessions[i], i);
    for (unsigned i = 0; i < OPEN; i++)
        request_begin(&open[i]);
    size_t at_tenth = 0;
    for (unsigned done = 0; done < REQUESTS;) {
        struct request *request = &open[draw(OPEN)]; /* whichever is ready */
        request_step(request);
        if (--request->steps_left)
            continue;
        request_end(request);
        request_begin(request);
        if (++done == REQUESTS / 10)
            at_tenth = alloclab_usage(regions).committed_bytes;
    }
    size_t at_end = alloclab_usage(regions).committed_bytes;
    printf("regions of %d open requests: %zu KiB after %d requests, %zu KiB after %d\n", OPEN,
           at_tenth >> 10, REQUESTS / 10, at_end >> 10, REQUESTS);
    printf("%d sessions: %zu KiB\n", SESSIONS, alloclab_usage(sessions_heap).committed_bytes >> 10);
    int wrong = at_end > 2 * at_tenth;
    for (unsigned i = 0; i < SESSIONS; i++)
        wrong |= strncmp(sessions[i].user, "user-", 5) != 0;
    for (unsigned i = 0; i < OPEN; i++)
        alloclab_scope_leave(open[i].region);
    alloclab_destroy(sessions_heap);
    alloclab_destroy(regions);
    return wrong;
}
