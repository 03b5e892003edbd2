/*
 * trace_image.h - a trace file as bytes in memory, for tests that damage it: taken apart, edited,
 * with checksums made right again, so that the damage is found by what looks behind the checksums.
 */
#ifndef ALLOCLAB_TEST_TRACE_IMAGE_H
#define ALLOCLAB_TEST_TRACE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "traces/trace.h"

struct image {
    uint8_t *data;
    size_t bytes;
};

struct image image_read(int fd); /* the whole file; data is for free() */
struct image image_copy(const struct image *image);

/* The same trace with every column stored as it is, so that an edit of a byte is an edit of a
 * value. */
struct image image_unpack(const struct image *image);

/* Puts `bytes` (zeroed if NULL) in at `offset`. */
void image_insert(struct image *image, size_t offset, const void *bytes, size_t count);

/* Offset of block number n, from 0; the index is the last. The image must be a whole trace. */
size_t image_block(const struct image *image, unsigned n);
unsigned image_blocks(const struct image *image);

/* Offset of the directory entry of a column of the block, or of its bytes; 0 if it is not there. */
size_t image_entry(const struct image *image, size_t block, unsigned tag);
size_t image_column(const struct image *image, size_t block, unsigned tag);

/* Makes the checksums right of all blocks that can be followed, and the trailer's. */
void image_repair(struct image *image);

/* Opens the image under the name "image"; NULL with the reader's message. */
struct trace_reader *image_open(const struct image *image, unsigned flags, struct error *err);

#endif
