/* The smallest tool that does an inference's duty: `answer LEDGER MILLISECONDS ANSWERS` sleeps, writes one answer to the
   file ANSWERS, and appends a line to LEDGER saying when it began and ended, in nanoseconds of the monotonic clock. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

int main(int argc, char **argv) {
    static const char answer[] = "{\"round\": 0, \"question_index\": 0, \"question\": \"?\", \"response\": \"!\"}\n";
    char line[LINE + 1];
    long long began = now();
    if (argc != 4) return 2;
    usleep(atoi(argv[2]) * 1000);
    int answers = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (answers < 0 || write(answers, answer, sizeof answer - 1) != sizeof answer - 1 || close(answers)) return 3;
    int ledger = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
    snprintf(line, sizeof line, "%019lld %019lld\n", began, now());
    return ledger < 0 || write(ledger, line, LINE) != LINE;
}
