/* Threads that help with what can be done in parts.
 *
 * The caller hands the parts out, takes some itself, and goes on as soon as all are done: a thread that the system has no
 * core for is waited for only if it has begun a part.
 */
#ifndef CHAR_RNN_TEAM_H
#define CHAR_RNN_TEAM_H

#include <stdint.h>

typedef struct team team;
typedef void (*task)(const void *argument, int64_t part);

/* Start a team of `size` members, the caller among them; NULL when there is no memory or there are no threads. */
team *team_start(int size);

/* End its threads and free it. */
void team_end(team *self);

/* Take a team, or NULL, for calls of team_share; return NULL if another thread has it just now. */
team *team_take(team *self);
void team_leave(team *self);

/* Do the parts of a task, from 0 to `parts` (not included), each once, in any order; without a team by oneself. */
void team_share(team *self, task run, const void *argument, int64_t parts);

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
