/*
 * unpack.c - the file is read into one buffer, from which zlib and Zstandard take, or bytes are copied as they
 * are. zlib's own reading of files is not used: it cannot be given the first bytes of a pipe, once they were looked at.
 */
#include "traces/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { INPUT_BYTES = 1 << 16, MAGIC_BYTES = 8, GZIP_ONLY = 16 };

static const char gzip_magic[] = "\x1f\x8b", zstd_magic[] = "\x28\xb5\x2f\xfd";

static bool begins(const uint8_t *first, size_t bytes, const char *magic)
{
    return bytes >= strlen(magic) && !memcmp(first, magic, strlen(magic));
}

/* What is known, but not read here: what to do with it, or NULL. */
static const char *other_packer(const uint8_t *first, size_t bytes)
{
    static const struct {
        const char *magic, *advice;
    } known[] = {
        {"\xfd"
         "7zXZ",
         "compressed with xz: unpack it with `xz -d`"},
        {"BZh", "compressed with bzip2: unpack it with `bzip2 -d`"},
        {"\x04\x22\x4d\x18", "compressed with lz4: unpack it with `lz4 -d`"},
        {"PK\x03\x04", "a zip archive: unpack it with `unzip`"},
        {"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it with `7z x`"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (begins(first, bytes, known[i].magic))
            return known[i].advice;
    return NULL;
}

/* Zstandard's skippable frames have one of 16 first bytes; pzstd begins with one. */
static bool is_zstd(const uint8_t *first, size_t bytes)
{
    return begins(first, bytes, zstd_magic) ||
           (bytes >= 4 && first[0] >> 4 == 5 && begins(first + 1, bytes - 1, "\x2a\x4d\x18"));
}

/* Reads until so many bytes wait, or up to the end: how many do, or -1. */
static long input_want(struct unpack *u, size_t bytes, struct error *err)
{
    if (u->in_end - u->in_start < bytes) {
        memmove(u->in, u->in + u->in_start, u->in_end - u->in_start);
        u->in_end -= u->in_start;
        u->in_start = 0;
    }
    while (u->in_end - u->in_start < bytes) {
        ssize_t got = read(u->fd, u->in + u->in_end, INPUT_BYTES - u->in_end);
        if (got < 0 && errno != EINTR)
            return error_set(err, "%s", strerror(errno));
        if (got == 0)
            break;
        u->in_end += got > 0 ? (size_t)got : 0;
    }
    return (long)(u->in_end - u->in_start);
}

/* What its first bytes say. 0, or -1 with what is wrong, without the name. */
static int unpack_begin(struct unpack *u, struct error *err)
{
    struct error why;
    if (!u->in)
        return error_set(err, "no memory to unpack it");
    long got = input_want(u, MAGIC_BYTES, &why);
    if (got < 0)
        return error_set(err, "cannot read: %.400s", why.text);
    const char *advice = other_packer(u->in, (size_t)got);
    if (advice)
        return error_set(err, "offset 0: %s", advice);
    if (begins(u->in, (size_t)got, gzip_magic)) {
        u->gzip = calloc(1, sizeof *u->gzip);
        if (!u->gzip || inflateInit2(u->gzip, MAX_WBITS + GZIP_ONLY) != Z_OK)
            return error_set(err, "no memory to unpack it");
    } else if (is_zstd(u->in, (size_t)got) && !(u->zstd = ZSTD_createDCtx())) {
        return error_set(err, "no memory to unpack it");
    }
    return 0;
}

int unpack_open(struct unpack *u, const char *name, struct error *err)
{
    struct error why;
    *u = (struct unpack){.fd = open(name, O_RDONLY | O_CLOEXEC)};
    if (u->fd < 0)
        return error_set(err, "%s: cannot open: %s", name, strerror(errno));
    u->in = malloc(INPUT_BYTES);
    if (unpack_begin(u, &why) == 0)
        return 0;
    unpack_close(u);
    return error_set(err, "%s: %.400s", name, why.text);
}

void unpack_close(struct unpack *u)
{
    if (u->gzip)
        inflateEnd(u->gzip);
    free(u->gzip);
    ZSTD_freeDCtx(u->zstd);
    free(u->in);
    if (u->fd >= 0)
        close(u->fd);
    *u = (struct unpack){.fd = -1};
}

static long plain_read(struct unpack *u, void *to, size_t bytes)
{
    size_t waiting = u->in_end - u->in_start, part = bytes < waiting ? bytes : waiting;
    memcpy(to, u->in + u->in_start, part);
    u->in_start += part;
    return (long)part;
}

/* Members follow each other; what follows them and is none is ignored, as gzip does. */
static long gzip_read(struct unpack *u, void *to, size_t bytes, struct error *err)
{
    z_stream *z = u->gzip;
    if (!u->inside && !begins(u->in + u->in_start, u->in_end - u->in_start, gzip_magic))
        return 0;
    if (!u->inside)
        inflateReset(z);
    u->inside = true;
    z->next_in = u->in + u->in_start;
    z->avail_in = (unsigned)(u->in_end - u->in_start);
    z->next_out = to;
    z->avail_out = bytes < UINT_MAX ? (unsigned)bytes : UINT_MAX;
    unsigned room = z->avail_out;
    int status = inflate(z, Z_NO_FLUSH);
    u->in_start = u->in_end - z->avail_in;
    u->inside = status != Z_STREAM_END;
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
        return error_set(err, "%s", z->msg ? z->msg : "damaged data of gzip");
    return (long)(room - z->avail_out);
}

static long zstd_read(struct unpack *u, void *to, size_t bytes, struct error *err)
{
    ZSTD_outBuffer out = {to, bytes, 0};
    ZSTD_inBuffer in = {u->in, u->in_end, u->in_start};
    size_t wanted = ZSTD_decompressStream(u->zstd, &out, &in);
    if (ZSTD_isError(wanted))
        return error_set(err, "%s", ZSTD_getErrorName(wanted));
    u->in_start = in.pos;
    u->inside = wanted != 0;
    return (long)out.pos;
}

long unpack_read(struct unpack *u, void *to, size_t bytes, struct error *err)
{
    while (bytes && !u->torn) {
        long waiting = input_want(u, 2, err);
        size_t start = u->in_start;
        if (waiting < 0 || (waiting == 0 && !u->inside))
            return waiting;
        long got = u->gzip   ? gzip_read(u, to, bytes, err)
                   : u->zstd ? zstd_read(u, to, bytes, err)
                             : plain_read(u, to, bytes);
        if (got || (waiting && u->in_start == start))
            return got;
        u->torn = waiting == 0;
    }
    return 0;
}
