// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import Testing

/// `.test` files.
@Suite struct PolicyTestTests {
    private static let policy = """
        securetcpip off
        service rexec { enable }
        service rsh { enable }
        networks mainframes = { 10.20.0.0/16, ::1 }
        permit nightly-dump: rexec from @mainframes as backup run "/usr/sbin/dump 0uf - <path /home>" during fri 22:00-04:00
        permit wheel: rsh from 10.9.9.9 by any as %wheel run "/usr/bin/id"
        permit six: rexec from ::1 as backup run "/usr/bin/id"
        forbid no-root: any as root
        """

    private func failures(_ text: String) throws -> [String?] {
        let policy = try #require(load(Self.policy).policy)
        let file = PolicyTestFile(
            SourceFile(name: "s.test", text: text), now: try #require(LocalTime(weekday: 1, minute: 0)))
        #expect(file.diagnostics.isEmpty, "\(file.diagnostics.map(\.text).joined())")
        return file.tests.map { $0.failure(under: policy) }
    }

    @Test func theLanguagesOwnExamplesHold() throws {
        let text = """
            # comments as in policies
            expect permit nightly-dump: rexec from 10.20.0.5 as backup run "/usr/sbin/dump 0uf - /home" at 2026-11-20T23:30
            expect deny forbidden no-root: rexec from 10.1.0.9 as root run "id"
            expect deny no-rule: rsh from 10.9.9.9:1023 by mallory as bob run "id"
            expect permit wheel: rsh from 10.9.9.9:1023 by mallory as bob groups wheel,users run "id"
            expect permit wheel: rsh from 10.9.9.9:1023 by mallory as bob groups users, wheel run "id"
            expect deny no-rule: rexec from 10.20.0.5 as backup run "/sbin/dump 0uf - /home" at 2026-11-20T21:30
            expect deny needs-shell: rexec from 10.20.0.5 as backup run "id; id"
            expect deny command-not-found: rexec from 10.20.0.5 as backup run "./id"
            expect permit six: rexec from [::1]:1023 as backup run "id"
            expect permit six: rexec from ::1 as backup run "id"
            """
        #expect(try failures(text) == Array(repeating: nil, count: 10))
    }

    @Test func aTestThatFailsSaysWhatThePolicySays() throws {
        let text = """
            expect permit wheel: rexec from ::1 as backup run "id"
            expect deny no-rule: rexec from ::1 as backup run "id"
            expect deny forbidden other: rexec from ::1 as root run "id"
            """
        #expect(
            try failures(text) == [
                "expected permit wheel, and the policy says permit six",
                "expected deny no-rule, and the policy says permit six",
                "expected deny forbidden other, and the policy says deny forbidden no-root",
            ])
    }

    @Test(arguments: [
        ("expct permit a: rexec from ::1 as b run \"id\"", "1:1"), ("expect allow a: rexec", "1:8"),
        ("expect permit a rexec from ::1 as b run \"id\"", "1:15"), ("expect deny nothing: rexec", "1:13"),
        ("expect deny untrusted: rexec from ::1 as b run \"id\"", "1:13"),
        ("expect permit a: rexec from ::1 as b", "1:1"), ("expect permit a: rexec from x as b run \"id\"", "1:29"),
        ("expect permit a: rexec from ::1 as b run \"id\" at noon", "1:50"),
        ("expect permit a: rexec from ::1 as b run \"id\" at 2026-02-29T10:00", "1:50"),
        ("expect permit a: rexec from ::1 by c as b run \"id\"", "1:36"),
        ("expect permit a: rexec from ::1 as b run \"id\" runs", "1:47"),
    ])
    func aTestThatCannotBeReadHasItsPlace(_ text: String, _ place: String) throws {
        let file = PolicyTestFile(
            SourceFile(name: "t", text: text), now: try #require(LocalTime(weekday: 1, minute: 0)))
        #expect(
            file.diagnostics.map { "\($0.line):\($0.column)" } == [place], "\(file.diagnostics.map(\.text).joined())")
    }

    /// Known days.
    @Test(arguments: [
        ("2026-11-20T23:30", 5, 1_410), ("2000-02-29T00:00", 2, 0), ("1999-12-31T12:34:56", 5, 754),
        ("2024-03-01T00:01", 5, 1), ("2100-03-01T00:00", 1, 0),
    ])
    func aDateHasItsDayOfTheWeek(_ text: String, _ weekday: Int, _ minute: Int) {
        #expect(RequestText.time(text) == LocalTime(weekday: weekday, minute: minute))
    }
}
