/*
 * text.h - what other parts use of the text form.
 */
#ifndef ALLOCLAB_TEXT_H
#define ALLOCLAB_TEXT_H

#include <stdbool.h>

/* The name of an enum trace_kind, as the text form and `trace info` write it. */
const char *text_kind_name(unsigned kind);

/* True if the file begins, perhaps after decompression, like a trace in the text form. */
bool text_is(const char *path);

#endif
