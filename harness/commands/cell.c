/*
 * cell.c - `alloclab cell`, internal: the process of one cell. It maps what it shares with the
 * session (harness/cell.c), and the plan, runs one pass and leaves. The request is copied before
 * the pass: what is shared lies in the reach of the design under test.
 */
#include "harness/cell.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/live.h"
#include "harness/pass.h"
#include "harness/registry.h"

static int cell_execute(const struct cell_request *r, struct outcome *outcome, struct error *err)
{
    static void (*const passes[PASS_COUNT])(const struct cell_setup *) = {
#define PASS_FUNCTION(id, name, timed) name##_pass,
        PASSES(PASS_FUNCTION)
#undef PASS_FUNCTION
    };
    struct spec spec;
    struct cell_setup setup = {.spec = &spec,
                               .touch = r->touch,
                               .config = r->config,
                               .parallel = r->parallel,
                               .seed = r->seed,
                               .outcome = outcome};
    struct ring ring;
    struct error why;
    if (r->ring_fd >= 0 && ring_map(&ring, r->ring_fd, RING_CONSUMER, err))
        return -1;
    setup.ring = r->ring_fd >= 0 ? &ring : NULL;
    if (!r->live[0] && !(setup.plan = plan_map(r->plan_fd, err)))
        return -1;
    if (spec_parse(r->spec, &spec, err) || door_parse(r->door, &setup.door, err))
        return -1;
    if (r->preload[0] && !preload_serves(r->preload, &why))
        outcome_fail(outcome, OUTCOME_FAILED, "%s", why.text);
    else if (r->live[0])
        live_play(&setup, r->live, r->plan_fd);
    else
        passes[r->pass](&setup);
    return 0;
}

static int cell_main(int argc, char **argv)
{
    static struct cell_request request; /* large; not on the heap under test */
    struct error err;
    if (argc != 2) {
        fprintf(stderr, "alloclab cell: internal; use `alloclab run`\n");
        return 2;
    }
    struct cell_shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[1]), 0);
    if (shared == MAP_FAILED) {
        fprintf(stderr, "alloclab cell: no memory is shared with a session; use `alloclab run`\n");
        return 2;
    }
    memcpy(&request, &shared->request, sizeof request);
    if (!cell_execute(&request, &shared->outcome, &err))
        return 0;
    fprintf(stderr, "alloclab cell: %s\n", err.text);
    return 2;
}

COMMAND(cell) = {.name = "cell",
                 .usage = "cell (internal)",
                 .summary = "runs one cell",
                 .hidden = 1,
                 .main = cell_main};
