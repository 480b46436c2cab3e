/* Starts a Cortex-M4 of qemu's board mps2-an386: copies data, clears memory, calls main. */
#include <stdint.h>

extern int main(void);
extern uint32_t _estack, _sdata, _edata, _sidata, _sbss, _ebss;

void reset(void)
{
    uint32_t *from = &_sidata;
    for (uint32_t *to = &_sdata; to < &_edata; to++)
        *to = *from++;
    for (uint32_t *to = &_sbss; to < &_ebss; to++)
        *to = 0;
    main();
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void *const vectors[] = {&_estack, reset};
