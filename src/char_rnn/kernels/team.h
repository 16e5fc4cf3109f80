/* Threads that help with a task of several parts.
 *
 * The caller takes parts too, and continues as soon as all are done: it waits for a thread without a core only if that has
 * begun a part.
 */
#ifndef CHAR_RNN_TEAM_H
#define CHAR_RNN_TEAM_H

#include <stdint.h>

typedef struct team team;
typedef void (*task)(const void *argument, int64_t part);

/* Start a team of `size` members, including the caller; NULL without memory or threads. */
team *team_start(int size);

/* End its threads and free it. */
void team_end(team *self);

/* Take a team (or NULL) for calls of team_share; return NULL if another thread has it. */
team *team_take(team *self);
void team_leave(team *self);

/* Run the parts of a task from 0 to `parts` - 1, each once, in any order; without a team in the caller. */
void team_share(team *self, task run, const void *argument, int64_t parts);

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
