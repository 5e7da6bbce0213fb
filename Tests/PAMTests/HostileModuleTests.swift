// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import PAM
import TestSupport
import Testing

/// A PAM module of our own that misbehaves as its argument says, built with the C compiler at hand.
final class HostileModule {
    /// The C compiler; nil where there is none.
    static let compiler = ["/usr/bin/cc", "/usr/bin/clang", "/usr/local/bin/clang"].first {
        File.isExecutable(Array($0.utf8))
    }

    /// Where it lies.
    let path: String

    private static let source = """
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <pthread.h>
        #include <security/pam_modules.h>
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/fsuid.h>
        #include <sys/resource.h>
        #include <sys/stat.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        static void *sleeper(void *x) { for (;;) usleep(1000); return x; }
        static void caught(int n) { (void)n; }
        static int act(pam_handle_t *h, int argc, const char **argv) {
            const char *what = argc > 0 ? argv[0] : "";
            if (!strcmp(what, "user")) return pam_set_item(h, PAM_USER, "root");
            if (!strcmp(what, "uid")) return seteuid(65534) == 0 ? PAM_SUCCESS : PAM_SYSTEM_ERR;
            if (!strcmp(what, "fsuid")) { setfsuid(65534); return PAM_SUCCESS; }
            if (!strcmp(what, "crash")) { raise(SIGSEGV); return PAM_SUCCESS; }
            if (!strcmp(what, "exit")) _exit(0);
            if (!strcmp(what, "thread")) {
                pthread_t t;
                return pthread_create(&t, NULL, sleeper, NULL) == 0 ? PAM_SUCCESS : PAM_SYSTEM_ERR;
            }
            if (!strcmp(what, "root")) return chroot("/usr") == 0 ? PAM_SUCCESS : PAM_SYSTEM_ERR;
            if (!strcmp(what, "close")) return syscall(SYS_close_range, 0, ~0u, 0) == 0 ? PAM_SUCCESS : PAM_SYSTEM_ERR;
            if (!strcmp(what, "swap")) {
                int p[2];
                return pipe(p) == 0 && dup2(p[0], 60) == 60 ? PAM_SUCCESS : PAM_SYSTEM_ERR;
            }
            if (!strcmp(what, "mess")) {
                static char path[] = "PATH=/evil";
                struct rlimit few = {200, 300};
                sigset_t all;
                sigfillset(&all);
                if (open("/dev/null", O_RDONLY) < 0 || chdir("/usr") != 0 || putenv(path) != 0) return PAM_SYSTEM_ERR;
                umask(0);
                signal(SIGTERM, caught);
                signal(SIGPIPE, SIG_DFL);
                sigprocmask(SIG_BLOCK, &all, NULL);
                alarm(1000);
                if (setrlimit(RLIMIT_NOFILE, &few) != 0) return PAM_SYSTEM_ERR;
                puts("noise");
                fputs("noise", stderr);
                fflush(stdout);
                if (dup2(0, 1) != 1) return PAM_SYSTEM_ERR;
                if (fork() == 0) { alarm(60); for (;;) pause(); }
                return PAM_SUCCESS;
            }
            if (!strcmp(what, "expired")) return PAM_NEW_AUTHTOK_REQD;
            if (!strncmp(what, "ask", 3)) {
                const struct pam_conv *conv = NULL;
                if (pam_get_item(h, PAM_CONV, (const void **)&conv) != PAM_SUCCESS) return PAM_SYSTEM_ERR;
                struct pam_message one = {PAM_PROMPT_ECHO_OFF, "Verification code: "};
                struct pam_message two = {PAM_PROMPT_ECHO_OFF, "Password: "};
                struct pam_message three = {PAM_PROMPT_ECHO_ON, "Password: "};
                struct pam_message info = {PAM_TEXT_INFO, "Password: "};
                const struct pam_message *list[2] = {&info, &two};
                if (!strcmp(what, "ask-code")) list[1] = &one;
                if (!strcmp(what, "ask-echo")) list[1] = &three;
                if (!strcmp(what, "ask-both")) { list[0] = &two; list[1] = &one; }
                struct pam_response *answers = NULL;
                int code = conv->conv(2, list, &answers, conv->appdata_ptr);
                if (code != PAM_SUCCESS) return PAM_SUCCESS;  // It would let everybody in.
                int right = answers[1].resp != NULL && !strcmp(answers[1].resp, "canary");
                free(answers[0].resp);
                free(answers[1].resp);
                free(answers);
                return right ? PAM_SUCCESS : PAM_AUTH_ERR;
            }
            return PAM_SUCCESS;
        }
        int pam_sm_authenticate(pam_handle_t *h, int f, int c, const char **v) { return act(h, c, v); }
        int pam_sm_setcred(pam_handle_t *h, int f, int c, const char **v) { return act(h, c, v); }
        int pam_sm_acct_mgmt(pam_handle_t *h, int f, int c, const char **v) { return act(h, c, v); }
        int pam_sm_open_session(pam_handle_t *h, int f, int c, const char **v) { return act(h, c, v); }
        int pam_sm_close_session(pam_handle_t *h, int f, int c, const char **v) { return act(h, c, v); }

        """

    init(_ name: String) throws {
        let base = "/etc/pam.d/portcullis-test-\(Process.id)-\(name)"
        path = base + ".so"
        defer { try? File.remove(base + ".c") }
        let file = try File.open(base + ".c", [.writing, .creating, .exclusive])
        try file.writeAll(Array(Self.source.utf8))
        let compiler = try #require(Self.compiler)
        let status = try runProgram(compiler, ["-shared", "-fPIC", "-o", path, base + ".c"])
        #expect(status == .exited(0), "the compiler ended: \(status as Any)")
    }

    deinit {
        try? File.remove(path)
    }
}

@Suite(
    .serialized,
    .enabled(if: Process.isRoot && HostileModule.compiler != nil, "needs root and a C compiler: it builds a PAM module")
)
struct HostileModuleTests {
    /// Runs a test with a transaction of a service in whose lines `HOSTILE` stands for the module.
    private static func with(_ lines: [String], _ test: (PAMTransaction) throws -> Void) throws {
        let module = try HostileModule("hostile")
        let service = try TestService("hostile", lines.map { $0.replacing("HOSTILE", with: module.path) })
        let pam = try PAMTransaction(
            service: service.name, user: try #require(UserName("nobody")), remoteHost: IPAddress(v4: 0x7F00_0001),
            remoteUser: nil, terminal: .rexec)
        try withExtendedLifetime((module, service)) { try test(pam) }
    }

    @Test func thePasswordGoesToAPasswordPromptThatComesWithAText() throws {
        try Self.with(["auth required HOSTILE ask"]) { pam in
            try pam.authenticate(try secret("canary"))
        }
    }

    /// A module that takes a refused conversation for success lets nobody in.
    @Test(arguments: ["ask-code", "ask-echo", "ask-both"])
    func aPromptThatIsNotForThePasswordFailsWhateverTheModuleMakesOfIt(behaviour: String) throws {
        try Self.with(["auth required HOSTILE \(behaviour)"]) { pam in
            let error = #expect(throws: PAMError.self) { try pam.authenticate(try secret("canary")) }
            #expect(error?.cause == .foreignPrompt)
            #expect(error?.reason == .badCredentials)
        }
    }

    @Test func aModuleThatChangesTheUserIsStopped() throws {
        try Self.with(["auth required HOSTILE user"]) { pam in
            let error = #expect(throws: PAMError.self) { try pam.authenticate(try secret("x")) }
            #expect(error?.cause == .userChanged)
        }
    }

    @Test(arguments: ["account", "session"])
    func aModuleThatChangesTheUserLaterIsStoppedToo(type: String) throws {
        let lines = [
            "auth required pam_permit.so", "account required \(type == "account" ? "HOSTILE user" : "pam_permit.so")",
            "session required \(type == "session" ? "HOSTILE user" : "pam_permit.so")",
        ]
        try Self.with(lines) { pam in
            try pam.authenticate(try secret("x"))
            let error = #expect(throws: PAMError.self) {
                try pam.checkAccount()
                try pam.openSession()
            }
            #expect(error?.cause == .userChanged)
        }
    }

    /// In a process of its own: the C library changes the ids of all threads.
    @Test func aModuleThatChangesTheProcessesIdsIsStopped() async {
        await #expect(processExitsWith: .exitCode(0)) {
            try HostileModuleTests.with(["auth required HOSTILE uid"]) { pam in
                let password = try secret("x")
                let cause = try inChild {
                    do throws(PAMError) {
                        try pam.authenticate(password)
                        return "none"
                    } catch {
                        return "\(error.cause)"
                    }
                }
                #expect(cause == "identityChanged", "\(cause)")
            }
        }
    }

    @Test func anExpiredPasswordRefuses() throws {
        try Self.with(["auth required pam_permit.so", "account required HOSTILE expired"]) { pam in
            try pam.authenticate(try secret("x"))
            let error = #expect(throws: PAMError.self) { try pam.checkAccount() }
            #expect(error?.reason == .accountRefused)
        }
    }
}
