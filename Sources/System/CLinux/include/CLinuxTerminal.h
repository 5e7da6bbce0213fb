// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Part of CLinux.h, which includes it.
#pragma once

/// Turns a terminal's echo off, but for the newline's, and says in `before` what it was; returns 0 or a positive errno. In
/// C because termios is copied and its flags are macros.
int portcullis_terminal_hide(int descriptor, unsigned int *before);

/// Takes the echo back to what `portcullis_terminal_hide` found; returns 0 or a positive errno.
int portcullis_terminal_show(int descriptor, unsigned int before);
