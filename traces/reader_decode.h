/*
 * reader_decode.h - one block of ops after another, taken apart: every record's object, size, clock
 * in arrays; private to traces/. What the reader hands out is a matter of copying.
 *
 * A decoder is of one thread at a time, and that need not be the reader's: it touches of the reader
 * only what stays as it is once the file has been opened, and what of the mapping it has given back.
 */
#ifndef ALLOCLAB_READER_DECODE_H
#define ALLOCLAB_READER_DECODE_H

#include <zstd.h>

#include "traces/layout.h"

struct column { /* of the block being read, decompressed */
    const uint8_t *next, *end;
    const uint8_t *tail,
        *tails_end; /* tail not NULL: next are first bytes, and the others are here */
    bool present;
    uint8_t *buffer;
    size_t room;
};

struct decoded_run { /* records of one thread */
    uint32_t thread, records;
};

struct decoded { /* a block */
    uint64_t offset;
    uint32_t records; /* that are sound: what follows them is damaged, if it has failed */
    uint32_t runs;
    bool failed, ended;                                 /* ended: there was no block any more */
    bool has_clocks, has_sites, has_aligns, has_scopes; /* else these are 0, or none */
    uint8_t *codes, *aligns;
    uint64_t *objects, *sizes, *clocks, *sites, *scopes;
    struct decoded_run *run;
    struct error err; /* if it has failed */
};

struct block_decoder {
    bool skip_clock;                                   /* clocks are left 0 */
    size_t at;                                         /* the next block */
    uint64_t records, objects, scopes, threads, clock; /* before it */
    bool backs;                                        /* distances back, no references */
    bool over;                                         /* it has failed, or ended */
    struct column columns[LAYOUT_OPS_TAGS];
    uint64_t *values[LAYOUT_OPS_TAGS]; /* of columns whose records do not all have one */
    uint32_t counts[LAYOUT_OPS_TAGS];
    ZSTD_DCtx *zstd;
};

struct trace_reader;

/* Decodes the next block. Whatever is wrong with it, or that there is none, is said in `to`. */
void block_decoder_next(struct trace_reader *r, struct block_decoder *d, struct decoded *to);
void block_decoder_free(struct block_decoder *d);
void decoded_free(struct decoded *block);

#endif
