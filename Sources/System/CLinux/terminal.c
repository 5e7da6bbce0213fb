// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#include "CLinux.h"

#include <errno.h>
#include <termios.h>

static const tcflag_t echoing = ECHO | ECHONL;

int portcullis_terminal_hide(int descriptor, unsigned int *before) {
    struct termios settings;
    if (tcgetattr(descriptor, &settings) != 0) return errno;
    *before = settings.c_lflag & echoing;
    settings.c_lflag = (settings.c_lflag & ~(tcflag_t)ECHO) | ECHONL;
    // What was typed before the prompt is not the password.
    return tcsetattr(descriptor, TCSAFLUSH, &settings) == 0 ? 0 : errno;
}

int portcullis_terminal_show(int descriptor, unsigned int before) {
    struct termios settings;
    if (tcgetattr(descriptor, &settings) != 0) return errno;
    settings.c_lflag = (settings.c_lflag & ~echoing) | (before & echoing);
    // What was typed after the answer is for the command.
    return tcsetattr(descriptor, TCSADRAIN, &settings) == 0 ? 0 : errno;
}
