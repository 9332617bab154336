/* Writes the time of day, in nanoseconds, at which this process began to run. */
#include <stdio.h>
#include <time.h>

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    FILE *file = argc > 1 ? fopen(argv[1], "w") : NULL;
    if (!file) return 2;
    fprintf(file, "%lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    return fclose(file) != 0;
}
