#include "lstm.h"

#include <stddef.h>

#include "numbers.h"

#define EACH(width) for (int64_t j = 0; j < (width); j++)

static float sum(const float *restrict x, int64_t width) {
    float parts[PARTS] = {0};
    SUM(parts, width, x[j]);
    return total_float(parts);
}

static void moments(const float *restrict x, int64_t width, float *mean, float *rstd) {
    float parts[PARTS] = {0};
    const float centre = sum(x, width) / (float)width;
    SUM(parts, width, (x[j] - centre) * (x[j] - centre));
    *mean = centre;
    *rstd = 1.0f / sqrtf(total_float(parts) / (float)width + (float)EPSILON);
}

/* Fill in the gradient of x from that of normalized(x) gain, or add it to what there is; note that of the gain. */
static void normalized_back(
    const float *restrict grad,
    const float *restrict x,
    const float *restrict gain,
    float mean,
    float rstd,
    int64_t width,
    float *restrict grad_gain,
    float *restrict out,
    int adds) {
    float parts[PARTS] = {0}, parts_x[PARTS] = {0};
    SUM(parts, width, grad[j] * gain[j]);
    SUM(parts_x, width, grad[j] * gain[j] * ((x[j] - mean) * rstd));
    const float of_mean = total_float(parts) / (float)width, of_x = total_float(parts_x) / (float)width;
    EACH(width) {
        const float normalized = (x[j] - mean) * rstd;
        grad_gain[j] += grad[j] * normalized;
        out[j] = (adds ? out[j] : 0.0f) + rstd * (grad[j] * gain[j] - of_mean - normalized * of_x);
    }
}

static void add_normalized(
    const float *restrict start, const float *restrict x, const float *restrict gain, float mean, float rstd, int64_t width,
    float *restrict out) {
    EACH(width) out[j] = start[j] + (x[j] - mean) * rstd * gain[j];
}

static void sigmoids(float *restrict x, int64_t width) { EACH(width) x[j] = sigmoid_float(x[j]); }

static void cell(const float *restrict gates, const float *restrict c, int64_t width, float *restrict new_c) {
    EACH(width) new_c[j] = gates[width + j] * c[j] + gates[j] * (2.0f * gates[2 * width + j] - 1.0f);
}

static void output(const float *restrict o, int64_t width, float *restrict squashed, float *restrict h) {
    EACH(width) {
        squashed[j] = tanh_float(squashed[j]);
        h[j] = o[j] * squashed[j];
    }
}

/* new = old + k (new - old); k is one number where `unit` is 0. */
static void update(const float *restrict old, const float *k, int64_t unit, int64_t width, const float *new, float *out) {
    if (unit == 0)
        EACH(width) out[j] = old[j] + k[0] * (new[j] - old[j]);
    else
        EACH(width) out[j] = old[j] + k[j] * (new[j] - old[j]);
}

void lstm_step(const lstm_pass *pass, int64_t step) {
    const int64_t batch = pass->batch, width = pass->width;
    for (int64_t b = 0; b < batch; b++) {
        const int64_t row = step * batch + b, next = row + batch;
        float *gates = pass->gates + row * 4 * width, *new_c = pass->new_c + row * width;
        float *squashed = pass->squashed + row * width, *h = pass->h + next * width;
        const float *c = pass->c + row * width;
        if (pass->gain_hh) {
            const float *product = pass->product + row * 4 * width;
            moments(product, 4 * width, pass->mean + row, pass->rstd + row);
            add_normalized(pass->arguments + row * 4 * width, product, pass->gain_hh, pass->mean[row], pass->rstd[row],
                           4 * width, gates);
        }
        sigmoids(gates, 4 * width);
        cell(gates, c, width, new_c);
        if (pass->gain_hh) {
            moments(new_c, width, pass->mean_c + row, pass->rstd_c + row);
            add_normalized(pass->bias_c, new_c, pass->gain_c, pass->mean_c[row], pass->rstd_c[row], width, squashed);
        } else {
            memcpy(squashed, new_c, (size_t)width * sizeof(float));
        }
        output(gates + 3 * width, width, squashed, h);
        if (pass->k_h) {
            const float *k_h = pass->k_h + step * pass->k_h_step + b * pass->k_h_row;
            const float *k_c = pass->k_c + step * pass->k_c_step + b * pass->k_c_row;
            update(pass->h + row * width, k_h, pass->k_h_unit, width, h, h);
            update(c, k_c, pass->k_c_unit, width, new_c, pass->c + next * width);
        }
    }
}

/* From d h~ and (so far) d c~ to the gradient of N(c~), and that of a_o. */
static void output_back(
    const float *restrict grad_h, const float *restrict o, const float *restrict squashed, int64_t width,
    float *restrict grad_o, float *restrict grad_shown) {
    EACH(width) {
        grad_o[j] = grad_h[j] * squashed[j] * (o[j] * (1.0f - o[j]));
        grad_shown[j] = grad_h[j] * o[j] * (1.0f - squashed[j] * squashed[j]);
    }
}

/* From d c~ to the gradients of a_i, a_f and a_s. */
static void cell_back(
    const float *restrict grad_c, const float *restrict gates, const float *restrict c, int64_t width, float *restrict grad_a) {
    EACH(width) {
        const float i = gates[j], f = gates[width + j], s = gates[2 * width + j];
        grad_a[j] = grad_c[j] * (2.0f * s - 1.0f) * (i * (1.0f - i));
        grad_a[width + j] = grad_c[j] * c[j] * (f * (1.0f - f));
        grad_a[2 * width + j] = grad_c[j] * 2.0f * i * (s * (1.0f - s));
    }
}

static void split(float *restrict grad, const float *k, int64_t unit, int64_t width, float *restrict new) {
    EACH(width) {
        new[j] = grad[j] * (unit == 0 ? k[0] : k[j]);
        grad[j] -= new[j];
    }
}

static void add(float *restrict to, const float *restrict x, int64_t width) { EACH(width) to[j] += x[j]; }

static void add_product(float *restrict to, const float *restrict x, const float *restrict y, int64_t width) {
    EACH(width) to[j] += x[j] * y[j];
}

void lstm_step_back(const lstm_pass *pass, int64_t step) {
    const int64_t batch = pass->batch, width = pass->width;
    float *shown = pass->scratch, *new_h = shown + width, *new_c = new_h + width;
    for (int64_t b = 0; b < batch; b++) {
        const int64_t row = step * batch + b;
        const float *gates = pass->gates + row * 4 * width;
        float *grad_a = pass->grad_arguments + row * 4 * width;
        float *grad_h = pass->grad_h + b * width, *grad_c = pass->grad_c + b * width;
        add(grad_h, pass->from_loss + step * pass->from_loss_step + b * pass->from_loss_row, width);
        if (pass->k_h) {
            const float *k_h = pass->k_h + step * pass->k_h_step + b * pass->k_h_row;
            const float *k_c = pass->k_c + step * pass->k_c_step + b * pass->k_c_row;
            split(grad_h, k_h, pass->k_h_unit, width, new_h);
            split(grad_c, k_c, pass->k_c_unit, width, new_c);
        } else {
            memcpy(new_h, grad_h, (size_t)width * sizeof(float));
            memcpy(new_c, grad_c, (size_t)width * sizeof(float));
            memset(grad_h, 0, (size_t)width * sizeof(float));
            memset(grad_c, 0, (size_t)width * sizeof(float));
        }
        output_back(new_h, gates + 3 * width, pass->squashed + row * width, width, grad_a + 3 * width, shown);
        if (pass->gain_hh) {
            add(pass->grad_bias_c, shown, width);
            normalized_back(shown, pass->new_c + row * width, pass->gain_c, pass->mean_c[row], pass->rstd_c[row], width,
                            pass->grad_gain_c, new_c, 1);
        } else {
            add(new_c, shown, width);
        }
        cell_back(new_c, gates, pass->c + row * width, width, grad_a);
        add_product(grad_c, new_c, gates + width, width);
        if (pass->gain_hh)
            normalized_back(grad_a, pass->product + row * 4 * width, pass->gain_hh, pass->mean[row], pass->rstd[row],
                            4 * width, pass->grad_gain_hh, pass->grad_product + row * 4 * width, 0);
    }
}
