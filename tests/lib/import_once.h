/*
 * import_once.h - one file of any bytes through one importer, and what fuzzing wants to hold of it:
 * it is refused with a message that names file and line, or it has become a valid trace, which every
 * exporter can write, and which survives the text form without loss.
 */
#ifndef ALLOCLAB_TEST_IMPORT_ONCE_H
#define ALLOCLAB_TEST_IMPORT_ONCE_H

#include "traces/formats/format.h"

enum import_option { IMPORT_STRICT = 1, IMPORT_OPTIONS = 1 };
enum import_outcome { IMPORT_REFUSED, IMPORT_FINE, IMPORT_WRONG };

/* IMPORT_WRONG: `err` says what does not hold. */
enum import_outcome import_once(const struct trace_format *format, const void *data, size_t bytes,
                                unsigned options, struct error *err);
/* The same with what is in the file. */
enum import_outcome import_once_from(const struct trace_format *format, int in, unsigned options,
                                     struct error *err);
int import_memory_file(void); /* a new, empty one */

#endif
