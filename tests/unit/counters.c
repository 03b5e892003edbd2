/*
 * counters.c - PMU counters against scripted replies of the kernel: all that a PMU may answer, on
 * machines that have none. A refusal of each kind, groups that are full, shared or never scheduled,
 * counters that stand still, replies that are no replies; and the exact words for each.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/counter_group.h"
#include "harness/counter_probe.h"
#include "harness/metrics.h"

#define FDS 64

/* ---- the kernel of the tests ---- */

struct script { /* of an event, by its type and config */
    uint32_t type;
    uint64_t config, rate; /* rate: counted in a pass */
    int refused;           /* errno at open */
};

struct fake {
    const struct script *script;
    unsigned events, room;           /* room: hardware events that a group may have */
    uint64_t enabled_ns, running_ns; /* of a pass */
    int id_fails, read_fails;        /* errno */
    int stray_id, short_read;        /* a reply that is none */
    unsigned opened, closed;
    struct {
        int leader; /* fd */
        bool hardware, open;
        const struct script *script;
        uint64_t raw, enabled_ns, running_ns;
    } fd[FDS];
    struct perf_event_attr asked; /* by the last open */
    pid_t thread;
};

static int fake_open(void *ctx, struct perf_event_attr *attr, pid_t thread, int group)
{
    struct fake *f = ctx;
    const struct script *script = NULL;
    unsigned members = 1;
    f->asked = *attr;
    f->thread = thread;
    for (unsigned i = 0; i < f->events; i++)
        if (f->script[i].type == attr->type && f->script[i].config == attr->config)
            script = &f->script[i];
    if (!script)
        return -ENOENT;
    if (script->refused)
        return -script->refused;
    for (unsigned i = 0; i < f->opened; i++)
        members += group >= 0 && f->fd[i].leader == group;
    if (attr->type != PERF_TYPE_SOFTWARE && group >= 0 && members > f->room)
        return -EINVAL;
    assert_true(f->opened < FDS);
    assert_int_equal(attr->disabled, group < 0);
    int fd = (int)f->opened++;
    f->fd[fd].leader = group < 0 ? fd : group;
    f->fd[fd].open = true;
    f->fd[fd].script = script;
    return fd;
}

static int fake_control(void *ctx, int fd, unsigned long request, void *argument)
{
    struct fake *f = ctx;
    if (request == PERF_EVENT_IOC_ID) {
        *(uint64_t *)argument = 1000 + (uint64_t)fd;
        return -f->id_fails;
    }
    assert_ptr_equal(argument, (void *)(unsigned long)PERF_IOC_FLAG_GROUP);
    assert_int_equal(f->fd[fd].leader, fd);
    if (request == PERF_EVENT_IOC_DISABLE) {
        f->fd[fd].enabled_ns += f->enabled_ns;
        f->fd[fd].running_ns += f->running_ns;
        for (unsigned i = 0; i < f->opened; i++)
            if (f->fd[i].leader == fd && f->enabled_ns)
                f->fd[i].raw += f->fd[i].script->rate * f->running_ns / f->enabled_ns;
    }
    return 0;
}

/* The kernel's order is that of opening; here it is the other way round. */
static ssize_t fake_read(void *ctx, int fd, void *buffer, size_t bytes)
{
    struct fake *f = ctx;
    uint64_t *out = buffer, n = 0;
    if (f->read_fails)
        return -f->read_fails;
    for (unsigned i = f->opened; i-- > 0;)
        if (f->fd[i].leader == fd) {
            out[3 + 2 * n] = f->fd[i].raw;
            out[4 + 2 * n] = 1000 + i + (f->stray_id ? 500 : 0);
            n++;
        }
    out[0] = n;
    out[1] = f->fd[fd].enabled_ns;
    out[2] = f->fd[fd].running_ns;
    assert_true((3 + 2 * n) * 8 <= bytes);
    return f->short_read ? 8 : (ssize_t)((3 + 2 * n) * 8);
}

static void fake_close(void *ctx, int fd)
{
    struct fake *f = ctx;
    assert_true(f->fd[fd].open);
    f->fd[fd].open = false;
    f->closed++;
}

static struct fake fake;
static const struct perf_door door = {.open = fake_open,
                                      .read = fake_read,
                                      .control = fake_control,
                                      .close = fake_close,
                                      .ctx = &fake};

static const struct script whole[] = {
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, 4000, 0},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS, 1000, 0},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS, 200, 0},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES, 20, 0},
    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, 7, 0},
};

static void fake_reset(const struct script *script, unsigned events)
{
    fake = (struct fake){
        .script = script, .events = events, .room = 8, .enabled_ns = 1000, .running_ns = 1000};
}

/* ---- what a test does ---- */

static struct counter_list list;
static struct counter_thread thread;
static struct counter_count counts[COUNTERS_MAX];
static const struct counter_place with_pmu = {.paranoid = 2, .pmu = true},
                                  without_pmu = {.paranoid = 2, .pmu = false},
                                  forbidden = {.paranoid = 3, .pmu = false};

static void list_want(const char *text)
{
    struct error err;
    if (counter_list_parse(text, &list, &err))
        fail_msg("%s", err.text);
    memset(counts, 0, sizeof counts);
}

static void passes_run(unsigned passes)
{
    counter_thread_open(&thread, &door, &list, 42);
    counter_refusals(&thread, counts);
    for (unsigned pass = 0; pass < passes; pass++)
        for (unsigned group = 0; group < thread.groups; group++) {
            counter_start(&thread, group);
            counter_stop(&thread, group, counts);
        }
    counter_thread_close(&thread);
    assert_int_equal(fake.opened, fake.closed);
}

static void assert_said(uint32_t i, const struct counter_place *place, enum counter_state state,
                        const char *words)
{
    char text[256];
    assert_int_equal(counter_say(&list, counts, i, place, text, sizeof text), state);
    assert_string_equal(text, words);
}

static void assert_missing(const struct counter_place *place, const char *words)
{
    char text[1024];
    counter_missing(&list, counts, place, text, sizeof text);
    assert_string_equal(text, words);
}

/* ---- counted ---- */

static void a_group_is_counted(void **state)
{
    (void)state;
    fake_reset(whole, 5);
    list_want("core,page-faults");
    passes_run(3);
    assert_int_equal(thread.groups, 0);
    static const uint64_t expect[] = {12000, 3000, 600, 60, 21};
    assert_int_equal(list.counters, 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(counts[i].raw, expect[i]);
        assert_true(counts[i].value == (double)expect[i]);
        assert_int_equal(counts[i].passes, 3);
        assert_int_equal(counts[i].enabled_ns, counts[i].running_ns);
        assert_said(i, &with_pmu, COUNTER_COUNTED, "");
    }
    assert_missing(&with_pmu, "");
    assert_int_equal(fake.thread, 42);
}

static void what_is_asked_of_the_kernel(void **state)
{
    (void)state;
    fake_reset(whole, 5);
    list_want("cycles");
    passes_run(0);
    assert_int_equal(fake.asked.exclude_kernel, 1);
    assert_int_equal(fake.asked.inherit, 0);
    assert_int_equal(fake.asked.read_format, 15);
    list_want("context-switches"); /* happens in the kernel */
    passes_run(0);
    assert_int_equal(fake.asked.exclude_kernel, 0);
    list_want("page-faults");
    passes_run(0);
    assert_int_equal(fake.asked.exclude_kernel, 1);
}

static void a_share_of_the_time_is_scaled_up(void **state)
{
    (void)state;
    fake_reset(whole, 5);
    fake.running_ns = 250;
    list_want("core");
    passes_run(2);
    assert_int_equal(counts[0].raw, 2000);
    assert_true(counts[0].value == 8000);
    assert_int_equal(counts[0].enabled_ns, 2000);
    assert_int_equal(counts[0].running_ns, 500);
    assert_said(0, &with_pmu, COUNTER_COUNTED, "");
}

/* In one pass of two the PMU had no room: the other's count stands, and the share says so. */
static void a_pass_that_was_not_counted_is_left_out(void **state)
{
    (void)state;
    fake_reset(whole, 5);
    list_want("core");
    counter_thread_open(&thread, &door, &list, 0);
    counter_start(&thread, 0);
    counter_stop(&thread, 0, counts);
    fake.running_ns = 0;
    counter_start(&thread, 0);
    counter_stop(&thread, 0, counts);
    assert_int_equal(counts[1].passes, 1);
    assert_int_equal(counts[1].raw, 1000);
    assert_int_equal(counts[1].enabled_ns, 2000);
    assert_int_equal(counts[1].running_ns, 1000);
    assert_said(1, &with_pmu, COUNTER_COUNTED, "");
    counter_thread_close(&thread);
}

static void a_group_that_never_ran_has_no_figure(void **state)
{
    (void)state;
    fake_reset(whole, 5);
    fake.running_ns = 0;
    list_want("core");
    passes_run(2);
    assert_int_equal(counts[0].passes, 0);
    assert_said(0, &with_pmu, COUNTER_UNCOUNTED,
                "not counted: the PMU had no room for the group (somebody else counts, or the NMI "
                "watchdog)");
    assert_missing(&with_pmu,
                   "core: not counted: the PMU had no room for the group (somebody else counts, "
                   "or the NMI watchdog)");
}

static void clocks_are_counted_alone(void **state)
{
    (void)state;
    const struct script script[] = {{PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, 7, 0},
                                    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK, 300, 0},
                                    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MIN, 6, 0}};
    fake_reset(script, 3);
    list_want("page-faults+task-clock+minor-faults");
    counter_thread_open(&thread, &door, &list, 0);
    assert_int_equal(thread.groups, 3);
    counter_thread_close(&thread);
    passes_run(2);
    assert_int_equal(counts[0].raw, 14);
    assert_int_equal(counts[1].raw, 600);
    assert_int_equal(counts[2].raw, 12);
}

static void a_full_group_goes_on_in_another(void **state)
{
    (void)state;
    fake_reset(whole, 5);
    fake.room = 3;
    list_want("core,page-faults");
    counter_thread_open(&thread, &door, &list, 0);
    assert_int_equal(thread.groups, 3); /* three of core, the fourth, the kernel's */
    assert_int_equal(thread.counter[2].group, 0);
    assert_int_equal(thread.counter[3].group, 1);
    assert_true(thread.group[2].software);
    counter_thread_close(&thread);
    passes_run(1);
    assert_int_equal(counts[3].raw, 20);
    assert_missing(&with_pmu, "");
}

/* ---- refused ---- */

static const struct refusal {
    int why;
    const struct counter_place *place;
    const char *words;
} refusals[] = {
    {ENOENT, &without_pmu, "no PMU on this machine (ENOENT)"},
    {EOPNOTSUPP, &without_pmu, "no PMU on this machine (EOPNOTSUPP)"},
    {ENODEV, &without_pmu, "no PMU on this machine (ENODEV)"},
    {ENOENT, &with_pmu, "this PMU has no such event (ENOENT)"},
    {EOPNOTSUPP, &with_pmu, "this PMU has no such event (EOPNOTSUPP)"},
    {EACCES, &forbidden,
     "kernel.perf_event_paranoid is 3: run as root, or: sysctl kernel.perf_event_paranoid=2 "
     "(EACCES)"},
    {EACCES, &with_pmu,
     "not allowed here, by a container's rules or the like: run as root outside of it (EACCES)"},
    {EPERM, &with_pmu,
     "not allowed here, by a container's rules or the like: run as root outside of it (EPERM)"},
    {EMFILE, &with_pmu,
     "too many open files: raise ulimit -n, or ask for fewer counters or threads (EMFILE)"},
    {EINVAL, &with_pmu, "the kernel cannot count it as it is asked for (EINVAL)"},
    {EBUSY, &with_pmu, "somebody else has the PMU for himself (EBUSY)"},
    {ENOSYS, &without_pmu, "this kernel has no counters (ENOSYS)"},
    {ENOMEM, &with_pmu, "Cannot allocate memory (ENOMEM)"},
};

static void each_refusal_has_its_words(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct script script[] = {whole[0], whole[1]};
        script[0].refused = script[1].refused = refusals[i].why;
        fake_reset(script, 2);
        list_want("instructions");
        passes_run(2);
        assert_int_equal(fake.opened, 0);
        for (uint32_t k = 0; k < 2; k++) {
            assert_int_equal(counts[k].passes, 0);
            assert_said(k, refusals[i].place, COUNTER_REFUSED, refusals[i].words);
        }
    }
}

static void one_refusal_does_not_disturb_the_others(void **state)
{
    (void)state;
    for (unsigned refused = 0; refused < 4; refused++) {
        struct script script[4];
        memcpy(script, whole, sizeof script);
        script[refused].refused = ENOENT;
        fake_reset(script, 4);
        list_want("core");
        passes_run(1);
        for (uint32_t i = 0; i < 4; i++) {
            assert_int_equal(counts[i].refused, i == refused ? ENOENT : 0);
            assert_int_equal(counts[i].raw, i == refused ? 0 : script[i].rate);
        }
    }
}

static void switches_need_a_lower_paranoid(void **state)
{
    (void)state;
    const struct script script[] = {{PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES, 0, EACCES},
                                    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, 7, 0}};
    fake_reset(script, 2);
    list_want("page-faults+context-switches");
    passes_run(1);
    assert_missing(&with_pmu,
                   "page-faults+context-switches (context-switches): kernel.perf_event_paranoid is "
                   "2: run as root, or: sysctl kernel.perf_event_paranoid=1 (EACCES)");
    assert_int_equal(counts[0].raw, 7);
}

static void one_line_by_reason(void **state)
{
    (void)state;
    struct script script[] = {whole[0], whole[1], whole[2], whole[3]};
    fake_reset(script, 0);
    list_want("core,cache,tlb,page-faults");
    passes_run(1);
    assert_missing(&without_pmu, "core, cache, tlb: no PMU on this machine (ENOENT); page-faults: "
                                 "this kernel has no such event (ENOENT)");
    script[3].refused = EMFILE;
    fake_reset(script, 4);
    list_want("core,tlb");
    passes_run(1);
    assert_missing(&with_pmu,
                   "core (branch-misses): too many open files: raise ulimit -n, or ask for fewer "
                   "counters or threads (EMFILE); tlb (dTLB-loads, dTLB-load-misses, dTLB-stores, "
                   "dTLB-store-misses, iTLB-load-misses): this PMU has no such event (ENOENT)");
}

static void a_line_that_does_not_fit_ends_early(void **state)
{
    (void)state;
    char text[20];
    fake_reset(whole, 0);
    list_want("core,cache,tlb");
    passes_run(1);
    memset(text, 'x', sizeof text);
    counter_missing(&list, counts, &without_pmu, text, sizeof text);
    assert_string_equal(text, "core, cache, tlb: n");
}

/* ---- replies that are none ---- */

static void replies_that_are_none(void **state)
{
    (void)state;
    list_want("core");
    fake_reset(whole, 5);
    fake.read_fails = EIO;
    passes_run(1);
    assert_said(0, &with_pmu, COUNTER_REFUSED, "Input/output error (EIO)");
    list_want("core");
    fake_reset(whole, 5);
    fake.stray_id = 1;
    passes_run(1);
    assert_said(3, &with_pmu, COUNTER_REFUSED, "the kernel gave no count back (ENODATA)");
    list_want("core");
    fake_reset(whole, 5);
    fake.short_read = 1;
    passes_run(1);
    assert_said(0, &with_pmu, COUNTER_REFUSED, "the kernel gave no count back (ENODATA)");
    list_want("core");
    fake_reset(whole, 5);
    fake.id_fails = ENOTTY;
    passes_run(1);
    assert_int_equal(fake.closed, 4);
    assert_said(0, &with_pmu, COUNTER_REFUSED, "Inappropriate ioctl for device (ENOTTY)");
}

/* ---- suspect ---- */

static void a_counter_that_stands_still_is_suspect(void **state)
{
    (void)state;
    static const char words[] =
        "suspect: it stands at 0 while the PMU runs: this machine may not count it";
    struct script script[] = {whole[0], whole[1], whole[2], whole[3], whole[4]};
    struct counter_place place;
    script[3].rate = script[4].rate = 0;
    fake_reset(script, 5);
    list_want("core,page-faults");
    counter_probe(&list, &door, counts, &place);
    assert_true(place.pmu);
    assert_true(list.counter[0].answers);
    assert_false(list.counter[3].answers);
    assert_said(3, &with_pmu, COUNTER_SUSPECT, words);
    assert_said(4, &with_pmu, COUNTER_COUNTED, ""); /* the kernel's own 0 is a 0 */
    memset(counts, 0, sizeof counts);
    passes_run(1);
    assert_said(3, &with_pmu, COUNTER_SUSPECT, words);
    assert_missing(&with_pmu, "core (branch-misses): suspect: it stands at 0 while the PMU runs: "
                              "this machine may not count it");

    /* It counted when it was tried: now its 0 is believed. */
    list.counter[3].answers = true;
    assert_said(3, &with_pmu, COUNTER_COUNTED, "");

    /* Cycles stand still while their time runs: no PMU does that. */
    counts[0].raw = 0;
    assert_said(0, &with_pmu, COUNTER_SUSPECT, words);
    assert_said(3, &with_pmu, COUNTER_SUSPECT, words);
    assert_said(1, &with_pmu, COUNTER_COUNTED, ""); /* it is not at 0 */

    /* No cycles could be had: it is judged by its own time. */
    counts[0] = (struct counter_count){.refused = EBUSY};
    assert_said(3, &with_pmu, COUNTER_COUNTED, ""); /* it counted when it was tried */
    list.counter[3].answers = false;
    assert_said(3, &with_pmu, COUNTER_SUSPECT, words);
}

static void without_a_pmu_nothing_answers(void **state)
{
    (void)state;
    struct counter_place place;
    fake_reset(&whole[4], 1);
    list_want("core,page-faults");
    counter_probe(&list, &door, counts, &place);
    assert_false(place.pmu);
    assert_false(list.counter[0].answers);
    assert_true(list.counter[4].answers);
}

/* ---- names ---- */

static void sets_and_their_columns(void **state)
{
    (void)state;
    list_want("core,tlb,LLC-loads+page-faults");
    assert_int_equal(list.sets, 3);
    assert_string_equal(list.set_name[2], "LLC-loads+page-faults");
    assert_int_equal(list.counters, 4 + 6 + 3);
    assert_int_equal(list.counter[1].column, METRIC_pmu_instructions_per_op);
    assert_string_equal(list.counter[10].name, "cycles"); /* it was not named, and is there */
    assert_true(list.counter[10].cycles);
    assert_int_equal(list.counter[10].set, 2);
    assert_string_equal(list.counter[11].name, "LLC-loads");
    assert_true(list.counter[12].software);
    assert_int_equal(list.counter[12].cold_column, METRIC_software_cold_page_faults_per_op);
    list_want("PERF_COUNT_HW_CACHE_DTLB:READ:MISS"); /* a name of libpfm4's own */
    assert_int_equal(list.counters, 2);
    assert_int_equal(list.counter[1].attr.type, PERF_TYPE_HW_CACHE);
    assert_int_equal(list.counter[1].attr.config, 0x10003);
}

static void names_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } wrong[] = {
        {"", "--counters: name at least one set (core, cache, tlb, software) or event"},
        {"core,core", "--counters: 'core' is there twice"},
        {"cycles+cycles", "--counters: 'cycles' is there twice"},
        {"+", "--counters: '+': name the events to join"},
        {"cylces", "--counters: 'cylces': neither a set nor an event: libpfm4 says: event not "
                   "found; `alloclab list counters` has the sets and their events"},
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct error err = {""};
        assert_int_equal(counter_list_parse(wrong[i].text, &list, &err), -1);
        assert_string_equal(err.text, wrong[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_is_counted),
        cmocka_unit_test(what_is_asked_of_the_kernel),
        cmocka_unit_test(a_share_of_the_time_is_scaled_up),
        cmocka_unit_test(a_pass_that_was_not_counted_is_left_out),
        cmocka_unit_test(a_group_that_never_ran_has_no_figure),
        cmocka_unit_test(clocks_are_counted_alone),
        cmocka_unit_test(a_full_group_goes_on_in_another),
        cmocka_unit_test(each_refusal_has_its_words),
        cmocka_unit_test(one_refusal_does_not_disturb_the_others),
        cmocka_unit_test(switches_need_a_lower_paranoid),
        cmocka_unit_test(one_line_by_reason),
        cmocka_unit_test(a_line_that_does_not_fit_ends_early),
        cmocka_unit_test(replies_that_are_none),
        cmocka_unit_test(a_counter_that_stands_still_is_suspect),
        cmocka_unit_test(without_a_pmu_nothing_answers),
        cmocka_unit_test(sets_and_their_columns),
        cmocka_unit_test(names_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
