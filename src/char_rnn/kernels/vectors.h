/* The machine's vectors, the number of registers for sums, and the conversion of smaller numbers in memory to vectors. */
#ifndef CHAR_RNN_VECTORS_H
#define CHAR_RNN_VECTORS_H

#include <stdint.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define VECTOR_BYTES 64
#define ACCUMULATORS 24
#define FROM_BFLOAT16(w) _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(w))), 16)
#define FROM_INT8(w) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(w))))
#elif defined(__AVX2__)
#include <immintrin.h>
#define VECTOR_BYTES 32
#define ACCUMULATORS 12
#define FROM_BFLOAT16(w) _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(w))), 16)
#define FROM_INT8(w) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(w))))
#else
#define VECTOR_BYTES 16
#define ACCUMULATORS 24
typedef int32_t whole_numbers __attribute__((vector_size(16)));
typedef float single_numbers __attribute__((vector_size(16)));
typedef uint16_t halves __attribute__((vector_size(8), aligned(2), may_alias));
typedef int8_t quarters __attribute__((vector_size(4), aligned(1), may_alias));
#define FROM_BFLOAT16(w) (__builtin_convertvector(*(const halves *)(w), whole_numbers) << 16)
#define FROM_INT8(w) __builtin_convertvector(__builtin_convertvector(*(const quarters *)(w), whole_numbers), single_numbers)
#endif

#define ROWS 32 /* of a block of a packed matrix */

#endif
