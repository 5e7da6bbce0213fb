// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
public import Core
internal import Glibc

/// Questions to the person at this process's terminal.
public enum Terminal {
    /// Why there is no answer.
    public enum Failure: Error, Sendable, Hashable {
        /// This process has no terminal.
        case none
        /// The person sent this signal instead.
        case interrupted(Int32)
        /// The terminal was closed.
        case noAnswer
        /// The answer was longer than `lineLimit`, or had a NUL in it.
        case tooLong
        /// A call failed.
        case system(SystemError)
    }

    /// The most bytes of a line.
    public static let lineLimit = 1_023

    /// Whether this process has a terminal to ask on.
    public static var isPresent: Bool {
        (try? File.open("/dev/tty", [.reading])) != nil
    }

    /// Whether an open file is a terminal.
    public static func isTerminal(_ descriptor: Descriptor) -> Bool {
        isatty(descriptor.number) == 1
    }

    /// Asks for a line; empty where the person only pressed return.
    public static func ask(_ prompt: String) throws(Failure) -> ByteText {
        ByteText(try answer(prompt, echo: true).copyOfBytes())
    }

    /// Asks for a secret, which is not shown while it is typed.
    public static func askSecret(_ prompt: String) throws(Failure) -> Secret {
        try answer(prompt, echo: false)
    }

    /// The most times that a question is asked again after this process was stopped: where stopping has no effect, it
    /// would be for ever.
    private static let roundLimit = 1_000

    /// The signals that end the question: all that end a process and may be sent to one that waits.
    private static let ending = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGUSR1, SIGUSR2, SIGPIPE]

    /// How asking once ended.
    private enum Round {
        case answered(Secret)
        case failed(Failure)
        /// This process, or its whole group, is to stop by this signal.
        case stopped(Int32, wholeGroup: Bool)
    }

    private static func answer(_ prompt: String, echo: Bool) throws(Failure) -> Secret {
        // Descriptions of our own, so that nobody else finds them non-blocking.
        guard let input = try? File.open("/dev/tty", [.reading, .nonBlocking]),
            let output = try? File.open("/dev/tty", [.writing, .nonBlocking])
        else { throw .none }
        for _ in 0..<roundLimit {
            let round: Round
            do throws(SystemError) {
                round = try askOnce(prompt, echo: echo, input, output)
            } catch {
                throw .system(error)
            }
            switch round {
            case .answered(let line): return line
            case .failed(let failure): throw failure
            // The echo is back and nothing of ours is blocked: this returns when somebody lets the process go on.
            case .stopped(let signal, let wholeGroup): _ = kill(wholeGroup ? 0 : getpid(), signal)
            }
        }
        throw .system(SystemError(EIO, "read"))
    }

    private static func askOnce(
        _ prompt: String, echo: Bool, _ input: Descriptor, _ output: Descriptor
    ) throws(SystemError) -> Round {
        // ORDER: signals first, and unblocked last: the echo must not stay off because somebody pressed ^C or ^Z.
        let signals = try Signals(ending + [SIGTSTP], exceptIgnored: true)
        defer { withExtendedLifetime(signals) {} }
        var before: UInt32 = 0
        // SAFETY: the shim writes one int.
        try check(unsafe portcullis_terminal_prepare(input.number, echo ? 0 : 1, &before), "tcsetattr")
        // ORDER: after that call, by which the kernel stops a process in the background.
        let background = try? Signals([SIGTTIN, SIGTTOU], exceptIgnored: true)
        var isAnswered = false
        defer {
            _ = portcullis_terminal_show(input.number, before, isAnswered ? 0 : 1)
            withExtendedLifetime(background) {}
        }
        let line = try Secret()
        var prompt = Array(prompt.utf8)[...]
        while true {
            var entries = [
                Poll.Entry(input), Poll.Entry(prompt.isEmpty ? nil : output, reading: false, writing: true),
                Poll.Entry(signals.descriptor), Poll.Entry(background?.descriptor),
            ]
            try Poll.wait(&entries, milliseconds: -1)
            if let signal = signals.next() ?? background?.next() {
                return ending.contains(signal)
                    ? .failed(.interrupted(signal)) : .stopped(signal, wholeGroup: false)
            }
            if entries[1].isWritable || entries[1].isHangup { try write(&prompt, to: output) }
            guard entries[0].isReadable || entries[0].isHangup else { continue }
            let reading: Secret.Reading?
            do throws(SystemError) {
                // A terminal need not hand over whole lines: ^D hands over what there is.
                reading = try line.continueLine(from: input)
            } catch {
                guard error.code == EIO, isInBackground(input) else { throw error }
                return .stopped(SIGTTIN, wholeGroup: true)
            }
            switch reading {
            case nil: continue
            case .complete:
                isAnswered = true
                return .answered(line)
            case .closed: return .failed(.noAnswer)
            case .refused: return .failed(.tooLong)
            }
        }
    }

    /// Writes some of a prompt.
    private static func write(_ prompt: inout ArraySlice<UInt8>, to output: Descriptor) throws(SystemError) {
        do {
            prompt = prompt.dropFirst(try output.write(prompt))
        } catch {
            if !error.wouldBlock { throw error }
        }
    }

    /// Whether another group than this process's has the terminal now.
    private static func isInBackground(_ terminal: Descriptor) -> Bool {
        let group = tcgetpgrp(terminal.number)
        return group > 0 && group != getpgrp()
    }
}

/// This process's arguments as the bytes that they are.
public enum Arguments {
    /// The arguments after the program's name; Swift's own list would repair bytes that are not UTF-8.
    public static var bytes: [[UInt8]] {
        let count = Int(Swift.CommandLine.argc)
        guard count > 1 else { return [] }
        return (1..<count).map { index in
            // SAFETY: argv has argc entries, NUL-terminated strings that live as long as the process.
            guard let text = unsafe Swift.CommandLine.unsafeArgv[index] else { return [] }
            // SAFETY: as above.
            return unsafe (0..<strlen(text)).map { unsafe UInt8(bitPattern: text[Int($0)]) }
        }
    }

    /// Overwrites, in what ps shows, every occurrence of a secret in the arguments.
    ///
    /// The secret was visible until then: this shortens how long, and no more.
    public static func hide(_ secret: [UInt8]) {
        guard !secret.isEmpty else { return }
        for (index, argument) in bytes.enumerated() where argument.count >= secret.count {
            guard argument.suffix(secret.count).elementsEqual(secret) else { continue }
            // SAFETY: the entry was read above, and only bytes within its length are written.
            guard let text = unsafe Swift.CommandLine.unsafeArgv[index + 1] else { continue }
            for place in (argument.count - secret.count)..<argument.count {
                // SAFETY: as above.
                unsafe text[place] = CChar(bitPattern: UInt8(ascii: "*"))
            }
        }
    }
}
