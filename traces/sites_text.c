/*
 * sites_text.c - see sites_text.h. A row is written with its number, so that a person can follow the
 * references; read again, it must get the same number, or the file is refused.
 */
#include "traces/sites_text.h"

#include <inttypes.h>
#include <string.h>

/* ---- reading ---- */

/* Turns a word back into its text, in place. */
static int text_unescape(const struct lines *lines, char *word)
{
    char *to = word;
    for (const char *p = word; *p; p++) {
        if (*p != '\\') {
            *to++ = *p;
            continue;
        }
        p++;
        if (!*p || !strchr("st\\", *p))
            return lines_refuse(lines, "'%.40s': \\s, \\t and \\\\ are known after a backslash",
                                word);
        *to++ = (char)(*p == 's' ? ' ' : *p == 't' ? '\t' : '\\');
    }
    *to = 0;
    return 0;
}

static int number_parse(struct lines *lines, const char *word, const char *what, uint32_t *value)
{
    uint64_t wide;
    if (lines_number(lines, word, what, &wide))
        return -1;
    if (wide > UINT32_MAX)
        return lines_refuse(lines, "%s %" PRIu64 " exceeds the limit", what, wide);
    *value = (uint32_t)wide;
    return 0;
}

/* "KEY=..": what follows, or NULL. */
static char *value_of(char *word, const char *key)
{
    size_t length = strlen(key);
    return strncmp(word, key, length) == 0 && word[length] == '=' ? word + length + 1 : NULL;
}

static int unexpected(const struct lines *lines, const char *word)
{
    return lines_refuse(lines, "'%.40s' is not expected here", word);
}

static int module_parse(struct lines *lines, struct site_module *module)
{
    char *word = lines_word(lines), *value;
    if (!word)
        return lines_refuse(lines, "a module without a name");
    module->name = word;
    if (text_unescape(lines, word))
        return -1;
    while ((word = lines_word(lines))) {
        if ((value = value_of(word, "build")))
            module->build = value;
        else if ((value = value_of(word, "path")))
            module->path = value;
        else
            return unexpected(lines, word);
        if (text_unescape(lines, value))
            return -1;
    }
    return 0;
}

static int place_parse(struct lines *lines, struct site_place *place)
{
    char *word, *value;
    while ((word = lines_word(lines))) {
        int failed = 0;
        if ((value = value_of(word, "module")))
            failed = number_parse(lines, value, "module", &place->module);
        else if ((value = value_of(word, "offset")))
            failed = lines_address(lines, value, "offset", &place->offset);
        else if ((value = value_of(word, "line")))
            failed = number_parse(lines, value, "line", &place->line);
        else if ((value = value_of(word, "function")))
            failed = text_unescape(lines, value), place->function = value;
        else if ((value = value_of(word, "file")))
            failed = text_unescape(lines, value), place->file = value;
        else
            return unexpected(lines, word);
        if (failed)
            return -1;
    }
    return 0;
}

static int frame_parse(struct lines *lines, uint32_t *place, uint32_t *caller)
{
    char *word, *value;
    if (number_parse(lines, lines_word(lines), "place", place))
        return -1;
    word = lines_word(lines);
    value = word ? value_of(word, "caller") : NULL;
    if (word && !value)
        return unexpected(lines, word);
    return (value && number_parse(lines, value, "caller", caller)) || lines_end(lines) ? -1 : 0;
}

/* What was added must have the number that the line says. */
static int added(const struct lines *lines, const char *kind, uint32_t said, uint32_t number,
                 const struct error *why)
{
    if (number == 0)
        return lines_refuse(lines, "%.400s", why->text);
    if (number != said)
        return lines_refuse(lines,
                            "%s %" PRIu32 " is number %" PRIu32 ": they are numbered from 1, and "
                            "none comes twice",
                            kind, said, number);
    return 1;
}

static int site_add(struct lines *lines, struct sites *s)
{
    struct error why;
    uint64_t site;
    uint32_t frame = 0, before = sites_count(s, SITES_SITE);
    if (lines_number(lines, lines_word(lines), "site", &site) ||
        number_parse(lines, lines_word(lines), "frame", &frame) || lines_end(lines))
        return -1;
    if (sites_set(s, site, frame, &why))
        return lines_refuse(lines, "%.400s", why.text);
    if (sites_count(s, SITES_SITE) == before)
        return lines_refuse(lines, "site %" PRIu64 " comes twice", site);
    return 1;
}

int sites_text_line(struct lines *lines, const char *name, struct sites *s)
{
    struct site_module module = {.name = ""};
    struct site_place place = {.offset = SITE_NO_OFFSET};
    struct error why;
    uint32_t said = 0, at = 0, caller = 0;
    bool is_module = !strcmp(name, "module"), is_place = !strcmp(name, "place");
    if (!strcmp(name, "site"))
        return site_add(lines, s);
    if (!is_module && !is_place && strcmp(name, "frame") != 0)
        return 0;
    if (number_parse(lines, lines_word(lines), name, &said) ||
        (is_module  ? module_parse(lines, &module)
         : is_place ? place_parse(lines, &place)
                    : frame_parse(lines, &at, &caller)))
        return -1;
    uint32_t number = is_module  ? sites_module(s, &module, &why)
                      : is_place ? sites_place(s, &place, &why)
                                 : sites_frame(s, caller, at, &why);
    return added(lines, name, said, number, &why);
}

/* ---- writing ---- */

static void text_print(FILE *stream, const char *key, const char *text)
{
    if (!*text)
        return;
    fputs(key, stream);
    for (; *text; text++) {
        const char *special = strchr(" \t\\", *text);
        if (special)
            putc('\\', stream);
        putc(!special ? *text : *text == ' ' ? 's' : *text == '\t' ? 't' : '\\', stream);
    }
}

static void place_print(FILE *stream, const struct sites *s, uint32_t n)
{
    const struct site_place place = sites_place_at(s, n);
    fprintf(stream, "place %" PRIu32, n);
    if (place.module)
        fprintf(stream, " module=%" PRIu32, place.module);
    if (place.offset != SITE_NO_OFFSET)
        fprintf(stream, " offset=0x%" PRIx64, place.offset);
    text_print(stream, " function=", place.function);
    text_print(stream, " file=", place.file);
    if (place.line)
        fprintf(stream, " line=%" PRIu32, place.line);
    putc('\n', stream);
}

void sites_text_print(FILE *stream, const struct sites *s)
{
    for (uint32_t n = 1; n <= sites_count(s, SITES_MODULE); n++) {
        const struct site_module module = sites_module_at(s, n);
        fprintf(stream, "module %" PRIu32, n);
        text_print(stream, " ", module.name);
        text_print(stream, " build=", module.build);
        text_print(stream, " path=", module.path);
        putc('\n', stream);
    }
    for (uint32_t n = 1; n <= sites_count(s, SITES_PLACE); n++)
        place_print(stream, s, n);
    for (uint32_t n = 1; n <= sites_count(s, SITES_FRAME); n++) {
        fprintf(stream, "frame %" PRIu32 " %" PRIu32, n, sites_frame_place(s, n));
        if (sites_frame_caller(s, n))
            fprintf(stream, " caller=%" PRIu32, sites_frame_caller(s, n));
        putc('\n', stream);
    }
    for (uint32_t n = 1, frame; n <= sites_count(s, SITES_SITE); n++) {
        uint64_t site = sites_site_at(s, n, &frame);
        fprintf(stream, "site %" PRIu64 " %" PRIu32 "\n", site, frame);
    }
}

/* ---- in words ---- */

void sites_place_text(const struct sites *s, uint32_t n, char *text, size_t room)
{
    const struct site_place place = sites_place_at(s, n);
    const char *module = place.module ? sites_module_at(s, place.module).name : "";
    if (*place.function && *place.file && place.line)
        snprintf(text, room, "%s (%s:%" PRIu32 ")", place.function, place.file, place.line);
    else if (*place.function && (*place.file || *module))
        snprintf(text, room, "%s (%s)", place.function, *place.file ? place.file : module);
    else if (*place.function)
        snprintf(text, room, "%s", place.function);
    else if (place.offset != SITE_NO_OFFSET)
        snprintf(text, room, "%s+0x%" PRIx64, *module ? module : "?", place.offset);
    else
        snprintf(text, room, "%s", *module ? module : "?");
}

void sites_frame_text(const struct sites *s, uint32_t frame, unsigned most, char *text, size_t room)
{
    size_t used = 0;
    *text = 0;
    for (unsigned i = 0; frame && used + 1 < room; i++) {
        if (i)
            used += (size_t)snprintf(text + used, room - used, " < %s", i == most ? ".." : "");
        if (i == most || used + 1 >= room)
            return;
        sites_place_text(s, sites_frame_place(s, frame), text + used, room - used);
        used += strlen(text + used);
        frame = sites_frame_caller(s, frame);
    }
}
