// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
public import Linux
public import Messages

/// A session that was forked ahead of its request: it waits for one, serves it, and ends.
///
/// It has the policy's frozen tables as every session has them, by its fork, and nothing of a request or of a helper: its
/// session's name, its ends of the fresh pairs and the client's sockets come with the request. All that it does ahead is to make
/// the memory its own that it will use: it looks nothing up, so that no library keeps state of one moment for a request of
/// another.
public enum SpareSession {
    /// Becomes a spare. Called in a fork of the monitor, and never returns.
    ///
    /// TRUST: the one frame comes from the monitor; a frame that is none, of another policy, or with other descriptors than
    /// it says ends this process, and the monitor records the session as lost.
    ///
    /// - Parameters:
    ///   - channel: the spare's end of a fresh channel to the monitor: all that it keeps open.
    ///   - monitor: the monitor's process id.
    ///   - revision: the policy whose tables it has.
    ///   - input: makes a session's input of the tables and an assignment.
    public static func run(
        on channel: Descriptor, of monitor: Int32, revision: Revision, input: (SessionAssignment) -> SessionInput
    ) -> Never {
        do {
            let own = try keep(channel)
            try Session.becomeOwn(of: monitor)
            Process.setTitle("portcullisd: spare [priv]")
            OwnMemory.populate()
            let (assignment, parts) = try awaitRequest(own, revision)
            // It may have died while this process took its last frame.
            guard Process.parentID == monitor else { Process.exitNow(1) }
            Session.serve(input(assignment), try parts.placed())
        } catch {
            StandardError("portcullisd").say("spare session: \(error)")
            Process.exitNow(1)
        }
    }

    /// INVARIANT: on return this process holds its own end of its channel, and standard input, output and error.
    private static func keep(_ channel: Descriptor) throws -> Channel {
        try channel.place(at: SessionDescriptors.Number.monitor)
        Descriptor.closeAll(from: SessionDescriptors.Number.monitor + 1)
        guard let own = Descriptor.inherited(SessionDescriptors.Number.monitor) else {
            throw SessionError("its channel is gone")
        }
        return Channel(own)
    }

    /// Waits for the request; ends this process where none is to come.
    private static func awaitRequest(
        _ channel: Channel, _ revision: Revision
    ) throws -> (SessionAssignment, SessionDescriptors) {
        let received = try channel.receive(
            limit: SpareOrder.limit, descriptorLimit: SessionAssignment.descriptorLimit)
        guard case .message(let message) = received else { Process.exitNow(0) }
        switch try SpareOrder(frame: message.bytes) {
        case .serve(let assignment):
            guard assignment.revision == revision else { throw SessionError("a request of another policy") }
            let parts = SessionDescriptors(
                monitor: channel.descriptor, handed: message.descriptors, for: assignment)
            guard let parts else { throw SessionError("a request without its descriptors") }
            return (assignment, parts)
        }
    }
}
