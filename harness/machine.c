/*
 * machine.c - writes run.json. Every string is escaped; facts come from /proc, /sys and the build's
 * own macros.
 */
#include "harness/machine.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "harness/build.h"
#include "harness/session.h"

/* Bytes of the UTF-8 character at `text`; 0 if none begins there. */
static size_t utf8_length(const unsigned char *text)
{
    size_t length = text[0] < 0x80   ? 1
                    : text[0] < 0xc2 ? 0
                    : text[0] < 0xe0 ? 2
                    : text[0] < 0xf0 ? 3
                    : text[0] < 0xf5 ? 4
                                     : 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xf0 && text[1] < 0x90);
    bool beyond = (text[0] == 0xed && text[1] > 0x9f) || (text[0] == 0xf4 && text[1] > 0x8f);
    return overlong || beyond ? 0 : length;
}

/* A byte that is not part of UTF-8 (a file's name may hold any) is written as \udcXX, which is how
   Python, too, reads such names. */
static void json_text(FILE *f, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    fputc('"', f);
    while (*at) {
        size_t length = utf8_length(at);
        if (*at == '"' || *at == '\\')
            fprintf(f, "\\%c", *at);
        else if (*at < 32 || !length)
            fprintf(f, "\\u%s%02x", length ? "00" : "dc", *at);
        else
            fwrite(at, 1, length, f);
        at += length ? length : 1;
    }
    fputc('"', f);
}

static void json_pair(FILE *f, const char *key, const char *value)
{
    fprintf(f, "  \"%s\": ", key);
    if (value)
        json_text(f, value);
    else
        fputs("null", f);
    fputs(",\n", f);
}

/* The value after "key :" in a file of such lines, or with no key the first line; NULL if there is
 * none. */
static const char *fact_read(const char *path, const char *key, char *line, size_t bytes)
{
    FILE *f = fopen(path, "r");
    const char *found = NULL;
    while (f && !found && fgets(line, (int)bytes, f)) {
        line[strcspn(line, "\n")] = 0;
        if (!key)
            found = line;
        else if (!strncmp(line, key, strlen(key)) && strchr(line, ':'))
            found = strchr(line, ':') + 1 + strspn(strchr(line, ':') + 1, " \t");
    }
    if (f)
        fclose(f);
    return found;
}

static void command_put(FILE *f, int argc, char **argv)
{
    fputs("  \"command\": [\"alloclab\"", f);
    for (int i = 0; i < argc; i++) {
        fputs(", ", f);
        json_text(f, argv[i]);
    }
    fputs("],\n", f);
}

static void machine_put(FILE *f)
{
    char line[512];
    struct utsname kernel;
    uname(&kernel);
    json_pair(f, "kernel", kernel.release);
    json_pair(f, "architecture", kernel.machine);
    json_pair(f, "cpu", fact_read("/proc/cpuinfo", "model name", line, sizeof line));
    json_pair(f, "memory", fact_read("/proc/meminfo", "MemTotal", line, sizeof line));
    json_pair(f, "transparent_hugepage",
              fact_read("/sys/kernel/mm/transparent_hugepage/enabled", NULL, line, sizeof line));
    json_pair(f, "overcommit_memory",
              fact_read("/proc/sys/vm/overcommit_memory", NULL, line, sizeof line));
    json_pair(f, "governor",
              fact_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", NULL, line,
                        sizeof line));
    fprintf(f, "  \"cpus\": %ld,\n  \"page_bytes\": %ld,\n", sysconf(_SC_NPROCESSORS_ONLN),
            sysconf(_SC_PAGESIZE));
}

/* The library that a contender's cells run on, and its version: of its package, of this build (a
   drop-in), or of the C library. */
static void library_put(FILE *f, const struct preload *p)
{
    char version[256];
    if (!p->path[0])
        return;
    fputs(", \"library\": ", f);
    json_text(f, p->path);
    fputs(", \"version\": ", f);
    if (p->options)
        json_text(f, build_commit);
    else if (!p->load)
        json_text(f, gnu_get_libc_version());
    else if (package_version(p->path, version, sizeof version))
        json_text(f, version);
    else
        fputs("null", f);
}

static void contenders_put(FILE *f, const struct session *s)
{
    fputs("  \"allocators\": [", f);
    for (unsigned i = 0; i < s->contender_count; i++) {
        fputs(i ? ", {\"name\": " : "{\"name\": ", f);
        json_text(f, s->contenders[i].spec.name);
        fputs(", \"options\": ", f);
        json_text(f, s->contenders[i].spec.options_text);
        fprintf(f, ", \"via\": \"%s\"", via_malloc(&s->contenders[i]) ? "malloc" : "vtable");
        library_put(f, &s->contenders[i].preload);
        fputs("}", f);
    }
    fputs("],\n  \"workloads\": [", f);
    for (unsigned i = 0; i < s->target_count; i++) {
        fputs(i ? ", " : "", f);
        json_text(f, s->targets[i].name);
    }
    fputs("],\n", f);
}

int machine_write(const struct session *s, int argc, char **argv, struct error *err)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/run.json", s->results->directory);
    FILE *f = fopen(path, "wxe");
    if (!f)
        return error_set(err, "%s: %s", path, strerror(errno));
    fputs("{\n", f);
    json_pair(f, "run_id", s->results->run_id);
    command_put(f, argc, argv);
    json_pair(f, "commit", build_commit);
    json_pair(f, "compiler", __VERSION__);
    json_pair(f, "flags", BUILD_FLAGS);
    json_pair(f, "libc", gnu_get_libc_version());
    machine_put(f);
    json_pair(f, "thp", thp_names[s->thp]);
    json_pair(f, "door", s->door);
    contenders_put(f, s);
    fprintf(f,
            "  \"repeats\": %u,\n  \"latency_every\": %u,\n  \"locality_ops\": %llu,\n  "
            "\"limit_seconds\": %.9g,\n  "
            "\"limit_resident_bytes\": %llu,\n",
            s->repeats, s->config.latency_every, (unsigned long long)s->config.locality_ops,
            s->limits.seconds, (unsigned long long)s->limits.resident_bytes);
    fprintf(f, "  \"seed\": %llu\n}\n", (unsigned long long)s->seed);
    bool torn = ferror(f);
    return fclose(f) || torn ? error_set(err, "%s: cannot write: %s", path, strerror(errno)) : 0;
}
