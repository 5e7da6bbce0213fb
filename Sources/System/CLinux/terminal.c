// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#include "CLinux.h"

#include <errno.h>
#include <termios.h>

static const tcflag_t echoing = ECHO | ECHONL;

int portcullis_terminal_prepare(int descriptor, int hide, unsigned int *before) {
    struct termios settings;
    if (tcgetattr(descriptor, &settings) != 0) return errno;
    *before = settings.c_lflag & echoing;
    if (hide) settings.c_lflag = (settings.c_lflag & ~(tcflag_t)ECHO) | ECHONL;
    // Even one that changes nothing has the kernel stop a process in the background. Not TCSAFLUSH: that waits for a
    // terminal that was stopped with ^S, and no signal would end the wait.
    if (tcsetattr(descriptor, TCSANOW, &settings) != 0) return errno;
    // What was typed before the prompt is not the password.
    return !hide || tcflush(descriptor, TCIFLUSH) == 0 ? 0 : errno;
}

int portcullis_terminal_show(int descriptor, unsigned int before, int flush) {
    struct termios settings;
    if (tcgetattr(descriptor, &settings) != 0) return errno;
    settings.c_lflag = (settings.c_lflag & ~echoing) | (before & echoing);
    // What was typed after an answer is for the command; what is left of none is for nobody.
    if (flush) tcflush(descriptor, TCIFLUSH);
    return tcsetattr(descriptor, TCSANOW, &settings) == 0 ? 0 : errno;
}
