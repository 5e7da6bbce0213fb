// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import PAM
import Testing

/// A PAM service that exists for one test: a file below /etc/pam.d that is removed with this value.
final class TestService {
    let name: String
    private let extra: [String]

    init(_ name: String, _ lines: [String], helper: (path: String, text: String)? = nil) throws {
        self.name = "portcullis-test-\(Process.id)-\(name)"
        extra = helper.map { [$0.path] } ?? []
        if let helper {
            let file = try File.open(helper.path, [.writing, .creating, .exclusive, .noFollow], mode: 0o755)
            try file.writeAll(Array(helper.text.utf8))
            try File.setMode(file, 0o755)
        }
        let file = try File.open("/etc/pam.d/\(self.name)", [.writing, .creating, .exclusive, .noFollow], mode: 0o644)
        try file.writeAll(Array((lines.joined(separator: "\n") + "\n").utf8))
    }

    deinit {
        for path in ["/etc/pam.d/\(name)"] + extra { try? File.remove(path) }
    }
}

func secret(_ text: String) throws -> Secret {
    let secret = try Secret()
    #expect(secret.append(Array(text.utf8)))
    return secret
}

@Suite(.serialized, .enabled(if: Process.isRoot, "needs root: it writes test services below /etc/pam.d"))
struct PAMTests {
    private func start(_ service: TestService, user: String = "nobody") throws -> PAMTransaction {
        try PAMTransaction(
            service: service.name, user: try #require(UserName(user)), remoteHost: IPAddress(v4: 0x7F00_0001),
            remoteUser: UserName("remote"), terminal: .rsh)
    }

    /// A program for pam_exec that is handed the password and answers whether it is `canary`.
    private func checker(_ name: String, _ body: String = "IFS= read -r p; [ \"$p\" = canary ]") -> (String, String) {
        ("/etc/pam.d/portcullis-test-\(Process.id)-\(name).sh", "#!/bin/sh\n\(body)\n")
    }

    @Test func theWholeLifeOfAPermittedLogin() throws {
        let service = try TestService(
            "permit",
            [
                "auth required pam_permit.so", "account required pam_permit.so", "session required pam_permit.so",
                "session required pam_env.so readenv=0 conffile=/dev/null",
            ])
        let pam = try start(service)
        try pam.authenticate(try secret("anything"))
        try pam.checkAccount()
        try pam.establishCredentials()
        try pam.openSession()
        #expect(pam.close().isEmpty)
    }

    @Test func thePasswordIsGivenToTheOnePromptThatAsksForIt() throws {
        let helper = checker("exec")
        let service = try TestService(
            "exec", ["auth required pam_exec.so expose_authtok quiet \(helper.0)"], helper: helper)
        try start(service).authenticate(try secret("canary"))
        let error = #expect(throws: PAMError.self) { try start(service).authenticate(try secret("parrot")) }
        #expect(error?.step == .authenticate)
        #expect(error?.text.isEmpty == false)
    }

    @Test func aRefusalIsBadCredentialsAndDoesNotSleep() throws {
        let service = try TestService(
            "deny", ["auth optional pam_faildelay.so delay=30000000", "auth required pam_deny.so"])
        let started = Clock.monotonicMilliseconds()
        let error = #expect(throws: PAMError.self) { try start(service).authenticate(try secret("x")) }
        #expect(error?.reason == .badCredentials)
        // Thirty seconds were asked for: that they were not slept is no matter of a machine's speed.
        #expect(Clock.monotonicMilliseconds() - started < 15_000)
    }

    @Test func anAccountThatIsDeniedIsRefusedAsTheAccount() throws {
        let service = try TestService("account", ["auth required pam_permit.so", "account required pam_deny.so"])
        let pam = try start(service)
        try pam.authenticate(try secret("x"))
        let error = #expect(throws: PAMError.self) { try pam.checkAccount() }
        #expect(error?.step == .account)
        #expect(error?.reason == .accountRefused)
    }

    /// pam_ftp asks for itself each time it stands in a stack.
    @Test func aSecondQuestionFails() throws {
        let service = try TestService(
            "twice", ["auth required pam_ftp.so users=nobody", "auth required pam_ftp.so users=nobody"])
        let error = #expect(throws: PAMError.self) { try start(service).authenticate(try secret("x")) }
        #expect(error?.cause == .foreignPrompt)
        #expect(error?.reason == .badCredentials)
    }

    @Test func noPromptIsAnsweredOutsideOfAuthentication() throws {
        let helper = checker("late")
        let service = try TestService(
            "late",
            ["account required pam_permit.so", "session required pam_exec.so expose_authtok quiet \(helper.0)"],
            helper: helper)
        let pam = try start(service)
        try pam.checkAccount()
        #expect(throws: PAMError.self) { try pam.openSession() }
    }

    @Test func anUnknownServiceNeverBecomesOther() throws {
        for name in ["portcullis-test-nosuch", "../pam.d/other", "Other", "", ".hidden", "a/b", "OTHER"] {
            let error = #expect(throws: PAMError.self) {
                try PAMTransaction(
                    service: name, user: .root, remoteHost: IPAddress(v4: 0x7F00_0001), remoteUser: nil,
                    terminal: .rexec)
            }
            #expect(error?.reason == .unavailable)
            #expect(!PAMTransaction.hasService(name))
        }
    }

    @Test func whatModulesPutIntoTheEnvironmentIsHandedOver() throws {
        let path = "/etc/pam.d/portcullis-test-\(Process.id)-env.conf"
        let service = try TestService(
            "env",
            [
                "auth required pam_permit.so", "session required pam_env.so readenv=0 conffile=\(path)",
            ], helper: (path, "PORTCULLIS_TEST DEFAULT=one\nLD_PRELOAD DEFAULT=/x\n"))
        let pam = try start(service)
        try pam.openSession()
        #expect(Set(pam.environment().map(\.printable)) == ["PORTCULLIS_TEST=one", "LD_PRELOAD=/x"])
        #expect(pam.close().isEmpty)
    }

    @Test func aModuleSeesWhoAsksAndFromWhere() throws {
        let helper = checker(
            "items",
            "[ \"$PAM_RHOST\" = 127.0.0.1 ] && [ \"$PAM_RUSER\" = remote ] && [ \"$PAM_TTY\" = rsh ] "
                + "&& [ \"$PAM_USER\" = nobody ]")
        let service = try TestService("items", ["auth required pam_exec.so quiet \(helper.0)"], helper: helper)
        try start(service).authenticate(try secret("x"))
    }

    @Test func anEmptyPasswordOpensNothing() throws {
        let service = try TestService("empty", ["auth required pam_unix.so"])
        #expect(throws: PAMError.self) { try start(service).authenticate(try secret("")) }
    }
}
