/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DMASAFE_FRAME_H
#define DMASAFE_FRAME_H

/*
 * Takes over standard input and output, forks, and returns in the child, whose standard input and output are then pipes
 * to the parent. The parent passes them on in frames and never returns. session is 4 characters that the host chose.
 */
void frame_relay(const char *session, int resend_ms, int silence_s, int window_bytes);

#endif
