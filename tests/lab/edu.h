/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * edu.h - QEMU's edu device as a witness of what DMA reaches.
 *
 * edu copies between guest memory and a buffer of its own wherever it is told to,
 * so what it moved (or did not) proves a mapping, where a return code only claims
 * one. Registers: QEMU docs/specs/edu. A transfer takes about 100 ms.
 *
 * Owns the mapping of the device's BAR 0; the device's descriptor is borrowed
 * and must stay open. One thread at a time.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* The buffer has 4096 bytes, but QEMU 7.2 aborts on a transfer that ends where it ends. */
#define EDU_BUFFER_SIZE 2048

typedef struct {
    volatile uint8_t *bar;
    size_t bar_size;
} Edu;

/* Enables memory access and bus mastering and maps BAR 0. Aborts the program on
 * failure, as do the others: without a witness there is no test. */
void edu_open(Edu *edu, int device_fd);
/* Must come before the device is detached: the mapping keeps the device open. */
void edu_close(Edu *edu);

/* The device copies @size bytes (at most EDU_BUFFER_SIZE) from @iova into its buffer, or from its buffer to @iova.
 * Whether memory was reached is for the caller to see. */
void edu_read_memory(Edu *edu, uint64_t iova, size_t size);
void edu_write_memory(Edu *edu, uint64_t iova, size_t size);

/* The same in two steps: the device writes, and we wait for its end. */
void edu_start_writing(Edu *edu, uint64_t iova, size_t size);
void edu_wait(Edu *edu);

/* The device copies @size bytes from one IOVA to another, by way of its buffer. */
void edu_copy(Edu *edu, uint64_t from, uint64_t to, size_t size);
