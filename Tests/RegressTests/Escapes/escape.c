// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Tries one technique of escape after the other, each in a process of its own, and says what came of it:
//     escape KEY=VALUE ...                           all but those of `leave-out=NAME,NAME`
//     escape only TECHNIQUE                          one, in this process itself
//     escape privileges                              status 0 where this process has a right that its caller's had not
// A line a technique, on stderr, because one technique is to spoil stdout: NAME `blocked` ERRNO, NAME `killed` SIGNAL,
// NAME `worked`, NAME `contained` (it worked on something of the sandbox's own), NAME `absent` ERRNO (not in this
// kernel), NAME `started` (what came of it shows from outside). At the end: `done`.
#include "escape.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

pid_t session_init;

static int word_count;
static char **words;

const char *given(const char *key) {
    size_t length = strlen(key);
    for (int i = 0; i < word_count; i++)
        if (strncmp(words[i], key, length) == 0 && words[i][length] == '=')
            return words[i] + length + 1;
    return "";
}

int given_number(const char *key) {
    return atoi(given(key));
}

const char *beneath(const char *directory, const char *name) {
    static char paths[8][4096];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

pid_t waiting_child(void) {
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sleep(20);
        _exit(0);
    }
    return child;
}

// Whether this process, started by execve, has more than who started it: uid 0, or a capability.
static int has_privileges(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {{0, 0, 0}, {0, 0, 0}};
    syscall(SYS_capget, &header, data);
    return geteuid() != getuid() || getegid() != getgid() || data[0].permitted != 0 || data[1].permitted != 0;
}

static void say(const char *name, const char *what, const char *detail) {
    char line[256];
    int length = snprintf(line, sizeof line, "%s %s%s%s\n", name, what, *detail ? " " : "", detail);
    // In one piece, as others write here too.
    if (write(2, line, (size_t)length) != length)
        _exit(99);
}

static void report(const char *name, struct outcome outcome) {
    static const char *const kinds[] = {"blocked", "worked", "contained", "absent", "started"};
    const char *detail = "";
    if (outcome.what == BLOCKED || outcome.what == ABSENT)
        detail = strerrorname_np(outcome.code) ? strerrorname_np(outcome.code) : "?";
    say(name, kinds[outcome.what], detail);
}

static void run(const struct technique *technique) {
    pid_t child = fork();
    if (child < 0)
        return say(technique->name, "untried", strerrorname_np(errno));
    if (child == 0) {
        // One that hangs has failed to say anything, and nothing else.
        alarm(20);
        report(technique->name, technique->run());
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status))
        say(technique->name, "killed", sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?");
}

// One technique, for a test of how a whole command ends.
static void run_here(const struct technique *technique) {
    report(technique->name, technique->run());
    exit(0);
}

static int is_left_out(const char *name) {
    size_t length = strlen(name);
    const char *list = given("leave-out");
    for (const char *word = list; (word = strstr(word, name)) != NULL; word += length)
        if ((word == list || word[-1] == ',') && (word[length] == ',' || word[length] == 0))
            return 1;
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "privileges") == 0)
        return has_privileges() ? 0 : 1;
    session_init = getppid();
    // A session hangs up when its client's connection is taken apart, which the last technique does.
    signal(SIGHUP, SIG_IGN);
    word_count = argc - 1;
    words = argv + 1;
    // Whatever is left of us has this name.
    prctl(PR_SET_NAME, given("mark"));
    // The descriptors last: one of them takes the client's connection apart.
    const struct technique *const subjects[] = {process_techniques, kernel_techniques,   file_techniques,
                                                device_techniques,  socket_techniques,   resource_techniques,
                                                descriptor_techniques};
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        for (const struct technique *technique = subjects[i]; technique->name; technique++)
            if (argc == 3 && strcmp(argv[1], "only") == 0 && strcmp(argv[2], technique->name) == 0)
                run_here(technique);
            else if (!is_left_out(technique->name))
                run(technique);
    say("done", "", "");
    return 0;
}
