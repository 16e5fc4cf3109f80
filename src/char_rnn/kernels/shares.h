/* Shares of a call, which the threads of PyTorch's OpenMP pool take. */
#ifndef CHAR_RNN_SHARES_H
#define CHAR_RNN_SHARES_H

#include <stdint.h>

/* GOMP_parallel of the OpenMP library that is loaded already, or NULL. */
typedef void parallel(void (*run)(void *), void *argument, unsigned threads, unsigned flags);

typedef void share_function(const void *argument, int64_t share);

/* Run each of the shares, from 0 to `count` (not included), on as many threads; on one where `start` is NULL, and in a
 * child after a fork (the pool's threads do not exist there). All run in the caller's floating-point environment, so
 * that all round and flush alike. */
void shares_run(share_function *run, const void *argument, int64_t count, parallel *start);

/* As shares_run, but all at the same time, so that they may wait for each other, by `together`; where there are not as many
 * threads, by `apart`. `team_size` is omp_get_num_threads, or NULL. */
void shares_run_together(
    share_function *together, share_function *apart, const void *argument, int64_t count, parallel *start, int (*team_size)(void));

#endif
