/*
 * unpack.h - a file as bytes, whether it is stored plainly or compressed with gzip or Zstandard:
 * what it is, its first bytes say; what they name but is not read is refused, with what unpacks it. A
 * compressed file that ends too early gives what can be unpacked, and then says that it is torn. It is
 * only read onwards, so a pipe will do. Of one thread at a time.
 */
#ifndef ALLOCLAB_UNPACK_H
#define ALLOCLAB_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocators/lib/error.h"

struct unpack {
    struct z_stream_s *gzip; /* both NULL: the file is plain */
    struct ZSTD_DCtx_s *zstd;
    uint8_t *in; /* what has been read and not been unpacked */
    size_t in_start, in_end;
    bool inside; /* a member or frame has begun and not ended */
    int fd;
    bool torn;
};

/* 0, or -1 with a message that names the file; after that there is nothing to close. */
int unpack_open(struct unpack *u, const char *name, struct error *err);
/* How many bytes were put at `to`, at most `bytes`; 0 at the end; -1 with what is wrong. */
long unpack_read(struct unpack *u, void *to, size_t bytes, struct error *err);
void unpack_close(struct unpack *u);

#endif
