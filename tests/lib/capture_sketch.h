/*
 * capture_sketch.h - captures (traces/recorder/capture.h) without the room between their chunks: what a
 * test can make at random, damage, and keep in a corpus, since a capture itself is mostly zeros.
 *
 * A sketch is the header up to its command, then for each chunk its head, with the magic as it would
 * be at offset 0, and its words. A header within it begins the next file: those are processes that
 * the first was forked from, and have the names CAPTURE_SKETCH_FD and following numbers. What is
 * between two magics belongs to the chunk before, whatever that says of itself.
 */
#ifndef ALLOCLAB_TEST_CAPTURE_SKETCH_H
#define ALLOCLAB_TEST_CAPTURE_SKETCH_H

#include "tests/lib/import_once.h"
#include "tests/lib/trace_image.h"

enum { CAPTURE_SKETCH_FD = 700 };

/*
 * A sketch of a program that several threads run: about `events` of every kind, in short and long
 * forms, in chunks and rooms, some of them torn; stopped and started, in every third one of a
 * forked child, in every fifth of a sample. Equal seeds give equal ones. data is for free().
 */
struct image capture_sketch_make(uint64_t seed, size_t events);

/* Through the importer of captures, like import_once(). Its parents lie at descriptors of their names meanwhile. */
enum import_outcome capture_sketch_import(const struct trace_format *format,
                                          const struct image *sketch, unsigned options,
                                          struct error *err);

#endif
