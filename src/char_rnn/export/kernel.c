/* The exported page's arithmetic in WebAssembly SIMD; `static/kernel_plain.js` computes the same numbers, bit for bit.
 *
 * A matrix has 8-bit rows, padded with zeros to a multiple of 16 columns, and a scale for each row. A product is a sum
 * of integers, so its order does not matter: the vector is rounded to 30 bits below its largest number, and each 30-bit
 * integer is split into two of 15 bits, because SIMD multiplies and adds pairs of 16 bits in one instruction. (Converting
 * the 8-bit numbers to floats takes more than twice the time; relaxed SIMD would be faster still, but its results depend
 * on the processor.)
 */
#include <wasm_simd128.h>

#include "../kernels/functions.h"

#define EXPORT(name) __attribute__((export_name(#name))) void name
#define INLINE static inline __attribute__((always_inline))

#define EACH_ROW _Pragma("unroll") for (int r = 0; r < rows; r++)

enum {
    ROWS = 4, /* rows at once: they share the loads of the vector */
    COLUMNS = 2048, /* columns whose products with 15-bit numbers certainly fit into the 32 bits of a lane's sum */
};

/* Round a vector to integers times a power of two, and return this power; NaN for a vector that is not finite. Each 8
 * integers become their 8 high parts followed by their 8 low parts: integer = 2^15 high + low. */
INLINE double split(const float *x, int16_t *parts, int columns) {
    v128_t largest = wasm_f32x4_const_splat(0);
    for (int j = 0; j < columns; j += 4) largest = wasm_f32x4_max(largest, wasm_f32x4_abs(wasm_v128_load(x + j)));
    largest = wasm_f32x4_max(largest, wasm_i32x4_shuffle(largest, largest, 2, 3, 0, 1));
    largest = wasm_f32x4_max(largest, wasm_i32x4_shuffle(largest, largest, 1, 0, 3, 2));
    const uint32_t exponent = wasm_u32x4_extract_lane(largest, 0) >> 23; /* with the bias of 127 */
    const v128_t factor = wasm_u32x4_splat((283 - (exponent > 29 ? exponent : 29)) << 23); /* 2^29 for exponent 127 */
    for (int j = 0; j < columns; j += 8) {
        const v128_t one = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_mul(wasm_v128_load(x + j), factor));
        const v128_t other = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_mul(wasm_v128_load(x + j + 4), factor));
        const v128_t low = wasm_i32x4_const_splat(32767);
        wasm_v128_store(parts + 2 * j, wasm_i16x8_narrow_i32x4(wasm_i32x4_shr(one, 15), wasm_i32x4_shr(other, 15)));
        wasm_v128_store(parts + 2 * j + 8, wasm_i16x8_narrow_i32x4(wasm_v128_and(one, low), wasm_v128_and(other, low)));
    }
    return exponent < 255 ? 1.0 / wasm_f32x4_extract_lane(factor, 0) : __builtin_nan("");
}

INLINE int64_t total(v128_t lanes) {
    return (int64_t)wasm_i32x4_extract_lane(lanes, 0) + wasm_i32x4_extract_lane(lanes, 1) +
           wasm_i32x4_extract_lane(lanes, 2) + wasm_i32x4_extract_lane(lanes, 3);
}

INLINE void rows_at_once(int rows, const int8_t *row, const float *scale, const int16_t *parts, float *y, int columns,
                         double unit) {
    int64_t sum[ROWS] = {0};
    for (int start = 0; start < columns; start += COLUMNS) {
        const int end = start + COLUMNS < columns ? start + COLUMNS : columns;
        v128_t high[ROWS], low[ROWS];
        EACH_ROW high[r] = low[r] = wasm_i32x4_const_splat(0);
        for (int j = start; j < end; j += 8) {
            const v128_t x_high = wasm_v128_load(parts + 2 * j), x_low = wasm_v128_load(parts + 2 * j + 8);
            EACH_ROW {
                const v128_t weights = wasm_i16x8_load8x8(row + r * columns + j);
                high[r] = wasm_i32x4_add(high[r], wasm_i32x4_dot_i16x8(weights, x_high));
                low[r] = wasm_i32x4_add(low[r], wasm_i32x4_dot_i16x8(weights, x_low));
            }
        }
        EACH_ROW sum[r] += total(high[r]) * 32768 + total(low[r]);
    }
    EACH_ROW y[r] = (float)((double)sum[r] * unit * scale[r]);
}

/* y = the products of rows with x. `columns`: with the padding, which is 0 in x too. `parts`: room for x in integers. */
EXPORT(product)(const int8_t *row, const float *scale, const float *x, int16_t *parts, float *y, int rows, int columns) {
    const double unit = split(x, parts, columns);
    for (; rows >= ROWS; rows -= ROWS, row += ROWS * columns, scale += ROWS, y += ROWS)
        rows_at_once(ROWS, row, scale, parts, y, columns, unit);
    for (; rows > 0; rows--, row += columns, scale++, y++) rows_at_once(1, row, scale, parts, y, columns, unit);
}

/* y = f(x) for the numbers of some quads. */
#define EACH_OF(name, f)                                                                                               \
    EXPORT(name)(const float *restrict x, float *restrict y, int quads) {                                              \
        for (; quads > 0; quads--, x += 4, y += 4)                                                                     \
            _Pragma("clang loop vectorize_width(4)") for (int j = 0; j < 4; j++) y[j] = f(x[j]);                       \
    }

EACH_OF(sigmoid, sigmoid_float)
EACH_OF(tanh, tanh_float)
