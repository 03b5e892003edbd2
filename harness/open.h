/*
 * open.h - the open loop: when frames and requests arrive, and what one server makes of it.
 *
 * A closed loop takes the next op when the one before is done, so whoever is slow is asked less: a
 * pause of a millisecond is one slow op. In an open loop everything has an intended start, fixed
 * before the run. The server (the replay, serial and in the recorded order) starts it then, or as
 * soon as it is done with what came before; the response time runs from the intended start to the
 * completion, so that those who had to queue behind a slow one have waited too (no coordinated
 * omission). The service time, from the actual start, is beside it.
 *
 * What arrives is a scope that begins outside of all others: a frame, a request. It lasts until the
 * next arrives, with all that the program does between. So in a trace whose requests are
 * interleaved (`request:open=64`) an arrival is one new request and a slice of the work of those
 * that are open, as much as in the recorded order came before the next one.
 */
#ifndef ALLOCLAB_OPEN_H
#define ALLOCLAB_OPEN_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/histogram.h"

enum open_schedule { OPEN_AUTO, OPEN_UNIFORM, OPEN_POISSON, OPEN_RECORDED };

extern const char *const open_schedule_names[]; /* by enum open_schedule; ended by NULL */

struct open_config {
    enum open_schedule schedule; /* in a cell not AUTO */
    double rate;                 /* arrivals per second; in a cell 0 = a closed loop */
    double load;                 /* what the rate is made of, if none was asked for */
};

struct open_times { /* of a cell, in ns; all zero = not measured */
    uint32_t schedule;
    double rate;
    struct histogram response, service;
};

/* Intended starts in ns from the first, which is at 0. RECORDED: `due` holds the trace's times, and
 * they are stretched to the rate; if all are the same, they become uniform. */
void open_due(uint64_t *due, uint64_t count, enum open_schedule schedule, double rate,
              uint64_t seed);

struct open_clock {
    uint64_t (*now)(void *ctx); /* ns */
    void (*wait)(void *ctx, uint64_t until);
    void *ctx;
};

struct open_server {
    const uint64_t *due; /* NULL = a closed loop */
    struct open_clock clock;
    struct open_times *times;
    uint64_t at;             /* arrivals of this schedule so far */
    uint64_t arrivals, late; /* of all; of these the server was not ready for so many */
    uint64_t origin, intended, started, done;
    uint64_t busy_ns, span_ns; /* in service; from first intended starts to last completions */
};

/* Something arrives: what was being served is done, and the next is waited for. */
void open_arrive(void *server);
/* The last one of a schedule is done; the next one that arrives begins it anew. */
void open_end(struct open_server *server);

#endif
