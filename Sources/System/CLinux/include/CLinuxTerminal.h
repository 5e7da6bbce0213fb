// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Part of CLinux.h, which includes it.
#pragma once

/// Prepares a terminal for a question; with `hide` its echo goes off, but for the newline's. Says in `before` what the echo
/// was; returns 0 or a positive errno. A process in the background is stopped here (SIGTTOU). In C because termios is
/// copied and its flags are macros.
int portcullis_terminal_prepare(int descriptor, int hide, unsigned int *before);

/// Takes the echo back to what `portcullis_terminal_prepare` found, and with `flush` drops what was typed and not read;
/// returns 0 or a positive errno.
int portcullis_terminal_show(int descriptor, unsigned int before, int flush);
