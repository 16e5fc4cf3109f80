/* The norm of all gradients, and the update of AdamW. The results are the same bits for any number of threads and any
 * vector width. */
#ifndef CHAR_RNN_OPTIMIZER_H
#define CHAR_RNN_OPTIMIZER_H

#include "shares.h"

/* A parameter, its gradient and AdamW's state: arrays of `size` numbers, and the number of steps so far. The norm reads only
 * the gradient. */
typedef struct {
    float *parameter;
    const float *gradient;
    float *mean, *mean_square;
    float *steps;
    int64_t size;
    double weight_decay;
} trained_parameter;

/* The Euclidean norm of all gradients together; -1 if there is not enough memory. */
double optimizer_norm(const trained_parameter *parameters, int64_t count, int64_t threads, parallel *start);

/* Make one step of each parameter. With g the gradient, n the number of steps and r the rate:
 *
 *     m <- m + (1 - beta1) (g - m)
 *     v <- beta2 v + (1 - beta2) g g
 *     x <- (1 - r weight_decay) x - r / (1 - beta1^n) m / (sqrt(v / (1 - beta2^n)) + epsilon)
 */
void optimizer_adamw(
    const trained_parameter *parameters, int64_t count, double rate, double beta1, double beta2, double epsilon,
    int64_t threads, parallel *start);

#endif
