// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Files outside the sandbox, by path, by link, by descriptor and by handle; and what runs from memory.
#include "escape.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <utime.h>

// The directory that is open to all on the host, and its file.
static const char *open_file(void) { return beneath(given("open"), "file"); }
static const char *home_file(const char *name) { return beneath(given("home"), name); }

// Makes a file, and takes it away again.
static struct outcome make(const char *path) {
    int made = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (made < 0)
        return blocked(errno);
    unlink(path);
    return worked();
}

// MARK: - Writing

static struct outcome write_open_file(void) { return tried(open(open_file(), O_WRONLY)); }
static struct outcome truncate_open_file(void) { return tried(truncate(open_file(), 4)); }
static struct outcome create_outside(void) { return make(beneath(given("open"), "made")); }
static struct outcome directory_outside(void) { return tried(mkdir(beneath(given("open"), "directory"), 0700)); }
static struct outcome link_outside(void) { return tried(symlink("/", beneath(given("open"), "symbolic"))); }
static struct outcome socket_outside(void) {
    return tried(mknod(beneath(given("open"), "socket"), S_IFSOCK | 0600, 0));
}
static struct outcome remove_outside(void) { return tried(unlink(beneath(given("open"), "removable"))); }
static struct outcome write_system(void) { return tried(open("/etc/passwd", O_WRONLY)); }
static struct outcome create_in_system(void) { return make("/usr/bin/portcullis-escape"); }
static struct outcome create_in_crontabs(void) { return make("/var/spool/cron/crontabs/portcullis-escape"); }
static struct outcome create_in_variable_tmp(void) { return make("/var/tmp/portcullis-escape"); }
static struct outcome create_in_shared_memory(void) { return make("/dev/shm/portcullis-escape"); }
static struct outcome create_in_run(void) { return make("/run/portcullis-escape"); }

// /tmp is the sandbox's own where the test's mark is not to be seen in it; without namespaces it is $TMPDIR.
static struct outcome create_in_tmp(void) {
    const char *own = getenv("TMPDIR");
    if (own && *own) {
        struct outcome result = make(beneath(own, "portcullis-escape"));
        return result.what == WORKED ? contained() : result;
    }
    struct outcome result = make("/tmp/portcullis-escape");
    return result.what == WORKED && access(beneath("/tmp", given("mark")), F_OK) < 0 ? contained() : result;
}

static struct outcome create_in_host_tmp(void) {
    if (access(beneath("/tmp", given("mark")), F_OK) < 0)
        return blocked(errno);
    return make("/tmp/portcullis-escape");
}

static struct outcome create_in_home(void) { return make(home_file("portcullis-escape")); }

static struct outcome write_trust_file(void) { return make(home_file(".rhosts")); }
static struct outcome write_profile(void) { return make(home_file(".bashrc")); }

// MARK: - Out of what can be written, and into it

// A directory that this sandbox writes, or the home where it writes none.
static const char *writable(void) {
    const char *places[] = {getenv("TMPDIR"), given("home"), "/tmp"};
    for (int i = 0; i < 3; i++)
        if (places[i] && *places[i] && make(beneath(places[i], "try")).what == WORKED)
            return places[i];
    return given("home");
}

static struct outcome rename_out(void) {
    const char *mine = beneath(writable(), "mine");
    if (open(mine, O_WRONLY | O_CREAT, 0600) < 0)
        mine = beneath(given("home"), "own");
    return tried(rename(mine, beneath(given("open"), "renamed")));
}

static struct outcome link_out(void) {
    const char *mine = beneath(writable(), "mine");
    if (open(mine, O_WRONLY | O_CREAT, 0600) < 0)
        mine = beneath(given("home"), "own");
    return tried(link(mine, beneath(given("open"), "linked")));
}

static struct outcome link_in(void) {
    const char *here = beneath(writable(), "linked");
    unlink(here);
    if (link(open_file(), here) < 0)
        return blocked(errno);
    return tried(open(here, O_WRONLY));
}

static struct outcome rename_in(void) {
    const char *here = beneath(writable(), "moved");
    return tried(rename(beneath(given("open"), "movable"), here));
}

static struct outcome write_by_link(void) {
    const char *here = beneath(writable(), "way");
    unlink(here);
    if (symlink(open_file(), here) < 0)
        here = open_file();
    return tried(open(here, O_WRONLY));
}

static struct outcome write_by_dots(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/../../../../../../../../..%s", writable(), open_file());
    return tried(open(path, O_WRONLY));
}

static struct outcome write_by_proc_root(void) {
    char path[4096];
    snprintf(path, sizeof path, "/proc/self/root%s", open_file());
    return tried(open(path, O_WRONLY));
}

// A descriptor that reads is opened again to write.
static struct outcome reopen(const char *path, int flags) {
    int first = open(path, flags);
    if (first < 0)
        return blocked(errno);
    char again[64];
    snprintf(again, sizeof again, "/proc/self/fd/%d", first);
    return tried(open(again, O_WRONLY));
}

static struct outcome reopen_to_write(void) { return reopen(beneath(given("readable"), "file"), O_RDONLY); }
static struct outcome reopen_path_only(void) { return reopen(open_file(), O_PATH); }

static struct outcome open_by_handle(void) {
    struct {
        struct file_handle handle;
        unsigned char bytes[128];
    } there;
    int mount = 0;
    there.handle.handle_bytes = sizeof there.bytes;
    if (name_to_handle_at(AT_FDCWD, "/usr", &there.handle, &mount, 0) < 0 && errno != EOPNOTSUPP)
        return blocked(errno);
    return reached(open_by_handle_at(AT_FDCWD, &there.handle, O_RDONLY));
}

// MARK: - Modes, owners, times and attributes, which Landlock does not govern

static struct outcome change_mode(void) { return tried(chmod(beneath(given("home"), "own"), 0640)); }
static struct outcome change_home_mode(void) { return tried(chmod(given("home"), 0755)); }
static struct outcome change_owner(void) { return tried(chown(beneath(given("home"), "own"), (uid_t)-1, getgid())); }
static struct outcome change_time(void) { return tried(utimensat(AT_FDCWD, beneath(given("home"), "own"), NULL, 0)); }
static struct outcome change_time_outside(void) { return tried(utimensat(AT_FDCWD, open_file(), NULL, 0)); }
static struct outcome set_attribute(void) {
    long result = setxattr(beneath(given("home"), "own"), "user.escape", "x", 1, 0);
    return result < 0 && errno == EOPNOTSUPP ? worked() : tried(result);
}
static struct outcome set_file_capability(void) {
    unsigned char none[20] = {0, 0, 0, 2};
    return tried(setxattr(beneath(given("home"), "own"), "security.capability", none, sizeof none, 0));
}
static struct outcome change_inode_flags(void) {
    int own = open(beneath(given("home"), "own"), O_RDONLY);
    int flags = 0;
    // Where no file can be opened, the filter is asked with a descriptor that is none.
    long result = syscall(SYS_ioctl, own < 0 ? 0 : own, 0x40086602 /* FS_IOC_SETFLAGS */, &flags);
    return result < 0 && errno == ENOTTY ? worked() : tried(result);
}

// A setuid program of one's own: for whoever runs it later.
static struct outcome make_setuid(void) {
    const char *mine = beneath(writable(), "suid");
    int made = open(mine, O_WRONLY | O_CREAT, 0700);
    if (made < 0)
        return blocked(errno);
    struct outcome result = tried(fchmod(made, 04755));
    unlink(mine);
    return result;
}

// MARK: - Reading

static struct outcome read_passwords(void) { return tried(open("/etc/shadow", O_RDONLY)); }
static struct outcome read_trail(void) { return tried(open(beneath(given("state"), "audit/trail.log"), O_RDONLY)); }
static struct outcome write_trail(void) { return tried(open(beneath(given("state"), "audit/trail.log"), O_WRONLY)); }
static struct outcome read_credentials(void) { return tried(open(beneath(given("state"), "credentials"), O_RDONLY)); }
static struct outcome list_runtime(void) { return tried(open(given("runtime"), O_RDONLY | O_DIRECTORY)); }
static struct outcome write_policy(void) { return tried(open(given("policy"), O_WRONLY)); }
static struct outcome read_other_home(void) { return tried(open(beneath(given("other"), "secret"), O_RDONLY)); }
static struct outcome read_own_home(void) { return tried(open(beneath(given("home"), "own"), O_RDONLY)); }

// Whether a name is there, and whose it is: Landlock governs neither.
static struct outcome asked(const char *path) {
    struct stat status;
    return tried(stat(path, &status));
}

static struct outcome ask_outside(void) { return asked(open_file()); }
static struct outcome ask_other_home(void) { return asked(given("other")); }
static struct outcome ask_socket(void) { return asked(given("unix")); }
static struct outcome ask_by_dots(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/../../../../../../../../..%s", given("home"), open_file());
    return asked(path);
}
static struct outcome ask_by_proc_root(void) {
    char path[4096];
    snprintf(path, sizeof path, "/proc/self/root%s", open_file());
    return asked(path);
}
static struct outcome ask_by_proc_cwd(void) {
    char path[4096];
    snprintf(path, sizeof path, "/proc/self/cwd/../../../../../../../../..%s", open_file());
    return asked(path);
}

// A directory that can be walked to is enough for what lies in it.
static struct outcome enter_outside(void) {
    int before = open(".", O_PATH);
    struct outcome result = tried(chdir(given("open")));
    if (before >= 0 && fchdir(before) < 0)
        return blocked(errno);
    return result;
}

// What the host has mounted, terminals among them, which no session of these has.
static struct outcome see_mounts(void) {
    FILE *table = fopen("/proc/self/mountinfo", "r");
    if (table == NULL)
        return blocked(errno);
    char line[8192], point[4096];
    struct outcome result = contained();
    while (fgets(line, sizeof line, table) != NULL)
        if (sscanf(line, "%*d %*d %*s %*s %4095s", point) == 1
            && (strncmp(point, "/sys/fs", 7) == 0 || strcmp(point, "/sys") == 0 || strcmp(point, "/dev/pts") == 0))
            result = worked();
    fclose(table);
    return result;
}

static struct outcome read_outside(void) { return tried(open(open_file(), O_RDONLY)); }

// MARK: - What the kernel shows as files

static struct outcome core_pattern(void) { return tried(open("/proc/sys/kernel/core_pattern", O_WRONLY)); }
static struct outcome system_parameter(void) { return tried(open("/proc/sys/net/ipv4/ip_forward", O_WRONLY)); }
static struct outcome module_helper(void) { return tried(open("/proc/sys/kernel/modprobe", O_WRONLY)); }
static struct outcome system_request(void) { return tried(open("/proc/sysrq-trigger", O_WRONLY)); }
static struct outcome kernel_memory(void) { return tried(open("/proc/kcore", O_RDONLY)); }
static struct outcome write_sys(void) { return tried(open("/sys/kernel/profiling", O_WRONLY)); }
static struct outcome read_sys(void) { return tried(open("/sys/kernel", O_RDONLY | O_DIRECTORY)); }
static struct outcome uevent_helper(void) { return tried(open("/sys/kernel/uevent_helper", O_WRONLY)); }
static struct outcome leave_cgroup(void) {
    const char *places[] = {"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs"};
    int failure = ENOENT;
    for (int i = 0; i < 2; i++) {
        if (open(places[i], O_WRONLY) >= 0)
            return worked();
        if (errno != ENOENT)
            failure = errno;
    }
    return blocked(failure);
}
// Which group it is in says which job of the host's it is.
static struct outcome see_cgroup(void) {
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (file == NULL)
        return blocked(errno);
    char line[4096];
    struct outcome found = outcome(ABSENT, ENOENT);
    while (fgets(line, sizeof line, file) != NULL) {
        char *path = strchr(line, ':');
        path = path == NULL ? NULL : strchr(path + 1, ':');
        if (path == NULL)
            continue;
        if (strcmp(path, ":/\n") != 0) {
            found = worked();
            break;
        }
        found = contained();
    }
    fclose(file);
    return found;
}
static struct outcome own_memory_file(void) { return tried(open("/proc/self/mem", O_RDWR)); }
static struct outcome spare_from_killer(void) {
    int score = open("/proc/self/oom_score_adj", O_WRONLY);
    if (score < 0)
        return blocked(errno);
    return tried(write(score, "-1000", 5));
}

// MARK: - Running what cannot be executed by path

// Runs a program by descriptor; it is this one, asked for something that fails.
static struct outcome run_descriptor(int program) {
    pid_t child = fork();
    if (child == 0) {
        char *arguments[] = {"escape", "privileges", NULL};
        char *environment[] = {NULL};
        syscall(SYS_execveat, program, "", arguments, environment, AT_EMPTY_PATH);
        _exit(errno == 1 ? 2 : errno);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status))
        return blocked(EINTR);
    return WEXITSTATUS(status) <= 1 ? worked() : blocked(WEXITSTATUS(status));
}

// A copy of this program in something writable.
static int copy_program(int into) {
    int self = open("/proc/self/exe", O_RDONLY);
    static char buffer[65536];
    ssize_t count;
    while ((count = read(self, buffer, sizeof buffer)) > 0)
        if (write(into, buffer, (size_t)count) != count)
            return -1;
    return close(self);
}

static struct outcome run_from_memory(void) {
    int program = (int)syscall(SYS_memfd_create, "escape", MFD_CLOEXEC);
    if (program < 0)
        return blocked(errno);
    copy_program(program);
    return run_descriptor(program);
}

static const char *copied_program(void) {
    const char *path = beneath(writable(), "program");
    int made = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    if (made < 0)
        return NULL;
    copy_program(made);
    close(made);
    return path;
}

static struct outcome run_written(void) {
    const char *path = copied_program();
    if (!path)
        return blocked(errno);
    struct outcome result = run_descriptor(open(path, O_RDONLY));
    unlink(path);
    return result;
}

// ld.so maps what it is given: it needs to read it, not to execute it.
static struct outcome run_by_loader(void) {
    const char *path = copied_program();
    if (!path)
        return blocked(errno);
    pid_t child = fork();
    if (child == 0) {
#if defined(__x86_64__)
        const char *loader = "/lib64/ld-linux-x86-64.so.2";
#else
        const char *loader = "/lib/ld-linux-aarch64.so.1";
#endif
        execl(loader, "ld.so", path, "privileges", NULL);
        _exit(2);
    }
    int status = 0;
    waitpid(child, &status, 0);
    unlink(path);
    return WIFEXITED(status) && WEXITSTATUS(status) <= 1 ? worked() : blocked(EACCES);
}

const struct technique file_techniques[] = {
    {"write-outside", write_open_file},
    {"truncate-outside", truncate_open_file},
    {"create-outside", create_outside},
    {"mkdir-outside", directory_outside},
    {"symlink-outside", link_outside},
    {"mksock-outside", socket_outside},
    {"unlink-outside", remove_outside},
    {"write-etc", write_system},
    {"create-usr", create_in_system},
    {"create-crontab", create_in_crontabs},
    {"create-var-tmp", create_in_variable_tmp},
    {"create-dev-shm", create_in_shared_memory},
    {"create-run", create_in_run},
    {"create-tmp", create_in_tmp},
    {"create-host-tmp", create_in_host_tmp},
    {"create-home", create_in_home},
    {"write-rhosts", write_trust_file},
    {"write-profile", write_profile},
    {"rename-out", rename_out},
    {"link-out", link_out},
    {"link-in", link_in},
    {"rename-in", rename_in},
    {"write-by-symlink", write_by_link},
    {"write-by-dots", write_by_dots},
    {"write-by-proc-root", write_by_proc_root},
    {"reopen-for-writing", reopen_to_write},
    {"reopen-o-path", reopen_path_only},
    {"open-by-handle", open_by_handle},
    {"chmod", change_mode},
    {"chmod-home", change_home_mode},
    {"chown", change_owner},
    {"utimes", change_time},
    {"utimes-outside", change_time_outside},
    {"setxattr", set_attribute},
    {"set-file-capability", set_file_capability},
    {"chattr", change_inode_flags},
    {"make-setuid", make_setuid},
    {"read-shadow", read_passwords},
    {"read-trail", read_trail},
    {"write-trail", write_trail},
    {"read-credentials", read_credentials},
    {"read-runtime", list_runtime},
    {"write-policy", write_policy},
    {"read-other-home", read_other_home},
    {"read-home", read_own_home},
    {"read-outside", read_outside},
    {"stat-outside", ask_outside},
    {"stat-other-home", ask_other_home},
    {"stat-socket", ask_socket},
    {"stat-by-dots", ask_by_dots},
    {"stat-by-proc-root", ask_by_proc_root},
    {"stat-by-proc-cwd", ask_by_proc_cwd},
    {"chdir-outside", enter_outside},
    {"see-mounts", see_mounts},
    {"core-pattern", core_pattern},
    {"proc-sys", system_parameter},
    {"proc-modprobe", module_helper},
    {"sysrq-trigger", system_request},
    {"proc-kcore", kernel_memory},
    {"sys-write", write_sys},
    {"sys-read", read_sys},
    {"uevent-helper", uevent_helper},
    {"cgroup-leave", leave_cgroup},
    {"cgroup-see", see_cgroup},
    {"proc-self-mem", own_memory_file},
    {"oom-score", spare_from_killer},
    {"run-memfd", run_from_memory},
    {"run-written", run_written},
    {"run-by-ld-so", run_by_loader},
    {NULL, NULL},
};
