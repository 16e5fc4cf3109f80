/* Elementary functions in single precision, for every processor and for WebAssembly; without the C library.
 *
 * They are polynomials (with the degrees of the Cephes library), which compilers vectorize; their error is a few units
 * in the last place.
 */
#ifndef CHAR_RNN_FUNCTIONS_H
#define CHAR_RNN_FUNCTIONS_H

#include <stdint.h>

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
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    bits <<= 23;
    float power;
    __builtin_memcpy(&power, &bits, sizeof power);
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
    const float size = __builtin_fabsf(x);
    const float far = 1.0f - 2.0f / (exp_float(2.0f * size) + 1.0f);
    return size < 0.625f ? near_zero : __builtin_copysignf(far, x);
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

#endif
