/* A pool as OpenMP's, of threads that ThreadSanitizer sees: it does not know those of libgomp. */
#include <pthread.h>

typedef struct {
    void (*run)(void *);
    void *argument;
} job;

static int size = 1;

int team_size(void) { return size; }

static void *work(void *of) {
    ((job *)of)->run(((job *)of)->argument);
    return NULL;
}

void start(void (*run)(void *), void *argument, unsigned threads, unsigned flags) {
    (void)flags;
    job of = {run, argument};
    pthread_t others[16];
    size = (int)threads;
    for (unsigned thread = 1; thread < threads; thread++) pthread_create(&others[thread], NULL, work, &of);
    work(&of);
    for (unsigned thread = 1; thread < threads; thread++) pthread_join(others[thread], NULL);
    size = 1;
}

/* For the test of the test: what ThreadSanitizer is to find. */
static long raced;

static void race(void *argument) {
    (void)argument;
    for (int i = 0; i < 10000; i++) raced++;
}

void start_race(void) { start(race, NULL, 2, 0); }
