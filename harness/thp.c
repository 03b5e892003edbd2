/*
 * thp.c - see thp.h. The keeper waits for the end of a pipe that only the session holds open, so
 * that no signal handler is needed and no way of dying is forgotten.
 */
#include "harness/thp.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const thp_names[] = {"asis", "off", "on", NULL};

#define ALWAYS "always"

/* The word that is in force: the one in brackets, or all of a file that has none. */
static bool switch_read(const char *file, char *word, size_t bytes)
{
    char text[128];
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (got <= 0)
        return false;
    text[got] = 0;
    const char *open_bracket = strchr(text, '[');
    const char *from = open_bracket ? open_bracket + 1 : text;
    snprintf(word, bytes, "%.*s", (int)strcspn(from, "] \n"), from);
    return word[0];
}

static bool switch_write(const char *file, const char *word)
{
    int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
    ssize_t length = (ssize_t)strlen(word);
    bool written = fd >= 0 && write(fd, word, strlen(word)) == length;
    int why = errno;
    if (fd >= 0)
        close(fd);
    errno = why;
    return written;
}

/* The keeper's life: till the session's end of the pipe closes. In a session of its own, so that
   what a terminal sends reaches it as little as a signal to the group. */
static void keeper_live(const char *file, const char *before, int pipe_end)
{
    char byte;
    setsid();
    signal(SIGTERM, SIG_IGN);
    while (read(pipe_end, &byte, 1) < 0 && errno == EINTR)
        ;
    _exit(switch_write(file, before) ? 0 : 1);
}

static int keeper_start(struct thp_hold *hold, const char *before, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return error_set(err, "--thp on: no pipe: %s", strerror(errno));
    hold->keeper = fork();
    if (hold->keeper == 0) {
        close(ends[1]);
        keeper_live(hold->file, before, ends[0]);
    }
    close(ends[0]);
    hold->pipe = ends[1];
    if (hold->keeper > 0)
        return 0;
    close(ends[1]);
    hold->keeper = 0;
    return error_set(err, "--thp on: no process to put the machine's setting back: %s",
                     strerror(errno));
}

/* True if the switch was put back, or need not be. */
static bool keeper_end(struct thp_hold *hold)
{
    int status = 0;
    if (!hold->keeper)
        return true;
    close(hold->pipe);
    while (waitpid(hold->keeper, &status, 0) < 0 && errno == EINTR)
        ;
    hold->keeper = 0;
    return status == 0;
}

static int machine_on(struct thp_hold *hold, struct error *err)
{
    char before[32], now[32];
    if (!switch_read(hold->file, before, sizeof before))
        return error_set(err, "--thp on: this kernel has no transparent huge pages (no %s)",
                         hold->file);
    if (!strcmp(before, ALWAYS))
        return 0;
    if (access(hold->file, W_OK))
        return error_set(err,
                         "--thp on: %s says '%s', so an allocator gets huge pages only if it asks "
                         "for them, and only root may change that: run as root, or `echo " ALWAYS
                         " | sudo tee %s` and put '%s' back afterwards",
                         hold->file, before, hold->file, before);
    if (keeper_start(hold, before, err))
        return -1;
    if (!switch_write(hold->file, ALWAYS) || !switch_read(hold->file, now, sizeof now) ||
        strcmp(now, ALWAYS) != 0) {
        error_set(err, "--thp on: %s cannot be set to '" ALWAYS "': %s", hold->file,
                  strerror(errno));
        keeper_end(hold);
        return -1;
    }
    fprintf(stderr,
            "--thp on: %s is '" ALWAYS "' for the whole machine until this ends; then '%s' "
            "again\n",
            hold->file, before);
    return 0;
}

int thp_begin(struct thp_hold *hold, enum thp thp, const char *file, struct error *err)
{
    *hold = (struct thp_hold){.thp = thp, .file = file};
    if (thp != THP_ASIS && prctl(PR_SET_THP_DISABLE, thp == THP_OFF, 0, 0, 0))
        return error_set(err, "--thp %s: prctl(PR_SET_THP_DISABLE): %s: leave --thp out",
                         thp_names[thp], strerror(errno));
    return thp == THP_ON ? machine_on(hold, err) : 0;
}

int thp_end(struct thp_hold *hold, struct error *err)
{
    char now[32] = "";
    bool kept =
        hold->thp != THP_ON || (switch_read(hold->file, now, sizeof now) && !strcmp(now, ALWAYS));
    if (!keeper_end(hold))
        return error_set(err, "--thp on: %s could not be set back: see to it", hold->file);
    if (!kept)
        return error_set(err,
                         "--thp on: somebody else set %s to '%s' meanwhile: these figures are not "
                         "of huge pages for all: run again",
                         hold->file, now);
    return 0;
}
