// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Part of CLinux.h, which includes it.
#pragma once

/// Turns a terminal's echo off or on (the newline is echoed always); returns 0 or a positive errno. In C because
/// termios is copied and its flags are macros.
int portcullis_terminal_echo(int descriptor, int on);
