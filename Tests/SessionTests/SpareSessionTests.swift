// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages
import TestSupport
import Testing

@testable import Session

/// A spare takes one frame that is whole, of its own policy, and with its descriptors; anything else ends it.
@Suite struct SpareSessionTests {
    private static let session = SessionID(bytes: Array(repeating: 7, count: SessionID.size))
    private static let revision = Revision(bytes: Array(repeating: 1, count: Revision.size)) ?? .none

    private static func assignment(_ revision: Revision = revision, secondary: Bool = false) throws -> [UInt8] {
        let session = try #require(Self.session)
        return SpareOrder.serve(
            SessionAssignment(
                session: session, number: 3, revision: revision, hasSecondary: secondary, hasNetwork: false)
        ).encoded()
    }

    /// Forks a spare that says 42 once it has a request, sends it something, and returns how it ended.
    private static func end(
        of frame: [UInt8]?, descriptors count: Int
    ) throws -> Linux.ExitStatus {
        let (ours, theirs) = try Channel.pair()
        let own = Process.id
        let child = try ForkedChild {
            SpareSession.run(on: theirs.descriptor, of: own, revision: revision) { _ in Process.exitNow(42) }
        }
        let handed = try (0..<count).map { _ in try Descriptor.pipe().read }
        if let frame { try ours.send(frame, descriptors: handed) }
        if frame == nil { Socket.shutdownBoth(ours.descriptor) }
        return try child.end().status
    }

    /// Each in a process of its own, as they fork.
    @Test func aWholeAssignmentIsTaken() async {
        await #expect(processExitsWith: .exitCode(0)) {
            // What it is taken for comes next: the descriptors are put in their places, which these are.
            let status = try Self.end(of: try Self.assignment(), descriptors: 4)
            #expect(status == .exited(42), "\(status)")
        }
    }

    @Test func oneWithASecondaryHasADescriptorMore() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let enough = try Self.end(of: try Self.assignment(secondary: true), descriptors: 5)
            #expect(enough == .exited(42), "\(enough)")
            let few = try Self.end(of: try Self.assignment(secondary: true), descriptors: 4)
            #expect(few == .exited(1), "\(few)")
        }
    }

    @Test func whatIsNoAssignmentOfItsPolicyEndsIt() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let good = try Self.assignment()
            let rows: [(String, [UInt8], Int)] = [
                ("too few descriptors", good, 3), ("too many", good, 5), ("none", good, 0),
                ("more than any request has", good, SessionAssignment.descriptorLimit + 1),
                ("another policy", try Self.assignment(.none), 4),
                ("a session's order", SessionOrder.terminate.encoded(), 0),
                ("another version", [FrameFormat.version + 1] + good.dropFirst(), 4),
                ("a byte more", good + [0], 4), ("a byte less", Array(good.dropLast()), 4),
                ("a long frame", good + Array(repeating: 0, count: SpareOrder.limit), 4), ("one byte", [1], 4),
            ]
            for (name, frame, count) in rows {
                let status = try Self.end(of: frame, descriptors: count)
                #expect(status == .exited(1), "\(name): \(status)")
            }
        }
    }

    @Test func itEndsWhenTheMonitorClosesItsChannel() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let status = try Self.end(of: nil, descriptors: 0)
            #expect(status == .exited(0), "\(status)")
        }
    }

    /// A process that is not the monitor's child has lost its monitor.
    @Test func itEndsWhereItsParentIsNotTheMonitor() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let (ours, theirs) = try Channel.pair()
            let child = try ForkedChild {
                SpareSession.run(on: theirs.descriptor, of: 1, revision: Self.revision) { _ in Process.exitNow(42) }
            }
            let status = try child.end().status
            #expect(status == .exited(1), "\(status)")
            _ = ours
        }
    }
}
