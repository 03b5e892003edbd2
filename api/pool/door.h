/*
 * door.h - a door as a program's configuration asks for it; for heaps and object caches.
 */
#ifndef ALLOCLAB_POOL_DOOR_H
#define ALLOCLAB_POOL_DOOR_H

#include "allocators/lib/error.h"
#include "allocators/lib/os.h"
#include "api/alloclab.h"

/* 0, or an errno value (EINVAL, ENOMEM) and the message. */
int door_open(struct os **os, const struct alloclab_config *config, struct error *err);
struct alloclab_memory door_usage(struct os *os);

#endif
