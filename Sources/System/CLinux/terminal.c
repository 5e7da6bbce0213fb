// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#include "CLinux.h"

#include <errno.h>
#include <termios.h>

int portcullis_terminal_echo(int descriptor, int on) {
    struct termios settings;
    if (tcgetattr(descriptor, &settings) != 0) return errno;
    if (on) {
        settings.c_lflag |= ECHO;
    } else {
        settings.c_lflag &= ~(tcflag_t)ECHO;
        settings.c_lflag |= ECHONL;
    }
    // What was typed before the prompt is not the password.
    return tcsetattr(descriptor, TCSAFLUSH, &settings) == 0 ? 0 : errno;
}
