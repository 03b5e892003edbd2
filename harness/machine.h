/*
 * machine.h - run.json: what a session ran, and on what: command, build, CPU, kernel, settings that
 * move figures.
 */
#ifndef ALLOCLAB_MACHINE_H
#define ALLOCLAB_MACHINE_H

#include <stdbool.h>
#include <stdio.h>

#include "allocators/lib/error.h"

struct session;

/* Writes DIR/run.json; 0 or -1. What the machine does not tell is null, never invented. */
int machine_write(const struct session *s, int argc, char **argv, struct error *err);

/* Says on `stream`, a line each, in what two folders' machines, builds and settings differ, or that
 * a folder does not tell. False: a run.json is damaged, with a message. */
bool machine_compare(const char *base, const char *other, FILE *stream, struct error *err);

#endif
