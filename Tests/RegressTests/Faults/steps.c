// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// steps MONITOR MOMENT VICTIM NAME TRAIL: kills one process of a gateway, as kill -9 does, at one moment of a request.
//
// It traces all processes of the gateway, and knows how far a request is by the system calls that they make; nothing in
// the gateway knows of it. At the moment the process that has come to it is held, the victim is killed, and is gone before the
// held one goes on. Until it is ended it looks at every command's execve: the start record with the command's NAME must be in
// TRAIL then, in what an fdatasync(2) that succeeded has covered.
//
// It says on its standard output: `ready`, once a request can come; `reached`; `killed`, or `absent` where there is no such
// process at that moment; `executed` for each execve, and `unrecorded` where its record is not there.
//
// In C: ptrace(2) is a call for each word of another process's memory, and Swift's tests must not fork.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum role { OTHER, MONITOR, FRONT, ENGINE, AUDITOR, LOADER, SPARE, SESSION, INIT, COMMAND };
static const char *const roles[] = {"other",  "monitor", "front",   "engine", "auditor",
                                    "loader", "spare",   "session", "init",   "command"};

// Numbers of a session's descriptors: SessionDescriptors.Number; and of a helper's: docs/ARCHITECTURE.md, Channels.
enum { AT_MONITOR = 3, AT_ENGINE = 4, AT_AUDITOR = 5, AT_FRONT = 6, AT_PRIMARY = 7 };

struct task {
    pid_t tid, process, parent;
    enum role role;
    struct __ptrace_syscall_info entry;
    int held;
};

static struct task tasks[4096];
static int count;
static pid_t monitor;
static const char *moment, *name, *trail;
static char digits[128];
static enum role victim;
static int wanted_loader, reached, released;
static pid_t killing, holder;
// How far the request is.
static int client = -1, handed, assigned, decided, started, let_go, start_written, end_written, last_audit_call;
static off_t covered, covering;

static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

static struct task *find(pid_t tid) {
    for (int i = 0; i < count; i++)
        if (tasks[i].tid == tid)
            return &tasks[i];
    return NULL;
}

static struct task *add(pid_t tid, pid_t process, pid_t parent) {
    struct task *task = find(tid);
    if (task == NULL) {
        if (count == sizeof tasks / sizeof *tasks)
            exit(3);
        task = &tasks[count++];
    }
    *task = (struct task){.tid = tid, .process = process, .parent = parent};
    return task;
}

static void drop(pid_t tid) {
    struct task *task = find(tid);
    if (task != NULL)
        *task = tasks[--count];
}

static long number_of(pid_t tid, const char *field) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    FILE *file = fopen(path, "re");
    long found = -1;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, field, strlen(field)) == 0)
            found = atol(line + strlen(field));
    if (file != NULL)
        fclose(file);
    return found;
}

static enum role role_of(struct task *task) {
    if (task->process == monitor)
        return MONITOR;
    if (task->role != OTHER && task->role != SPARE)
        return task->role;
    if (task->parent != monitor) {
        struct task *parent = find(task->parent);
        enum role above = parent == NULL ? OTHER : role_of(parent);
        return task->role = above == SESSION ? INIT : above == INIT ? COMMAND : OTHER;
    }
    char path[64], title[64] = "";
    snprintf(path, sizeof path, "/proc/%d/cmdline", task->process);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0 && read(file, title, sizeof title - 1) < 0)
        title[0] = 0;
    close(file);
    for (enum role role = FRONT; role <= SESSION; role++) {
        char start[64];
        snprintf(start, sizeof start, role <= AUDITOR ? "portcullis-%s" : "portcullisd: %s", roles[role]);
        if (strncmp(title, start, strlen(start)) == 0)
            return task->role = role;
    }
    return OTHER;
}

static int seize(pid_t tid, pid_t process, pid_t parent) {
    if (find(tid) != NULL)
        return 0;
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                   PTRACE_O_TRACEEXEC;
    if (ptrace(PTRACE_SEIZE, tid, NULL, options) != 0)
        return 0;
    ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    add(tid, process, parent);
    return 1;
}

// Takes a process, its threads and all below it; says whether there was one that was not known.
static int seize_all(pid_t process, pid_t parent) {
    char path[64];
    int fresh = 0;
    snprintf(path, sizeof path, "/proc/%d/task", process);
    DIR *threads = opendir(path);
    struct dirent *entry;
    while (threads != NULL && (entry = readdir(threads)) != NULL) {
        pid_t tid = atoi(entry->d_name);
        if (tid <= 0)
            continue;
        fresh |= seize(tid, process, parent);
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", process, tid);
        FILE *children = fopen(path, "re");
        int child;
        while (children != NULL && fscanf(children, "%d", &child) == 1)
            fresh |= seize_all(child, process);
        if (children != NULL)
            fclose(children);
    }
    if (threads != NULL)
        closedir(threads);
    return fresh;
}

// Whether the bytes of a call's buffer, or of its message, hold a text.
static int holds(pid_t tid, const struct __ptrace_syscall_info *call, size_t length, const char *text) {
    static char bytes[1 << 20];
    struct iovec there[8] = {{(void *)call->entry.args[1], length}};
    int parts = 1;
    if (call->entry.nr == SYS_sendmsg || call->entry.nr == SYS_recvmsg) {
        struct msghdr header;
        struct iovec to = {&header, sizeof header}, from = {(void *)call->entry.args[1], sizeof header};
        if (process_vm_readv(tid, &to, 1, &from, 1, 0) != sizeof header)
            return 0;
        parts = header.msg_iovlen > 8 ? 8 : (int)header.msg_iovlen;
        struct iovec list = {there, parts * sizeof *there}, place = {header.msg_iov, parts * sizeof *there};
        if (process_vm_readv(tid, &list, 1, &place, 1, 0) < 0)
            return 0;
    }
    size_t got = 0;
    for (int i = 0; i < parts && got < sizeof bytes; i++) {
        struct iovec to = {bytes + got, sizeof bytes - got};
        if (to.iov_len > there[i].iov_len)
            to.iov_len = there[i].iov_len;
        struct iovec from = {there[i].iov_base, to.iov_len};
        ssize_t part = process_vm_readv(tid, &to, 1, &from, 1, 0);
        if (part > 0)
            got += part;
    }
    return memmem(bytes, got, text, strlen(text)) != NULL;
}

// How many descriptors a message carries.
static size_t descriptors(pid_t tid, const struct __ptrace_syscall_info *call) {
    struct msghdr header;
    struct iovec to = {&header, sizeof header}, from = {(void *)call->entry.args[1], sizeof header};
    if (call->entry.nr != SYS_sendmsg || process_vm_readv(tid, &to, 1, &from, 1, 0) != sizeof header ||
        header.msg_controllen < CMSG_LEN(sizeof(int)))
        return 0;
    struct cmsghdr control;
    to = (struct iovec){&control, sizeof control}, from = (struct iovec){header.msg_control, sizeof control};
    if (process_vm_readv(tid, &to, 1, &from, 1, 0) != sizeof control)
        return 0;
    return (control.cmsg_len - CMSG_LEN(0)) / sizeof(int);
}

static int is_sending(unsigned long long call) {
    return call == SYS_sendmsg || call == SYS_sendto || call == SYS_write || call == SYS_writev;
}

static int is_receiving(unsigned long long call) {
    return call == SYS_recvmsg || call == SYS_recvfrom || call == SYS_read;
}

// The moment that a call is; NULL where it is none. `done` says whether it has returned.
static const char *moment_of(struct task *task, const struct __ptrace_syscall_info *call, int done, long long result) {
    unsigned long long number = call->entry.nr;
    int at = (int)call->entry.args[0];
    switch (role_of(task)) {
    case FRONT:
        if (number == SYS_accept4 && done && result >= 0) {
            client = (int)result;
            return "1-accepted";
        }
        if (is_receiving(number) && at == client && done && result > 0)
            return "2-handshake";
        if (number == SYS_sendmsg && at == AT_MONITOR && !done && descriptors(task->tid, call) >= 2) {
            handed = 1;
            return "3-handing-over";
        }
        if (number == SYS_sendmsg && at > AT_ENGINE && !done && started)
            return "8-released";
        if (is_sending(number) && !done &&
            (holds(task->tid, call, call->entry.args[2], "Login incorrect") ||
             holds(task->tid, call, call->entry.args[2], "Permission denied")))
            return "6-answering";
        return NULL;
    case MONITOR:
        if (number == SYS_connect && !done)
            return "2-connecting-back";
        if (number == SYS_sendmsg && descriptors(task->tid, call) >= 5) {
            assigned = 1;
            return done ? "3-assigned" : "3-assigning";
        }
        return NULL;
    case ENGINE:
        return is_sending(number) && at > AT_ENGINE && !done ? "4-answering" : NULL;
    case SESSION:
    case SPARE:
        if (is_sending(number) && at == AT_ENGINE && !done)
            return "4-asking";
        if (is_receiving(number) && at == AT_ENGINE && done && result > 0) {
            decided = 1;
            return "4-decided";
        }
        if (number == SYS_openat && decided && !started && !done)
            return "5-checking";
        if (is_sending(number) && at == AT_FRONT && !done)
            return started ? "8-releasing" : "6-refusing";
        if (is_sending(number) && at == AT_AUDITOR && !done) {
            if (let_go)
                return "9-recording";
            if (holds(task->tid, call, call->entry.args[2], name))
                return "7-recording";
        }
        if (number == SYS_write && at > AT_PRIMARY && call->entry.args[2] == 1 && started) {
            let_go = 1;
            return done ? "8-let-go" : "8-letting-go";
        }
        if (number == SYS_shutdown && at == AT_PRIMARY && let_go && !done)
            return "9-closing";
        if (number == SYS_exit_group && let_go && !done)
            return "9-ending";
        return NULL;
    case AUDITOR:
        if (number == SYS_recvmsg && done && result > 0 && !start_written)
            return holds(task->tid, call, 0, name) ? "7-received" : NULL;
        if (number == SYS_write && at > 2) {
            if (holds(task->tid, call, call->entry.args[2], "type=USER_CMD"))
                start_written = 1, last_audit_call = 0;
            if (holds(task->tid, call, call->entry.args[2], "type=USER_END"))
                end_written = 1, last_audit_call = 0;
            if (end_written)
                return done ? "9-written" : "9-writing";
            return !start_written ? NULL : done ? "7-written" : "7-writing";
        }
        if (number == SYS_fdatasync && start_written && last_audit_call == 0) {
            last_audit_call = done;
            return end_written ? (done ? "9-synchronised" : NULL) : done ? "7-synchronised" : "7-synchronising";
        }
        if (number == SYS_sendmsg && start_written && last_audit_call == 1) {
            last_audit_call = done ? 2 : 1;
            return end_written ? (done ? "9-answered" : NULL) : done ? "7-answered" : "7-answering";
        }
        return NULL;
    case INIT:
        return is_sending(number) && at == 3 && !done && let_go ? "9-reporting" : NULL;
    case COMMAND:
        if (number == SYS_write && at == 3 && !done && !let_go)
            return "8-ready";
        if (number == SYS_write && at == 1 && !done && call->entry.args[2] == 1)
            return "8-status";
        if (number == SYS_execve && !done)
            return "8-executing";
        if (number == SYS_exit_group && !done && let_go)
            return "9-command-ends";
        return NULL;
    default:
        return NULL;
    }
}

static void kill_one(struct task *at) {
    // The one that has come here, else any.
    struct task *found = role_of(at) == victim ? at : NULL;
    for (int i = 0; found == NULL && i < count; i++)
        if (role_of(&tasks[i]) == victim)
            found = &tasks[i];
    if (found == NULL) {
        say("absent");
        released = 1;
        return;
    }
    killing = found->process;
    if (found->process != at->process) {
        holder = at->tid;
        at->held = 1;
    }
    kill(killing, SIGKILL);
}

static void come_to(struct task *task, const char *here) {
    if (here == NULL || reached || strcmp(here, moment) != 0)
        return;
    reached = 1;
    say("reached");
    if (victim != LOADER)
        return kill_one(task);
    // A loader is there while a policy is loaded.
    wanted_loader = 1;
    if (role_of(task) != MONITOR) {
        holder = task->tid;
        task->held = 1;
    }
    kill(monitor, SIGHUP);
}

// An execve of a command: its record must be there, in what is synchronised.
static void executed(struct task *task) {
    char path[64], words[4096];
    snprintf(path, sizeof path, "/proc/%d/cmdline", task->tid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, words, sizeof words);
    close(file);
    if (length <= 0 || memmem(words, length, name, strlen(name)) == NULL)
        return;
    static char text[16 << 20];
    file = open(trail, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, text, sizeof text);
    close(file);
    const char *place = size <= 0 ? NULL : memmem(text, size, digits, strlen(digits));
    say(place != NULL && place - text < covered ? "executed" : "unrecorded");
}

static off_t trail_size(void) {
    struct stat status;
    return stat(trail, &status) == 0 ? status.st_size : 0;
}

static void stopped(struct task *task, int status) {
    int signal = WSTOPSIG(status), event = status >> 16, deliver = 0;
    pid_t tid = task->tid;
    if (signal == (SIGTRAP | 0x80)) {
        struct __ptrace_syscall_info info;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) > 0) {
            int done = info.op == PTRACE_SYSCALL_INFO_EXIT;
            if (!done)
                task->entry = info;
            if (task->entry.entry.nr == SYS_fdatasync && role_of(task) == AUDITOR) {
                if (!done)
                    covering = trail_size();
                else if (info.exit.rval == 0)
                    covered = covering;
            }
            if (!done || task->entry.op == PTRACE_SYSCALL_INFO_ENTRY)
                come_to(task, moment_of(task, &task->entry, done, done ? info.exit.rval : 0));
            if (wanted_loader && role_of(task) == LOADER) {
                wanted_loader = 0;
                killing = task->process;
                kill(killing, SIGKILL);
            }
        }
    } else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
        unsigned long fresh = 0;
        ptrace(PTRACE_GETEVENTMSG, tid, NULL, &fresh);
        pid_t process = (pid_t)number_of((pid_t)fresh, "Tgid:");
        enum role role = role_of(task);
        if (process == task->process)
            add((pid_t)fresh, process, task->parent)->role = task->role;
        else
            add((pid_t)fresh, process > 0 ? process : (pid_t)fresh, task->process);
        task = find(tid);
        if (process != task->process && role == SESSION) {
            started = 1;
            come_to(task, "8-init");
        } else if (process != task->process && role == INIT) {
            come_to(task, "8-command");
        } else if (role == MONITOR && handed && !assigned) {
            // No spare waited: the session is forked.
            assigned = 1;
            come_to(task, "3-assigning");
            come_to(task, "3-assigned");
        }
    } else if (event == PTRACE_EVENT_EXEC) {
        // A helper has its own title now; a command is one that is run.
        if (role_of(task) == COMMAND) {
            executed(task);
            come_to(task, "8-executed");
        }
    } else if (event == PTRACE_EVENT_STOP && signal != SIGTRAP) {
        ptrace(PTRACE_LISTEN, tid, NULL, NULL);
        return;
    } else if (event == 0) {
        deliver = signal;
    }
    if (!task->held)
        ptrace(PTRACE_SYSCALL, tid, NULL, deliver);
}

int main(int words, char **word) {
    if (words != 6)
        return 64;
    monitor = atoi(word[1]), moment = word[2], name = word[4], trail = word[5];
    for (int i = 0; i <= COMMAND; i++)
        if (strcmp(roles[i], word[3]) == 0)
            victim = i;
    for (size_t i = 0; name[i] != 0 && i < 60; i++)
        snprintf(digits + 2 * i, 3, "%02X", (unsigned char)name[i]);
    covered = trail_size();
    while (seize_all(monitor, 0))
        continue;
    say("ready");
    for (;;) {
        int status;
        pid_t tid = waitpid(-1, &status, __WALL);
        if (tid < 0 && errno == ECHILD)
            return 0;
        if (tid < 0)
            continue;
        struct task *task = find(tid);
        if (WIFSTOPPED(status)) {
            // A child can stop before its parent's event is told.
            if (task == NULL)
                task = add(tid, (pid_t)number_of(tid, "Tgid:"), (pid_t)number_of(tid, "PPid:"));
            stopped(task, status);
            continue;
        }
        if (task != NULL)
            drop(tid);
        if (tid == killing && !released) {
            released = 1;
            say("killed");
            struct task *held = holder == 0 ? NULL : find(holder);
            if (held != NULL) {
                held->held = 0;
                ptrace(PTRACE_SYSCALL, holder, NULL, 0);
            }
        }
    }
}
