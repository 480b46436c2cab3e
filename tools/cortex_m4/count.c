/*
 * Runs the samples of a network and prints ticks of SysTick for one, and how many differ.
 * With qemu's -icount shift=0 a tick of this board is 40 instructions.
 * NAME, OUT and SIZE come from the command line: the network's name, the C type and the number
 * of its outputs.
 */
#include <stdint.h>
#include <string.h>
#include HEADER
#include SAMPLES

#define SYSTICK ((volatile uint32_t *)0xE000E010)

static void ask(int what, const void *argument)
{
    register int r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void print_number(uint32_t n)
{
    char text[12];
    char *at = text + 11;
    *at = 0;
    do {
        *--at = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    ask(4, at);
}

int main(void)
{
    static OUT output[SIZE];
    int wrong = 0;
    uint32_t total = 0;
    SYSTICK[1] = 0xFFFFFF;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
    for (int sample = 0; sample < N_SAMPLES; sample++) {
        uint32_t before = SYSTICK[2];
        RUN(samples_input_0 + sample * INPUT_SIZE, output);
        total += (before - SYSTICK[2]) & 0xFFFFFF;
        wrong += memcmp(output, expected_output_0 + sample * SIZE, sizeof output) != 0;
    }
    print_number(total);
    ask(4, " ");
    print_number(N_SAMPLES);
    ask(4, " ");
    print_number((uint32_t)wrong);
    ask(4, "\n");
    ask(0x18, (void *)0x20026);
    for (;;) {
    }
}
