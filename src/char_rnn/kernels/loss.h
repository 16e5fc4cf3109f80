/* The cross-entropy of scores and its gradient, in one pass. */
#ifndef CHAR_RNN_LOSS_H
#define CHAR_RNN_LOSS_H

#include "shares.h"

/* Compare the scores of `width` symbols in each row with the row's target. With p the softmax of a row: losses[0] = the
 * mean of -log p[target], losses[1] = the mean of all -log p where `smoothing` is above 0; and in place of the scores the
 * gradient of
 *
 *     (1 - smoothing) losses[0] + smoothing losses[1]
 *
 * Rows are `stride` apart, at least the next multiple of 16 from `width` on; what is between them is overwritten. Return
 * 0, 1 where a target is not from 0 to width - 1, or 2 where there is not enough memory. The results are the same bits for
 * any number of threads and any width of vectors. */
int loss_cross_entropy(
    float *scores, const int64_t *targets, double *losses, int64_t rows, int64_t width, int64_t stride, double smoothing,
    int64_t threads, parallel *start);

#endif
