/*
 * verified.c - see verified.h.
 */
#include "tests/lib/verified.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "harness/pass.h"
#include "harness/registry.h"
#include "harness/target.h"

static void design_verify(const struct allocator *design, const struct plan *plan,
                          const char *target, unsigned copies)
{
    static struct outcome outcome;
    struct error err;
    struct spec spec;
    assert_int_equal(spec_parse(design->name, &spec, &err), 0);
    const struct cell_setup setup = {.plan = plan,
                                     .spec = &spec,
                                     .parallel = {.copies = copies},
                                     .seed = 7,
                                     .outcome = &outcome};
    memset(&outcome, 0, sizeof outcome);
    verify_pass(&setup);
    if (outcome.status != OUTCOME_OK)
        fail_msg("%s on %s, %u copies: %s", design->name, target, copies, outcome.detail);
    spec_free(&spec);
}

void verified_designs(const char *name, unsigned copies)
{
    const unsigned needed = ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE;
    struct error err;
    struct target target;
    unsigned designs = 0;
    if (target_open(&target, name, 5, &err))
        fail_msg("%s", err.text);
    const struct plan *plan =
        plan_map(target_plan(&target, PLAN_RELEASE_FREE, PLAN_PARALLEL, &err), &err);
    assert_non_null(plan);
    assert_true(plan->threads > 1 && plan->shared_objects);
    for (int i = 0; allocators[i]; i++) {
        if ((allocators[i]->traits & needed) != needed || allocators[i]->traits & ALLOCATOR_FAKE)
            continue;
        design_verify(allocators[i], plan, name, copies);
        designs++;
    }
    assert_true(designs >= 5);
    plan_unmap(plan);
    target_close(&target);
}
