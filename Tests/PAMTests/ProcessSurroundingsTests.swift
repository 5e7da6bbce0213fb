// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import PAM
import TestSupport
import Testing

/// What modules do to the process that runs them, step by step, each in a process of its own with one thread as in a
/// session.
@Suite(
    .serialized,
    .enabled(if: Process.isRoot && HostileModule.compiler != nil, "needs root and a C compiler: it builds a PAM module")
)
struct ProcessSurroundingsTests {
    /// A step of PAM.
    enum Step: String, CaseIterable, Codable, Sendable {
        case authenticate, account, credentials, session
    }

    /// What a row of the table expects of a step.
    enum Outcome: UInt8, Sendable {
        case goesOn = 10
        case userChanged, identityChanged, processChanged, code
        /// The process ended within the module, as the session does.
        case dies
    }

    /// A number at which the tests hold a descriptor that modules must leave alone.
    private static let watched: Int32 = 60

    /// Runs the steps up to one in which the module misbehaves; the outcome comes out of the child as its status.
    ///
    /// - Parameter test: what has to hold in the child afterwards.
    private static func outcome(
        _ step: Step, _ behaviour: String, of module: HostileModule, then test: () -> [Bool] = { [] }
    ) throws -> Outcome {
        let act = "\(module.path) \(behaviour)"
        let lines = [
            "auth required \(step == .authenticate ? act : "pam_permit.so")",
            "account required \(step == .account ? act : "pam_permit.so")",
            "session required \(step == .session ? act : "pam_permit.so")",
        ]
        // pam_setcred runs the auth stack again.
        let credentials = ["auth [success=ok default=ignore] \(act)"] + lines
        let service = try TestService("surroundings", step == .credentials ? credentials : lines)
        let password = try secret("x")
        let child = try ForkedChild {
            let status: UInt8
            do {
                // The runner's descriptors are not the child's: those of a session begin at 0, and are few enough for the
                // limit that a module sets.
                do {
                    let null = try File.open("/dev/null", [.reading])
                    try null.place(at: Self.watched)
                    for number: Int32 in 0...2 { try null.place(at: number) }
                }
                Descriptor.closeAll(from: Self.watched + 1)
                let surroundings = try ProcessSurroundings(descriptors: 0..<(Self.watched + 1))
                let pam = try PAMTransaction(
                    service: service.name, user: UserName("nobody") ?? .root, remoteHost: IPAddress(v4: 0x7F00_0001),
                    remoteUser: nil, terminal: .rexec, keeping: surroundings)
                if step != .credentials { try pam.authenticate(password) }
                try pam.checkAccount()
                try pam.establishCredentials()
                try pam.openSession()
                status = test().firstIndex(of: false).map { 100 + UInt8($0) } ?? Outcome.goesOn.rawValue
            } catch let error as PAMError {
                switch error.cause {
                case .userChanged: status = Outcome.userChanged.rawValue
                case .identityChanged: status = Outcome.identityChanged.rawValue
                case .processChanged: status = Outcome.processChanged.rawValue
                case .code: status = Outcome.code.rawValue
                default: status = 2
                }
            } catch {
                status = 3
            }
            // A thread has the time to run what is no longer mapped, if the end of the transaction took it away.
            if behaviour == "thread" { Clock.sleep(milliseconds: 20) }
            Process.exitNow(Int32(status))
        }
        // A module that ends the process does so with status 0 or a signal.
        guard case .exited(let status) = try child.end().status, status != 0 else { return .dies }
        return try #require(Outcome(rawValue: status), "the child ended with \(status)")
    }

    /// What a module may do in any step, and what becomes of the request.
    private static let table: [(behaviour: String, outcome: Outcome)] = [
        ("nothing", .goesOn), ("user", .userChanged), ("uid", .identityChanged),
        ("fsuid", .identityChanged), ("thread", .processChanged), ("root", .processChanged),
        ("close", .processChanged), ("swap", .processChanged), ("crash", .dies), ("exit", .dies), ("mess", .goesOn),
    ]

    @Test(arguments: Step.allCases)
    func everyStepContainsWhatAModuleDoes(step: Step) async {
        await #expect(processExitsWith: .exitCode(0)) { [step = step as Step] in
            let module = try HostileModule("surroundings")
            for row in ProcessSurroundingsTests.table {
                let found = try ProcessSurroundingsTests.outcome(step, row.behaviour, of: module)
                #expect(found == row.outcome, "\(row.behaviour) in \(step.rawValue): \(found)")
            }
        }
    }

    /// Directory, umask, environment, limits, signals, descriptors and children are what they were.
    @Test(arguments: Step.allCases)
    func whatAModuleMessedUpIsPutBack(step: Step) async {
        await #expect(processExitsWith: .exitCode(0)) { [step = step as Step] in
            let module = try HostileModule("surroundings")
            let path = Process.environmentVariable("PATH")
            let files = try ResourceLimits.current(.files)
            let found = try ProcessSurroundingsTests.outcome(step, "mess", of: module) {
                let status = (try? File.open("/proc/self/status", [.reading]).readAll(limit: 65_536)) ?? []
                let lines = String(decoding: status, as: UTF8.self).split(separator: "\n")
                let now = try? ResourceLimits.current(.files)
                // Of the real-time signals the C library keeps some for itself, which no program can reset.
                let signals = { (name: String) in
                    lines.first { $0.hasPrefix(name) }.flatMap { UInt64($0.dropFirst(8), radix: 16) }.map {
                        $0 & 0x7FFF_FFFF
                    }
                }
                return [
                    lines.contains("Umask:\t0077"), signals("SigBlk:") == 0, signals("SigIgn:") == 0x1000,
                    signals("SigCgt:") == 0,
                    (try? File.linkTarget("/proc/self/cwd"))?.printable == "/",
                    (try? File.linkTarget("/proc/self/fd/1"))?.printable == "/dev/null",
                    Process.environmentVariable("PATH") == path, Children.ids().isEmpty,
                    now.map { $0.soft == min(files.soft, $0.hard) } == true,
                ]
            }
            #expect(found == .goesOn, "\(found)")
        }
    }

    /// pam_limits sets them for the command; this process, which has work to do, keeps its own.
    @Test func theLimitsOfASessionAreHandedOnAndNotKept() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let module = try HostileModule("limits")
            let service = try TestService("limits", ["session required \(module.path) mess"])
            let found = try inChild {
                let before = try ResourceLimits.current(.files)
                let pam = try PAMTransaction(
                    service: service.name, user: UserName("nobody") ?? .root, remoteHost: IPAddress(v4: 0x7F00_0001),
                    remoteUser: nil, terminal: .rexec, keeping: try ProcessSurroundings(descriptors: 0..<3))
                try pam.openSession()
                // Without CAP_SYS_RESOURCE the hard limit stays down.
                let now = try ResourceLimits.current(.files)
                guard now.soft == min(before.soft, now.hard) else { return "kept" }
                try pam.limits?.apply()
                return "\(try ResourceLimits.current(.files))"
            }
            withExtendedLifetime((module, service)) { #expect(found == "(soft: 200, hard: 300)", "\(found)") }
        }
    }

    /// Threads that cannot be counted may be there: without /proc nothing goes on.
    @Test func whatCannotCountItsThreadsDoesNotGoOn() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let found = try inChild {
                let surroundings = try ProcessSurroundings(descriptors: 0..<3)
                try surroundings.restore()
                try Namespaces.mounts.unshare()
                try Mounts.makePrivate()
                try Mounts.temporary(at: "/proc")
                do throws(ProcessSurroundings.Change) {
                    try surroundings.restore()
                    return "went on"
                } catch {
                    return error.description
                }
            }
            #expect(found == "its threads cannot be counted", "\(found)")
        }
    }
}
