/*
 * thp.c - transparent huge pages for a session. The machine's switch is a file in a folder of the
 * test's own, since the real one would disturb everything else that runs.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/thp.h"

static char file[] = "/tmp/alloclab-thp-XXXXXX";

static void switch_set(const char *text)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static const char *switch_text(void)
{
    static char text[64];
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

/* Waits until the file says so; the test's own limit of time ends a wait for what never comes. */
static void switch_await(const char *text)
{
    while (strcmp(switch_text(), text) != 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void off_holds_for_children(void **state)
{
    (void)state;
    struct thp_hold hold;
    struct error err;
    assert_int_equal(thp_begin(&hold, THP_OFF, file, &err), 0);
    assert_int_equal(system("grep -q '^THP_enabled:.0' /proc/self/status"), 0);
    assert_int_equal(thp_end(&hold, &err), 0);
    /* `on` takes back what was inherited. */
    switch_set("[always] madvise never\n");
    assert_int_equal(thp_begin(&hold, THP_ON, file, &err), 0);
    assert_int_equal(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 0);
    assert_int_equal(hold.keeper, 0); /* nothing to put back */
    switch_set("[always] madvise never\n");
    assert_int_equal(thp_end(&hold, &err), 0);
    assert_string_equal(switch_text(), "[always] madvise never\n");
}

static void on_is_put_back(void **state)
{
    (void)state;
    struct thp_hold hold;
    struct error err;
    switch_set("always [madvise] never\n");
    assert_int_equal(thp_begin(&hold, THP_ON, file, &err), 0);
    assert_string_equal(switch_text(), "always");
    assert_int_equal(thp_end(&hold, &err), 0);
    assert_string_equal(switch_text(), "madvise");
}

/* The session's end is not its own doing: by whatever signal. */
static void on_is_put_back_however_it_ends(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGKILL, SIGSEGV};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        switch_set("always madvise [never]\n");
        pid_t session = fork();
        assert_true(session >= 0);
        if (session == 0) {
            struct thp_hold hold;
            struct error err;
            signal(signals[i], SIG_DFL);
            if (thp_begin(&hold, THP_ON, file, &err))
                _exit(1);
            for (;;)
                pause();
        }
        switch_await("always");
        assert_int_equal(kill(session, signals[i]), 0);
        int status;
        assert_int_equal(waitpid(session, &status, 0), session);
        assert_true(WIFSIGNALED(status));
        switch_await("never");
    }
}

static void what_cannot_be(void **state)
{
    (void)state;
    struct thp_hold hold;
    struct error err;
    assert_int_equal(thp_begin(&hold, THP_ON, "/nowhere/enabled", &err), -1);
    assert_string_equal(err.text, "--thp on: this kernel has no transparent huge pages (no "
                                  "/nowhere/enabled)");
    /* Somebody else's session ended and put its own back. */
    switch_set("always [madvise] never\n");
    assert_int_equal(thp_begin(&hold, THP_ON, file, &err), 0);
    switch_set("madvise");
    assert_int_equal(thp_end(&hold, &err), -1);
    assert_non_null(strstr(err.text, "to 'madvise' meanwhile"));
    if (geteuid() == 0) /* may write everywhere */
        return;
    switch_set("always [madvise] never\n");
    assert_int_equal(chmod(file, 0444), 0);
    assert_int_equal(thp_begin(&hold, THP_ON, file, &err), -1);
    assert_non_null(strstr(err.text, "only root may change that"));
    assert_int_equal(chmod(file, 0644), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(off_holds_for_children),
        cmocka_unit_test(on_is_put_back),
        cmocka_unit_test(on_is_put_back_however_it_ends),
        cmocka_unit_test(what_cannot_be),
    };
    int fd = mkstemp(file);
    if (fd < 0)
        return 1;
    close(fd);
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file);
    return result;
}
