/*
 * malloc_setting.c - the environment of the process, also before the C library has set it up: the
 * first malloc may come from the dynamic linker or from a constructor that runs before the C
 * library's own. Until then `environ` is NULL, and /proc says what the process was started with.
 */
#include "api/malloc_setting.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

void setting_warn(const char *who, const char *what)
{
    char line[1280];
    int n = snprintf(line, sizeof line, "alloclab: %s: %s\n", who, what);
    size_t length = n < (int)sizeof line ? (size_t)n : sizeof line - 1;
    ssize_t ignored = write(STDERR_FILENO, line, length); /* there is nobody else to tell */
    (void)ignored;
}

void setting_refuse(const char *who, const char *what)
{
    setting_warn(who, what);
    _exit(2);
}

static void value_end(const char *name, char *text, size_t bytes, size_t length)
{
    if (length >= bytes)
        setting_refuse(name, "its value is too long");
    text[length] = 0;
}

/* /proc/self/environ holds "NAME=value" strings, each with its NUL. */
static bool proc_read(const char *name, char *text, size_t bytes)
{
    char block[4096];
    size_t wanted = strlen(name), at = 0, length = 0; /* at: bytes of this string seen */
    bool match = true, found = false;
    int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    ssize_t got;
    while (!found && fd >= 0 && (got = read(fd, block, sizeof block)) > 0)
        for (ssize_t i = 0; i < got && !found; i++) {
            char c = block[i];
            if (!c) {
                found = match && at > wanted;
                match = true;
                at = 0;
                continue;
            }
            if (at <= wanted)
                match = match && c == (at < wanted ? name[at] : '=');
            else if (match && length < bytes)
                text[length++] = c;
            at++;
        }
    if (fd >= 0)
        close(fd);
    if (found)
        value_end(name, text, bytes, length);
    return found && length;
}

bool setting_read(const char *name, char *text, size_t bytes)
{
    if (getauxval(AT_SECURE))
        return false;
    if (!environ)
        return proc_read(name, text, bytes);
    size_t wanted = strlen(name);
    for (char **at = environ; *at; at++) {
        if (strncmp(*at, name, wanted) != 0 || (*at)[wanted] != '=')
            continue;
        size_t length = strlen(*at + wanted + 1);
        memcpy(text, *at + wanted + 1, length < bytes ? length : bytes);
        value_end(name, text, bytes, length);
        return length;
    }
    return false;
}
