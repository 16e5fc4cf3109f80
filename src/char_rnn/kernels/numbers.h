/* Elementary functions and sums whose results do not depend on the vector width of the machine.
 *
 * In double precision the functions are those of the C library.
 */
#ifndef CHAR_RNN_NUMBERS_H
#define CHAR_RNN_NUMBERS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "functions.h"

#define EPSILON 1e-5
#define PARTS 16 /* partial sums of a reduction, used in turn */

static inline float erf_float(float x) { return erff(x); }
static inline float log_float(float x) { return logf(x); }
static inline float sqrt_float(float x) { return sqrtf(x); }

/* x y + z, rounded once. Explicit, because in a sum of two products a compiler may fuse either. */
static inline float multiply_add_float(float x, float y, float z) { return fmaf(x, y, z); }
static inline double multiply_add_double(double x, double y, double z) { return fma(x, y, z); }

/* log(1 + exp(x)) = max(x, 0) + log(1 + e) with e = exp(-|x|), and log(1 + e) = 2 atanh(e / (2 + e)). */
static inline float softplus_float(float x) {
    const float e = exp_float(-fabsf(x)), s = e / (2.0f + e), z = s * s;
    float p = 2.8157778e-1f;
    p = p * z + 2.7965158e-1f;
    p = p * z + 4.0024595e-1f;
    p = p * z + 6.6666322e-1f;
    p = p * z + 2.0f;
    return (x > 0 ? x : 0) + s * p; /* NaN stays NaN */
}

static inline double exp_double(double x) { return exp(x); }
static inline double sigmoid_double(double x) { return 1.0 / (1.0 + exp(-x)); }
static inline double softplus_double(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static inline double tanh_double(double x) { return tanh(x); }
static inline double erf_double(double x) { return erf(x); }
static inline double log_double(double x) { return log(x); }
static inline double sqrt_double(double x) { return sqrt(x); }

/* Add the terms of all j below width to PARTS partial sums, which are the same for any vector width. */
#define SUM(parts, width, term)                                                                                        \
    do {                                                                                                               \
        int64_t first_ = 0;                                                                                            \
        for (; first_ + PARTS <= (width); first_ += PARTS)                                                             \
            for (int p_ = 0; p_ < PARTS; p_++) {                                                                       \
                const int64_t j = first_ + p_;                                                                         \
                parts[p_] += term;                                                                                     \
            }                                                                                                          \
        for (int64_t j = first_; j < (width); j++) parts[j - first_] += term;                                          \
    } while (0)

static inline float total_float(const float *parts) {
    float sum = 0;
    for (int p = 0; p < PARTS; p++) sum += parts[p];
    return sum;
}

static inline double total_double(const double *parts) {
    double sum = 0;
    for (int p = 0; p < PARTS; p++) sum += parts[p];
    return sum;
}

#endif
