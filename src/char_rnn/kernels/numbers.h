/* Elementary functions and sums whose results do not depend on the vector width of the machine.
 *
 * In single precision the functions are polynomials (with the degrees of the Cephes library), which compilers vectorize;
 * their error is a few units in the last place. In double precision they are those of the C library.
 */
#ifndef CHAR_RNN_NUMBERS_H
#define CHAR_RNN_NUMBERS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define EPSILON 1e-5
#define PARTS 16 /* partial sums of a reduction, used in turn */

static inline float exp_float(float x) {
    x = x < -86.0f ? -86.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float magic = 12583039.0f; /* 1.5 * 2^23 + 127: adding it rounds to an integer, with the bias of an exponent */
    const float shifted = x * 1.44269504088896341f + magic;
    const float n = shifted - magic;
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits <<= 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power; /* NaN stays NaN, whatever its bits */
}

static inline float sigmoid_float(float x) { return 1.0f / (1.0f + exp_float(-x)); }

static inline float tanh_float(float x) {
    const float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const float near_zero = p * z * x + x;
    const float size = fabsf(x);
    const float far = 1.0f - 2.0f / (exp_float(2.0f * size) + 1.0f);
    return size < 0.625f ? near_zero : copysignf(far, x);
}

/* Half the time of the above: a quotient of polynomials (Eigen's coefficients); the error is up to five units in the last
 * place, also where tanh is 1. */
static inline float tanh_fast_float(float x) {
    const float most = 7.99881172180175781f;
    x = x < -most ? -most : x;
    x = x > most ? most : x; /* NaN stays NaN */
    const float z = x * x;
    float p = -2.76076847742355e-16f;
    p = p * z + 2.00018790482477e-13f;
    p = p * z - 8.60467152213735e-11f;
    p = p * z + 5.12229709037114e-08f;
    p = p * z + 1.48572235717979e-05f;
    p = p * z + 6.37261928875436e-04f;
    p = p * z + 4.89352455891786e-03f;
    float q = 1.19825839466702e-06f;
    q = q * z + 1.18534705686654e-04f;
    q = q * z + 2.26843463243900e-03f;
    q = q * z + 4.89352518554385e-03f;
    return x * p / q;
}

static inline float erf_float(float x) { return erff(x); }
static inline float log_float(float x) { return logf(x); }
static inline float sqrt_float(float x) { return sqrtf(x); }

/* x y + z, rounded once. Explicit, because in a sum of two products a compiler may fuse either. */
static inline float multiply_add_float(float x, float y, float z) { return fmaf(x, y, z); }
static inline double multiply_add_double(double x, double y, double z) { return fma(x, y, z); }

static inline double exp_double(double x) { return exp(x); }
static inline double sigmoid_double(double x) { return 1.0 / (1.0 + exp(-x)); }
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
