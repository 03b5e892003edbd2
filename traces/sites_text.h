/*
 * sites_text.h - sites in words; and a table of them as lines of the text form:
 *
 *     module 1 libc.so.6 build=0123ab path=/usr/lib/libc.so.6
 *     place 1 module=1 offset=0x1139
 *     place 2 function=main file=a.c line=10
 *     frame 1 2                      frame 1 is at place 2, and nothing called it
 *     frame 2 1 caller=1             frame 2 is at place 1, called by frame 1
 *     site 1 2                       site 1 is frame 2
 *
 * Texts are words: a space in one is \s, a tab \t, a backslash \\.
 */
#ifndef ALLOCLAB_SITES_TEXT_H
#define ALLOCLAB_SITES_TEXT_H

#include <stdio.h>

#include "traces/lines.h"
#include "traces/sites.h"

/* The line at hand, whose first word is `name`: 1: it was of the table, and is in it; 0: it is another
 * one; -1: it is wrong. */
int sites_text_line(struct lines *lines, const char *name, struct sites *s);

void sites_text_print(FILE *stream, const struct sites *s);

/* What a place is called: "main (a.c:10)", "main (libx.so)" or "libx.so+0x1139"; "?": nothing is known
 * of it. Cut if there is no room. */
void sites_place_text(const struct sites *s, uint32_t place, char *text, size_t room);
/* The same of a frame and its callers, as many as given, " < " between them; " < .." : there are more. */
void sites_frame_text(const struct sites *s, uint32_t frame, unsigned most, char *text,
                      size_t room);

#endif
