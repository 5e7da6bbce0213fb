// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Linux

/// Carries bytes between a remote command and this process's own streams until both connections have ended.
///
/// Each direction holds at most one piece: whoever reads slowly holds back whoever writes, and nobody else.
public struct Relay {
    /// The most bytes that are carried at once in one direction.
    public static let pieceLimit = 65_536
    /// How it ended.
    public enum End: Sendable {
        /// The command's output has ended.
        case finished
        /// A connection was lost before its end.
        case lost(SystemError)
        /// This signal came and could not be passed on.
        case interrupted(Int32)
    }

    private let connection: RemoteConnection
    private let input: Descriptor?
    private let output: Sink
    private let errors: Sink
    private let signals: Signals?

    /// Why the input could not be read to its end; nil where it was. It counts as ended there.
    public private(set) var inputError: SystemError?

    private var toPrimary = ArraySlice<UInt8>()
    private var toOutput = ArraySlice<UInt8>()
    private var toErrors = ArraySlice<UInt8>()
    private var inputIsOpen: Bool
    private var primaryIsOpen = true
    private var secondaryIsOpen: Bool
    private var hasHalfClosed = false
    private var loss: SystemError?

    /// A relay.
    ///
    /// - Parameters:
    ///   - connection: an accepted command's.
    ///   - input: what becomes the command's stdin; nil for none.
    ///   - output: where its stdout goes.
    ///   - errors: where its stderr goes.
    ///   - signals: what is passed on; nil for none.
    public init(
        _ connection: RemoteConnection, input: Descriptor?, output: Descriptor, errors: Descriptor, signals: Signals?
    ) {
        self.connection = connection
        self.input = input
        self.output = Sink(output)
        self.errors = Sink(errors)
        self.signals = signals
        inputIsOpen = input != nil
        secondaryIsOpen = connection.secondary != nil
    }

    /// Carries until the end.
    public mutating func run() throws(SystemError) -> End {
        while primaryIsOpen || secondaryIsOpen || !toOutput.isEmpty || !toErrors.isEmpty {
            if !inputIsOpen, toPrimary.isEmpty, !hasHalfClosed {
                Socket.shutdownSending(connection.primary)
                hasHalfClosed = true
            }
            var entries = wanted()
            // Of a server that is lost only what has come already is shown: its secondary may never end.
            let waits = loss == nil || primaryIsOpen || !toOutput.isEmpty || !toErrors.isEmpty
            try Poll.wait(&entries, milliseconds: waits ? -1 : 0)
            if !waits, !isReady(.secondary, in: entries) { break }
            if let signal = try carry(entries) { return .interrupted(signal) }
        }
        return loss.map { .lost($0) } ?? .finished
    }

    /// The places in the list of what is waited for.
    private enum Place: Int {
        case input, primary, secondary, output, errors, signals
    }

    // A descriptor of which nothing is wanted is left out: poll would report its hang-up again and again.
    private func wanted() -> [Poll.Entry] {
        let readsPrimary = primaryIsOpen && toOutput.isEmpty
        let writesPrimary = !toPrimary.isEmpty
        return [
            Poll.Entry(inputIsOpen && toPrimary.isEmpty ? input : nil),
            Poll.Entry(
                readsPrimary || writesPrimary ? connection.primary : nil, reading: readsPrimary,
                writing: writesPrimary),
            Poll.Entry(secondaryIsOpen && toErrors.isEmpty ? connection.secondary : nil),
            Poll.Entry(toOutput.isEmpty ? nil : output.descriptor, reading: false, writing: true),
            Poll.Entry(toErrors.isEmpty ? nil : errors.descriptor, reading: false, writing: true),
            Poll.Entry(signals?.descriptor),
        ]
    }

    private func isReady(_ place: Place, in entries: [Poll.Entry]) -> Bool {
        guard entries.indices.contains(place.rawValue) else { return false }
        let entry = entries[place.rawValue]
        return entry.number >= 0 && (entry.isReadable || entry.isWritable || entry.isHangup)
    }

    /// Carries what can be carried now; the signal that came where it cannot be passed on.
    private mutating func carry(_ entries: [Poll.Entry]) throws(SystemError) -> Int32? {
        if isReady(.signals, in: entries), let signal = signals?.next() {
            guard secondaryIsOpen, loss == nil else { return signal }
            connection.signal(UInt8(clamping: signal))
        }
        if isReady(.output, in: entries) { try output.drain(&toOutput) }
        if isReady(.errors, in: entries) { try errors.drain(&toErrors) }
        if isReady(.primary, in: entries) {
            if !toPrimary.isEmpty { sendInput() }
            if primaryIsOpen, toOutput.isEmpty { receiveOutput() }
        }
        if isReady(.secondary, in: entries) { receiveErrors() }
        if isReady(.input, in: entries), let input { takeInput(input) }
        return nil
    }

    private mutating func takeInput(_ input: Descriptor) {
        do {
            toPrimary = try input.read(Self.pieceLimit)[...]
        } catch {
            // Somebody who shares the stream made it non-blocking, and was quicker.
            if error.wouldBlock { return }
            // Whatever cannot be read has ended, and the command has not: nohup(1) leaves a stdin that only takes
            // writes (EBADF), and the terminal of a session that is over, or of another job's, has nothing (EIO).
            inputError = error
            toPrimary = []
        }
        if toPrimary.isEmpty { inputIsOpen = false } else { sendInput() }
    }

    private mutating func sendInput() {
        do {
            toPrimary = toPrimary.dropFirst(try Socket.send(connection.primary, toPrimary))
        } catch {
            // The command reads no more, and its output goes on. A reset says less: the server may be gone, with input
            // that nobody has read, and the kernel tells it once.
            if error.isReset { loss = error }
            toPrimary = []
            inputIsOpen = false
            hasHalfClosed = true
        }
    }

    private mutating func receiveOutput() {
        do {
            guard let bytes = try Socket.receive(connection.primary, limit: Self.pieceLimit) else { return }
            toOutput = bytes[...]
            if bytes.isEmpty { closePrimary() }
        } catch {
            closePrimary()
            loss = error
        }
    }

    private mutating func closePrimary() {
        primaryIsOpen = false
        inputIsOpen = false
        toPrimary = []
        hasHalfClosed = true
    }

    private mutating func receiveErrors() {
        guard let secondary = connection.secondary else { return }
        do {
            guard let bytes = try Socket.receive(secondary, limit: Self.pieceLimit) else { return }
            toErrors = bytes[...]
            if bytes.isEmpty { secondaryIsOpen = false }
        } catch {
            // A secondary that is lost loses stderr, not the command.
            secondaryIsOpen = false
        }
    }
}

/// A stream of ours that is written without waiting, so that a reader who is slow holds up no signal.
private struct Sink {
    let descriptor: Descriptor
    private let pieceLimit: Int

    /// What a pipe or terminal that poll(2) calls writable takes without waiting (PIPE_BUF).
    private static let safePiece = 4_096

    init(_ stream: Descriptor) {
        // O_NONBLOCK on the stream itself would be everybody's who shares it: the shell's, for one. A pipe or a terminal
        // can be opened anew, with flags of its own. All else has to keep its place, its flags or its locks: a
        // regular file or block device, opened anew, would be written from its start.
        let kind = (try? File.status(stream))?.kind
        if kind == .fifo || Terminal.isTerminal(stream),
            let own = try? File.open("/proc/self/fd/\(stream.number)", [.writing, .nonBlocking, .noTerminal])
        {
            descriptor = own
            pieceLimit = Relay.pieceLimit
        } else {
            descriptor = stream
            pieceLimit = kind == .regular ? Relay.pieceLimit : Self.safePiece
        }
    }

    /// Writes some of the bytes.
    func drain(_ bytes: inout ArraySlice<UInt8>) throws(SystemError) {
        do {
            bytes = bytes.dropFirst(try descriptor.write(bytes.prefix(pieceLimit)))
        } catch {
            if !error.wouldBlock { throw error }
        }
    }
}
