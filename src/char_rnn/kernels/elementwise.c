#include "elementwise.h"

/* Whether the memory of a LOAD or STORE overlaps with that of another. */
static int overlap(const instruction *one, const instruction *other, int64_t width) {
    const int64_t apart = (int64_t)one->unit - other->unit;
    return one->array == other->array && apart < width && -apart < width;
}

static int is_computed(const instruction *now) { return now->code != LOAD && now->code != STORE && now->code != SUM_ROWS; }

/* The number of LOADs and STOREs from `first` to `last` whose memory overlaps with that of a STORE. */
static int64_t count_overlaps(const instruction *first, const instruction *last, const instruction *store, int64_t width, int code) {
    int64_t count = 0;
    for (const instruction *now = first; now < last; now++) count += now->code == code && overlap(now, store, width);
    return count;
}

/* A LOAD can refer to memory to which nothing in the list stores. The instruction before a STORE of its register can write
 * to the array if nothing else stores there and nothing reads it in between. */
void elementwise_prepare(instruction *list, int64_t length, int64_t width) {
    instruction *end = list + length;
    for (instruction *now = list; now < end; now++)
        now->in_place = now->code == LOAD && !count_overlaps(list, end, now, width, STORE);
    for (instruction *store = list; store < end; store++) {
        if (store->code != STORE || count_overlaps(list, end, store, width, STORE) > 1) continue;
        instruction *source = store - 1;
        while (source >= list && (source->code == STORE || source->code == SUM_ROWS || source->to != store->a)) source--;
        if (source < list || !is_computed(source) || source->in_place) continue;
        if (!count_overlaps(source, store, store, width, LOAD)) source->in_place = (int32_t)(store - source);
    }
}
