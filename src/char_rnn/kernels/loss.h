/* The cross-entropy of scores and its gradient, in one pass. */
#ifndef CHAR_RNN_LOSS_H
#define CHAR_RNN_LOSS_H

#include "shares.h"

/* Compare the scores of `width` symbols in each row with the row's target. With p the softmax of a row, losses[0] is the
 * mean of -log p[target], and losses[1] the mean of all -log p if `smoothing` is above 0. `soft` is NULL, or the
 * probabilities q of other models, dense rows that sum to 1; then losses[2] is the mean of the sums of -q log p. Replace
 * the scores by the gradient of
 *
 *     (1 - soft_weight) ((1 - smoothing) losses[0] + smoothing losses[1]) + soft_weight losses[2]
 *
 * where soft_weight counts as 0 without `soft`.
 *
 * Rows are `stride` apart, at least `width` rounded up to a multiple of 16; the padding is overwritten. Return 0, or 1 if a
 * target is not from 0 to width - 1, or 2 if there is not enough memory. The results are the same bits for any number of
 * threads and any vector width. */
int loss_cross_entropy(
    float *scores, const int64_t *targets, const float *soft, double *losses, int64_t rows, int64_t width, int64_t stride,
    double smoothing, double soft_weight, int64_t threads, parallel *start);

#endif
