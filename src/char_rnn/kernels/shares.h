/* Distributes the shares of a call over the threads of PyTorch's OpenMP pool. */
#ifndef CHAR_RNN_SHARES_H
#define CHAR_RNN_SHARES_H

#include <stdint.h>

/* GOMP_parallel of the loaded OpenMP library, or NULL. */
typedef void parallel(void (*run)(void *), void *argument, unsigned threads, unsigned flags);

typedef void share_function(const void *argument, int64_t share);

/* Run the shares from 0 to `count` - 1, each on its own thread; all on one if `start` is NULL, and in a child after a fork
 * (where the pool's threads do not exist). All run in the caller's floating-point environment, with the same rounding. */
void shares_run(share_function *run, const void *argument, int64_t count, parallel *start);

/* As shares_run, but with `together`, whose shares run at the same time and may wait for each other; with `apart` if there
 * are too few threads. `team_size` is omp_get_num_threads, or NULL. */
void shares_run_together(
    share_function *together, share_function *apart, const void *argument, int64_t count, parallel *start, int (*team_size)(void));

#endif
