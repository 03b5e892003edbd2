/*
 * unpack.c - zlib reads plain files and gzip alike; Zstandard has a loop of its own.
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

enum { INPUT_BYTES = 1 << 16 };

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

int unpack_open(struct unpack *u, const char *name, struct error *err)
{
    *u = (struct unpack){.fd = open(name, O_RDONLY | O_CLOEXEC)};
    if (u->fd < 0)
        return error_set(err, "%s: cannot open: %s", name, strerror(errno));
    uint8_t first[8];
    ssize_t got = pread(u->fd, first, sizeof first, 0);
    size_t bytes = got > 0 ? (size_t)got : 0;
    const char *advice = other_packer(first, bytes);
    if (advice) {
        unpack_close(u);
        return error_set(err, "%s: offset 0: %s", name, advice);
    }
    if (begins(first, bytes, "\x28\xb5\x2f\xfd")) {
        u->zstd = ZSTD_createDCtx();
        u->in = malloc(INPUT_BYTES);
        if (u->zstd && u->in)
            return 0;
    } else {
        u->gzip = gzdopen(u->fd, "rb");
        if (u->gzip)
            return 0;
    }
    unpack_close(u);
    return error_set(err, "%s: no memory to unpack it", name);
}

void unpack_close(struct unpack *u)
{
    if (u->gzip)
        gzclose_r(u->gzip); /* and the descriptor */
    else if (u->fd >= 0)
        close(u->fd);
    ZSTD_freeDCtx(u->zstd);
    free(u->in);
    *u = (struct unpack){.fd = -1};
}

static long gzip_read(struct unpack *u, void *to, size_t bytes, struct error *err)
{
    int status = Z_OK;
    errno = 0;
    int got = gzread(u->gzip, to, bytes < INT_MAX ? (unsigned)bytes : INT_MAX);
    int read_errno = errno;
    const char *why = gzerror(u->gzip, &status);
    if (status == Z_BUF_ERROR) { /* the end came too early */
        u->torn = true;
        return got > 0 ? got : 0;
    }
    if (got < 0 || (status != Z_OK && status != Z_STREAM_END))
        return error_set(err, "%s", status == Z_ERRNO ? strerror(read_errno) : why);
    return got;
}

static long zstd_read(struct unpack *u, void *to, size_t bytes, struct error *err)
{
    ZSTD_outBuffer out = {to, bytes, 0};
    while (out.pos == 0 && bytes) {
        if (u->in_start == u->in_end) {
            ssize_t got = read(u->fd, u->in, INPUT_BYTES);
            if (got < 0)
                return error_set(err, "%s", strerror(errno));
            u->in_start = 0;
            u->in_end = (size_t)got;
        }
        bool ended = u->in_end == 0;
        ZSTD_inBuffer in = {u->in, u->in_end, u->in_start};
        if (ended && u->wanted == 0)
            return 0;
        size_t wanted = ZSTD_decompressStream(u->zstd, &out, &in);
        if (ZSTD_isError(wanted))
            return error_set(err, "%s", ZSTD_getErrorName(wanted));
        u->in_start = in.pos;
        u->wanted = wanted;
        if (ended && out.pos == 0) {
            u->torn = true;
            return 0;
        }
    }
    return (long)out.pos;
}

long unpack_read(struct unpack *u, void *to, size_t bytes, struct error *err)
{
    return u->torn ? 0 : u->zstd ? zstd_read(u, to, bytes, err) : gzip_read(u, to, bytes, err);
}
